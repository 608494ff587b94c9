# METADATA
# title: No capabilities beyond the default ones
# description: |
#   Containers add no capability but those that container runtimes give anyway. ALL and NET_RAW are not among them, and a
#   name counts as it is written (Pod Security Standards, baseline, control Capabilities).
# related_resources:
#   - ref: https://kubernetes.io/docs/concepts/security/pod-security-standards/
# custom:
#   severity: high
#   mode: deny
#   category: pod security baseline
#   onRequest: true
package portcullis.policies.pss_capabilities

import rego.v1

import data.portcullis.lib.containers
import data.portcullis.lib.parameters
import data.portcullis.lib.pods
import data.portcullis.lib.podsecurity
import data.portcullis.lib.text

shape := {}

deny contains violation if {
	some violation in parameters.faults("pss-capabilities", shape)
}

deny contains violation if {
	some place in containers.running
	some added in podsecurity.list(place, ["securityContext", "capabilities", "add"])
	not added.value in pods.default_capabilities
	violation := podsecurity.violation(place, added.path, added.value, {
		"msg": sprintf("adds the capability %s", [text.quoted(added.value)]),
		"fix": sprintf("add none but %s", [concat(", ", sort(pods.default_capabilities))]),
		"reason": "capability-added",
	})
}
