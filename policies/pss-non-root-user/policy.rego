# METADATA
# title: No container is told to run as root
# description: |
#   runAsUser, where it is set, is above 0, for the pod and for every container (Pod Security Standards, restricted,
#   control Running as Non-root user).
# related_resources:
#   - ref: https://kubernetes.io/docs/concepts/security/pod-security-standards/
# custom:
#   severity: high
#   mode: deny
#   category: pod security restricted
#   onRequest: true
package portcullis.policies.pss_non_root_user

import rego.v1

import data.portcullis.lib.parameters
import data.portcullis.lib.podsecurity

shape := {"acceptUserNamespaces": {"type": "boolean", "default": false}}

settings := parameters.settings("pss-non-root-user", shape)

deny contains violation if {
	some violation in parameters.faults("pss-non-root-user", shape)
}

deny contains violation if {
	some place in podsecurity.places
	found := podsecurity.value(place, path)
	not harmless(found)
	not relaxed(found)
	violation := podsecurity.violation(place, path, found, {
		"msg": "is told to run as root (runAsUser)",
		"fix": "set securityContext.runAsUser to a number above 0, or remove it if the image has a numeric USER",
		"reason": "run-as-root",
	})
}

path := ["securityContext", "runAsUser"]

harmless(found) if found == null

harmless(found) if {
	is_number(found)
	found >= 1
}

# As the standard says since Kubernetes 1.35, where the operator says so too: a node that cannot make user namespaces
# and ignores hostUsers would run the pod as if nothing had been said.
relaxed(found) if {
	settings.acceptUserNamespaces == true
	podsecurity.user_namespace
	found != podsecurity.unreadable
}
