# METADATA
# title: SBOMs of an image
# description: |
#   b is an index into input.images[written].sboms. Their components are in the input only for who reads them, so every
#   field is read by its own path here.
package portcullis.lib.sboms

import rego.v1

import data.portcullis.lib.attestations

# An SBOM counts only with the verified attestation that carried it.
carried[written] contains b if {
	some written, b
	attestations.carries(written, "sbom", input.images[written].sboms[b].attestation)
}

of[written][b].attestation := input.images[written].sboms[b].attestation if {
	some written, _ in carried
	some b in carried[written]
}

of[written][b].platform := input.images[written].sboms[b].platform if {
	some written, _ in carried
	some b in carried[written]
}

of[written][b].format := input.images[written].sboms[b].format if {
	some written, _ in carried
	some b in carried[written]
}

of[written][b].ageHours := input.images[written].sboms[b].ageHours if {
	some written, _ in carried
	some b in carried[written]
}

of[written][b].signer := input.images[written].sboms[b].signer if {
	some written, _ in carried
	some b in carried[written]
}

of[written][b].componentCount := input.images[written].sboms[b].componentCount if {
	some written, _ in carried
	some b in carried[written]
}
