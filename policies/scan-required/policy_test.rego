package portcullis.policies.scan_required_test

import rego.v1

import data.portcullis.lib.evidence_fixtures_test as evidence
import data.portcullis.lib.fixtures_test as fixtures
import data.portcullis.policies.scan_required

parameters(more) := {"scan-required": more}

scanned(more) := fixtures.judged({}, {"scans": [fixtures.scan(more)]})

attached(attestations) := fixtures.judged({}, {"attestations": attestations, "scans": []})

by(name) := {"name": name, "version": "", "dbBuiltAt": null}

test_a_whole_scan_passes if {
	scan_required.deny == set() with input as fixtures.judged({}, {})
}

test_every_kind_is_judged if {
	every kind in {"container", "init", "ephemeral", "volume"} {
		count(scan_required.deny) == 1 with input as fixtures.judged({"kind": kind}, {"scans": []})
	}
}

# -- nothing that counts -------------------------------------------------------------------------------------------

test_nothing_attached if {
	some violation in scan_required.deny with input as attached([])
	violation.msg == "has no vulnerability scan: nothing is attached to the image"
	violation.container == "web"
	violation.image == fixtures.image
	violation.details == {"reason": "attestation-missing", "rejected": []}
}

# Each reason of a rejection is told, with a remedy of its own.
test_rejected_attestations if {
	reasons := {
		"attestation-untrusted",
		"attestation-invalid",
		"attestation-subject-mismatch",
		"report-subject-mismatch",
		"attestation-unsigned",
		"attestation-unsupported",
		"too-large",
	}
	every reason in reasons {
		some violation in scan_required.deny with input as attached([fixtures.rejected(reason, "it is so")])
		violation.details.reason == reason
		violation.msg == sprintf("has no accepted vulnerability scan: 1 attestation was rejected (%s: it is so)", [reason])
		violation.details.rejected[0].reason == reason
		violation.details.rejected[0].message == "it is so"
	}
	fixes := {violation.fix |
		some reason in (reasons - {"too-large"})
		some violation in scan_required.deny with input as attached([fixtures.rejected(reason, "it is so")])
	}
	count(fixes) == 6
}

test_several_rejections if {
	some violation in scan_required.deny with input as attached([
		fixtures.rejected("attestation-untrusted", "a"),
		fixtures.rejected("attestation-invalid", "b"),
		fixtures.rejected("attestation-untrusted", "a"),
	])
	violation.details.reason == "attestation-invalid"
	contains(violation.msg, "3 attestations were rejected (attestation-invalid: b; attestation-untrusted: a)")
	count(violation.details.rejected) == 3
}

test_attestations_of_another_type if {
	sbom := {"predicateClass": "sbom", "predicateType": "https://spdx.dev/Document"}
	some violation in scan_required.deny with input as attached([fixtures.attestation(sbom)])
	violation.details.reason == "attestation-wrong-type"
	violation.msg == "has no vulnerability scan, only attestations of another type (\"https://spdx.dev/Document\")"
}

test_a_rejected_attestation_of_another_type_is_no_rejected_scan if {
	every class in {"lint", "sbom", "vex", "provenance", "other"} {
		other := object.union(fixtures.rejected("attestation-untrusted", "x"), {"predicateClass": class})
		violations := scan_required.deny with input as attached([other])
		fixtures.reasons(violations) == {"attestation-wrong-type"}
		some violation in violations
		violation.details.rejected[0].reason == "attestation-untrusted"
	}
}

test_a_rejected_attestation_that_does_not_say_its_type_may_have_been_a_scan if {
	nameless := object.union(
		fixtures.rejected("attestation-invalid", "x"),
		{"predicateClass": "other", "predicateType": ""},
	)
	violations := scan_required.deny with input as attached([nameless])
	fixtures.reasons(violations) == {"attestation-invalid"}
}

test_a_scan_that_could_not_be_read if {
	violations := scan_required.deny with input as attached([fixtures.attestation({})])
	fixtures.reasons(violations) == {"scan-unreadable"}
}

# A report counts only through the verified attestation that carried it.
test_a_scan_without_its_verified_attestation_does_not_count if {
	carriers := [
		[],
		[fixtures.rejected("attestation-untrusted", "x")],
		[fixtures.attestation({"digest": "sha256:other"})],
		[fixtures.attestation({"predicateClass": "sbom"})],
		[fixtures.attestation({"verified": "true"})],
		[fixtures.without(fixtures.attestation({}), ["verified"])],
	]
	every attestations in carriers {
		count(scan_required.deny) == 1 with input as fixtures.judged({}, {"attestations": attestations})
	}
}

# -- absent and odd facts ------------------------------------------------------------------------------------------

test_absent_facts_are_refused if {
	every images in [{}, {fixtures.image: {}}, {fixtures.image: null}] {
		count(scan_required.deny) == 1 with input as fixtures.document([fixtures.container({})], images)
	}
	every path in ["platforms", "attestations", "scans"] {
		facts := fixtures.without(fixtures.facts({}), [path])
		count(scan_required.deny) == 1 with input as fixtures.document([fixtures.container({})], {fixtures.image: facts})
	}
	count(scan_required.deny) == 1 with input as fixtures.judged({}, {"platforms": []})
}

test_absent_fields_of_a_scan_are_refused if {
	fields := [
		"scanner",
		"platform",
		"attestation",
		"suppressed",
		"complete",
		"vulnerabilities",
		"newerSeen",
		"packages",
	]
	every field in fields {
		scan := fixtures.without(fixtures.scan({}), [field])
		count(scan_required.deny) > 0 with input as fixtures.judged({}, {"scans": [scan]})
	}
}

test_odd_fields_of_a_scan_are_refused if {
	odd := [
		{"platform": false},
		{"suppressed": "0"},
		{"suppressed": null},
		{"complete": "true"},
		{"complete": null},
		{"vulnerabilities": {}},
		{"vulnerabilities": null},
		{"vulnerabilities": ["CVE-1"]},
		{"scanner": {"name": 7}},
		{"newerSeen": false},
		{"packages": 0},
		{"packages": "87"},
	]
	every more in odd {
		count(scan_required.deny) > 0 with input as scanned(more)
	}
}

# -- which scan counts ---------------------------------------------------------------------------------------------

# How old it is, and what it found, are for scan-fresh and scan-severity.
test_age_and_findings_do_not_matter if {
	every more in [
		{"ageHours": 10000},
		{"ageHours": -10},
		{"scannedAt": null, "ageHours": null},
		{"dbAgeHours": 10000},
		{"vulnerabilities": [fixtures.finding("CVE-1", "critical")]},
		{"vulnerabilities": [{}]},
	] {
		scan_required.deny == set() with input as scanned(more)
	}
}

partial := {"complete": false, "incompleteBecause": "no packages"}

older := fixtures.scan({"ageHours": 48, "scannedAt": "2026-11-22T00:00:00.000000Z"})

test_the_newest_scan_of_a_scanner_counts if {
	newer_is_bad := {"scans": [older, fixtures.scan(partial)]}
	violations := scan_required.deny with input as fixtures.judged({}, newer_is_bad)
	fixtures.reasons(violations) == {"scan-incomplete"}
	older_is_bad := {"scans": [object.union(older, partial), fixtures.scan({})]}
	scan_required.deny == set() with input as fixtures.judged({}, older_is_bad)
}

test_scans_that_cannot_be_put_in_order_count_all if {
	every more in [{}, {"scannedAt": null, "ageHours": null}, {"ageHours": "24"}, {"scanner": {"name": 7}}] {
		bad := fixtures.scan(object.union(partial, more))
		violations := scan_required.deny with input as fixtures.judged({}, {"scans": [fixtures.scan({}), bad]})
		fixtures.reasons(violations) == {"scan-incomplete"}
	}
}

test_every_scanner_counts if {
	bad := object.union(older, object.union(partial, {"scanner": by("grype")}))
	violations := scan_required.deny with input as fixtures.judged({}, {"scans": [fixtures.scan({}), bad]})
	fixtures.reasons(violations) == {"scan-incomplete"}
}

# -- whole ---------------------------------------------------------------------------------------------------------

test_incomplete_scan if {
	some violation in scan_required.deny with input as scanned({"complete": false, "incompleteBecause": "no packages"})
	violation.msg == "its trivy scan is not complete: no packages"
	violation.details.reason == "scan-incomplete"
}

test_suppressed_findings if {
	violations := scan_required.deny with input as scanned({"suppressed": 3})
	fixtures.reasons(violations) == {"scan-suppressed"}
	scan_required.deny == set() with input as scanned({"suppressed": 3})
		with data.portcullis.parameters as parameters({"allowSuppressed": true})
}

# -- scanners ------------------------------------------------------------------------------------------------------

test_scanners_asked_for_by_name if {
	both := parameters({"scanners": ["Trivy", "grype"]})
	some violation in scan_required.deny with input as fixtures.judged({}, {}) with data.portcullis.parameters as both
	violation.msg == "has no accepted vulnerability scan by grype, only by trivy"
	count(scan_required.deny) == 1 with input as fixtures.judged({}, {}) with data.portcullis.parameters as both
	scan_required.deny == set() with data.portcullis.parameters as both
		with input as fixtures.judged({}, {"scans": [fixtures.scan({}), fixtures.scan({"scanner": by("Grype")})]})
}

test_nothing_by_the_named_scanner_at_all if {
	violations := scan_required.deny with input as attached([])
		with data.portcullis.parameters as parameters({"scanners": ["grype", "trivy"]})
	count(violations) == 1
	fixtures.reasons(violations) == {"attestation-missing"}
}

grype := fixtures.scan({"scanner": by("grype")})

test_as_many_scanners_as_asked_for if {
	two := parameters({"atLeast": 2})
	some violation in scan_required.deny with input as fixtures.judged({}, {}) with data.portcullis.parameters as two
	violation.msg == "has scans by 1 scanner (trivy); 2 are asked for"
	violation.details.reason == "scans-too-few"
	scan_required.deny == set() with input as fixtures.judged({}, {"scans": [fixtures.scan({}), grype]})
		with data.portcullis.parameters as two
	every scans in [
		[fixtures.scan({}), fixtures.scan({})],
		[fixtures.scan({}), fixtures.scan({"scanner": by("Trivy")})],
		[fixtures.scan({}), object.union(grype, {"complete": false})],
		[],
	] {
		count(scan_required.deny) > 0 with input as fixtures.judged({}, {"scans": scans})
			with data.portcullis.parameters as two
	}
}

test_every_platform_needs_as_many if {
	amd64 := {"platform": "linux/amd64"}
	violations := scan_required.deny with data.portcullis.parameters as parameters({"atLeast": 2})
		with input as index([fixtures.scan({}), object.union(grype, amd64)])
	fixtures.reasons(violations) == {"scans-too-few"}
}

test_signers if {
	release := fixtures.scan({"signer": evidence.by("release")})
	wanted := parameters({"signers": ["release", "other"]})
	some violation in scan_required.deny with input as fixtures.judged({}, {}) with data.portcullis.parameters as wanted
	violation.msg == "has no vulnerability scan signed by release, other, only by ci"
	violation.details.reason == "attestation-untrusted"
	scan_required.deny == set() with input as fixtures.judged({}, {"scans": [release]})
		with data.portcullis.parameters as wanted

	# A newer scan by somebody else neither helps nor hurts.
	older_release := object.union(older, {"signer": evidence.by("release")})
	scan_required.deny == set() with input as fixtures.judged({}, {"scans": [older_release, fixtures.scan(partial)]})
		with data.portcullis.parameters as wanted
	every signer in [null, 7, {"name": null}, {"name": "Release"}] {
		count(scan_required.deny) > 0 with input as scanned({"signer": signer})
			with data.portcullis.parameters as wanted
	}
}

test_scanners_signed_by_different_signers if {
	distinct := parameters({"scanners": ["trivy", "grype"], "distinctSigners": true})
	some violation in scan_required.deny with input as fixtures.judged({}, {"scans": [fixtures.scan({}), grype]})
		with data.portcullis.parameters as distinct
	violation.msg == "has scans by several scanners that were signed by one signer (ci)"
	violation.details.reason == "scans-not-independent"
	other := object.union(grype, {"signer": evidence.by("security")})
	scan_required.deny == set() with input as fixtures.judged({}, {"scans": [fixtures.scan({}), other]})
		with data.portcullis.parameters as distinct
	scan_required.deny == set() with input as fixtures.judged({}, {"scans": [fixtures.scan({}), other]})
		with data.portcullis.parameters as parameters({"atLeast": 2, "distinctSigners": true})
	unsigned := object.union(grype, {"signer": null})
	count(scan_required.deny) > 0 with input as fixtures.judged({}, {"scans": [fixtures.scan({}), unsigned]})
		with data.portcullis.parameters as distinct
}

# One fault hides those that follow from it: first a scan is needed, then another one, then another signer.
test_a_scan_that_is_missing_has_no_signer if {
	every more, reason in {
		{"scanners": ["trivy", "grype"], "distinctSigners": true}: "attestation-missing",
		{"atLeast": 2, "distinctSigners": true}: "scans-too-few",
	} {
		violations := scan_required.deny with input as fixtures.judged({}, {}) with data.portcullis.parameters as parameters(more)
		fixtures.reasons(violations) == {reason}
	}
}

test_more_scanners_than_are_named_is_a_mistake if {
	violations := scan_required.deny with input as fixtures.judged({}, {})
		with data.portcullis.parameters as parameters({"scanners": ["trivy"], "atLeast": 2})
	"parameter-invalid" in fixtures.reasons(violations)
}

# -- platforms -----------------------------------------------------------------------------------------------------

index(scans) := fixtures.judged({}, {
	"isIndex": true,
	"platforms": [fixtures.platform("linux/amd64", {}), fixtures.platform("linux/arm64", {})],
	"scans": scans,
})

test_a_scan_of_no_platform_covers_all if {
	scan_required.deny == set() with input as index([fixtures.scan({})])
}

test_a_scan_of_one_platform_covers_that_one if {
	some violation in scan_required.deny with input as index([fixtures.scan({"platform": "linux/amd64"})])
	violation.msg == "has vulnerability scans of linux/amd64, none of linux/arm64"
	violation.details.reason == "scan-platform-missing"
	scan_required.deny == set() with input as index([
		fixtures.scan({"platform": "linux/amd64"}),
		fixtures.scan({"platform": "linux/arm64"}),
	])
}

test_the_platform_to_blame_is_named if {
	some violation in scan_required.deny with input as index([
		fixtures.scan({"platform": "linux/amd64"}),
		fixtures.scan({"platform": "linux/arm64", "suppressed": 1}),
	])
	violation.platform == "linux/arm64"
	violation.details.reason == "scan-suppressed"
}

# -- parameters ----------------------------------------------------------------------------------------------------

test_wrong_parameters_are_a_violation if {
	wrong := [
		{"scanners": "trivy"},
		{"atLeast": -1},
		{"signers": "ci"},
		{"distinctSigners": "yes"},
		{"endOfLife": "refuse"},
		{"requireInventory": 1},
		{"maxAge": 1},
	]
	every one in wrong {
		violations := scan_required.deny with data.portcullis.parameters as parameters(one)
			with input as fixtures.judged({}, {})
		"parameter-invalid" in fixtures.reasons(violations)
	}
}

test_parameters_that_other_policies_have_now if {
	moved := {
		"maxAgeHours": "scan-fresh",
		"maxDbAgeHours": "scan-fresh",
		"max": "scan-severity",
		"onlyFixable": "scan-severity",
		"unknownAs": "scan-severity",
		"honourVex": "scan-severity",
	}
	every name, policy in moved {
		violations := scan_required.deny with data.portcullis.parameters as parameters({name: 1})
			with input as fixtures.judged({}, {})
		fixtures.reasons(violations) == {"parameter-invalid"}
		some violation in violations
		endswith(violation.msg, sprintf(": %q is a parameter of %s now", [name, policy]))
	}
}

ended_system := fixtures.scan({"system": {"family": "debian", "version": "9", "endOfLife": true}})

test_ended_systems_are_told_under_the_mode_that_is_set if {
	documents := fixtures.beside(evidence.scanned([ended_system]), evidence.scanned([fixtures.scan({})]))
	warned := scan_required.warn with input as documents
	fixtures.told(warned) == {"web"}
	fixtures.reasons(warned) == {"scan-end-of-life"}
	every endOfLife, count_of in {"warn": [0, 1], "deny": [1, 0], "allow": [0, 0]} {
		denied := scan_required.deny with input as documents with data.portcullis.parameters as {"scan-required": {"endOfLife": endOfLife}}
		told := scan_required.warn with input as documents with data.portcullis.parameters as {"scan-required": {"endOfLife": endOfLife}}
		[count(denied), count(told)] == count_of
	}
}
