package portcullis.policies.scan_required_test

import rego.v1

import data.portcullis.lib.fixtures_test as fixtures
import data.portcullis.policies.scan_required

parameters(more) := {"scan-required": more}

scanned(more) := fixtures.judged({}, {"scans": [fixtures.scan(more)]})

attached(attestations) := fixtures.judged({}, {"attestations": attestations, "scans": []})

by(name) := {"name": name, "version": "", "dbBuiltAt": null}

test_recent_clean_scan_passes if {
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
		"scannedAt",
		"ageHours",
		"platform",
		"attestation",
		"suppressed",
		"complete",
		"vulnerabilities",
	]
	every field in fields {
		scan := fixtures.without(fixtures.scan({}), [field])
		count(scan_required.deny) > 0 with input as fixtures.judged({}, {"scans": [scan]})
	}
}

test_odd_fields_of_a_scan_are_refused if {
	odd := [
		{"scannedAt": 7},
		{"ageHours": "24"},
		{"platform": false},
		{"suppressed": "0"},
		{"suppressed": null},
		{"complete": "true"},
		{"complete": null},
		{"vulnerabilities": {}},
		{"vulnerabilities": null},
		{"vulnerabilities": ["CVE-1"]},
		{"vulnerabilities": [{}]},
		{"scanner": {"name": 7}},
	]
	every more in odd {
		count(scan_required.deny) > 0 with input as scanned(more)
	}
}

# -- time ----------------------------------------------------------------------------------------------------------

test_stale_scan if {
	some violation in scan_required.deny with input as scanned({"ageHours": 300})
	violation.msg == "its newest trivy scan is 12 days old; the limit is 7 days"
	violation.details.reason == "scan-stale"
	scan_required.deny == set() with input as scanned({"ageHours": 168})
}

test_age_limit_is_a_parameter if {
	scan_required.deny == set() with input as scanned({"ageHours": 300})
		with data.portcullis.parameters as parameters({"maxAgeHours": 400})
	some violation in scan_required.deny with input as scanned({"ageHours": 3})
		with data.portcullis.parameters as parameters({"maxAgeHours": 1})
	violation.msg == "its newest trivy scan is 3 hours old; the limit is 1 hour"
}

test_unknown_time if {
	violations := scan_required.deny with input as scanned({"scannedAt": null, "ageHours": null})
	fixtures.reasons(violations) == {"scan-time-unknown"}
}

test_future if {
	some violation in scan_required.deny with input as scanned({"ageHours": -1, "scannedAt": "2026-11-24T13:00:00.000000Z"})
	violation.details.reason == "scan-in-future"
	contains(violation.msg, "2026-11-24T13")
	scan_required.deny == set() with input as scanned({"ageHours": -0.05})
}

older := fixtures.scan({"ageHours": 48, "scannedAt": "2026-11-22T00:00:00.000000Z"})

test_the_newest_scan_of_a_scanner_counts if {
	bad := [fixtures.finding("CVE-1", "critical")]
	newer_is_bad := {"scans": [object.union(older, {}), fixtures.scan({"vulnerabilities": bad})]}
	violations := scan_required.deny with input as fixtures.judged({}, newer_is_bad)
	fixtures.reasons(violations) == {"vulnerabilities"}
	older_is_bad := {"scans": [object.union(older, {"vulnerabilities": bad}), fixtures.scan({})]}
	scan_required.deny == set() with input as fixtures.judged({}, older_is_bad)
}

test_of_scans_with_one_time_all_count if {
	bad := fixtures.scan({"vulnerabilities": [fixtures.finding("CVE-1", "critical")]})
	violations := scan_required.deny with input as fixtures.judged({}, {"scans": [fixtures.scan({}), bad]})
	fixtures.reasons(violations) == {"vulnerabilities"}
}

test_every_scanner_with_a_recent_scan_counts if {
	other := fixtures.scan({"scanner": by("grype"), "vulnerabilities": [fixtures.finding("CVE-1", "critical")]})
	violations := scan_required.deny with input as fixtures.judged({}, {"scans": [fixtures.scan({}), other]})
	fixtures.reasons(violations) == {"vulnerabilities"}
}

test_a_newer_scan_does_not_stand_for_that_of_another_scanner if {
	bad := {"scanner": by("grype"), "vulnerabilities": [fixtures.finding("CVE-1", "critical")]}
	violations := scan_required.deny with input as fixtures.judged(
		{},
		{"scans": [fixtures.scan({}), object.union(older, bad)]},
	)
	fixtures.reasons(violations) == {"vulnerabilities"}
}

test_a_stale_scan_of_another_scanner_does_not_hurt if {
	other := object.union(older, {"scanner": by("grype"), "ageHours": 1000})
	scan_required.deny == set() with input as fixtures.judged({}, {"scans": [fixtures.scan({}), other]})
}

test_database_age if {
	recent := parameters({"maxDbAgeHours": 24})
	scan_required.deny == set() with input as scanned({"dbAgeHours": 10}) with data.portcullis.parameters as recent
	every age in [25, null, "1", -5] {
		violations := scan_required.deny with input as scanned({"dbAgeHours": age}) with data.portcullis.parameters as recent
		fixtures.reasons(violations) == {"scan-database-stale"}
	}
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
	scan_required.deny == set() with data.portcullis.parameters as both
		with input as fixtures.judged({}, {"scans": [fixtures.scan({}), fixtures.scan({"scanner": by("Grype")})]})
}

test_nothing_by_the_named_scanner_at_all if {
	violations := scan_required.deny with input as attached([])
		with data.portcullis.parameters as parameters({"scanners": ["grype", "trivy"]})
	count(violations) == 1
	fixtures.reasons(violations) == {"attestation-missing"}
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
		fixtures.scan({"platform": "linux/arm64", "ageHours": 300}),
	])
	violation.platform == "linux/arm64"
	violation.details.reason == "scan-stale"
}

# -- findings ------------------------------------------------------------------------------------------------------

test_critical_finding if {
	some violation in scan_required.deny with input as scanned({"vulnerabilities": [fixtures.finding("CVE-1", "critical")]})
	violation.msg == "trivy found too many vulnerabilities, 1 critical (0 allowed): CVE-1"
	violation.fix == "update openssl to 3.0.9, then rebuild"
	violation.details.reason == "vulnerabilities"
	violation.details.counts == {"critical": 1}
	violation.details.ids == ["CVE-1"]
}

test_lesser_findings_pass_by_default if {
	scan_required.deny == set() with input as scanned({"vulnerabilities": [
		fixtures.finding("CVE-1", "high"),
		fixtures.finding("CVE-2", "medium"),
		fixtures.finding("CVE-3", "low"),
		fixtures.finding("CVE-4", "negligible"),
	]})
}

test_limits_per_severity if {
	found := {"vulnerabilities": [fixtures.finding(id, "high") | some id in ["CVE-1", "CVE-2"]]}
	scan_required.deny == set() with input as scanned(found)
		with data.portcullis.parameters as parameters({"max": {"high": 2}})
	some violation in scan_required.deny with input as scanned(found)
		with data.portcullis.parameters as parameters({"max": {"high": 1}})
	violation.msg == "trivy found too many vulnerabilities, 2 high (1 allowed): CVE-1, CVE-2"
}

test_the_limit_of_critical_stays_unless_it_is_lifted if {
	found := {"vulnerabilities": [fixtures.finding("CVE-1", "critical")]}
	count(scan_required.deny) == 1 with input as scanned(found)
		with data.portcullis.parameters as parameters({"max": {"high": 1}})
	scan_required.deny == set() with input as scanned(found)
		with data.portcullis.parameters as parameters({"max": {"critical": null}})
}

test_the_worst_come_first_and_five_are_named if {
	found := array.concat(
		[fixtures.finding(id, "high") | some id in ["CVE-1", "CVE-2", "CVE-3", "CVE-4"]],
		[fixtures.finding(id, "critical") | some id in ["CVE-8", "CVE-9"]],
	)
	some violation in scan_required.deny with input as scanned({"vulnerabilities": found})
		with data.portcullis.parameters as parameters({"max": {"high": 0}})
	expected := concat("", [
		"trivy found too many vulnerabilities, 2 critical (0 allowed) and 4 high (0 allowed): ",
		"CVE-8, CVE-9, CVE-1, CVE-2, CVE-3 and 1 more",
	])
	violation.msg == expected
}

test_a_finding_that_is_repeated_counts_once if {
	finding := fixtures.finding("CVE-1", "high")
	scan_required.deny == set() with input as scanned({"vulnerabilities": [finding, finding]})
		with data.portcullis.parameters as parameters({"max": {"high": 1}})
}

test_one_id_in_two_packages_counts_twice_and_is_named_once if {
	finding := fixtures.finding("CVE-1", "critical")
	some violation in scan_required.deny with input as scanned({"vulnerabilities": [
		finding,
		object.union(finding, {"package": "libssl", "fixed": ""}),
	]})
	violation.msg == "trivy found too many vulnerabilities, 2 critical (0 allowed): CVE-1"
}

test_unknown_severity_counts_as_critical_unless_told_otherwise if {
	odd := [
		fixtures.finding("CVE-1", "unknown"),
		fixtures.finding("CVE-1", null),
		fixtures.without(fixtures.finding("CVE-1", "low"), ["severity"]),
		fixtures.finding("CVE-1", "CRITICAL"),
	]
	every finding in odd {
		count(scan_required.deny) == 1 with input as scanned({"vulnerabilities": [finding]})
		scan_required.deny == set() with input as scanned({"vulnerabilities": [finding]})
			with data.portcullis.parameters as parameters({"unknownAs": "low"})
	}
	some violation in scan_required.deny with input as scanned({"vulnerabilities": [odd[0]]})
	contains(violation.msg, "CVE-1 (severity unknown)")
	count(scan_required.deny) == 1 with input as scanned({"vulnerabilities": [odd[0]]})
		with data.portcullis.parameters as parameters({"unknownAs": "unknown", "max": {"unknown": 0}})
}

test_only_fixable if {
	only := parameters({"onlyFixable": true})
	finding := fixtures.finding("CVE-1", "critical")
	unfixed := object.union(finding, {"fixed": ""})
	scan_required.deny == set() with input as scanned({"vulnerabilities": [unfixed]}) with data.portcullis.parameters as only
	every one in [finding, object.union(finding, {"fixed": null}), fixtures.without(finding, ["fixed"])] {
		count(scan_required.deny) == 1 with input as scanned({"vulnerabilities": [one]})
			with data.portcullis.parameters as only
	}
}

test_remedies if {
	finding := fixtures.finding("CVE-1", "critical")
	some violation in scan_required.deny with input as scanned({"vulnerabilities": [object.union(finding, {"fixed": ""})]})
	contains(violation.fix, "no fixed version is known")
	many := [object.union(finding, {"package": package_name}) | some package_name in ["a", "b", "c", "d"]]
	some other in scan_required.deny with input as scanned({"vulnerabilities": array.concat(many, [finding, finding])})
	other.fix == "update a to 3.0.9, b to 3.0.9, c to 3.0.9 and what else has a fix, then rebuild"
}

# -- parameters ----------------------------------------------------------------------------------------------------

test_wrong_parameters_are_a_violation if {
	wrong := [
		{"maxAgeHours": "168"},
		{"max": {"hihg": 0}},
		{"max": {"high": "0"}},
		{"max": {"high": -1}},
		{"unknownAs": "none"},
		{"scanners": "trivy"},
		{"maxAge": 1},
	]
	every one in wrong {
		violations := scan_required.deny with data.portcullis.parameters as parameters(one)
			with input as fixtures.judged({}, {})
		"parameter-invalid" in fixtures.reasons(violations)
	}
}
