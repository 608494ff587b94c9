# METADATA
# title: Scans found no more than is allowed
# description: |
#   Of every judged platform the newest scan of each scanner is within the limits per severity. What has a young fix, an
#   exception that has not ended, or a VEX statement that sets it aside does not count. Whether there is a scan at all is
#   for scan-required.
# custom:
#   severity: critical
#   mode: deny
#   category: evidence
package portcullis.policies.scan_severity

import rego.v1

import data.portcullis.lib.allowances
import data.portcullis.lib.containers
import data.portcullis.lib.exemptions
import data.portcullis.lib.findings
import data.portcullis.lib.parameters
import data.portcullis.lib.scans
import data.portcullis.lib.text

shape := {
	"max": {"type": "object", "default": {}},
	"onlyFixable": {"type": "boolean", "default": false},
	"unknownAs": {"type": "choice", "choices": findings.severities, "default": "critical"},
	"graceHours": {"type": "number", "default": 0},
	"allow": {"type": "objects", "default": []},
	"honourVex": {"type": "boolean", "default": true},
	"exempt": {"type": "objects", "default": []},
}

settings := parameters.settings("scan-severity", shape)

limits := findings.limits(settings.max)

default now := ""

now := input.time.now

terms := {
	"severities": object.keys(limits),
	"unknownAs": settings.unknownAs,
	"onlyFixable": settings.onlyFixable,
	"honourVex": settings.honourVex,
	"graceHours": settings.graceHours,
	"allow": allowances.indexed(settings.allow),
	"now": now,
}

deny contains violation if {
	some violation in parameters.faults("scan-severity", shape)
}

deny contains violation if {
	some problem in union({
		findings.limit_faults(settings.max),
		allowances.faults(settings.allow),
		exemptions.faults(settings.exempt, ["images"]),
	})
	violation := parameters.violation("scan-severity", problem)
}

deny contains violation if {
	some i in containers.all
	written := containers.image(i)
	not exemptions.holds(settings.exempt, written, "", "")
	some k in scans.judged[written]
	some fault in (findings.unreadable(written, k) | vulnerable(written, k))
	violation := containers.violation(i, scans.of_scan(written, k, fault))
}

excess(written, k) := findings.excess(findings.counted(written, k, terms), limits)

# -- what is wrong, in words -----------------------------------------------------------------------------------------

vulnerable(written, k) := {object.union(fault, {
	"msg": text.short(concat("", [fault.msg, told(over)]), 300),
	"more": object.union(fault.more, {"endedExceptions": array.slice(over, 0, 20)}),
}) |
	findings.well_formed(written, k)
	found := excess(written, k)
	count(found) > 0
	worst := findings.worst(found)
	fault := findings.vulnerable(written, k, limits, found, findings.listed(worst, 2))
	over := ended(written, k)
}

# Exceptions that have ended, of findings that would not count if they had not.
ended(written, k) := sort({label |
	some i in findings.named(written, k, terms.allow)
	findings.counts(written, k, i, terms)
	some label in allowances.ended(terms.allow, written, input.images[written].scans[k].vulnerabilities[i], now)
})

told([]) := ""

told(over) := sprintf("; an exception has ended: %s", [text.listed(over, 1)]) if count(over) > 0
