# METADATA
# title: Processes gain no privileges
# description: |
#   allowPrivilegeEscalation false sets no_new_privs: a set-user-ID file gives no process more than it has. It must be said,
#   since the default is true. Pods for Windows cannot say it, and are left out (Pod Security Standards, restricted,
#   control Privilege Escalation).
# related_resources:
#   - ref: https://kubernetes.io/docs/concepts/security/pod-security-standards/
# custom:
#   severity: medium
#   mode: deny
#   category: pod security restricted
#   onRequest: true
package portcullis.policies.pss_privilege_escalation

import rego.v1

import data.portcullis.lib.containers
import data.portcullis.lib.parameters
import data.portcullis.lib.podsecurity

shape := {}

deny contains violation if {
	some violation in parameters.faults("pss-privilege-escalation", shape)
}

deny contains violation if {
	not podsecurity.windows
	some place in containers.running
	found := podsecurity.value(place, path)
	not found == false
	violation := podsecurity.violation(place, path, found, {
		"msg": "may gain privileges (allowPrivilegeEscalation is not false)",
		"fix": "set securityContext.allowPrivilegeEscalation to false",
		"reason": "privilege-escalation",
	})
}

path := ["securityContext", "allowPrivilegeEscalation"]
