# METADATA
# title: Containers must run as non-root
# description: |
#   runAsNonRoot true binds the kubelet to start no container as uid 0, whatever its image says. The pod may say it for all
#   its containers; none of them may take it back (Pod Security Standards, restricted, control Running as Non-root).
# related_resources:
#   - ref: https://kubernetes.io/docs/concepts/security/pod-security-standards/
# custom:
#   severity: high
#   mode: deny
#   category: pod security restricted
#   onRequest: true
package portcullis.policies.pss_non_root

import rego.v1

import data.portcullis.lib.containers
import data.portcullis.lib.parameters
import data.portcullis.lib.podsecurity

shape := {"acceptUserNamespaces": {"type": "boolean", "default": false}}

settings := parameters.settings("pss-non-root", shape)

deny contains violation if {
	some violation in parameters.faults("pss-non-root", shape)
}

deny contains violation if {
	found := podsecurity.value("pod", path)
	not found in {null, true}
	not relaxed(found)
	violation := podsecurity.violation("pod", path, found, said("lets its containers run as root (runAsNonRoot)"))
}

deny contains violation if {
	some place in containers.running
	found := podsecurity.value(place, path)
	not bound(found)
	not relaxed(found)
	violation := podsecurity.violation(place, path, found, said("is not bound to run as a non-root user (runAsNonRoot is not true)"))
}

path := ["securityContext", "runAsNonRoot"]

bound(found) if found == true

# The pod's word holds. Where that is not true, the pod's own violation says so.
bound(found) if {
	found == null
	not podsecurity.value("pod", path) == null
}

said(msg) := {
	"msg": msg,
	"fix": "set securityContext.runAsNonRoot to true for the pod or the container",
	"reason": "run-as-non-root",
}

# As the standard says since Kubernetes 1.35, where the operator says so too: a node that cannot make user namespaces
# and ignores hostUsers would run the pod as if nothing had been said.
relaxed(found) if {
	settings.acceptUserNamespaces == true
	podsecurity.user_namespace
	found != podsecurity.unreadable
}
