package portcullis.policies.sbom_required_test

import rego.v1

import data.portcullis.lib.evidence_fixtures_test as evidence
import data.portcullis.lib.fixtures_test as fixtures
import data.portcullis.policies.sbom_required

parameters(more) := {"sbom-required": more}

with_sboms(bills) := evidence.holding("sbom", "sboms", bills)

test_an_sbom_passes if {
	every format in ["cyclonedx", "spdx"] {
		sbom_required.deny == set() with input as with_sboms([evidence.sbom({"format": format})])
	}
}

test_components_are_not_needed if {
	sbom_required.deny == set() with input as with_sboms([evidence.sbom({"components": null})])
}

test_nothing_attached if {
	some violation in sbom_required.deny with input as fixtures.judged({}, {"attestations": []})
	violation.msg == "has no SBOM: nothing is attached to the image"
	violation.fix == "make one in the pipeline and attach the signed SBOM (portcullis attest)"
	violation.details == {"reason": "attestation-missing", "rejected": []}
	violation.container == "web"
}

test_rejected_ones_are_told if {
	some violation in sbom_required.deny with input as fixtures.judged({}, {"attestations": [
		evidence.rejected("sbom", "attestation-untrusted"),
		evidence.rejected("provenance", "attestation-invalid"),
	]})
	violation.msg == "has no accepted SBOM: 1 attestation was rejected (attestation-untrusted: it is so)"
	violation.fix == "have the SBOM signed by a signer that the trust configuration names for this image"
	violation.details.reason == "attestation-untrusted"
	count(violation.details.rejected) == 2
}

test_a_scan_is_no_sbom if {
	violations := sbom_required.deny with input as fixtures.judged({}, {})
	fixtures.reasons(violations) == {"attestation-wrong-type"}
}

test_an_sbom_that_could_not_be_read if {
	violations := sbom_required.deny with input as with_sboms([])
	fixtures.reasons(violations) == {"report-unreadable"}
}

test_unknown_facts_are_refused if {
	every document in array.concat(evidence.no_images, evidence.unfounded("sbom", "sboms", evidence.sbom({}))) {
		count(sbom_required.deny) == 1 with input as document
	}
}

test_absent_and_odd_fields_are_refused if {
	every field in ["format", "platform", "attestation", "componentCount"] {
		every odd in [fixtures.without(evidence.sbom({}), [field]), evidence.sbom({field: "junk"})] {
			count(sbom_required.deny) > 0 with input as with_sboms([odd])
		}
	}
}

test_formats if {
	some violation in sbom_required.deny with input as with_sboms([evidence.sbom({"format": "spdx"})])
		with data.portcullis.parameters as parameters({"formats": ["cyclonedx"]})
	violation.msg == "its SBOM is in the format \"spdx\", not in cyclonedx"
	violation.details.reason == "sbom-format"
}

test_signers if {
	wanted := parameters({"signers": ["release"]})
	some violation in sbom_required.deny with input as with_sboms([evidence.sbom({})])
		with data.portcullis.parameters as wanted
	violation.msg == "its SBOM is signed by ci, not by release"
	violation.details.reason == "attestation-untrusted"
	sbom_required.deny == set() with input as with_sboms([evidence.sbom({"signer": evidence.by("release")})])
		with data.portcullis.parameters as wanted
	every signer in [null, {}, {"name": 7}] {
		violations := sbom_required.deny with input as with_sboms([evidence.sbom({"signer": signer})])
			with data.portcullis.parameters as wanted
		fixtures.reasons(violations) == {"attestation-untrusted"}
	}
}

test_number_of_components if {
	some violation in sbom_required.deny with input as with_sboms([evidence.sbom({"componentCount": 0})])
	violation.msg == "its SBOM lists 0 components; at least 1 are asked for"
	violation.details.reason == "sbom-empty"
	every more in [{"componentCount": 9}, {"componentCount": null}, {"componentCount": "20"}] {
		violations := sbom_required.deny with input as with_sboms([evidence.sbom(more)])
			with data.portcullis.parameters as parameters({"minComponents": 10})
		fixtures.reasons(violations) == {"sbom-empty"}
	}
	every odd in [null, "20", [20], true] {
		some unknown in sbom_required.deny with input as with_sboms([evidence.sbom({"componentCount": odd})])
		unknown.msg == "its SBOM lists an unknown number of components; at least 1 are asked for"
	}
	sbom_required.deny == set() with input as with_sboms([evidence.sbom({"componentCount": 0})])
		with data.portcullis.parameters as parameters({"minComponents": 0})
}

test_age if {
	recent := parameters({"maxAgeHours": 72})
	sbom_required.deny == set() with input as with_sboms([evidence.sbom({"ageHours": null})])
	sbom_required.deny == set() with input as with_sboms([evidence.sbom({})]) with data.portcullis.parameters as recent
	some violation in sbom_required.deny with input as with_sboms([evidence.sbom({"ageHours": 100})])
		with data.portcullis.parameters as recent
	violation.msg == "its SBOM is 4 days old; the limit is 3 days"
	violation.details.reason == "evidence-stale"
	every age, reason in {null: "evidence-time-unknown", "1": "evidence-time-unknown", -1: "evidence-in-future"} {
		violations := sbom_required.deny with input as with_sboms([evidence.sbom({"ageHours": age})])
			with data.portcullis.parameters as recent
		fixtures.reasons(violations) == {reason}
	}
}

# One good SBOM is enough; of several bad ones the one that lacks least is told.
test_several if {
	worse := evidence.sbom({"format": "other", "componentCount": 0})
	sbom_required.deny == set() with input as with_sboms([worse, evidence.sbom({})])
	violations := sbom_required.deny with input as with_sboms([worse, evidence.sbom({"componentCount": 0})])
	fixtures.reasons(violations) == {"sbom-empty"}
}

test_platforms if {
	amd64 := evidence.sbom({"platform": "linux/amd64"})
	arm64 := evidence.sbom({"platform": "linux/arm64"})
	sbom_required.deny == set() with input as evidence.holding_on_two("sbom", "sboms", [evidence.sbom({})])
	sbom_required.deny == set() with input as evidence.holding_on_two("sbom", "sboms", [amd64, arm64])
	some violation in sbom_required.deny with input as evidence.holding_on_two("sbom", "sboms", [amd64])
	violation.msg == "has an SBOM of linux/amd64, none of linux/arm64"
	violation.details.reason == "evidence-platform-missing"
	violation.platform == "linux/arm64"
	some other in sbom_required.deny with input as evidence.holding_on_two(
		"sbom", "sboms",
		[amd64, object.union(arm64, {"componentCount": 0})],
	)
	other.details.reason == "sbom-empty"
	other.platform == "linux/arm64"
}

test_exempt_images if {
	every pattern, number in {"registry.example/acme/**": 0, "registry.example/other/**": 1} {
		count(sbom_required.deny) == number with input as fixtures.judged({}, {"attestations": []})
			with data.portcullis.parameters as parameters({"exempt": [{"images": [pattern]}]})
	}
}

test_wrong_parameters_are_a_violation if {
	wrong := [
		{"formats": ["csv"]},
		{"formats": "spdx"},
		{"signers": "ci"},
		{"minComponents": -1},
		{"maxAgeHours": "1"},
		{"exempt": [{"paths": ["/x"]}]},
		{"exempt": ["x"]},
		{"format": "spdx"},
	]
	every one in wrong {
		violations := sbom_required.deny with data.portcullis.parameters as parameters(one)
			with input as with_sboms([evidence.sbom({})])
		"parameter-invalid" in fixtures.reasons(violations)
	}
}
