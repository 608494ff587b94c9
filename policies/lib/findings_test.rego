# How findings are counted, seen through the policy that counts them.
package portcullis.lib.findings_test

import rego.v1

import data.portcullis.lib.evidence_fixtures_test as evidence
import data.portcullis.lib.fixtures_test as fixtures
import data.portcullis.policies.scan_severity

parameters(more) := {"scan-severity": more}

scanned(more) := fixtures.judged({}, {"scans": [fixtures.scan(more)]})

test_critical_finding if {
	some violation in scan_severity.deny with input as scanned({"vulnerabilities": [fixtures.finding("CVE-1", "critical")]})
	violation.msg == "trivy found too many vulnerabilities, 1 critical (0 allowed): CVE-1 in openssl 3.0.1 (fixed in 3.0.9)"
	violation.fix == "update openssl to 3.0.9, then rebuild"
	violation.details.reason == "vulnerabilities"
	violation.details.counts == {"critical": 1}
	violation.details.ids == ["CVE-1"]
}

test_lesser_findings_pass_by_default if {
	scan_severity.deny == set() with input as scanned({"vulnerabilities": [
		fixtures.finding("CVE-1", "high"),
		fixtures.finding("CVE-2", "medium"),
		fixtures.finding("CVE-3", "low"),
		fixtures.finding("CVE-4", "negligible"),
	]})
}

test_limits_per_severity if {
	found := {"vulnerabilities": [fixtures.finding(id, "high") | some id in ["CVE-1", "CVE-2"]]}
	scan_severity.deny == set() with input as scanned(found)
		with data.portcullis.parameters as parameters({"max": {"high": 2}})
	some violation in scan_severity.deny with input as scanned(found)
		with data.portcullis.parameters as parameters({"max": {"high": 1}})
	violation.msg == concat("", [
		"trivy found too many vulnerabilities, 2 high (1 allowed): ",
		"CVE-1 in openssl 3.0.1 (fixed in 3.0.9), CVE-2 in openssl 3.0.1 (fixed in 3.0.9)",
	])
}

test_the_limit_of_critical_stays_unless_it_is_lifted if {
	found := {"vulnerabilities": [fixtures.finding("CVE-1", "critical")]}
	count(scan_severity.deny) == 1 with input as scanned(found)
		with data.portcullis.parameters as parameters({"max": {"high": 1}})
	scan_severity.deny == set() with input as scanned(found)
		with data.portcullis.parameters as parameters({"max": {"critical": null}})
}

test_the_worst_come_first_and_two_are_named if {
	found := array.concat(
		[fixtures.finding(id, "high") | some id in ["CVE-1", "CVE-2", "CVE-3", "CVE-4"]],
		[fixtures.finding(id, "critical") | some id in ["CVE-8", "CVE-9"]],
	)
	some violation in scan_severity.deny with input as scanned({"vulnerabilities": found})
		with data.portcullis.parameters as parameters({"max": {"high": 0}})
	expected := concat("", [
		"trivy found too many vulnerabilities, 2 critical (0 allowed) and 4 high (0 allowed): ",
		"CVE-8 in openssl 3.0.1 (fixed in 3.0.9), CVE-9 in openssl 3.0.1 (fixed in 3.0.9) and 4 more",
	])
	violation.msg == expected
}

test_a_finding_that_is_repeated_counts_once if {
	finding := fixtures.finding("CVE-1", "high")
	scan_severity.deny == set() with input as scanned({"vulnerabilities": [finding, finding]})
		with data.portcullis.parameters as parameters({"max": {"high": 1}})
}

test_one_id_in_two_packages_counts_twice if {
	finding := fixtures.finding("CVE-1", "critical")
	some violation in scan_severity.deny with input as scanned({"vulnerabilities": [
		finding,
		object.union(finding, {"package": "libssl", "fixed": ""}),
	]})
	violation.msg == concat("", [
		"trivy found too many vulnerabilities, 2 critical (0 allowed): ",
		"CVE-1 in libssl 3.0.1 (no fix known), CVE-1 in openssl 3.0.1 (fixed in 3.0.9)",
	])
}

test_unknown_severity_counts_as_critical_unless_told_otherwise if {
	odd := [
		fixtures.finding("CVE-1", "unknown"),
		fixtures.finding("CVE-1", null),
		fixtures.without(fixtures.finding("CVE-1", "low"), ["severity"]),
		fixtures.finding("CVE-1", "CRITICAL"),
	]
	every finding in odd {
		count(scan_severity.deny) == 1 with input as scanned({"vulnerabilities": [finding]})
		scan_severity.deny == set() with input as scanned({"vulnerabilities": [finding]})
			with data.portcullis.parameters as parameters({"unknownAs": "low"})
	}
	some violation in scan_severity.deny with input as scanned({"vulnerabilities": [odd[0]]})
	contains(violation.msg, "CVE-1 in openssl 3.0.1 (fixed in 3.0.9; severity unknown)")
	count(scan_severity.deny) == 1 with input as scanned({"vulnerabilities": [odd[0]]})
		with data.portcullis.parameters as parameters({"unknownAs": "unknown", "max": {"unknown": 0}})
}

test_only_fixable if {
	only := parameters({"onlyFixable": true})
	finding := fixtures.finding("CVE-1", "critical")
	unfixed := object.union(finding, {"fixed": ""})
	scan_severity.deny == set() with input as scanned({"vulnerabilities": [unfixed]}) with data.portcullis.parameters as only
	every one in [finding, object.union(finding, {"fixed": null}), fixtures.without(finding, ["fixed"])] {
		count(scan_severity.deny) == 1 with input as scanned({"vulnerabilities": [one]})
			with data.portcullis.parameters as only
	}
}

test_remedies if {
	finding := fixtures.finding("CVE-1", "critical")
	some violation in scan_severity.deny with input as scanned({"vulnerabilities": [object.union(finding, {"fixed": ""})]})
	contains(violation.fix, "no fixed version is known")
	many := [object.union(finding, {"package": package_name}) | some package_name in ["a", "b", "c", "d"]]
	some other in scan_severity.deny with input as scanned({"vulnerabilities": array.concat(many, [finding, finding])})
	other.fix == "update a to 3.0.9, b to 3.0.9, c to 3.0.9 and what else has a fix, then rebuild"
}

test_findings_that_vex_sets_aside if {
	aside := {"vulnerabilities": [evidence.set_aside("CVE-1", "critical", {})]}
	scan_severity.deny == set() with input as scanned(aside)
	count(scan_severity.deny) == 1 with input as scanned(aside)
		with data.portcullis.parameters as parameters({"honourVex": false})
	every more in [{"expired": true}, {"status": "affected"}, {"status": "under_investigation"}] {
		count(scan_severity.deny) == 1
			with input as scanned({"vulnerabilities": [evidence.set_aside("CVE-1", "critical", more)]})
	}
}
