# METADATA
# title: No SELinux options but those for containers
# description: |
#   A pod chooses no SELinux user and no role, and none but the types for containers: with another one it would be free of
#   the labels that keep containers apart (Pod Security Standards, baseline, control SELinux).
# related_resources:
#   - ref: https://kubernetes.io/docs/concepts/security/pod-security-standards/
# custom:
#   severity: high
#   mode: deny
#   category: pod security baseline
#   onRequest: true
package portcullis.policies.pss_selinux

import rego.v1

import data.portcullis.lib.parameters
import data.portcullis.lib.pods
import data.portcullis.lib.podsecurity

shape := {}

deny contains violation if {
	some violation in parameters.faults("pss-selinux", shape)
}

deny contains violation if {
	some place in podsecurity.places
	some field, allowed in {"type": pods.selinux_types, "user": {""}, "role": {""}}
	path := ["securityContext", "seLinuxOptions", field]
	found := podsecurity.value(place, path)
	not found in (allowed | {null})
	violation := podsecurity.violation(place, path, found, {
		"msg": sprintf("sets an SELinux %s of its own", [field]),
		"fix": sprintf("remove securityContext.seLinuxOptions.%s", [field]),
		"reason": "selinux-options",
	})
}
