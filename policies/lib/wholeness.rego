# METADATA
# title: Whether scans saw everything
# description: |
#   Whether a scan (k, an index into input.images[written].scans) looked at the whole image and says all that it found,
#   whether it is the newest that was ever seen, and the words for it where that is not known. "settings" are
#   allowSuppressed and requireInventory of a policy.
package portcullis.lib.wholeness

import rego.v1

import data.portcullis.lib.findings
import data.portcullis.lib.scans
import data.portcullis.lib.text

good(written, k, settings) if {
	is_complete(written, k)
	unsuppressed(written, k, settings)
	inventoried(written, k, settings)
	unsuperseded(written, k)
	findings.well_formed(written, k)
}

is_complete(written, k) if input.images[written].scans[k].complete == true

unsuppressed(written, k, _) if input.images[written].scans[k].suppressed == 0

unsuppressed(_, _, settings) if settings.allowSuppressed == true

# A scanner that saw no package saw nothing. Some reports do not say how many they saw.
inventoried(written, k, _) if {
	number := input.images[written].scans[k].packages
	is_number(number)
	number > 0
}

inventoried(written, k, settings) if {
	input.images[written].scans[k].packages == null
	settings.requireInventory == false
}

# A newer scan that was seen once and is gone now said perhaps what this one does not.
unsuperseded(written, k) if input.images[written].scans[k].newerSeen == null

# Whether advisories still come for the system that was seen; null where the report does not say.
maintained(written, k) if input.images[written].scans[k].system == null

maintained(written, k) if input.images[written].scans[k].system.endOfLife in {false, null}

# -- words -----------------------------------------------------------------------------------------------------------

faults(written, k, settings) := union({
	partial(written, k),
	suppressing(written, k, settings),
	empty(written, k, settings),
	superseded(written, k),
	findings.unreadable(written, k),
})

partial(written, k) := {{"reason": "scan-incomplete", "msg": msg, "fix": "scan the whole image again"} |
	not is_complete(written, k)
	msg := sprintf("its %s scan is not complete: %s", [scans.scanner(written, k), why_incomplete(written, k)])
}

default why_incomplete(_, _) := "the report does not say why"

why_incomplete(written, k) := why if {
	why := text.short(input.images[written].scans[k].incompleteBecause, 200)
	why != ""
}

suppressing(written, k, settings) := {{"reason": "scan-suppressed", "msg": msg, "fix": fix} |
	not unsuppressed(written, k, settings)
	msg := sprintf("its %s scan leaves findings out on purpose (suppressed)", [scans.scanner(written, k)])
	fix := "scan again without a list of ignored findings"
}

empty(written, k, settings) := {{"reason": "scan-empty", "msg": msg, "fix": fix} |
	not inventoried(written, k, settings)
	msg := sprintf("its %s scan does not show that it saw any package", [scans.scanner(written, k)])
	fix := "scan it with a scanner, and in a format, that lists the packages it saw"
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

ended(written, k) := {"reason": "scan-end-of-life", "msg": msg, "fix": "build it on a release that is maintained"} if {
	msg := sprintf("stands on a system for which no advisories come any more (%s), by its %s scan", [
		system(written, k),
		scans.scanner(written, k),
	])
}

default system(_, _) := "an unknown one"

system(written, k) := sprintf("%s %s", [text.short(family, 30), text.short(version, 30)]) if {
	family := input.images[written].scans[k].system.family
	version := input.images[written].scans[k].system.version
}
