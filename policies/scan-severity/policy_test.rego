package portcullis.policies.scan_severity_test

import rego.v1

import data.portcullis.lib.evidence_fixtures_test as evidence
import data.portcullis.lib.fixtures_test as fixtures
import data.portcullis.policies.scan_required
import data.portcullis.policies.scan_severity

parameters(more) := {"scan-severity": more}

found(findings) := evidence.scanned([fixtures.scan({"vulnerabilities": findings})])

critical := fixtures.finding("CVE-2026-0004", "critical")

aged(available) := object.union(critical, {"available": available})

test_within_the_limits if {
	scan_severity.deny == set() with input as found([])
	scan_severity.deny == set() with input as found([fixtures.finding("CVE-1", "high"), fixtures.finding("CVE-2", "low")])
}

test_the_worst_are_told_with_package_and_fix if {
	some violation in scan_severity.deny with input as found([
		fixtures.finding("CVE-2", "high"),
		object.union(critical, {"fixed": ""}),
		fixtures.finding("CVE-1", "high"),
	])
		with data.portcullis.parameters as parameters({"max": {"high": 1}})
	violation.msg == concat("", [
		"trivy found too many vulnerabilities, 1 critical (0 allowed) and 2 high (1 allowed): ",
		"CVE-2026-0004 in openssl 3.0.1 (no fix known), CVE-1 in openssl 3.0.1 (fixed in 3.0.9) and 1 more",
	])
	violation.fix == "update openssl to 3.0.9, then rebuild"
	violation.details.reason == "vulnerabilities"
	violation.details.counts == {"critical": 1, "high": 2}
	violation.details.ids == ["CVE-2026-0004", "CVE-1", "CVE-2"]
	violation.details.endedExceptions == []
}

test_limits if {
	every most, number in {{}: 1, {"critical": 1}: 0, {"critical": null}: 0, {"high": 0}: 1} {
		count(scan_severity.deny) == number with input as found([critical])
			with data.portcullis.parameters as parameters({"max": most})
	}
}

test_unknown_severity if {
	unknown := found([fixtures.finding("CVE-1", "unknown")])
	count(scan_severity.deny) == 1 with input as unknown
	scan_severity.deny == set() with input as unknown with data.portcullis.parameters as parameters({"unknownAs": "low"})
}

test_only_fixable if {
	only := parameters({"onlyFixable": true})
	scan_severity.deny == set() with input as found([object.union(critical, {"fixed": ""})])
		with data.portcullis.parameters as only
	count(scan_severity.deny) == 1 with input as found([critical]) with data.portcullis.parameters as only
}

# Now is 2026-11-24T12:00:00Z.
test_grace_since_the_fix_was_published if {
	grace := parameters({"graceHours": 48})
	every available in ["2026-11-24T11:00:00.000000Z", "2026-11-22T12:00:01.000000Z", "2026-11-24T12:00:00.000000Z"] {
		scan_severity.deny == set() with input as found([aged(available)]) with data.portcullis.parameters as grace
		count(scan_severity.deny) == 1 with input as found([aged(available)])
	}
	every available in [
		"2026-11-22T12:00:00.000000Z",
		"2026-01-01T00:00:00.000000Z",
		"2026-11-25T00:00:00.000000Z",
		"2026-11-24",
		"junk",
		"",
		null,
		7,
	] {
		count(scan_severity.deny) == 1 with input as found([aged(available)]) with data.portcullis.parameters as grace
	}
	count(scan_severity.deny) == 1 with input as found([critical]) with data.portcullis.parameters as grace
}

test_no_grace_without_a_fix_or_a_clock if {
	grace := parameters({"graceHours": 48})
	young := aged("2026-11-24T11:00:00.000000Z")
	every fixed in ["", null, 7] {
		count(scan_severity.deny) == 1 with input as found([object.union(young, {"fixed": fixed})])
			with data.portcullis.parameters as grace
	}
	every clock in [{}, {"now": null}, {"now": "junk"}, null] {
		document := object.union(fixtures.without(found([young]), ["time"]), {"time": clock})
		count(scan_severity.deny) == 1 with input as document with data.portcullis.parameters as grace
	}
	count(scan_severity.deny) == 1 with input as fixtures.without(found([young]), ["time"])
		with data.portcullis.parameters as grace
}

exception(expires) := {"id": "CVE-2026-0004", "expires": expires, "reason": "in review"}

test_exceptions if {
	every more in [{}, {"packages": ["openssl"]}, {"images": ["registry.example/acme/**"]}] {
		scan_severity.deny == set() with input as found([critical])
			with data.portcullis.parameters as parameters({"allow": [object.union(exception("2026-12-01T00:00:00Z"), more)]})
	}
	every more in [{"id": "CVE-2026-0005"}, {"packages": ["zlib"]}, {"images": ["registry.example/other/**"]}] {
		count(scan_severity.deny) == 1 with input as found([critical])
			with data.portcullis.parameters as parameters({"allow": [object.union(exception("2026-12-01T00:00:00Z"), more)]})
	}
}

test_an_exception_that_has_ended_is_told if {
	some violation in scan_severity.deny with input as found([critical])
		with data.portcullis.parameters as parameters({"allow": [exception("2026-11-01T00:00:00Z")]})
	endswith(violation.msg, "; an exception has ended: CVE-2026-0004 until 2026-11-01T00:00:00Z")
	violation.details.reason == "vulnerabilities"
	violation.details.endedExceptions == ["CVE-2026-0004 until 2026-11-01T00:00:00Z"]
	renewed := [exception("2026-11-01T00:00:00Z"), exception("2026-12-01T00:00:00Z")]
	scan_severity.deny == set() with input as found([critical])
		with data.portcullis.parameters as parameters({"allow": renewed})
}

# Exceptions of what would pass without them are nobody's concern.
test_an_ended_exception_of_what_does_not_count_is_not_told if {
	ended := object.union(exception("2026-11-01T00:00:00Z"), {"id": "CVE-1"})
	some violation in scan_severity.deny with input as found([critical, fixtures.finding("CVE-1", "low")])
		with data.portcullis.parameters as parameters({"allow": [ended]})
	violation.details.endedExceptions == []
}

test_no_exception_holds_without_a_clock if {
	allowing := parameters({"allow": [exception("2026-12-01T00:00:00Z")]})
	every clock in [{}, {"now": null}, {"now": 7}, {"now": false}, {"now": []}, null] {
		document := object.union(fixtures.without(found([critical]), ["time"]), {"time": clock})
		violations := scan_severity.deny with input as document with data.portcullis.parameters as allowing
		fixtures.reasons(violations) == {"vulnerabilities"}
	}
}

test_a_faulty_exception_is_told_and_allows_nothing if {
	every faulty in [
		fixtures.without(exception("2026-12-01T00:00:00Z"), ["expires"]),
		fixtures.without(exception("2026-12-01T00:00:00Z"), ["reason"]),
		exception("next year"),
		object.union(exception("2026-12-01T00:00:00Z"), {"package": ["openssl"]}),
	] {
		violations := scan_severity.deny with input as found([critical])
			with data.portcullis.parameters as parameters({"allow": [faulty]})
		fixtures.reasons(violations) == {"parameter-invalid", "vulnerabilities"}
	}
}

test_vex if {
	every status in ["not_affected", "fixed"] {
		aside := found([evidence.set_aside("CVE-1", "critical", {"status": status})])
		scan_severity.deny == set() with input as aside
		count(scan_severity.deny) == 1 with input as aside
			with data.portcullis.parameters as parameters({"honourVex": false})
	}
	every more in [{"expired": true}, {"status": "affected"}, {"status": "under_investigation"}, {"expired": null}] {
		count(scan_severity.deny) == 1 with input as found([evidence.set_aside("CVE-1", "critical", more)])
	}
}

test_each_scanner_counts_for_itself if {
	grype := {"scanner": {"name": "grype", "version": "", "dbBuiltAt": null}, "vulnerabilities": [critical]}
	violations := scan_severity.deny with input as evidence.scanned([fixtures.scan({}), fixtures.scan(grype)])
	count(violations) == 1
	some violation in violations
	violation.details.scanner == "grype"
	high := {"vulnerabilities": [fixtures.finding("CVE-1", "high")]}
	scan_severity.deny == set() with input as evidence.scanned([fixtures.scan(high), fixtures.scan(object.union(grype, high))])
		with data.portcullis.parameters as parameters({"max": {"high": 1}})
}

test_of_each_scanner_the_newest_counts if {
	old := {"scannedAt": "2026-11-01T00:00:00.000000Z", "ageHours": 564}
	scan_severity.deny == set()
		with input as evidence.scanned([fixtures.scan({}), fixtures.scan(object.union(old, {"vulnerabilities": [critical]}))])
	untimed := {"scannedAt": null, "ageHours": null, "vulnerabilities": [critical]}
	count(scan_severity.deny) == 1 with input as evidence.scanned([fixtures.scan({}), fixtures.scan(untimed)])
}

test_a_scan_without_findings_is_not_clean if {
	every odd in [null, {}, "junk", ["CVE-1"], [null]] {
		violations := scan_severity.deny with input as found(odd)
		fixtures.reasons(violations) == {"scan-unreadable"}
	}
	count(scan_severity.deny) == 1
		with input as evidence.scanned([fixtures.without(fixtures.scan({}), ["vulnerabilities"])])
}

# That a scan is missing is for scan-required to say.
test_without_a_scan_nothing_is_said if {
	every document in array.concat(evidence.no_images, [
		fixtures.judged({}, {"attestations": [], "scans": []}),
		fixtures.judged({}, {"attestations": [fixtures.rejected("attestation-untrusted", "x")]}),
		fixtures.judged({}, {"scans": null}),
		fixtures.judged({}, {"scans": [null, 7]}),
	]) {
		scan_severity.deny == set() with input as document
		count(scan_required.deny) == 1 with input as document
	}
}

test_scans_whose_place_is_not_known_count if {
	every more in [{"scanner": {"name": 7}}, {"scanner": null}, {"platform": false}, {"platform": 7}] {
		bad := fixtures.scan(object.union({"vulnerabilities": [critical]}, more))
		count(scan_severity.deny) == 1 with input as evidence.scanned([fixtures.scan({}), bad])
	}
	every platforms in [[], null, [null], "junk"] {
		count(scan_severity.deny) == 1 with input as object.union(
			found([critical]),
			fixtures.judged({}, {"platforms": platforms, "scans": [fixtures.scan({"vulnerabilities": [critical]})]}),
		)
	}
}

test_platforms if {
	amd64 := fixtures.scan({"platform": "linux/amd64"})
	scan_severity.deny == set() with input as evidence.two({"scans": [amd64]})
	count(scan_required.deny) == 1 with input as evidence.two({"scans": [amd64]})
	bad := fixtures.scan({"platform": "linux/arm64", "vulnerabilities": [critical]})
	violations := scan_severity.deny with input as evidence.two({"scans": [amd64, bad]})
	count(violations) == 1
	some violation in violations
	violation.details.reason == "vulnerabilities"
	violation.platform == "linux/arm64"
	scan_severity.deny == set() with input as evidence.scanned([amd64, bad])
}

test_exempt_images if {
	every pattern, number in {"registry.example/acme/**": 0, "registry.example/other/**": 1} {
		count(scan_severity.deny) == number with input as found([critical])
			with data.portcullis.parameters as parameters({"exempt": [{"images": [pattern]}]})
	}
}

test_wrong_parameters_are_a_violation if {
	wrong := [
		{"max": {"hihg": 0}},
		{"max": {"high": "0"}},
		{"graceHours": null},
		{"allow": ["CVE-1"]},
		{"allow": [{}]},
		{"honourVex": "no"},
		{"unknownAs": "none"},
		{"exempt": [{"paths": ["/x"]}]},
		{"vex": true},
	]
	every one in wrong {
		violations := scan_severity.deny with data.portcullis.parameters as parameters(one) with input as found([])
		"parameter-invalid" in fixtures.reasons(violations)
	}
}

test_containers_are_judged_by_their_own_images if {
	violations := scan_severity.deny with input as fixtures.beside(found([critical]), found([]))
	fixtures.told(violations) == {"web"}
}
