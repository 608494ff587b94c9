# METADATA
# title: Images have a signed SBOM
# description: |
#   Every judged platform has a verified SBOM with components in it, by a signer and in a format that is asked for. One
#   good SBOM is enough; others beside it do not hurt.
# custom:
#   severity: medium
#   mode: audit
#   category: evidence
package portcullis.policies.sbom_required

import rego.v1

import data.portcullis.lib.containers
import data.portcullis.lib.exemptions
import data.portcullis.lib.parameters
import data.portcullis.lib.sboms
import data.portcullis.lib.signed
import data.portcullis.lib.text

shape := {
	"formats": {"type": "strings", "default": ["cyclonedx", "spdx"]},
	"signers": {"type": "strings", "default": []},
	"minComponents": {"type": "number", "default": 1},
	"maxAgeHours": {"type": "number", "default": null},
	"exempt": {"type": "objects", "default": []},
}

settings := parameters.settings("sbom-required", shape)

deny contains violation if {
	some violation in parameters.faults("sbom-required", shape)
}

deny contains violation if {
	some problem in (exemptions.faults(settings.exempt, ["images"]) | unknown_formats)
	violation := parameters.violation("sbom-required", problem)
}

unknown_formats contains problem if {
	some format in settings.formats
	not format in ["cyclonedx", "spdx"]
	problem := sprintf("\"formats\" holds %s, not one of cyclonedx, spdx", [text.quoted(format)])
}

deny contains violation if {
	some i in containers.all
	written := containers.image(i)
	not exemptions.holds(settings.exempt, written, "", "")
	bills := object.get(sboms.of, written, {})
	wrong := object.get(faults, written, {})
	not signed.some_good(written, bills, wrong)
	some problem in signed.lacking(written, "sbom", bills, wrong)
	violation := containers.violation(i, problem)
}

faults[written][b] := union({
	signed.stranger(bill, "SBOM", settings.signers),
	signed.aged(bill, "SBOM", settings.maxAgeHours),
	misshapen(bill),
	empty(bill),
}) if {
	some written, bills in sboms.of
	some b, bill in bills
}

misshapen(bill) := {{"reason": "sbom-format", "msg": msg, "fix": fix} |
	not wanted_format(bill)
	format := text.quoted(object.get(bill, "format", ""))
	msg := sprintf("its SBOM is in the format %s, not in %s", [format, concat(" or ", settings.formats)])
	fix := "make the SBOM in a format that the policy's parameter names"
}

wanted_format(bill) if bill.format in settings.formats

empty(bill) := {{"reason": "sbom-empty", "msg": msg, "fix": "make the SBOM with a tool that knows the packages of the image"} |
	not filled(bill)
	msg := sprintf("its SBOM lists %v components; at least %v are asked for", [components(bill), settings.minComponents])
}

filled(bill) if {
	is_number(bill.componentCount)
	bill.componentCount >= settings.minComponents
}

default components(_) := "an unknown number of"

components(bill) := bill.componentCount if is_number(bill.componentCount)
