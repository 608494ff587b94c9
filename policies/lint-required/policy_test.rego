package portcullis.policies.lint_required_test

import rego.v1

import data.portcullis.lib.evidence_fixtures_test as evidence
import data.portcullis.lib.fixtures_test as fixtures
import data.portcullis.policies.lint_required

parameters(more) := {"lint-required": more}

linted(reports) := evidence.holding("lint", "lint", reports)

finding(findings) := linted([evidence.lint({"findings": findings})])

test_a_clean_report_passes if {
	lint_required.deny == set() with input as linted([evidence.lint({})])
	lint_required.deny == set() with input as linted([evidence.lint({"lintedAt": null, "ageHours": null})])
}

test_nothing_attached if {
	some violation in lint_required.deny with input as fixtures.judged({}, {"attestations": []})
	violation.msg == "has no lint report: nothing is attached to the image"
	contains(violation.fix, "lint its Dockerfile in the pipeline (Hadolint) and attach the signed lint report")
	violation.details.reason == "attestation-missing"
}

test_rejected_ones_are_told if {
	some violation in lint_required.deny with input as fixtures.judged(
		{},
		{"attestations": [evidence.rejected("lint", "attestation-subject-mismatch")]},
	)
	violation.msg == "has no accepted lint report: 1 attestation was rejected (attestation-subject-mismatch: it is so)"
}

test_unknown_facts_are_refused if {
	every document in array.concat(evidence.no_images, evidence.unfounded("lint", "lint", evidence.lint({}))) {
		count(lint_required.deny) == 1 with input as document
	}
}

test_findings_at_the_level if {
	some violation in lint_required.deny with input as finding([
		evidence.linted("DL3008", "warning"),
		evidence.linted("DL1000", "error"),
	])
	violation.msg == "its Dockerfile has 1 finding at level error: DL1000 in line 3 (do better)"
	violation.details == {"reason": "lint-findings", "findings": ["DL1000 in line 3 (do better)"]}
}

test_which_levels_refuse if {
	refused := {
		"error": {"error"},
		"warning": {"error", "warning"},
		"info": {"error", "warning", "info"},
		"style": {"error", "warning", "info", "style"},
		"none": set(),
	}
	every at, wanted in refused {
		found := {level |
			some level in lint_required.levels
			count(lint_required.deny) == 1 with input as finding([evidence.linted("DL1", level)])
				with data.portcullis.parameters as parameters({"failAt": at})
		}
		found == wanted
	}
	some violation in lint_required.deny with input as finding([evidence.linted("DL1", "error"), evidence.linted("DL2", "info")])
		with data.portcullis.parameters as parameters({"failAt": "info"})
	startswith(violation.msg, "its Dockerfile has 2 findings at level info or above: ")
}

test_an_unknown_level_refuses if {
	every level in ["ERROR", "fatal", "", null, 7] {
		count(lint_required.deny) == 1 with input as finding([evidence.linted("DL1", level)])
	}
	count(lint_required.deny) == 1 with input as finding([{}])
}

test_ignored_rules if {
	ignoring := parameters({"failAt": "style", "ignore": ["dl3008"]})
	lint_required.deny == set() with input as finding([evidence.linted("DL3008", "error")])
		with data.portcullis.parameters as ignoring
	every rule in ["DL3009", null, 7] {
		count(lint_required.deny) == 1 with input as finding([evidence.linted(rule, "error")])
			with data.portcullis.parameters as ignoring
	}
}

test_incomplete if {
	some violation in lint_required.deny with input as linted([evidence.lint({
		"complete": false,
		"incompleteBecause": "the Dockerfile could not be parsed",
	})])
	violation.msg == "its lint report is not complete: the Dockerfile could not be parsed"
	some silent in lint_required.deny with input as linted([evidence.lint({"complete": false, "incompleteBecause": ""})])
	silent.msg == "its lint report is not complete: the report does not say why"
	every odd in [{"complete": "true"}, {"complete": null}, {"findings": null}, {"findings": {}}, {"findings": [null]}] {
		violations := lint_required.deny with input as linted([evidence.lint(odd)])
		"lint-incomplete" in fixtures.reasons(violations)
	}
	every field in ["complete", "findings"] {
		violations := lint_required.deny with input as linted([fixtures.without(evidence.lint({}), [field])])
		fixtures.reasons(violations) == {"lint-incomplete"}
	}
}

test_suppressed if {
	every suppressed in [1, null, "0"] {
		violations := lint_required.deny with input as linted([evidence.lint({"suppressed": suppressed})])
		fixtures.reasons(violations) == {"lint-suppressed"}
	}
	lint_required.deny == set() with input as linted([evidence.lint({"suppressed": 1})])
		with data.portcullis.parameters as parameters({"allowSuppressed": true})
}

test_signers_and_age if {
	every more, reason in {
		{"signers": ["release"]}: "attestation-untrusted",
		{"maxAgeHours": 1}: "evidence-stale",
	} {
		violations := lint_required.deny with input as linted([evidence.lint({})])
			with data.portcullis.parameters as parameters(more)
		fixtures.reasons(violations) == {reason}
	}
}

bad := {"findings": [evidence.linted("DL1", "error")]}

older := {"lintedAt": "2026-11-20T12:00:00.000000Z", "ageHours": 96}

test_the_newest_report_of_a_linter_counts if {
	lint_required.deny == set() with input as linted([evidence.lint(object.union(older, bad)), evidence.lint({})])
	count(lint_required.deny) == 1 with input as linted([evidence.lint(older), evidence.lint(bad)])
}

test_what_cannot_be_put_in_order_counts if {
	untimed := {"lintedAt": null, "ageHours": null}
	other_tool := {"tool": {"name": "other", "version": ""}}
	every more in [untimed, other_tool, object.union(older, other_tool), {}] {
		reports := [evidence.lint(object.union(bad, more)), evidence.lint({})]
		count(lint_required.deny) == 1 with input as linted(reports)
	}

	# Nor is a time that is no text a later one.
	every odd in [["2027"], {"year": 2027}, 2027, true] {
		violations := lint_required.deny with input as linted([evidence.lint(bad), evidence.lint({"lintedAt": odd})])
		fixtures.reasons(violations) == {"lint-findings"}
	}
}

test_platforms if {
	amd64 := evidence.lint({"platform": "linux/amd64"})
	lint_required.deny == set() with input as evidence.holding_on_two("lint", "lint", [evidence.lint({})])
	some violation in lint_required.deny with input as evidence.holding_on_two("lint", "lint", [amd64])
	violation.details.reason == "evidence-platform-missing"
	some other in lint_required.deny with input as evidence.holding_on_two(
		"lint", "lint",
		[amd64, evidence.lint(object.union(bad, {"platform": "linux/arm64"}))],
	)
	other.details.reason == "lint-findings"
	other.platform == "linux/arm64"
}

test_exempt_images if {
	every pattern, number in {"registry.example/acme/**": 0, "registry.example/other/**": 1} {
		count(lint_required.deny) == number with input as fixtures.judged({}, {"attestations": []})
			with data.portcullis.parameters as parameters({"exempt": [{"images": [pattern]}]})
	}
}

test_wrong_parameters_are_a_violation if {
	wrong := [
		{"failAt": "fatal"},
		{"ignore": "DL1"},
		{"signers": [7]},
		{"maxAgeHours": "1"},
		{"allowSuppressed": "yes"},
		{"exempt": [{"paths": ["/x"]}]},
		{"level": "error"},
	]
	every one in wrong {
		violations := lint_required.deny with data.portcullis.parameters as parameters(one)
			with input as linted([evidence.lint({})])
		"parameter-invalid" in fixtures.reasons(violations)
	}
}

test_a_later_report_of_another_platform_replaces_none if {
	arm := evidence.lint({"platform": "linux/arm64", "lintedAt": "2026-11-24T00:00:00Z"})
	bad := evidence.lint({"platform": "linux/amd64", "lintedAt": "2026-11-20T00:00:00Z", "complete": false})
	violations := lint_required.deny with input as linted([bad, arm])
	fixtures.reasons(violations) == {"lint-incomplete"}
}

# What is said of the whole image holds for the platform too, until it is said anew of the whole image.
test_a_later_report_of_one_platform_does_not_replace_one_of_the_whole_image if {
	violations := lint_required.deny
		with input as linted([evidence.lint(object.union(older, bad)), evidence.lint({"platform": "linux/amd64"})])
	fixtures.reasons(violations) == {"lint-findings"}
}

test_a_line_that_is_no_number_is_none if {
	every odd in [null, "7", [7], true] {
		some violation in lint_required.deny
			with input as finding([object.union(evidence.linted("DL1000", "error"), {"line": odd})])
		violation.details.findings == ["DL1000 in line 0 (do better)"]
	}
}
