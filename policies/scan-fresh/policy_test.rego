package portcullis.policies.scan_fresh_test

import rego.v1

import data.portcullis.lib.evidence_fixtures_test as evidence
import data.portcullis.lib.fixtures_test as fixtures
import data.portcullis.policies.scan_fresh

parameters(more) := {"scan-fresh": more}

scanned(more) := evidence.scanned([fixtures.scan(more)])

grype := {"scanner": {"name": "grype", "version": "0.99.0", "dbBuiltAt": null}}

test_a_fresh_scan_passes if {
	every more in [{}, {"ageHours": 0}, {"ageHours": -0.05}, {"vulnerabilities": [fixtures.finding("CVE-1", "critical")]}] {
		scan_fresh.deny == set() with input as scanned(more)
	}
}

test_stale if {
	some violation in scan_fresh.deny with input as scanned({"ageHours": 25})
	violation.msg == "its newest trivy scan is 25 hours old; the limit is 24 hours"
	violation.details.reason == "scan-stale"
	violation.details.scanner == "trivy"
	scan_fresh.deny == set() with input as scanned({"ageHours": 25})
		with data.portcullis.parameters as parameters({"maxAgeHours": 48})
}

test_every_fault_of_a_scan if {
	every reason, more in {
		"scan-time-unknown": {"scannedAt": null, "ageHours": null},
		"scan-in-future": {"ageHours": -1},
		"scan-superseded": {"newerSeen": "2026-11-24T00:00:00.000000Z"},
	} {
		violations := scan_fresh.deny with input as scanned(more)
		fixtures.reasons(violations) == {reason}
	}
	some violation in scan_fresh.deny with input as scanned({"newerSeen": "2026-11-24T00:00:00.000000Z"})
	violation.msg == "a newer trivy scan was seen once (2026-11-24T00:00:00.000000Z) and is gone now"
}

test_odd_fields_are_refused if {
	every field in ["scanner", "scannedAt", "ageHours", "platform", "attestation", "newerSeen"] {
		count(scan_fresh.deny) > 0 with input as evidence.scanned([fixtures.without(fixtures.scan({}), [field])])
	}
	every more in [
		{"ageHours": "1"},
		{"ageHours": true},
		{"scannedAt": 7},
		{"platform": false},
		{"newerSeen": false},
		{"scanner": {"name": 7}},
		{"scanner": null},
	] {
		count(scan_fresh.deny) > 0 with input as scanned(more)
	}
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

old := {"ageHours": 100, "scannedAt": "2026-11-20T00:00:00.000000Z"}

test_of_each_scanner_the_newest_counts if {
	scan_fresh.deny == set() with input as evidence.scanned([fixtures.scan({}), fixtures.scan(old)])
	some violation in scan_fresh.deny
		with input as evidence.scanned([fixtures.scan({}), fixtures.scan(object.union(old, grype))])
	violation.msg == "its newest grype scan is 4 days old; the limit is 24 hours"
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
	violations := scan_fresh.deny with input as two with data.portcullis.parameters as parameters({"scanners": ["clair"]})
	fixtures.reasons(violations) == {"attestation-missing"}
}

test_nothing_that_counts if {
	some violation in scan_fresh.deny with input as fixtures.judged({}, {"attestations": [], "scans": []})
	violation.msg == "has no vulnerability scan: nothing is attached to the image"
	every document in array.concat(evidence.no_images, [
		fixtures.judged({}, {"attestations": [fixtures.rejected("attestation-untrusted", "x")]}),
		fixtures.judged({}, {"attestations": [fixtures.attestation({"predicateClass": "sbom"})]}),
		fixtures.judged({}, {"platforms": []}),
		fixtures.judged({}, {"scans": null}),
		fixtures.judged({}, {"scans": [null, 7]}),
	]) {
		count(scan_fresh.deny) == 1 with input as document
	}
}

test_platforms if {
	amd64 := fixtures.scan({"platform": "linux/amd64"})
	arm64 := fixtures.scan(object.union(old, {"platform": "linux/arm64"}))
	some violation in scan_fresh.deny with input as evidence.two({"scans": [amd64]})
	violation.msg == "has vulnerability scans of linux/amd64, none of linux/arm64"
	violation.details.reason == "scan-platform-missing"
	some other in scan_fresh.deny with input as evidence.two({"scans": [amd64, arm64]})
	other.details.reason == "scan-stale"
	other.platform == "linux/arm64"
}

test_exempt_images if {
	every pattern, number in {"registry.example/acme/**": 0, "registry.example/other/**": 1} {
		count(scan_fresh.deny) == number with input as scanned({"ageHours": 100})
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
