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

# Digests of verified attestations of a class. What a report says counts only with the one that carried it.
carriers[written][class] contains digest if {
	some written, a
	input.images[written].attestations[a].verified == true
	class := input.images[written].attestations[a].predicateClass
	digest := input.images[written].attestations[a].digest
}

carries(written, class, digest) if digest in carriers[written][class]

# Rejected ones that may have been of a class: by the type that they claim, or because not even that could be read.
suspects(written, class) := {a |
	some a in rejected[written]
	not of_another_type(written, a, class)
}

of_another_type(written, a, class) if {
	input.images[written].attestations[a].predicateType != ""
	input.images[written].attestations[a].predicateClass in (classes - {class})
}

classes := {"vulnerability", "lint", "sbom", "vex", "provenance", "signature", "other"}

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
rejections(written, class) := sprintf("%s rejected (%s)", [
	text.counted(count(suspects(written, class)), "attestation was", "attestations were"),
	text.short(concat("; ", array.slice(reasons, 0, 3)), 200),
]) if {
	reasons := sort({line |
		some a in suspects(written, class)
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

# What policies ask for, in words.
kinds := {
	"vulnerability": {"what": "vulnerability scan", "one": "a vulnerability scan", "noun": "scan", "make": "scan it in the pipeline"},
	"lint": {"what": "lint report", "one": "a lint report", "noun": "lint report", "make": "lint its Dockerfile in the pipeline (Hadolint)"},
	"sbom": {"what": "SBOM", "one": "an SBOM", "noun": "SBOM", "make": "make one in the pipeline"},
	"provenance": {"what": "provenance", "one": "provenance", "noun": "provenance", "make": "build it where provenance is made"},
	"signature": {"what": "signature", "one": "a signature", "noun": "signature", "make": "sign it in the pipeline"},
}

# Why nothing of a class was accepted, where nothing was.
none(written, class) := {
	"reason": leading(written, class),
	"msg": sprintf("has no accepted %s: %s", [kinds[class].what, rejections(written, class)]),
	"fix": fix(leading(written, class), kinds[class].noun),
	"more": {"rejected": details(written)},
} if {
	count(suspects(written, class)) > 0
} else := {
	"reason": unread(class).reason,
	"msg": sprintf("has no %s that could be read", [kinds[class].what]),
	"fix": "attach a report in a format that Portcullis reads",
	"more": {"rejected": details(written)},
} if {
	count(carriers[written][class]) > 0
} else := {
	"reason": "attestation-wrong-type",
	"msg": sprintf("has no %s, only attestations of another type (%s)", [
		kinds[class].what,
		text.short(text.listed(types(written), 3), 200),
	]),
	"fix": attach(class),
	"more": {"rejected": details(written)},
} if {
	_ = input.images[written].attestations[_]
} else := {
	"reason": "attestation-missing",
	"msg": sprintf("has no %s: nothing is attached to the image", [kinds[class].what]),
	"fix": attach(class),
	"more": {"rejected": details(written)},
}

unread("vulnerability") := {"reason": "scan-unreadable"}

unread(class) := {"reason": "report-unreadable"} if class != "vulnerability"

attach("signature") := "sign it in the pipeline (cosign sign)"

attach(class) := sprintf("%s and attach the signed %s (portcullis attest)", [kinds[class].make, signed(class)]) if {
	class != "signature"
}

signed("vulnerability") := "report"

signed(class) := kinds[class].noun if class != "vulnerability"

types(written) := sort({quoted |
	some a
	_ = input.images[written].attestations[a]
	quoted := text.quoted(predicate_type(written, a))
})

# Of several reasons the one that says most.
leading(written, class) := [code | some code in telling; code in codes(written, class)][0]

leading(written, class) := min(codes(written, class)) if {
	count(codes(written, class) & {code | some code in telling}) == 0
}

codes(written, class) := {reason(written, a) | some a in suspects(written, class)}

telling := [
	"attestation-invalid",
	"attestation-subject-mismatch",
	"report-subject-mismatch",
	"attestation-untrusted",
	"attestation-quorum",
	"attestation-expired",
	"attestation-unlogged",
	"attestation-unsigned",
	"attestation-unsupported",
]

fix(code, noun) := sprintf(object.get(fixes, code, fixes["attestation-invalid"]), [noun])

fixes := {
	"attestation-invalid": "attach the %s again, as it was signed: what is attached was changed or is broken",
	"attestation-subject-mismatch": "make the %s of this very image and attach that: what is attached was signed for another",
	"report-subject-mismatch": "make the %s of this very image and attach that: the report inside is of another",
	"attestation-untrusted": "have the %s signed by a signer that the trust configuration names for this image",
	"attestation-quorum": "have the %s signed by as many signers as the trust configuration asks for",
	"attestation-expired": "sign the %s again: the certificate had ended, or no trusted time shows that it had not",
	"attestation-unlogged": "sign the %s again with an entry in the transparency log that the trust configuration asks for",
	"attestation-unsigned": "sign the %s (portcullis attest)",
	"attestation-unsupported": "attach the %s as a Sigstore bundle (portcullis attest)",
	"too-large": "make the %s smaller, or remove attestations that are no longer needed: a limit was crossed",
}
