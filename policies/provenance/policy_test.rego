package portcullis.policies.provenance_test

import rego.v1

import data.portcullis.lib.evidence_fixtures_test as evidence
import data.portcullis.lib.fixtures_test as fixtures
import data.portcullis.policies.provenance

parameters(more) := {"provenance": more}

built(all_said) := evidence.holding("provenance", "provenance", all_said)

strict := parameters({
	"builders": ["https://github.com/actions/runner/github-hosted"],
	"sources": ["https://git.example/acme/*"],
	"refs": ["refs/tags/v*", "refs/heads/main"],
	"buildTypes": ["https://actions.github.io/buildtypes/workflow/*"],
})

test_any_provenance_passes_without_parameters if {
	provenance.deny == set() with input as built([evidence.provenance({})])
}

test_allowed_ones_pass if {
	every more in [
		{},
		{"sourceRef": "refs/heads/main"},
		{"source": "git+https://git.example/acme/web"},
		{"source": "https://git.example/acme/web.git"},
	] {
		provenance.deny == set() with input as built([evidence.provenance(more)])
			with data.portcullis.parameters as strict
	}
}

test_what_is_not_allowed_is_told if {
	every more, msg in {
		{"builder": "https://github.com/actions/runner/self-hosted"}: `was built by "https://github.com/actions/runner/self-hosted", which is not an allowed builder`,
		{"source": "https://git.example/stranger/web"}: `was built from "https://git.example/stranger/web", which is not an allowed repository`,
		{"source": "https://git.example/acme/web/../../x"}: `was built from "https://git.example/acme/web/../../x", which is not an allowed repository`,
		{"sourceRef": "refs/heads/feature"}: `was built from the ref "refs/heads/feature", which is not an allowed one`,
		{"buildType": "https://mobyproject.org/buildkit@v1"}: `was built in the way "https://mobyproject.org/buildkit@v1", which is not an allowed one`,
		{"builder": ""}: "was built by an unknown one, which is not an allowed builder",
	} {
		some violation in provenance.deny with input as built([evidence.provenance(more)])
			with data.portcullis.parameters as strict
		violation.msg == msg
		violation.details.reason == "provenance-not-allowed"
		violation.details.parameter in {"builders", "sources", "refs", "buildTypes"}
	}
}

test_unknown_fields_are_refused_where_they_are_asked_for if {
	every field in ["builder", "source", "sourceRef", "buildType"] {
		odd := array.concat(
			[fixtures.without(evidence.provenance({}), [field])],
			[evidence.provenance({field: value}) | some value in [null, 7, [], ""]],
		)
		every said in odd {
			violations := provenance.deny with input as built([said]) with data.portcullis.parameters as strict
			fixtures.reasons(violations) == {"provenance-not-allowed"}
			every violation in violations {
				contains(violation.msg, " an unknown one, which is not an allowed ")
			}
		}
	}
}

# All that is asked for must stand in one document.
test_two_halves_are_no_whole if {
	provenance.deny != set() with data.portcullis.parameters as strict with input as built([
		evidence.provenance({"builder": "https://evil.example"}),
		evidence.provenance({"source": "https://evil.example"}),
	])
	provenance.deny == set() with data.portcullis.parameters as strict with input as built([
		evidence.provenance({"builder": "https://evil.example"}),
		evidence.provenance({}),
	])
}

test_nothing_attached if {
	some violation in provenance.deny with input as fixtures.judged({}, {"attestations": []})
	violation.msg == "has no provenance: nothing is attached to the image"
	violation.details.reason == "attestation-missing"
}

test_rejected_ones_are_told if {
	some violation in provenance.deny with input as fixtures.judged(
		{},
		{"attestations": [evidence.rejected("provenance", "attestation-unsigned")]},
	)
	violation.msg == "has no accepted provenance: 1 attestation was rejected (attestation-unsigned: it is so)"
	violation.fix == "sign the provenance (portcullis attest)"
}

test_unknown_facts_are_refused if {
	every document in array.concat(
		evidence.no_images,
		evidence.unfounded("provenance", "provenance", evidence.provenance({})),
	) {
		count(provenance.deny) == 1 with input as document
	}
}

test_signers_and_age if {
	every more, reason in {
		{"signers": ["ci"]}: "attestation-untrusted",
		{"maxAgeHours": 1}: "evidence-stale",
	} {
		violations := provenance.deny with input as built([evidence.provenance({})])
			with data.portcullis.parameters as parameters(more)
		fixtures.reasons(violations) == {reason}
	}
	provenance.deny == set() with input as built([evidence.provenance({})])
		with data.portcullis.parameters as parameters({"signers": ["release"], "maxAgeHours": 24})
}

test_platforms if {
	amd64 := evidence.provenance({"platform": "linux/amd64"})
	provenance.deny == set() with input as evidence.holding_on_two(
		"provenance", "provenance",
		[amd64, evidence.provenance({"platform": "linux/arm64"})],
	)
	some violation in provenance.deny with input as evidence.holding_on_two("provenance", "provenance", [amd64])
	violation.msg == "has provenance of linux/amd64, none of linux/arm64"
	violation.platform == "linux/arm64"
}

test_exempt_images if {
	every pattern, number in {"registry.example/acme/**": 0, "registry.example/other/**": 1} {
		count(provenance.deny) == number with input as fixtures.judged({}, {"attestations": []})
			with data.portcullis.parameters as parameters({"exempt": [{"images": [pattern]}]})
	}
}

test_wrong_parameters_are_a_violation if {
	wrong := [
		{"builders": "x"},
		{"builders": [""]},
		{"sources": [" "]},
		{"refs": [7]},
		{"maxAgeHours": -1},
		{"exempt": [{}]},
		{"builder": []},
	]
	every one in wrong {
		violations := provenance.deny with data.portcullis.parameters as parameters(one)
			with input as built([evidence.provenance({})])
		"parameter-invalid" in fixtures.reasons(violations)
	}
}
