# METADATA
# title: VEX statements that set findings aside are good ones
# description: |
#   Every finding that a VEX statement sets aside was set aside by a signer, on a ground, and lately enough, as the
#   parameters say. Statements that have ended are told: their findings count again.
# custom:
#   severity: medium
#   mode: warn
#   category: evidence
package portcullis.policies.vex_trusted

import rego.v1

import data.portcullis.lib.containers
import data.portcullis.lib.exemptions
import data.portcullis.lib.parameters
import data.portcullis.lib.scans
import data.portcullis.lib.signed
import data.portcullis.lib.text
import data.portcullis.lib.vex

# Those of OpenVEX (https://github.com/openvex/spec), which CSAF has too, and those of CycloneDX that say as much. That a
# configuration or an environment is required, or that something in front protects, is true of a place, not of an image.
grounds := [
	"component_not_present",
	"vulnerable_code_not_present",
	"vulnerable_code_not_in_execute_path",
	"vulnerable_code_cannot_be_controlled_by_adversary",
	"inline_mitigations_already_exist",
	"code_not_present",
	"code_not_reachable",
	"protected_by_compiler",
	"protected_at_runtime",
	"protected_by_mitigating_control",
]

shape := {
	"signers": {"type": "strings", "default": []},
	"maxAgeHours": {"type": "number", "default": null},
	"justifications": {"type": "strings", "default": grounds},
	"requireJustification": {"type": "boolean", "default": true},
	"exempt": {"type": "objects", "default": []},
}

settings := parameters.settings("vex-trusted", shape)

deny contains violation if {
	some violation in parameters.faults("vex-trusted", shape)
}

deny contains violation if {
	some problem in exemptions.faults(settings.exempt, ["images"])
	violation := parameters.violation("vex-trusted", problem)
}

deny contains violation if {
	some i in containers.all
	written := containers.image(i)
	not exemptions.holds(settings.exempt, written, "", "")
	some fault, labels in blamed[written]
	violation := containers.violation(i, said(fault, sort(labels)))
}

# -- what is wrong with the statements of an image, each with the findings that it set aside ---------------------------

blamed[written][fault] contains label if {
	some written
	some k in scans.carried[written]
	some finding in input.images[written].scans[k].vulnerabilities
	finding.vex.status
	some fault in faults(finding)
	label := sprintf("%s (%s)", [text.short(object.get(finding, "id", ""), 30), vex.ground(finding)])
}

faults(finding) := {"expired"} if vex.ended(finding)

faults(finding) := {fault |
	mark := finding.vex
	some fault in ["stranger", "stale", "unjustified"]
	not good(fault, mark)
} if {
	vex.aside(finding)
}

good("stranger", _) if count(settings.signers) == 0

good("stranger", mark) if mark.signer.name in settings.signers

good("stale", mark) if signed.aged(mark, "", settings.maxAgeHours) == set()

# That something is fixed needs no ground.
good("unjustified", mark) if mark.status == "fixed"

good("unjustified", mark) if mark.justification in settings.justifications

good("unjustified", mark) if {
	settings.requireJustification == false
	mark.justification == ""
}

# -- words -----------------------------------------------------------------------------------------------------------

told := {
	"expired": {
		"reason": "vex-expired",
		"msg": "has VEX statements that have ended, so their findings count again",
		"fix": "look at the findings again and sign a new statement",
	},
	"stranger": {
		"reason": "vex-untrusted",
		"msg": "has findings set aside by a signer that the policy does not name",
		"fix": "have the statement signed by a signer that the policy's parameter names",
	},
	"stale": {
		"reason": "vex-stale",
		"msg": "has findings set aside by VEX statements that are too old or do not say how old they are",
		"fix": "look at the findings again and sign a new statement",
	},
	"unjustified": {
		"reason": "vex-unjustified",
		"msg": "has findings set aside without an accepted justification",
		"fix": "say in the VEX statement why the image is not affected",
	},
}

said(fault, labels) := {
	"msg": text.short(sprintf("%s: %s", [told[fault].msg, text.listed(labels, 2)]), 300),
	"fix": told[fault].fix,
	"details": {"reason": told[fault].reason, "findings": array.slice(labels, 0, 20)},
}
