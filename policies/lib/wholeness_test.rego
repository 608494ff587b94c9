# What a scan saw, seen through the policy that asks for it.
package portcullis.lib.wholeness_test

import rego.v1

import data.portcullis.lib.fixtures_test as fixtures
import data.portcullis.policies.scan_required

parameters(more) := {"scan-required": more}

scanned(more) := fixtures.judged({}, {"scans": [fixtures.scan(more)]})

# -- what was seen before --------------------------------------------------------------------------------------------

test_a_newer_scan_that_is_gone if {
	some violation in scan_required.deny with input as scanned({"newerSeen": "2026-11-24T00:00:00.000000Z"})
	violation.msg == "a newer trivy scan was seen once (2026-11-24T00:00:00.000000Z) and is gone now"
	violation.details.reason == "scan-superseded"
}

# -- what the scanner saw --------------------------------------------------------------------------------------------

test_a_scanner_that_saw_no_package if {
	some violation in scan_required.deny with input as scanned({"packages": 0})
	violation.msg == "its trivy scan does not show that it saw any package"
	violation.details.reason == "scan-empty"
	scan_required.deny == set() with input as scanned({"packages": null})
	violations := scan_required.deny with input as scanned({"packages": null})
		with data.portcullis.parameters as parameters({"requireInventory": true})
	fixtures.reasons(violations) == {"scan-empty"}
}

ended := {"system": {"family": "debian", "version": "9", "endOfLife": true}}

test_a_system_that_is_no_longer_maintained if {
	scan_required.deny == set() with input as scanned(ended)
	some violation in scan_required.warn with input as scanned(ended)
	violation.msg == "stands on a system for which no advisories come any more (debian 9), by its trivy scan"
	violation.details.reason == "scan-end-of-life"
	violation.container == "web"
	every choice, numbers in {"deny": [1, 0], "warn": [0, 1], "allow": [0, 0]} {
		chosen := parameters({"endOfLife": choice})
		count(scan_required.deny) == numbers[0] with input as scanned(ended) with data.portcullis.parameters as chosen
		count(scan_required.warn) == numbers[1] with input as scanned(ended) with data.portcullis.parameters as chosen
	}
}

test_most_reports_do_not_say_whether_it_is_maintained if {
	denying := parameters({"endOfLife": "deny"})
	every system in [null, {"family": "debian", "version": "13", "endOfLife": null}] {
		scan_required.deny == set() with input as scanned({"system": system}) with data.portcullis.parameters as denying
		scan_required.warn == set() with input as scanned({"system": system})
	}
	every odd in [7, "debian", {"endOfLife": "false"}, {"family": null, "endOfLife": true}] {
		count(scan_required.deny) == 1 with input as scanned({"system": odd}) with data.portcullis.parameters as denying
		count(scan_required.warn) == 1 with input as scanned({"system": odd})
	}
}
