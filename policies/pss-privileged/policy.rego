# METADATA
# title: No privileged containers
# description: |
#   A privileged container is root on its node: nearly everything that confines containers is off for it
#   (Pod Security Standards, baseline, control Privileged Containers).
# related_resources:
#   - ref: https://kubernetes.io/docs/concepts/security/pod-security-standards/
# custom:
#   severity: critical
#   mode: deny
#   category: pod security baseline
#   onRequest: true
package portcullis.policies.pss_privileged

import rego.v1

import data.portcullis.lib.containers
import data.portcullis.lib.parameters
import data.portcullis.lib.pods
import data.portcullis.lib.podsecurity

shape := {}

deny contains violation if {
	some violation in parameters.faults("pss-privileged", shape)
}

deny contains violation if {
	some place in containers.running
	found := podsecurity.value(place, path)
	not pods.off(found)
	violation := podsecurity.violation(place, path, found, {
		"msg": "is privileged, which is root on the node",
		"fix": "remove securityContext.privileged",
		"reason": "privileged",
	})
}

path := ["securityContext", "privileged"]
