# METADATA
# title: The Dockerfile was linted
# description: |
#   Every judged platform has a verified report of a linter (Hadolint) about its Dockerfile, whole, and without findings
#   of the level that refuses. Of each linter the newest report counts, and every one that does not say when it was made.
# custom:
#   severity: medium
#   mode: audit
#   category: evidence
package portcullis.policies.lint_required

import rego.v1

import data.portcullis.lib.attestations
import data.portcullis.lib.containers
import data.portcullis.lib.exemptions
import data.portcullis.lib.parameters
import data.portcullis.lib.signed
import data.portcullis.lib.text

# The gravest first.
levels := ["error", "warning", "info", "style"]

shape := {
	"failAt": {"type": "choice", "choices": array.concat(levels, ["none"]), "default": "error"},
	"ignore": {"type": "strings", "default": []},
	"signers": {"type": "strings", "default": []},
	"maxAgeHours": {"type": "number", "default": null},
	"allowSuppressed": {"type": "boolean", "default": false},
	"exempt": {"type": "objects", "default": []},
}

settings := parameters.settings("lint-required", shape)

ignored := {upper(rule) | some rule in settings.ignore}

# Levels that pass: those below the one that refuses.
passing := {level |
	some i, level in levels
	some j, refused in levels
	refused == settings.failAt
	i > j
}

deny contains violation if {
	some violation in parameters.faults("lint-required", shape)
}

deny contains violation if {
	some problem in exemptions.faults(settings.exempt, ["images"])
	violation := parameters.violation("lint-required", problem)
}

deny contains violation if {
	some i in containers.all
	written := containers.image(i)
	not exemptions.holds(settings.exempt, written, "", "")
	reports := object.get(standing, written, {})
	wrong := object.get(faults, written, {})
	not signed.all_good(written, reports, wrong)
	some problem in signed.blamed(written, "lint", reports, wrong)
	violation := containers.violation(i, problem)
}

# A report counts only with the verified attestation that carried it.
carried[written][n] := input.images[written].lint[n] if {
	some written, n
	attestations.carries(written, "lint", input.images[written].lint[n].attestation)
}

standing[written][n] := report if {
	some written, reports in carried
	some n, report in reports
	not superseded(report, reports)
}

# A later one by the same linter about the same platform.
superseded(report, reports) if {
	is_string(report.lintedAt)
	some other in reports
	is_string(other.lintedAt)
	other.lintedAt > report.lintedAt
	other.tool.name == report.tool.name
	other.platform == report.platform
}

faults[written][n] := union({
	signed.stranger(report, "lint report", settings.signers),
	signed.aged(report, "lint report", settings.maxAgeHours),
	partial(report),
	suppressing(report),
	bad(report),
}) if {
	some written, reports in standing
	some n, report in reports
}

partial(report) := {{"reason": "lint-incomplete", "msg": msg, "fix": "lint the Dockerfile again"} |
	not whole(report)
	msg := sprintf("its lint report is not complete: %s", [why_incomplete(report)])
}

whole(report) if {
	report.complete == true
	is_array(report.findings)
	every finding in report.findings {
		is_object(finding)
	}
}

default why_incomplete(_) := "the report does not say why"

why_incomplete(report) := why if {
	why := text.short(report.incompleteBecause, 200)
	why != ""
}

suppressing(report) := {{"reason": "lint-suppressed", "msg": msg, "fix": "lint it without ignored rules"} |
	not unsuppressed(report)
	msg := "its lint report leaves findings out on purpose (suppressed)"
}

unsuppressed(report) if report.suppressed == 0

unsuppressed(_) if settings.allowSuppressed == true

bad(report) := {{"reason": "lint-findings", "msg": msg, "fix": "mend the Dockerfile and build it anew", "more": {"findings": shown}} |
	found := sort({[line(finding), label(finding)] |
		some finding in report.findings
		is_object(finding)
		not passes(finding)
	})
	count(found) > 0
	labels := [text | some [_, text] in found]
	shown := array.slice(labels, 0, 20)
	msg := sprintf("its Dockerfile has %s at level %s: %s", [
		text.counted(count(found), "finding", "findings"),
		at_level,
		text.listed(labels, 3),
	])
}

at_level := "error" if settings.failAt == "error"

at_level := sprintf("%s or above", [settings.failAt]) if settings.failAt != "error"

passes(_) if settings.failAt == "none"

passes(finding) if finding.level in passing

passes(finding) if {
	is_string(finding.rule)
	upper(finding.rule) in ignored
}

default line(_) := 0

line(finding) := finding.line if is_number(finding.line)

label(finding) := trim_space(sprintf("%s in line %v (%s)", [
	text.short(object.get(finding, "rule", ""), 20),
	line(finding),
	text.short(object.get(finding, "message", ""), 50),
]))
