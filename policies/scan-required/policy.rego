# METADATA
# title: Images have a recent, clean vulnerability scan
# description: |
#   Every judged platform needs a verified scan that is recent, whole, and within the limits per severity. Of each
#   scanner the newest scan counts. Who may sign scans of which image is said in the trust configuration.
# custom:
#   severity: critical
#   mode: deny
package portcullis.policies.scan_required

import rego.v1

import data.portcullis.lib.attestations
import data.portcullis.lib.containers
import data.portcullis.lib.parameters
import data.portcullis.lib.scans
import data.portcullis.lib.text

shape := {
	"maxAgeHours": {"type": "number", "default": 168},
	"maxDbAgeHours": {"type": "number", "default": null},
	"max": {"type": "object", "default": {}},
	"onlyFixable": {"type": "boolean", "default": false},
	"unknownAs": {"type": "choice", "choices": scans.severities, "default": "critical"},
	"scanners": {"type": "strings", "default": []},
	"allowSuppressed": {"type": "boolean", "default": false},
}

settings := parameters.settings("scan-required", shape)

# How many findings of a severity are too many is said by name; null lifts the limit that critical has by default.
limits := {severity: most |
	some severity, most in object.union({"critical": 0}, settings.max)
	is_number(most)
}

# The scanners that are asked for by name, or "" for any.
slots := {lower(name) | some name in settings.scanners} if count(settings.scanners) > 0

slots := {""} if count(settings.scanners) == 0

# Clocks differ; a scan may be this much in the future, in hours.
skew := 5 / 60

deny contains violation if {
	some violation in parameters.faults("scan-required", shape)
}

deny contains violation if {
	some severity, most in settings.max
	not valid_limit(severity, most)
	problem := sprintf("the parameter \"max\" maps severities to a number or null, and %q is not so", [severity])
	violation := parameters.violation("scan-required", problem)
}

valid_limit(severity, most) if {
	severity in scans.severities
	is_number(most)
	most >= 0
}

valid_limit(severity, null) if severity in scans.severities

deny contains violation if {
	some i in containers.all
	written := containers.image(i)
	not written in passes
	some problem in told(written)
	violation := containers.violation(i, problem)
}

# -- what is good ----------------------------------------------------------------------------------------------------

# Images of which every platform is covered by good scans.
passes contains written if {
	some written, platforms in scans.targets
	every j in platforms {
		covered(written, j)
	}
}

covered(written, j) if {
	every slot in slots {
		count(fresh(written, j, slot)) > 0
		every k in fresh(written, j, slot) {
			good(written, k)
		}
	}
}

good(written, k) if {
	input.images[written].scans[k].ageHours >= 0 - skew
	input.images[written].scans[k].complete == true
	unsuppressed(written, k)
	recent_database(written, k)
	scans.well_formed(written, k)
	count(excess(written, k)) == 0
}

unsuppressed(written, k) if input.images[written].scans[k].suppressed == 0

unsuppressed(_, _) if settings.allowSuppressed == true

recent_database(_, _) if settings.maxDbAgeHours == null

recent_database(written, k) if {
	age := input.images[written].scans[k].dbAgeHours
	is_number(age)
	age <= settings.maxDbAgeHours
	age >= 0 - skew
}

# The newest scan of each scanner of a slot, and of those the ones that are not too old.
newest(written, j, slot) := {k |
	some k in scans.newest[written][j]
	in_slot(written, k, slot)
}

fresh(written, j, slot) := {k |
	some k in newest(written, j, slot)
	input.images[written].scans[k].ageHours <= settings.maxAgeHours
}

in_slot(_, _, "")

in_slot(written, k, slot) if scans.name(written, k) == slot

excess(written, k) := {severity: found |
	some severity, most in limits
	found := scans.findings(written, k, severity, settings.onlyFixable, settings.unknownAs)
	count(found) > most
}

# -- what is wrong, in words -----------------------------------------------------------------------------------------

told(written) := problems[written] if {
	count(problems[written]) > 0
} else := {said("attestation-missing", "has no accepted vulnerability scan", attestations.attach, {}, {})}

said(reason, msg, fix, place, more) := object.union(
	{"msg": msg, "fix": fix, "details": object.union({"reason": reason}, more)},
	place,
)

images := {containers.image(i) | some i in containers.all}

scanned := {written | some written, _ in scans.carried}

problems[written] contains problem if {
	some written in images
	not written in scanned
	why := attestations.no_scan(written)
	problem := said(why.reason, why.msg, why.fix, {}, {"rejected": attestations.details(written)})
}

problems[written] contains problem if {
	some written in (images & scanned)
	some slot in slots
	count({k | some k in scans.carried[written]; in_slot(written, k, slot)}) == 0
	others := concat(", ", sort({text.short(scans.name(written, k), 40) | some k in scans.carried[written]}))
	msg := sprintf("has no accepted vulnerability scan by %s, only by %s", [slot, others])
	problem := said("attestation-missing", msg, attestations.attach, {}, {"rejected": attestations.details(written)})
}

problems[written] contains problem if {
	some written in (images & scanned)
	some slot in slots
	some j in scans.targets[written]
	seen := {k | some k in scans.carried[written]; in_slot(written, k, slot)}
	count(seen) > 0
	count(about(written, j, slot)) == 0
	platforms := {text.short(input.images[written].scans[k].platform, 40) | some k in seen}
	platform := input.images[written].platforms[j].platform
	msg := sprintf("has vulnerability scans of %s, none of %s", [concat(", ", sort(platforms)), platform])
	fix := "scan every platform of the image and attach the signed reports"
	problem := said("scan-platform-missing", msg, fix, {}, {"platform": platform})
}

problems[written] contains problem if {
	some written in (images & scanned)
	some slot in slots
	some j in scans.targets[written]
	count(newest(written, j, slot)) == 0
	some k in about(written, j, slot)
	msg := sprintf("its %s scan does not say when it was made", [scanner(written, k)])
	fix := "attach a report that carries its time (cosign's vulnerability predicate does)"
	problem := said("scan-time-unknown", msg, fix, place(written, k), {"scanner": scanner(written, k)})
}

problems[written] contains problem if {
	some written in (images & scanned)
	some slot in slots
	some j in scans.targets[written]
	count(fresh(written, j, slot)) == 0
	some k in newest(written, j, slot)
	age := input.images[written].scans[k].ageHours
	allowed := text.span(settings.maxAgeHours)
	msg := sprintf("its newest %s scan is %s old; the limit is %s", [scanner(written, k), text.span(age), allowed])
	details := {"scanner": scanner(written, k), "scannedAt": input.images[written].scans[k].scannedAt}
	problem := said("scan-stale", msg, "scan the image again and attach the signed report", place(written, k), details)
}

problems[written] contains problem if {
	some written in (images & scanned)
	some slot in slots
	some j in scans.targets[written]
	some k in fresh(written, j, slot)
	some fault in faults(written, k)
	more := object.union(object.get(fault, "more", {}), {
		"scanner": scanner(written, k),
		"scannedAt": input.images[written].scans[k].scannedAt,
	})
	problem := said(fault.reason, fault.msg, fault.fix, place(written, k), more)
}

about(written, j, slot) := {k |
	some k in scans.about[written][j]
	in_slot(written, k, slot)
}

default scanner(_, _) := ""

scanner(written, k) := text.short(input.images[written].scans[k].scanner.name, 40)

# The platform of a scan is worth naming where the image has several.
default place(_, _) := {}

place(written, k) := {"platform": input.images[written].scans[k].platform} if {
	input.images[written].isIndex == true
	is_string(input.images[written].scans[k].platform)
}

# Why a recent scan is not good enough.
faults(written, k) := union({
	future(written, k),
	partial(written, k),
	suppressing(written, k),
	outdated(written, k),
	unreadable(written, k),
	vulnerable(written, k),
})

future(written, k) := {{"reason": "scan-in-future", "msg": msg, "fix": "scan again where the clock is right"} |
	input.images[written].scans[k].ageHours < 0 - skew
	msg := sprintf("its %s scan says that it was made in the future, at %s", [
		scanner(written, k),
		input.images[written].scans[k].scannedAt,
	])
}

partial(written, k) := {{"reason": "scan-incomplete", "msg": msg, "fix": "scan the whole image again"} |
	not is_complete(written, k)
	msg := sprintf("its %s scan is not complete: %s", [scanner(written, k), why_incomplete(written, k)])
}

is_complete(written, k) if input.images[written].scans[k].complete == true

default why_incomplete(_, _) := "the report does not say why"

why_incomplete(written, k) := why if {
	why := text.short(input.images[written].scans[k].incompleteBecause, 200)
	why != ""
}

suppressing(written, k) := {{"reason": "scan-suppressed", "msg": msg, "fix": "scan again without a list of ignored findings"} |
	not unsuppressed(written, k)
	msg := sprintf("its %s scan leaves findings out on purpose (suppressed)", [scanner(written, k)])
}

outdated(written, k) := {{"reason": "scan-database-stale", "msg": msg, "fix": "scan again with a current database"} |
	not recent_database(written, k)
	msg := sprintf("its %s scan does not show that its vulnerability database was recent", [scanner(written, k)])
}

unreadable(written, k) := {{"reason": "scan-unreadable", "msg": msg, "fix": "scan the image again"} |
	not scans.well_formed(written, k)
	msg := sprintf("its %s scan has no list of findings", [scanner(written, k)])
}

vulnerable(written, k) := {fault |
	scans.well_formed(written, k)
	found := excess(written, k)
	count(found) > 0
	worst := scans.ranked(found)
	fault := {
		"reason": "vulnerabilities",
		"msg": sprintf("%s found too many vulnerabilities, %s: %s", [scanner(written, k), tally(found), text.listed(scans.labels(worst), 5)]),
		"fix": scans.remedy(worst),
		"more": {
			"counts": {severity: count(some_found) | some severity, some_found in found},
			"ids": array.slice([text.short(one[1], 60) | some one in worst], 0, 50),
		},
	}
}

# Such as: 2 critical (0 allowed) and 7 high (5 allowed)
tally(found) := concat(" and ", [part |
	some severity in scans.severities
	part := sprintf("%d %s (%v allowed)", [count(found[severity]), severity, limits[severity]])
])
