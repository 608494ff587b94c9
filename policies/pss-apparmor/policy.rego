# METADATA
# title: AppArmor stays on
# description: |
#   Where a node has AppArmor, containers keep the runtime's profile or one of the node's, by the field and by the older
#   annotation (Pod Security Standards, baseline, control AppArmor).
# related_resources:
#   - ref: https://kubernetes.io/docs/concepts/security/pod-security-standards/
# custom:
#   severity: high
#   mode: deny
#   category: pod security baseline
#   onRequest: true
package portcullis.policies.pss_apparmor

import rego.v1

import data.portcullis.lib.parameters
import data.portcullis.lib.podsecurity
import data.portcullis.lib.text

shape := {}

deny contains violation if {
	some violation in parameters.faults("pss-apparmor", shape)
}

deny contains violation if {
	some place in podsecurity.places
	found := podsecurity.value(place, path)
	not podsecurity.confined(found)
	violation := podsecurity.violation(place, path, found, object.union(
		{"msg": "turns AppArmor off (appArmorProfile)"},
		mended("set securityContext.appArmorProfile.type to RuntimeDefault, or remove appArmorProfile"),
	))
}

path := ["securityContext", "appArmorProfile"]

deny contains violation if {
	found := podsecurity.value("metadata", ["annotations"])
	not found == null
	not is_object(found)
	violation := podsecurity.violation("metadata", ["annotations"], podsecurity.unreadable, {})
}

deny contains violation if {
	some key, profile in annotations
	startswith(key, "container.apparmor.security.beta.kubernetes.io/")
	not named(profile)
	violation := podsecurity.violation("metadata", ["annotations"], profile, object.union(
		{"msg": sprintf("turns AppArmor off by the annotation %s", [text.quoted(key)])},
		mended("remove the annotation"),
	))
}

default annotations := {}

annotations := found if {
	found := podsecurity.value("metadata", ["annotations"])
	is_object(found)
}

mended(fix) := {"fix": fix, "reason": "apparmor-off"}

named(profile) if profile in {"", "runtime/default"}

named(profile) if startswith(text.short(profile, 300), "localhost/")
