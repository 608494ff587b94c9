package portcullis.policies.vex_trusted_test

import rego.v1

import data.portcullis.lib.evidence_fixtures_test as evidence
import data.portcullis.lib.fixtures_test as fixtures
import data.portcullis.policies.vex_trusted

parameters(more) := {"vex-trusted": more}

found(findings) := evidence.scanned([fixtures.scan({"vulnerabilities": findings})])

aside(more) := found([evidence.set_aside("CVE-1", "critical", more)])

test_good_statements_pass if {
	every more in [
		{},
		{"justification": "component_not_present"},
		{"justification": "code_not_reachable"},
		{"status": "fixed", "justification": ""},
		{"ageHours": null},
		{"status": "affected", "justification": ""},
		{"status": "under_investigation", "signer": null},
	] {
		vex_trusted.deny == set() with input as aside(more)
	}
	vex_trusted.deny == set() with input as found([fixtures.finding("CVE-1", "critical")])
	vex_trusted.deny == set() with input as fixtures.judged({}, {"scans": [], "attestations": []})
}

test_signers if {
	some violation in vex_trusted.deny with input as aside({})
		with data.portcullis.parameters as parameters({"signers": ["product"]})
	violation.msg == concat("", [
		"has findings set aside by a signer that the policy does not name: ",
		"CVE-1 (not_affected (vulnerable_code_not_present), said by release)",
	])
	violation.details.reason == "vex-untrusted"
	violation.details.findings == ["CVE-1 (not_affected (vulnerable_code_not_present), said by release)"]
	vex_trusted.deny == set() with input as aside({})
		with data.portcullis.parameters as parameters({"signers": ["product", "release"]})
	every signer in [null, {"name": ""}, "release", {"name": null}] {
		violations := vex_trusted.deny with input as aside({"signer": signer})
			with data.portcullis.parameters as parameters({"signers": ["release"]})
		fixtures.reasons(violations) == {"vex-untrusted"}
	}
}

test_age if {
	vex_trusted.deny == set() with input as aside({})
		with data.portcullis.parameters as parameters({"maxAgeHours": 72})
	every age in [72.5, null, "1", -1] {
		violations := vex_trusted.deny with input as aside({"ageHours": age})
			with data.portcullis.parameters as parameters({"maxAgeHours": 72})
		fixtures.reasons(violations) == {"vex-stale"}
	}
}

test_justifications if {
	every justification in ["", "because", "requires_configuration", null, 7] {
		violations := vex_trusted.deny with input as aside({"justification": justification})
		fixtures.reasons(violations) == {"vex-unjustified"}
	}
	violations := vex_trusted.deny with input as aside({})
		with data.portcullis.parameters as parameters({"justifications": ["component_not_present"]})
	fixtures.reasons(violations) == {"vex-unjustified"}
	none := parameters({"requireJustification": false})
	vex_trusted.deny == set() with input as aside({"justification": ""}) with data.portcullis.parameters as none
	count(vex_trusted.deny) == 1 with input as aside({"justification": "because"}) with data.portcullis.parameters as none
}

test_ended_ones_are_told if {
	every expired in [true, null, "false"] {
		some violation in vex_trusted.deny with input as aside({"expired": expired, "justification": ""})
		violation.msg == concat("", [
			"has VEX statements that have ended, so their findings count again: ",
			"CVE-1 (not_affected, said by release)",
		])
		violation.details.reason == "vex-expired"
	}
}

test_findings_stand_together if {
	many := [evidence.set_aside(id, "low", {"justification": ""}) | some id in ["CVE-3", "CVE-1", "CVE-2", "CVE-1"]]
	violations := vex_trusted.deny with input as found(many)
	count(violations) == 1
	some violation in violations
	endswith(violation.msg, "CVE-1 (not_affected, said by release), CVE-2 (not_affected, said by release) and 1 more")
	count(violation.details.findings) == 3
}

# What no verified scan found cannot be set aside.
test_scans_that_do_not_count_are_left_out if {
	bad := fixtures.scan({"vulnerabilities": [evidence.set_aside("CVE-1", "low", {"justification": ""})]})
	vex_trusted.deny == set() with input as fixtures.judged({}, {"scans": [bad], "attestations": []})
	every odd in [null, {}, "junk", [null, 7, [], {"vex": 7}]] {
		vex_trusted.deny == set() with input as found(odd)
	}
	every document in evidence.no_images {
		vex_trusted.deny == set() with input as document
	}
}

test_exempt_images if {
	every pattern, number in {"registry.example/acme/**": 0, "registry.example/other/**": 1} {
		count(vex_trusted.deny) == number with input as aside({"justification": ""})
			with data.portcullis.parameters as parameters({"exempt": [{"images": [pattern]}]})
	}
}

test_wrong_parameters_are_a_violation if {
	wrong := [
		{"signers": "x"},
		{"maxAgeHours": "1"},
		{"justifications": null},
		{"requireJustification": 0},
		{"exempt": [{"rules": ["x"]}]},
		{"justification": []},
	]
	every one in wrong {
		violations := vex_trusted.deny with data.portcullis.parameters as parameters(one) with input as aside({})
		"parameter-invalid" in fixtures.reasons(violations)
	}
}

test_containers_are_judged_by_their_own_images if {
	violations := vex_trusted.deny with input as fixtures.beside(aside({"justification": "x"}), aside({}))
	fixtures.told(violations) == {"web"}
}
