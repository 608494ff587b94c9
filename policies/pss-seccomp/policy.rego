# METADATA
# title: Seccomp is not turned off
# description: |
#   No pod and no container says Unconfined, which leaves it every system call of the kernel. Nothing need be said: that is
#   for pss-seccomp-required (Pod Security Standards, baseline, control Seccomp).
# related_resources:
#   - ref: https://kubernetes.io/docs/concepts/security/pod-security-standards/
# custom:
#   severity: high
#   mode: deny
#   category: pod security baseline
#   onRequest: true
package portcullis.policies.pss_seccomp

import rego.v1

import data.portcullis.lib.parameters
import data.portcullis.lib.podsecurity

shape := {}

deny contains violation if {
	some violation in parameters.faults("pss-seccomp", shape)
}

deny contains violation if {
	some place in podsecurity.places
	found := podsecurity.value(place, path)
	not podsecurity.confined(found)
	violation := podsecurity.violation(place, path, found, {
		"msg": "turns seccomp off (seccompProfile)",
		"fix": "set securityContext.seccompProfile.type to RuntimeDefault",
		"reason": "seccomp-off",
	})
}

path := ["securityContext", "seccompProfile"]
