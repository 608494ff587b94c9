# METADATA
# title: Images are signed
# description: |
#   Every judged platform, or the image as a whole, has a verified signature by a signer that is asked for. An
#   attestation of another kind counts where the parameters say so.
# custom:
#   severity: high
#   mode: audit
#   category: evidence
package portcullis.policies.image_signed

import rego.v1

import data.portcullis.lib.attestations
import data.portcullis.lib.containers
import data.portcullis.lib.exemptions
import data.portcullis.lib.parameters
import data.portcullis.lib.signed
import data.portcullis.lib.text

shape := {
	"classes": {"type": "strings", "default": ["signature"]},
	"signers": {"type": "strings", "default": []},
	"requireLog": {"type": "boolean", "default": false},
	"exempt": {"type": "objects", "default": []},
}

settings := parameters.settings("image-signed", shape)

deny contains violation if {
	some violation in parameters.faults("image-signed", shape)
}

deny contains violation if {
	some problem in (exemptions.faults(settings.exempt, ["images"]) | unknown_classes)
	violation := parameters.violation("image-signed", problem)
}

unknown_classes contains problem if {
	some class in settings.classes
	not class in attestations.classes
	problem := sprintf("\"classes\" holds %s, not one of %s", [text.quoted(class), concat(", ", sort(attestations.classes))])
}

deny contains violation if {
	some i in containers.all
	written := containers.image(i)
	not exemptions.holds(settings.exempt, written, "", "")
	found := object.get(counting, written, {})
	wrong := object.get(faults, written, {})
	not signed.some_good(written, found, wrong)
	some problem in signed.lacking(written, "signature", found, wrong)
	violation := containers.violation(i, problem)
}

counting[written][a] := input.images[written].attestations[a] if {
	some written
	some a in attestations.verified[written]
	input.images[written].attestations[a].predicateClass in settings.classes
}

faults[written][a] := signed.stranger(one, "signature", settings.signers) | unlogged(one) if {
	some written, found in counting
	some a, one in found
}

unlogged(one) := {{"reason": "attestation-unlogged", "msg": msg, "fix": fix} |
	not logged(one)
	msg := "its signature has no entry in a transparency log"
	fix := "sign it with an entry in the transparency log (cosign does so by default)"
}

logged(_) if settings.requireLog == false

logged(one) if one.logged == true
