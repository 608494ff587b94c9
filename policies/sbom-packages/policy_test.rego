package portcullis.policies.sbom_packages_test

import rego.v1

import data.portcullis.lib.evidence_fixtures_test as evidence
import data.portcullis.lib.fixtures_test as fixtures
import data.portcullis.policies.sbom_packages

parameters(more) := {"sbom-packages": more}

with_sboms(bills) := evidence.holding("sbom", "sboms", bills)

listing(components) := with_sboms([evidence.sbom({"components": components})])

denying := parameters({"deniedPackages": ["log4j-core", "pkg:npm/left-pad"]})

test_without_lists_every_image_passes if {
	every document in array.concat(evidence.no_images, [fixtures.judged({}, {"attestations": []}), with_sboms([])]) {
		sbom_packages.deny == set() with input as document
	}
}

test_none_that_is_ruled_out if {
	sbom_packages.deny == set() with input as with_sboms([evidence.sbom({})]) with data.portcullis.parameters as denying
	sbom_packages.deny == set() with input as listing([]) with data.portcullis.parameters as denying
}

test_denied_packages if {
	some violation in sbom_packages.deny with data.portcullis.parameters as denying with input as listing([
		evidence.component("Log4j-Core", {"version": "2.14.0"}),
		evidence.component("left", {"purl": "pkg:npm/left-pad@1.3.0", "version": ""}),
		evidence.component("left-pad-2", {"purl": "pkg:npm/left-pad-2@1.3.0"}),
		evidence.component("openssl", {}),
	])
	violation.msg == "holds packages that are ruled out: Log4j-Core 2.14.0, left"
	violation.details == {"reason": "sbom-package-denied", "packages": ["Log4j-Core 2.14.0", "left"]}
	violation.container == "web"
}

test_denied_licenses if {
	denied := parameters({"deniedLicenses": ["agpl-*", "GPL-3.0-only", "SSPL-1.0"]})
	every licenses in [
		["AGPL-3.0-or-later"],
		["GPL-3.0-only"],
		["MIT OR GPL-3.0-only"],
		["(MIT AND (sspl-1.0))"],
		["MIT", "AGPL-1.0"],
	] {
		violations := sbom_packages.deny with data.portcullis.parameters as denied
			with input as listing([evidence.component("x", {"licenses": licenses})])
		fixtures.reasons(violations) == {"sbom-license-denied"}
	}
	every licenses in [["GPL-3.0-or-later"], ["MIT"], ["LAGPL-1.0"], [], null, [7, null], "AGPL"] {
		sbom_packages.deny == set() with data.portcullis.parameters as denied
			with input as listing([evidence.component("x", {"licenses": licenses})])
	}
	some violation in sbom_packages.deny with data.portcullis.parameters as denied
		with input as listing([evidence.component("x", {"licenses": ["AGPL-1.0"]})])
	violation.msg == "holds packages with licences that are ruled out: x 3.0.1 (AGPL-1.0)"
}

# Another SBOM that does not list it does not help.
test_every_sbom_counts if {
	bad := evidence.sbom({"components": [evidence.component("log4j-core", {})]})
	every bills in [[bad], [evidence.sbom({}), bad], [bad, evidence.sbom({})]] {
		violations := sbom_packages.deny with input as with_sboms(bills) with data.portcullis.parameters as denying
		fixtures.reasons(violations) == {"sbom-package-denied"}
	}
}

test_with_a_list_an_sbom_is_needed if {
	some violation in sbom_packages.deny with input as fixtures.judged({}, {"attestations": []})
		with data.portcullis.parameters as denying
	violation.msg == "has no SBOM: nothing is attached to the image"
	violation.details.reason == "attestation-missing"
}

test_unknown_facts_are_refused if {
	every document in array.concat(evidence.no_images, evidence.unfounded("sbom", "sboms", evidence.sbom({}))) {
		count(sbom_packages.deny) == 1 with input as document with data.portcullis.parameters as denying
	}
}

test_unknown_components_are_refused if {
	every odd in [null, {}, "junk", 7, [null], ["x"]] {
		violations := sbom_packages.deny with input as listing(odd) with data.portcullis.parameters as denying
		fixtures.reasons(violations) == {"sbom-unread"}
	}
	violations := sbom_packages.deny with data.portcullis.parameters as denying
		with input as with_sboms([fixtures.without(evidence.sbom({}), ["components"])])
	fixtures.reasons(violations) == {"sbom-unread"}
}

# Of a list that is not known as a whole, the part that could be read is not told as if it were.
test_nothing_else_is_told_of_an_sbom_that_is_half_read if {
	half := listing([evidence.component("log4j-core", {"licenses": ["AGPL-1.0"]}), "junk"])
	every more in [{"deniedPackages": ["log4j-core"]}, {"deniedLicenses": ["agpl-*"]}] {
		violations := sbom_packages.deny with input as half with data.portcullis.parameters as parameters(more)
		fixtures.reasons(violations) == {"sbom-unread"}
	}
}

test_platforms if {
	amd64 := evidence.sbom({"platform": "linux/amd64"})
	arm64 := evidence.sbom({"platform": "linux/arm64", "components": [evidence.component("log4j-core", {})]})
	some violation in sbom_packages.deny with data.portcullis.parameters as denying
		with input as evidence.holding_on_two("sbom", "sboms", [amd64])
	violation.details.reason == "evidence-platform-missing"
	some other in sbom_packages.deny with data.portcullis.parameters as denying
		with input as evidence.holding_on_two("sbom", "sboms", [amd64, arm64])
	other.details.reason == "sbom-package-denied"
	other.platform == "linux/arm64"
}

test_exempt_images if {
	every pattern, number in {"registry.example/acme/**": 0, "registry.example/other/**": 1} {
		exempt := parameters({"deniedPackages": ["x"], "exempt": [{"images": [pattern]}]})
		count(sbom_packages.deny) == number with data.portcullis.parameters as exempt
			with input as fixtures.judged({}, {"attestations": []})
	}
}

test_wrong_parameters_are_a_violation if {
	wrong := [
		{"deniedPackages": "x"},
		{"deniedPackages": [""]},
		{"deniedLicenses": [" "]},
		{"exempt": [{"rules": ["x"]}]},
		{"packages": []},
	]
	every one in wrong {
		violations := sbom_packages.deny with data.portcullis.parameters as parameters(one)
			with input as with_sboms([evidence.sbom({})])
		"parameter-invalid" in fixtures.reasons(violations)
	}
}
