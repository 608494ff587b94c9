# METADATA
# title: When scans were made
# description: |
#   Whether a scan (k, an index into input.images[written].scans) is recent, by a recent database, and still the newest
#   that was ever seen, and the words for it where it is not.
package portcullis.lib.freshness

import rego.v1

import data.portcullis.lib.scans
import data.portcullis.lib.text

# Clocks differ; a scan may be this much in the future, in hours.
skew := 5 / 60

good(written, k, max_db_age) if {
	past(written, k)
	recent_database(written, k, max_db_age)
	unsuperseded(written, k)
}

past(written, k) if input.images[written].scans[k].ageHours >= 0 - skew

recent(written, k, max_age) if input.images[written].scans[k].ageHours <= max_age

recent_database(_, _, null)

recent_database(written, k, most) if {
	age := input.images[written].scans[k].dbAgeHours
	is_number(age)
	age <= most
	age >= 0 - skew
}

# A newer scan that was seen once and is gone now said perhaps what this one does not.
unsuperseded(written, k) if input.images[written].scans[k].newerSeen == null

# -- words -----------------------------------------------------------------------------------------------------------

faults(written, k, max_db_age) := union({
	future(written, k),
	outdated(written, k, max_db_age),
	superseded(written, k),
})

future(written, k) := {{"reason": "scan-in-future", "msg": msg, "fix": "scan again where the clock is right"} |
	not past(written, k)
	msg := sprintf("its %s scan says that it was made in the future, at %s", [
		scans.scanner(written, k),
		text.short(scans.scanned_at(written, k), 40),
	])
}

outdated(written, k, most) := {{"reason": "scan-database-stale", "msg": msg, "fix": "scan again with a current database"} |
	not recent_database(written, k, most)
	msg := sprintf("its %s scan does not show that its vulnerability database was recent", [scans.scanner(written, k)])
}

superseded(written, k) := {{"reason": "scan-superseded", "msg": msg, "fix": fix} |
	not unsuperseded(written, k)
	msg := sprintf("a newer %s scan was seen once (%s) and is gone now", [scans.scanner(written, k), seen(written, k)])
	fix := "scan the image again and attach the signed report; find out who took the newer one away"
}

default seen(_, _) := "at an unknown time"

seen(written, k) := text.short(input.images[written].scans[k].newerSeen, 40) if {
	is_string(input.images[written].scans[k].newerSeen)
}

stale(written, k, max_age) := {"reason": "scan-stale", "msg": msg, "fix": "scan the image again and attach the signed report"} if {
	not recent(written, k, max_age)
	age := input.images[written].scans[k].ageHours
	msg := sprintf("its newest %s scan is %s old; the limit is %s", [
		scans.scanner(written, k),
		text.span(age),
		text.span(max_age),
	])
}

untimed(written, k) := {"reason": "scan-time-unknown", "msg": msg, "fix": fix} if {
	not scans.timed(written, k)
	msg := sprintf("its %s scan does not say when it was made", [scans.scanner(written, k)])
	fix := "attach a report that carries its time (cosign's vulnerability predicate does)"
}
