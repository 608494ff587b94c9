# METADATA
# title: When scans were made
# description: |
#   Whether a scan (k, an index into input.images[written].scans) is recent, by a recent database, and the words for it
#   where it is not. "settings" are maxAgeHours, maxDbAgeHours and requireMark of a policy.
package portcullis.lib.freshness

import rego.v1

import data.portcullis.lib.scans
import data.portcullis.lib.text

# Clocks differ; a scan may be this much in the future, in hours.
skew := 5 / 60

good(written, k, settings) if {
	scans.timed(written, k)
	past(written, k)
	recent(written, k, settings.maxAgeHours)
	recent_database(written, k, settings.maxDbAgeHours)
	marked(written, k, settings)
}

past(written, k) if input.images[written].scans[k].ageHours >= 0 - skew

recent(written, k, most) if input.images[written].scans[k].ageHours <= most

recent_database(_, _, null)

recent_database(written, k, most) if {
	age := input.images[written].scans[k].dbAgeHours
	is_number(age)
	age <= most
	age >= 0 - skew
}

# Whether it could be looked up that no newer scan was seen before.
marked(_, _, settings) if settings.requireMark == false

marked(written, k, _) if input.images[written].scans[k].markKnown == true

# -- words -----------------------------------------------------------------------------------------------------------

faults(written, k, settings) := union({
	untimed(written, k),
	future(written, k),
	stale(written, k, settings.maxAgeHours),
	outdated(written, k, settings.maxDbAgeHours),
	unmarked(written, k, settings),
})

untimed(written, k) := {{"reason": "scan-time-unknown", "msg": msg, "fix": fix} |
	not scans.timed(written, k)
	msg := sprintf("its %s scan does not say when it was made", [scans.scanner(written, k)])
	fix := "attach a report that carries its time (cosign's vulnerability predicate does)"
}

future(written, k) := {{"reason": "scan-in-future", "msg": msg, "fix": "scan again where the clock is right"} |
	scans.timed(written, k)
	not past(written, k)
	msg := sprintf("its %s scan says that it was made in the future, at %s", [
		scans.scanner(written, k),
		text.short(scans.scanned_at(written, k), 40),
	])
}

stale(written, k, most) := {{"reason": "scan-stale", "msg": msg, "fix": fix} |
	scans.timed(written, k)
	not recent(written, k, most)
	msg := sprintf("its newest %s scan is %s old; the limit is %s", [
		scans.scanner(written, k),
		text.span(input.images[written].scans[k].ageHours),
		text.span(most),
	])
	fix := "scan the image again and attach the signed report"
}

outdated(written, k, most) := {{"reason": "scan-database-stale", "msg": msg, "fix": "scan again with a current database"} |
	not recent_database(written, k, most)
	msg := sprintf("its %s scan does not show that its vulnerability database was recent", [scans.scanner(written, k)])
}

unmarked(written, k, settings) := {{"reason": "scan-mark-unknown", "msg": msg, "fix": fix} |
	not marked(written, k, settings)
	msg := sprintf("whether a newer %s scan was seen before could not be looked up", [scans.scanner(written, k)])
	fix := "try again; if that does not help, ask whoever runs Portcullis"
}
