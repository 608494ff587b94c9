# METADATA
# title: A seccomp profile is set
# description: |
#   Every container has a seccomp profile, RuntimeDefault or one of the node's, by itself or by its pod: the default of a
#   cluster may be none. Pods for Windows cannot have one, and are left out (Pod Security Standards, restricted, control
#   Seccomp).
# related_resources:
#   - ref: https://kubernetes.io/docs/concepts/security/pod-security-standards/
# custom:
#   severity: medium
#   mode: deny
#   category: pod security restricted
#   onRequest: true
package portcullis.policies.pss_seccomp_required

import rego.v1

import data.portcullis.lib.containers
import data.portcullis.lib.parameters
import data.portcullis.lib.podsecurity

shape := {}

deny contains violation if {
	some violation in parameters.faults("pss-seccomp-required", shape)
}

deny contains violation if {
	not podsecurity.windows
	found := podsecurity.value("pod", path)
	not podsecurity.confined(found)
	violation := podsecurity.violation("pod", path, found, said("turns seccomp off (seccompProfile)"))
}

deny contains violation if {
	not podsecurity.windows
	some place in containers.running
	found := podsecurity.value(place, path)
	not set_for(found)
	violation := podsecurity.violation(place, path, found, said("runs without a seccomp profile of its own or of its pod"))
}

path := ["securityContext", "seccompProfile"]

set_for(found) if {
	found != null
	podsecurity.confined(found)
}

# The pod's word holds. Where that is a bad one, the pod's own violation says so.
set_for(found) if {
	found == null
	not podsecurity.value("pod", path) == null
}

said(msg) := {
	"msg": msg,
	"fix": "set securityContext.seccompProfile.type to RuntimeDefault for the pod or the container",
	"reason": "seccomp-missing",
}
