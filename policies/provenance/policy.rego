# METADATA
# title: Images were built where and from what they should be
# description: |
#   Every judged platform has a verified SLSA provenance by an allowed builder, from an allowed repository and ref. What
#   counts is what the signed document says; who may sign it is said in the trust configuration.
# custom:
#   severity: high
#   mode: audit
#   category: evidence
package portcullis.policies.provenance

import rego.v1

import data.portcullis.lib.attestations
import data.portcullis.lib.containers
import data.portcullis.lib.exemptions
import data.portcullis.lib.parameters
import data.portcullis.lib.patterns
import data.portcullis.lib.signed
import data.portcullis.lib.text

shape := {
	"builders": {"type": "strings", "default": []},
	"sources": {"type": "strings", "default": []},
	"refs": {"type": "strings", "default": []},
	"buildTypes": {"type": "strings", "default": []},
	"signers": {"type": "strings", "default": []},
	"maxAgeHours": {"type": "number", "default": null},
	"exempt": {"type": "objects", "default": []},
}

settings := parameters.settings("provenance", shape)

# Which field each list of patterns is compared with, and its words.
compared := {
	"builders": {"field": "builder", "words": "was built by %s, which is not an allowed builder"},
	"sources": {"field": "source", "words": "was built from %s, which is not an allowed repository"},
	"refs": {"field": "sourceRef", "words": "was built from the ref %s, which is not an allowed one"},
	"buildTypes": {"field": "buildType", "words": "was built in the way %s, which is not an allowed one"},
}

deny contains violation if {
	some violation in parameters.faults("provenance", shape)
}

deny contains violation if {
	some problem in (exemptions.faults(settings.exempt, ["images"]) | union({patterns.faults(name, settings[name]) |
		some name, _ in compared
	}))
	violation := parameters.violation("provenance", problem)
}

deny contains violation if {
	some i in containers.all
	written := containers.image(i)
	not exemptions.holds(settings.exempt, written, "", "")
	said := object.get(carried, written, {})
	wrong := object.get(faults, written, {})
	not signed.some_good(written, said, wrong)
	some problem in signed.lacking(written, "provenance", said, wrong)
	violation := containers.violation(i, problem)
}

# What the provenance says counts only with the verified attestation that carried it.
carried[written][n] := input.images[written].provenance[n] if {
	some written, n
	attestations.carries(written, "provenance", input.images[written].provenance[n].attestation)
}

faults[written][n] := union({
	signed.stranger(said, "provenance", settings.signers),
	signed.aged(said, "provenance", settings.maxAgeHours),
	strange(said),
}) if {
	some written, all_said in carried
	some n, said in all_said
}

strange(said) := {{"reason": "provenance-not-allowed", "msg": msg, "fix": fix, "more": {"parameter": name}} |
	some name, what in compared
	count(settings[name]) > 0
	value := plain(name, object.get(said, what.field, ""))
	not patterns.any(settings[name], value)
	msg := sprintf(what.words, [shown(value)])
	fix := sprintf("build it as the parameter %q of the policy allows, and attach the signed provenance", [name])
}

# Repositories are written with and without the marks of git.
plain("sources", value) := trim_suffix(trim_prefix(value, "git+"), ".git") if is_string(value)

plain("sources", value) := value if not is_string(value)

plain(name, value) := value if name != "sources"

default shown(_) := "an unknown one"

shown(value) := text.quoted(value) if {
	is_string(value)
	value != ""
}
