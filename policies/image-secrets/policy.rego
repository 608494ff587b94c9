# METADATA
# title: Images hold no secrets
# description: |
#   Whoever may pull an image reads what lies in any of its layers, and the lines of its history. So a key or a token in
#   it is known to all of them, also where a later layer deletes it. What cannot be known is refused.
# custom:
#   severity: critical
#   mode: deny
#   category: image
package portcullis.policies.image_secrets

import rego.v1

import data.portcullis.lib.containers
import data.portcullis.lib.contents
import data.portcullis.lib.exemptions
import data.portcullis.lib.parameters
import data.portcullis.lib.text

shape := {
	"allowInBase": {"type": "boolean", "default": false},
	"exempt": {"type": "objects", "default": []},
}

settings := parameters.settings("image-secrets", shape)

look := {"class": "secrets", "deleted": true, "settings": settings}

# The findings of an image by kind: the rule that found them, and where they are.
kinds[written] := {kind: found |
	some kind in {[rule, state] | some [rule, state, _] in findings}
	found := [finding | some [rule, state, finding] in findings; [rule, state] == kind]
} if {
	some i in containers.all
	written := containers.image(i)
	findings := [[contents.field(finding, "rule"), contents.state(finding), finding] |
		some finding in contents.judged(look, written).findings
	]
}

deny contains violation if {
	some violation in parameters.faults("image-secrets", shape)
}

deny contains violation if {
	some problem in exemptions.faults(settings.exempt, exemptions.fields)
	violation := parameters.violation("image-secrets", problem)
}

deny contains violation if {
	some violation in contents.unknown({"secrets"}, settings)
}

deny contains violation if {
	some i in containers.all
	written := containers.image(i)
	judged := contents.judged(look, written)
	some kind, findings in kinds[written]
	told := contents.told(findings)
	violation := containers.violation(i, object.union_n([
		judged.place,
		words(kind[1], what(findings[0]), told),
		{"details": told.details},
	]))
}

# The line of the history is never shown: it may hold the secret itself.
words("present", what, told) := {
	"msg": sprintf("holds a secret (%s): %s (from %s)", [what, told.paths, told.places]),
	"fix": mount,
	"details": {"reason": "secret-present"},
}

words("deleted", what, told) := {
	"msg": sprintf("holds a secret (%s): %s, still in %s although a later layer deletes it", [
		what,
		told.paths,
		told.places,
	]),
	"fix": mount,
	"details": {"reason": "secret-deleted"},
}

words("history", what, _) := {
	"msg": sprintf("tells a secret in its history (%s)", [what]),
	"fix": "rotate it, and build with a secret mount instead (RUN --mount=type=secret): build arguments are kept",
	"details": {"reason": "secret-in-history"},
}

mount := "rotate it, and build without it: list it in .dockerignore, use secret mounts (RUN --mount=type=secret)"

what(finding) := text.short(contents.field(finding, "what"), 40)
