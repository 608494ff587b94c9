package portcullis.policies.scan_fresh_test

import rego.v1

import data.portcullis.lib.evidence_fixtures_test as evidence
import data.portcullis.lib.fixtures_test as fixtures
import data.portcullis.policies.scan_fresh
import data.portcullis.policies.scan_required

parameters(more) := {"scan-fresh": more}

scanned(more) := evidence.scanned([fixtures.scan(more)])

grype := {"scanner": {"name": "grype", "version": "0.99.0", "dbBuiltAt": null}}

test_a_fresh_scan_passes if {
	every more in [{}, {"ageHours": 0}, {"ageHours": -0.05}, {"vulnerabilities": [fixtures.finding("CVE-1", "critical")]}] {
		scan_fresh.deny == set() with input as scanned(more)
	}
}

test_stale if {
	some violation in scan_fresh.deny with input as scanned({"ageHours": 300})
	violation.msg == "its newest trivy scan is 12 days old; the limit is 7 days"
	violation.details.reason == "scan-stale"
	violation.details.scanner == "trivy"
	scan_fresh.deny == set() with input as scanned({"ageHours": 168})
	scan_fresh.deny == set() with input as scanned({"ageHours": 300})
		with data.portcullis.parameters as parameters({"maxAgeHours": 400})
	some other in scan_fresh.deny with input as scanned({"ageHours": 3})
		with data.portcullis.parameters as parameters({"maxAgeHours": 1})
	other.msg == "its newest trivy scan is 3 hours old; the limit is 1 hour"
}

test_every_fault_of_a_scan if {
	every reason, more in {
		"scan-time-unknown": {"scannedAt": null, "ageHours": null},
		"scan-in-future": {"ageHours": -1},
		"scan-stale": {"ageHours": 169},
	} {
		violations := scan_fresh.deny with input as scanned(more)
		fixtures.reasons(violations) == {reason}
	}
	future := {"ageHours": -1, "scannedAt": "2026-11-24T13:00:00.000000Z"}
	some violation in scan_fresh.deny with input as scanned(future)
	violation.msg == "its trivy scan says that it was made in the future, at 2026-11-24T13:00:00.000000Z"
}

test_odd_times_are_refused if {
	every field in ["scannedAt", "ageHours"] {
		count(scan_fresh.deny) == 1 with input as evidence.scanned([fixtures.without(fixtures.scan({}), [field])])
	}
	every more in [{"ageHours": "1"}, {"ageHours": true}, {"scannedAt": 7}] {
		violations := scan_fresh.deny with input as scanned(more)
		fixtures.reasons(violations) == {"scan-time-unknown"}
	}
}

# Of whom it is, and of what, may be odd: then it is judged all the same.
test_scans_whose_place_is_not_known_count if {
	every more in [{"scanner": {"name": 7}}, {"scanner": null}, {"platform": false}, {"platform": 7}] {
		stale := fixtures.scan(object.union(old, more))
		count(scan_fresh.deny) == 1 with input as evidence.scanned([fixtures.scan({}), stale])
		count(scan_fresh.deny) == 1 with input as evidence.scanned([fixtures.without(stale, ["platform"])])
	}
	every platforms in [[], null, [null], "junk"] {
		count(scan_fresh.deny) == 1 with input as fixtures.judged({}, {"platforms": platforms, "scans": [fixtures.scan(old)]})
	}
	count(scan_fresh.deny) == 1 with input as scanned(object.union(old, {"scanner": null}))
		with data.portcullis.parameters as parameters({"scanners": ["trivy"]})
}

test_database_age if {
	recent := parameters({"maxDbAgeHours": 24})
	scan_fresh.deny == set() with input as scanned({"dbAgeHours": 10}) with data.portcullis.parameters as recent
	every age in [25, null, "1", -5] {
		violations := scan_fresh.deny with input as scanned({"dbAgeHours": age}) with data.portcullis.parameters as recent
		fixtures.reasons(violations) == {"scan-database-stale"}
	}
}

test_marks if {
	marked := parameters({"requireMark": true})
	scan_fresh.deny == set() with input as scanned({}) with data.portcullis.parameters as marked
	scan_fresh.deny == set() with input as scanned({"markKnown": false})
	every known in [false, null, "true"] {
		violations := scan_fresh.deny with input as scanned({"markKnown": known}) with data.portcullis.parameters as marked
		fixtures.reasons(violations) == {"scan-mark-unknown"}
	}
	violations := scan_fresh.deny with input as evidence.scanned([fixtures.without(fixtures.scan({}), ["markKnown"])])
		with data.portcullis.parameters as marked
	fixtures.reasons(violations) == {"scan-mark-unknown"}
}

old := {"ageHours": 240, "scannedAt": "2026-11-14T12:00:00.000000Z"}

test_of_each_scanner_the_newest_counts if {
	scan_fresh.deny == set() with input as evidence.scanned([fixtures.scan({}), fixtures.scan(old)])
	some violation in scan_fresh.deny
		with input as evidence.scanned([fixtures.scan({}), fixtures.scan(object.union(old, grype))])
	violation.msg == "its newest grype scan is 10 days old; the limit is 7 days"
}

test_a_scan_without_a_time_counts_beside_another if {
	untimed := fixtures.scan({"scannedAt": null, "ageHours": null})
	violations := scan_fresh.deny with input as evidence.scanned([fixtures.scan({}), untimed])
	fixtures.reasons(violations) == {"scan-time-unknown"}
}

test_named_scanners_only if {
	two := evidence.scanned([fixtures.scan({}), fixtures.scan(object.union(old, grype))])
	scan_fresh.deny == set() with input as two with data.portcullis.parameters as parameters({"scanners": ["Trivy"]})
	count(scan_fresh.deny) == 1 with input as two with data.portcullis.parameters as parameters({"scanners": ["grype"]})
	scan_fresh.deny == set() with input as two with data.portcullis.parameters as parameters({"scanners": ["clair"]})
}

# That a scan is missing is for scan-required to say.
test_without_a_scan_nothing_is_said if {
	every document in array.concat(evidence.no_images, [
		fixtures.judged({}, {"attestations": [], "scans": []}),
		fixtures.judged({}, {"attestations": [fixtures.rejected("attestation-untrusted", "x")]}),
		fixtures.judged({}, {"scans": null}),
		fixtures.judged({}, {"scans": [null, 7]}),
	]) {
		scan_fresh.deny == set() with input as document
		count(scan_required.deny) == 1 with input as document
	}
}

test_platforms if {
	amd64 := fixtures.scan({"platform": "linux/amd64"})
	scan_fresh.deny == set() with input as evidence.two({"scans": [amd64]})
	count(scan_required.deny) == 1 with input as evidence.two({"scans": [amd64]})
	stale := fixtures.scan(object.union(old, {"platform": "linux/arm64"}))
	violations := scan_fresh.deny with input as evidence.two({"scans": [amd64, stale]})
	count(violations) == 1
	some violation in violations
	violation.details.reason == "scan-stale"
	violation.platform == "linux/arm64"
	scan_fresh.deny == set() with input as evidence.scanned([amd64, stale])
}

test_exempt_images if {
	every pattern, number in {"registry.example/acme/**": 0, "registry.example/other/**": 1} {
		count(scan_fresh.deny) == number with input as scanned(old)
			with data.portcullis.parameters as parameters({"exempt": [{"images": [pattern]}]})
	}
}

test_wrong_parameters_are_a_violation if {
	wrong := [
		{"maxAgeHours": null},
		{"maxAgeHours": -1},
		{"maxDbAgeHours": "x"},
		{"requireMark": 1},
		{"scanners": [1]},
		{"exempt": [{"rules": ["x"]}]},
		{"maxAge": 1},
	]
	every one in wrong {
		violations := scan_fresh.deny with data.portcullis.parameters as parameters(one) with input as scanned({})
		"parameter-invalid" in fixtures.reasons(violations)
	}
}

test_containers_are_judged_by_their_own_images if {
	violations := scan_fresh.deny with input as fixtures.beside(scanned({"ageHours": 300}), scanned({}))
	fixtures.told(violations) == {"web"}
}

test_a_scan_whose_scanner_is_not_known_counts_as_every_one if {
	violations := scan_fresh.deny with input as scanned({"ageHours": 300, "scanner": {"name": ""}})
		with data.portcullis.parameters as parameters({"scanners": ["trivy"]})
	count(violations) == 1
}
