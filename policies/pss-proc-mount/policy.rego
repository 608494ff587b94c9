# METADATA
# title: /proc stays masked
# description: |
#   The runtime hides the parts of /proc that tell about the node or steer its kernel; procMount Unmasked shows them
#   (Pod Security Standards, baseline, control /proc Mount Type).
# related_resources:
#   - ref: https://kubernetes.io/docs/concepts/security/pod-security-standards/
# custom:
#   severity: high
#   mode: deny
#   category: pod security baseline
#   onRequest: true
package portcullis.policies.pss_proc_mount

import rego.v1

import data.portcullis.lib.containers
import data.portcullis.lib.parameters
import data.portcullis.lib.podsecurity

shape := {"acceptUserNamespaces": {"type": "boolean", "default": false}}

settings := parameters.settings("pss-proc-mount", shape)

deny contains violation if {
	some violation in parameters.faults("pss-proc-mount", shape)
}

deny contains violation if {
	some place in containers.running
	found := podsecurity.value(place, path)
	not found in {null, "Default"}
	not relaxed(found)
	violation := podsecurity.violation(place, path, found, {
		"msg": "sees all of /proc (procMount)",
		"fix": "remove securityContext.procMount",
		"reason": "proc-mount",
	})
}

path := ["securityContext", "procMount"]

# As the standard says since Kubernetes 1.35, where the operator says so too: a node that cannot make user namespaces
# and ignores hostUsers would run the pod as if nothing had been said.
relaxed(found) if {
	settings.acceptUserNamespaces == true
	podsecurity.user_namespace
	found != podsecurity.unreadable
}
