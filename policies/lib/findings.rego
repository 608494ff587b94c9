# METADATA
# title: Findings of vulnerability scans
# description: |
#   Which findings of a scan (k, an index into input.images[written].scans) count, how many are too many, and the words
#   for it. Every policy counts through here. What counts is said by "terms":
#   - severities: the set of them that matter; unknownAs: what a finding without one counts as
#   - onlyFixable, honourVex: whether findings without a fix, or set aside by VEX, are left out
#   - graceHours: since the fix was published; allow: exceptions by id (allowances.indexed); now: the time
package portcullis.lib.findings

import rego.v1

import data.portcullis.lib.allowances
import data.portcullis.lib.scans
import data.portcullis.lib.text
import data.portcullis.lib.times
import data.portcullis.lib.vex

severities := ["critical", "high", "medium", "low", "negligible", "unknown"]

# What has a severity is an object; only where something has none it is looked at one by one.
well_formed(written, k) if {
	is_array(input.images[written].scans[k].vulnerabilities)
	all_rated(written, k)
}

well_formed(written, k) if {
	is_array(input.images[written].scans[k].vulnerabilities)
	not all_rated(written, k)
	every finding in input.images[written].scans[k].vulnerabilities {
		is_object(finding)
	}
}

all_rated(written, k) if {
	rated := [1 |
		some finding in input.images[written].scans[k].vulnerabilities
		finding.severity in {"critical", "high", "medium", "low", "negligible"}
	]
	count(rated) == count(input.images[written].scans[k].vulnerabilities)
}

known := {"critical", "high", "medium", "low", "negligible"}

unreadable(written, k) := {{"reason": "scan-unreadable", "msg": msg, "fix": "scan the image again"} |
	not well_formed(written, k)
	msg := sprintf("its %s scan has no list of findings", [scans.scanner(written, k)])
}

# -- the limits per severity -----------------------------------------------------------------------------------------

# How many findings of a severity are too many is said by name; null lifts the limit that critical has by default.
limits(most) := {severity: number |
	some severity, number in object.union({"critical": 0}, most)
	is_number(number)
}

limit_faults(most) := {problem |
	some severity, number in most
	not valid_limit(severity, number)
	problem := sprintf("the parameter \"max\" maps severities to a number or null, and %s is not so", [text.quoted(severity)])
}

valid_limit(severity, number) if {
	severity in severities
	is_number(number)
	number >= 0
}

valid_limit(severity, null) if severity in severities

# -- which count -----------------------------------------------------------------------------------------------------

# The distinct findings that count, as [rank, id, package, installed, fixed, severity]; scanners repeat one for every
# place where they saw it. A report may have ten thousand: what is not asked for costs nothing, and no function is
# called for each of them.
counted(written, k, terms) := {[
	rank,
	object.get(finding, "id", ""),
	object.get(finding, "package", ""),
	object.get(finding, "installed", ""),
	object.get(finding, "fixed", ""),
	object.get(finding, "severity", ""),
] |
	some rank, severity in severities
	severity in terms.severities
	some i in of_severity(written, k, severity, terms.unknownAs)
	not i in left_out(written, k, terms)
	finding := input.images[written].scans[k].vulnerabilities[i]
}

counts(written, k, i, terms) if {
	some severity in terms.severities
	i in of_severity(written, k, severity, terms.unknownAs)
	not i in left_out(written, k, terms)
}

# Those that count as a severity, by their places in the report.
of_severity(written, k, severity, unknown_as) := said_to_be(written, k, severity) | {i |
	severity == unknown_as
	not all_rated(written, k)
	some i, finding in input.images[written].scans[k].vulnerabilities
	not object.get(finding, "severity", null) in known
}

said_to_be(written, k, severity) := {i |
	severity in known
	some i, finding in input.images[written].scans[k].vulnerabilities
	finding.severity == severity
}

left_out(written, k, terms) := union({
	unfixable(written, k, terms.onlyFixable),
	set_aside(written, k, terms.honourVex),
	in_grace(written, k, terms.graceHours, terms.now),
	allowed(written, k, terms.allow, terms.now),
})

unfixable(written, k, asked) := {i |
	asked == true
	some i, finding in input.images[written].scans[k].vulnerabilities
	finding.fixed == ""
}

set_aside(written, k, asked) := {i |
	asked == true
	some i, finding in input.images[written].scans[k].vulnerabilities
	finding.vex.status
	vex.aside(finding)
}

# Those of which a fix is known and young. One without a date, or with one to come, gives no grace.
in_grace(written, k, hours, now) := {i |
	hours > 0
	some i, finding in input.images[written].scans[k].vulnerabilities
	is_string(finding.fixed)
	finding.fixed != ""
	age := times.hours_between(finding.available, now)
	age >= 0
	age < hours
}

allowed(written, k, allow, now) := {i |
	some i in named(written, k, allow)
	allowances.covers(allow, written, input.images[written].scans[k].vulnerabilities[i], now)
}

# Those of which the id or an alias is one of these ids, which are in capital letters: a set, or an object's keys.
named(written, k, ids) := {i |
	count(ids) > 0
	some i, finding in input.images[written].scans[k].vulnerabilities
	is_string(finding.id)
	ids[upper(finding.id)]
} | {i |
	count(ids) > 0
	some i, finding in input.images[written].scans[k].vulnerabilities
	some alias in finding.aliases
	is_string(alias)
	ids[upper(alias)]
}

# Those of each severity that has more than its limit.
excess(found, most) := {severity: of_rank |
	some rank, severity in severities
	limit := most[severity]
	of_rank := {one | some one in found; one[0] == rank}
	count(of_rank) > limit
}

# -- words -----------------------------------------------------------------------------------------------------------

# Such as: 2 critical (0 allowed) and 7 high (5 allowed)
tally(excess, most) := concat(" and ", [part |
	some severity in severities
	part := sprintf("%d %s (%v allowed)", [count(excess[severity]), severity, most[severity]])
])

worst(excess) := sort(union({found | some found in excess}))

vulnerable(written, k, most, found, labels) := {
	"reason": "vulnerabilities",
	"msg": sprintf("%s found too many vulnerabilities, %s: %s", [
		scans.scanner(written, k),
		tally(found, most),
		labels,
	]),
	"fix": remedy(worst(found)),
	"more": {
		"counts": {severity: count(of_severity) | some severity, of_severity in found},
		"ids": [text.short(one[1], 60) | some one in array.slice(worst(found), 0, 50)],
	},
}

# The first of them, and how many more there are.
listed(found, limit) := text.listed(
	array.concat(
		[placed(one) | some one in array.slice(found, 0, limit)],
		array.slice(found, limit, count(found)),
	),
	limit,
)

# Such as: CVE-2026-0004 in openssl 3.0.1 (fixed in 3.0.9)
placed(finding) := sprintf("%s in %s %s (%s)", [
	text.short(finding[1], 30),
	text.short(finding[2], 30),
	text.short(finding[3], 20),
	concat("", [mended(finding[4]), doubt(finding[5])]),
])

default doubt(_) := ""

doubt("unknown") := "; severity unknown"

default mended(_) := "no fix known"

mended(version) := sprintf("fixed in %s", [text.short(version, 20)]) if {
	is_string(version)
	version != ""
}

remedy(worst) := sprintf("update %s, then rebuild", [few(updates, 3)]) if {
	updates := fixable(array.slice(worst, 0, 50))
	count(updates) > 0
} else := "no fixed version is known: use another base image or remove the package"

few(updates, limit) := concat(", ", updates) if count(updates) <= limit

few(updates, limit) := sprintf("%s and what else has a fix", [concat(", ", array.slice(updates, 0, limit))]) if {
	count(updates) > limit
}

fixable(worst) := [update |
	some i, finding in worst
	is_string(finding[4])
	finding[4] != ""
	not updated_before(worst, i)
	update := sprintf("%s to %s", [text.short(finding[2], 40), text.short(finding[4], 40)])
]

updated_before(worst, i) if {
	some earlier in array.slice(worst, 0, i)
	array.slice(earlier, 2, 5) == array.slice(worst[i], 2, 5)
}
