# METADATA
# title: Images have a whole vulnerability scan
# description: |
#   Every judged platform needs a verified scan that leaves nothing out: by the scanners that are asked for, as many as
#   are asked for, signed by whom is asked for. Of each scanner the newest scan counts. Who may sign scans of which image
#   is said in the trust configuration. How old scans may be is for scan-fresh, what they may find for scan-severity.
# custom:
#   severity: critical
#   mode: deny
#   category: evidence
package portcullis.policies.scan_required

import rego.v1

import data.portcullis.lib.attestations
import data.portcullis.lib.containers
import data.portcullis.lib.parameters
import data.portcullis.lib.scans
import data.portcullis.lib.text
import data.portcullis.lib.wholeness

shape := {
	"scanners": {"type": "strings", "default": []},
	"atLeast": {"type": "number", "default": 1},
	"signers": {"type": "strings", "default": []},
	"distinctSigners": {"type": "boolean", "default": false},
	"allowSuppressed": {"type": "boolean", "default": false},
	"requireInventory": {"type": "boolean", "default": false},
	"endOfLife": {"type": "choice", "choices": ["deny", "warn", "allow"], "default": "warn"},
	"maxAgeHours": {"type": "moved", "to": "scan-fresh"},
	"maxDbAgeHours": {"type": "moved", "to": "scan-fresh"},
	"max": {"type": "moved", "to": "scan-severity"},
	"onlyFixable": {"type": "moved", "to": "scan-severity"},
	"unknownAs": {"type": "moved", "to": "scan-severity"},
	"honourVex": {"type": "moved", "to": "scan-severity"},
}

settings := parameters.settings("scan-required", shape)

# The scanners that are asked for by name, or "" for any.
slots := {lower(name) | some name in settings.scanners} if count(settings.scanners) > 0

slots := {""} if count(settings.scanners) == 0

deny contains violation if {
	some violation in parameters.faults("scan-required", shape)
}

deny contains violation if {
	some problem in impossible
	violation := parameters.violation("scan-required", problem)
}

# More scanners than are named can never be there, since only those count.
impossible contains "the parameter \"atLeast\" is more than the number of \"scanners\"" if {
	count(settings.scanners) > 0
	settings.atLeast > count(slots)
}

deny contains violation if {
	some i in containers.all
	written := containers.image(i)
	not written in passes
	some problem in scans.told(object.get(problems, written, set()))
	violation := containers.violation(i, problem)
}

warn contains violation if {
	settings.endOfLife == "warn"
	some i in containers.all
	written := containers.image(i)
	some problem in ended_systems[written]
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
		count(newest(written, j, slot)) > 0
		every k in newest(written, j, slot) {
			good(written, k)
		}
	}
	enough(written, j)
	independent(written, j)
}

good(written, k) if {
	wholeness.good(written, k, settings)
	maintained(written, k)
}

# Most reports do not say whether advisories still come for the system, so only a yes refuses, or what is neither.
maintained(_, _) if settings.endOfLife != "deny"

maintained(written, k) if wholeness.maintained(written, k)

# Of the accepted scans those by signers that are asked for.
counting[written] contains k if {
	some written
	some k in scans.carried[written]
	signed(written, k)
}

signed(_, _) if count(settings.signers) == 0

signed(written, k) if input.images[written].scans[k].signer.name in settings.signers

# The newest scan of each scanner of a slot.
newest(written, j, slot) := {k |
	some k in scans.newest(written, about[written][j])
	in_slot(written, k, slot)
}

about[written][j] := among & counting[written] if {
	some written, platforms in scans.about
	some j, among in platforms
}

in_slot(_, _, "")

in_slot(written, k, slot) if scans.name(written, k) == slot

# -- how many, by how many -------------------------------------------------------------------------------------------

# The scanners that cover a platform, each with one who signed its scan.
scanners(written, j) := {name: min(signers) |
	some k in chosen(written, j)
	name := scans.name(written, k)
	signers := {signer |
		some other in chosen(written, j)
		scans.name(written, other) == name
		signer := scans.signer(written, other)
	}
}

chosen(written, j) := {k |
	some slot in slots
	some k in newest(written, j, slot)
}

enough(written, j) if count(scanners(written, j)) >= settings.atLeast

independent(_, _) if settings.distinctSigners == false

independent(written, j) if {
	by_scanner := scanners(written, j)
	every signer in by_scanner {
		signer != ""
	}
	count({signer | some signer in by_scanner}) >= wanted
}

wanted := max({settings.atLeast, count(slots)})

# -- what is wrong, in words -----------------------------------------------------------------------------------------

images := {containers.image(i) | some i in containers.all}

scanned := {written | some written, _ in counting}

problems[written] contains scans.unscanned(written) if {
	some written in images
	count(object.get(scans.carried, written, set())) == 0
}

problems[written] contains problem if {
	some written in (images - scanned)
	seen := scans.carried[written]
	signers := sort({text.short(scans.signer(written, k), 40) | some k in seen})
	msg := sprintf("has no vulnerability scan signed by %s, only by %s", [
		text.listed(settings.signers, 3),
		text.listed(signers, 3),
	])
	fix := "have the scan signed by a signer that the policy's parameter names"
	problem := scans.said("attestation-untrusted", msg, fix, {}, {"rejected": attestations.details(written)})
}

problems[written] contains problem if {
	some written in (images & scanned)
	some slot in slots
	count({k | some k in counting[written]; in_slot(written, k, slot)}) == 0
	others := sort({scans.scanner(written, k) | some k in counting[written]})
	msg := sprintf("has no accepted vulnerability scan by %s, only by %s", [slot, text.listed(others, 3)])
	fix := attestations.attach("vulnerability")
	problem := scans.said("attestation-missing", msg, fix, {}, {"rejected": attestations.details(written)})
}

problems[written] contains scans.off_platform(written, j, seen) if {
	some written
	some slot in slots
	some j in scans.targets[written]
	seen := {k | some k in counting[written]; in_slot(written, k, slot)}
	count(seen) > 0
	count(newest(written, j, slot)) == 0
}

problems[written] contains scans.of_scan(written, k, fault) if {
	some written
	some slot in slots
	some j in scans.targets[written]
	some k in newest(written, j, slot)
	some fault in faults(written, k)
}

problems[written] contains problem if {
	some written
	some j in scans.targets[written]
	every slot in slots {
		count(newest(written, j, slot)) > 0
	}
	some fault in lacking(written, j)
	problem := scans.said(fault.reason, fault.msg, fault.fix, {}, {})
}

lacking(written, j) := {{"reason": "scans-too-few", "msg": msg, "fix": fix} |
	not enough(written, j)
	found := sort({text.short(name, 40) | some name, _ in scanners(written, j)})
	msg := sprintf("has scans by %s (%s); %v are asked for", [
		text.counted(count(found), "scanner", "scanners"),
		text.listed(found, 3),
		settings.atLeast,
	])
	fix := "scan it with another scanner too and attach the signed report"
} | {{"reason": "scans-not-independent", "msg": msg, "fix": fix} |
	enough(written, j)
	not independent(written, j)
	signers := sort({text.short(signer, 40) | some signer in scanners(written, j)})
	msg := sprintf("has scans by several scanners that were signed by one signer (%s)", [text.listed(signers, 3)])
	fix := "have the scans of different scanners signed by different signers"
}

faults(written, k) := wholeness.faults(written, k, settings) | ended(written, k)

ended(written, k) := {wholeness.ended(written, k) | not maintained(written, k)}

ended_systems[written] contains scans.of_scan(written, k, wholeness.ended(written, k)) if {
	some written
	some j in scans.targets[written]
	some k in chosen(written, j)
	not wholeness.maintained(written, k)
}
