# METADATA
# title: What VEX says of findings
# description: |
#   A verified VEX statement by a signer who may make such, that is about this image, stands beside the finding. Only
#   a favourable one that has not ended sets the finding aside; anything else leaves it as it is.
package portcullis.lib.vex

import rego.v1

import data.portcullis.lib.text

favourable := {"not_affected", "fixed"}

aside(finding) if {
	finding.vex.status in favourable
	finding.vex.expired == false
}

# A favourable statement that has ended, or does not say whether it has: the finding counts again.
ended(finding) if {
	finding.vex.status in favourable
	not finding.vex.expired == false
}

# Such as: not_affected (vulnerable_code_not_present), said by release
ground(finding) := sprintf("%s%s, said by %s", [finding.vex.status, why(finding), signer(finding)])

default why(_) := ""

why(finding) := sprintf(" (%s)", [text.short(finding.vex.justification, 60)]) if {
	is_string(finding.vex.justification)
	finding.vex.justification != ""
}

default signer(_) := "an unknown signer"

signer(finding) := text.short(finding.vex.signer.name, 40) if is_string(finding.vex.signer.name)
