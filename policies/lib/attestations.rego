# METADATA
# title: Attestations of an image
# description: |
#   Which attestations were verified and which were rejected, and the words for it. a is an index into
#   input.images[written].attestations.
package portcullis.lib.attestations

import rego.v1

import data.portcullis.lib.text

verified[written] contains a if {
	some written, a
	input.images[written].attestations[a].verified == true
}

rejected[written] contains a if {
	some written, a
	_ = input.images[written].attestations[a]
	not is_verified(written, a)
}

is_verified(written, a) if input.images[written].attestations[a].verified == true

# Rejected ones that may have been a scan: by the type that they claim, or because not even that could be read.
suspects[written] contains a if {
	some written
	some a in rejected[written]
	not of_another_type(written, a)
}

of_another_type(written, a) if {
	input.images[written].attestations[a].predicateType != ""
	input.images[written].attestations[a].predicateClass in {"lint", "sbom", "vex", "provenance", "other"}
}

default reason(_, _) := "attestation-invalid"

reason(written, a) := code if {
	code := input.images[written].attestations[a].reason
	is_string(code)
	code != ""
}

default message(_, _) := ""

message(written, a) := text.short(input.images[written].attestations[a].message, 200)

default predicate_type(_, _) := ""

predicate_type(written, a) := text.short(input.images[written].attestations[a].predicateType, 100)

# Such as: 2 attestations were rejected (attestation-untrusted: no configured key signed it)
rejections(written) := sprintf("%s rejected (%s)", [
	text.counted(count(rejected[written]), "attestation was", "attestations were"),
	concat("; ", array.slice(reasons, 0, 3)),
]) if {
	reasons := sort({line |
		some a in rejected[written]
		line := sprintf("%s: %s", [reason(written, a), message(written, a)])
	})
}

# The same for programs: at most 20 of them.
details(written) := array.slice(
	sort([entry |
		some a in rejected[written]
		entry := {
			"reason": reason(written, a),
			"message": message(written, a),
			"predicateType": predicate_type(written, a),
		}
	]),
	0, 20,
)

# Why no scan was accepted, where none was.
no_scan(written) := {
	"reason": leading(written),
	"msg": sprintf("has no accepted vulnerability scan: %s", [rejections(written)]),
	"fix": object.get(fixes, leading(written), fixes["attestation-invalid"]),
} if {
	count(suspects[written]) > 0
} else := {
	"reason": "scan-unreadable",
	"msg": "has no vulnerability scan that could be read",
	"fix": "attach a report in a format that Portcullis reads",
} if {
	some a in verified[written]
	input.images[written].attestations[a].predicateClass == "vulnerability"
} else := {
	"reason": "attestation-wrong-type",
	"msg": sprintf("has no vulnerability scan, only attestations of another type (%s)", [text.listed(types(written), 3)]),
	"fix": attach,
} if {
	_ = input.images[written].attestations[_]
} else := {
	"reason": "attestation-missing",
	"msg": "has no vulnerability scan: nothing is attached to the image",
	"fix": attach,
}

attach := "scan it in the pipeline and attach the signed report (portcullis attest)"

types(written) := sort({quoted |
	some a
	_ = input.images[written].attestations[a]
	quoted := text.quoted(predicate_type(written, a))
})

# Of several reasons the one that says most.
leading(written) := [code | some code in telling; code in codes(written)][0]

leading(written) := min(codes(written)) if count(codes(written) & {code | some code in telling}) == 0

codes(written) := {reason(written, a) | some a in suspects[written]}

telling := [
	"attestation-invalid",
	"attestation-subject-mismatch",
	"report-subject-mismatch",
	"attestation-untrusted",
	"attestation-unsigned",
	"attestation-unsupported",
]

fixes := {
	"attestation-invalid": "attach the scan again, as it was signed: what is attached was changed or is broken",
	"attestation-subject-mismatch": "scan this very image and attach that: what is attached was signed for another",
	"report-subject-mismatch": "scan this very image and attach that: the report inside is of another",
	"attestation-untrusted": "have the scan signed by a signer that the trust configuration names for this image",
	"attestation-unsigned": "sign the scan (portcullis attest)",
	"attestation-unsupported": "attach the scan as a Sigstore bundle (portcullis attest)",
}
