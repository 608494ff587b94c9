# METADATA
# title: Containers drop all capabilities
# description: |
#   Every container drops ALL, and adds none again but NET_BIND_SERVICE. Pods for Windows have no capabilities, and are
#   left out (Pod Security Standards, restricted, control Capabilities).
# related_resources:
#   - ref: https://kubernetes.io/docs/concepts/security/pod-security-standards/
# custom:
#   severity: medium
#   mode: deny
#   category: pod security restricted
#   onRequest: true
package portcullis.policies.pss_drop_capabilities

import rego.v1

import data.portcullis.lib.containers
import data.portcullis.lib.parameters
import data.portcullis.lib.podsecurity
import data.portcullis.lib.text

shape := {}

deny contains violation if {
	some violation in parameters.faults("pss-drop-capabilities", shape)
}

deny contains violation if {
	not podsecurity.windows
	some place in containers.running
	found := podsecurity.value(place, dropped)
	not drops_all(found)
	violation := podsecurity.violation(place, dropped, found, {
		"msg": "keeps the default capabilities",
		"fix": "set securityContext.capabilities.drop to [ALL]",
		"reason": "capabilities-kept",
	})
}

deny contains violation if {
	not podsecurity.windows
	some place in containers.running
	some added in podsecurity.list(place, ["securityContext", "capabilities", "add"])
	not added.value == "NET_BIND_SERVICE"
	violation := podsecurity.violation(place, added.path, added.value, {
		"msg": sprintf("adds the capability %s", [text.quoted(added.value)]),
		"fix": "add none but NET_BIND_SERVICE",
		"reason": "capability-added",
	})
}

dropped := ["securityContext", "capabilities", "drop"]

drops_all(found) if {
	is_array(found)
	"ALL" in found
}
