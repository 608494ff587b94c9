package portcullis.policies.image_signed_test

import rego.v1

import data.portcullis.lib.evidence_fixtures_test as evidence
import data.portcullis.lib.fixtures_test as fixtures
import data.portcullis.policies.image_signed

parameters(more) := {"image-signed": more}

with_attestations(attestations) := fixtures.judged({}, {"attestations": attestations})

signature(more) := evidence.attested("signature", more)

test_a_signature_passes if {
	image_signed.deny == set() with input as with_attestations([signature({})])
}

test_nothing_attached if {
	some violation in image_signed.deny with input as with_attestations([])
	violation.msg == "has no signature: nothing is attached to the image"
	violation.fix == "sign it in the pipeline (cosign sign)"
	violation.details.reason == "attestation-missing"
}

test_a_scan_is_no_signature_unless_told_otherwise if {
	violations := image_signed.deny with input as fixtures.judged({}, {})
	fixtures.reasons(violations) == {"attestation-wrong-type"}
	image_signed.deny == set() with input as fixtures.judged({}, {})
		with data.portcullis.parameters as parameters({"classes": ["signature", "vulnerability"]})
}

test_rejected_ones_do_not_count if {
	every code in ["attestation-untrusted", "attestation-expired", "attestation-quorum", "attestation-unlogged"] {
		some violation in image_signed.deny with input as with_attestations([evidence.rejected("signature", code)])
		violation.details.reason == code
		violation.msg == sprintf("has no accepted signature: 1 attestation was rejected (%s: it is so)", [code])
	}
}

# A verified scan beside it does not make the signature any better.
test_a_rejected_one_beside_a_verified_one_does_not_count if {
	every others in [[], [signature({"predicateClass": "vulnerability"})]] {
		violations := image_signed.deny
			with input as with_attestations(array.concat(others, [evidence.rejected("signature", "attestation-untrusted")]))
		fixtures.reasons(violations) == {"attestation-untrusted"}
	}
}

test_unknown_facts_are_refused if {
	odd := [null, {}, "junk", 7, [null], [{}], [signature({"verified": "true"})], [signature({"verified": null})]]
	every attestations in odd {
		count(image_signed.deny) == 1 with input as with_attestations(attestations)
	}
	every field in ["verified", "predicateClass", "platform"] {
		count(image_signed.deny) == 1 with input as with_attestations([fixtures.without(signature({}), [field])])
	}
	every document in evidence.no_images {
		count(image_signed.deny) == 1 with input as document
	}
	count(image_signed.deny) == 1 with input as fixtures.judged({}, {"platforms": [], "attestations": [signature({})]})
}

test_signers if {
	wanted := parameters({"signers": ["release"]})
	some violation in image_signed.deny with input as with_attestations([signature({})])
		with data.portcullis.parameters as wanted
	violation.msg == "is signed by ci, not by release"
	violation.details.reason == "attestation-untrusted"
	image_signed.deny == set() with input as with_attestations([signature({}), signature({"signer": evidence.by("release")})])
		with data.portcullis.parameters as wanted
	count(image_signed.deny) == 1 with input as with_attestations([signature({"signer": null})])
		with data.portcullis.parameters as wanted
}

test_transparency_log if {
	wanted := parameters({"requireLog": true})
	image_signed.deny == set() with input as with_attestations([signature({"logged": true})])
		with data.portcullis.parameters as wanted
	every more in [{}, {"logged": false}, {"logged": null}, {"logged": "true"}] {
		violations := image_signed.deny with input as with_attestations([signature(more)])
			with data.portcullis.parameters as wanted
		fixtures.reasons(violations) == {"attestation-unlogged"}
	}
}

test_platforms if {
	amd64 := signature({"platform": "linux/amd64"})
	image_signed.deny == set() with input as evidence.two({"attestations": [signature({})]})
	image_signed.deny == set() with input as evidence.two({"attestations": [amd64, signature({"platform": "linux/arm64"})]})
	some violation in image_signed.deny with input as evidence.two({"attestations": [amd64]})
	violation.msg == "has a signature of linux/amd64, none of linux/arm64"
	violation.platform == "linux/arm64"
}

test_exempt_images if {
	every pattern, number in {"registry.example/acme/**": 0, "registry.example/other/**": 1} {
		count(image_signed.deny) == number with input as with_attestations([])
			with data.portcullis.parameters as parameters({"exempt": [{"images": [pattern]}]})
	}
}

test_wrong_parameters_are_a_violation if {
	wrong := [
		{"classes": ["signatures"]},
		{"classes": "signature"},
		{"signers": {}},
		{"requireLog": 1},
		{"exempt": [{"rules": ["x"]}]},
		{"signer": "ci"},
	]
	every one in wrong {
		violations := image_signed.deny with data.portcullis.parameters as parameters(one)
			with input as with_attestations([signature({})])
		"parameter-invalid" in fixtures.reasons(violations)
	}
}
