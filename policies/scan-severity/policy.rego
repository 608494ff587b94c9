# METADATA
# title: Scans found no more than is allowed
# description: |
#   Of every judged platform the newest scan of each scanner is within the limits per severity. What has a young fix, an
#   exception that has not ended, or a VEX statement that sets it aside does not count.
# custom:
#   severity: high
#   mode: warn
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

now := input.time.now if is_string(input.time.now)

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
	not written in passes
	not exemptions.holds(settings.exempt, written, "", "")
	some problem in scans.told(object.get(problems, written, set()))
	violation := containers.violation(i, problem)
}

# -- what is good ----------------------------------------------------------------------------------------------------

passes contains written if {
	some written, platforms in scans.targets
	every j in platforms {
		count(scans.standing[written][j]) > 0
		every k in scans.standing[written][j] {
			findings.well_formed(written, k)
			count(excess(written, k)) == 0
		}
	}
}

excess(written, k) := findings.excess(findings.counted(written, k, terms), limits)

# -- what is wrong, in words -----------------------------------------------------------------------------------------

images := {containers.image(i) | some i in containers.all}

problems[written] contains scans.unscanned(written) if {
	some written in images
	not scans.carried[written]
}

problems[written] contains scans.off_platform(written, j, scans.carried[written]) if {
	some written in images
	some j in scans.targets[written]
	count(scans.standing[written][j]) == 0
}

problems[written] contains scans.of_scan(written, k, fault) if {
	some written in images
	some j in scans.targets[written]
	some k in scans.standing[written][j]
	some fault in (findings.unreadable(written, k) | vulnerable(written, k))
}

vulnerable(written, k) := {object.union(fault, {
	"msg": text.short(concat("", [fault.msg, told(over)]), 300),
	"more": object.union(fault.more, {"endedExceptions": array.slice(over, 0, 20)}),
}) |
	findings.well_formed(written, k)
	found := excess(written, k)
	count(found) > 0
	worst := findings.worst(found)
	labels := text.listed([findings.placed(one) | some one in worst], 2)
	fault := findings.vulnerable(written, k, limits, found, labels)
	over := ended(written, k)
}

# Exceptions that have ended, of findings that would not count if they had not.
ended(written, k) := sort({label |
	count(terms.allow) > 0
	some finding in input.images[written].scans[k].vulnerabilities
	findings.counts(written, finding, terms)
	some label in allowances.ended(terms.allow, written, finding, now)
})

told([]) := ""

told(over) := sprintf("; an exception has ended: %s", [text.listed(over, 1)]) if count(over) > 0
