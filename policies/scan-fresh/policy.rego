# METADATA
# title: Vulnerability scans are fresh
# description: |
#   Of every judged platform the newest scan of each scanner is recent, by a recent database, and still the newest that
#   was ever seen. What the scans found is for other policies.
# custom:
#   severity: high
#   mode: warn
package portcullis.policies.scan_fresh

import rego.v1

import data.portcullis.lib.containers
import data.portcullis.lib.exemptions
import data.portcullis.lib.freshness
import data.portcullis.lib.parameters
import data.portcullis.lib.scans

shape := {
	"maxAgeHours": {"type": "number", "default": 24},
	"maxDbAgeHours": {"type": "number", "default": null},
	"requireMark": {"type": "boolean", "default": false},
	"scanners": {"type": "strings", "default": []},
	"exempt": {"type": "objects", "default": []},
}

settings := parameters.settings("scan-fresh", shape)

named := {lower(name) | some name in settings.scanners}

deny contains violation if {
	some violation in parameters.faults("scan-fresh", shape)
}

deny contains violation if {
	some problem in exemptions.faults(settings.exempt, ["images"])
	violation := parameters.violation("scan-fresh", problem)
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
		count(judged(written, j)) > 0
		every k in judged(written, j) {
			good(written, k)
		}
	}
}

judged(written, j) := {k |
	some k in scans.standing[written][j]
	wanted(written, k)
}

wanted(_, _) if count(named) == 0

wanted(written, k) if scans.name(written, k) in named

good(written, k) if {
	_ = scans.name(written, k)
	scans.timed(written, k)
	freshness.good(written, k, settings.maxDbAgeHours)
	freshness.recent(written, k, settings.maxAgeHours)
	marked(written, k)
}

# Whether it could be looked up that no newer scan was seen before.
marked(_, _) if settings.requireMark == false

marked(written, k) if input.images[written].scans[k].markKnown == true

# -- what is wrong, in words -----------------------------------------------------------------------------------------

images := {containers.image(i) | some i in containers.all}

counting[written] contains k if {
	some written, _ in scans.carried
	some k in scans.carried[written]
	wanted(written, k)
}

problems[written] contains scans.unscanned(written) if {
	some written in images
	not scans.carried[written]
}

problems[written] contains scans.off_platform(written, j, counting[written]) if {
	some written in images
	some j in scans.targets[written]
	count(judged(written, j)) == 0
	count(counting[written]) > 0
}

problems[written] contains scans.of_scan(written, k, fault) if {
	some written in images
	some j in scans.targets[written]
	some k in judged(written, j)
	some fault in faults(written, k)
}

faults(written, k) := {freshness.untimed(written, k)} if not scans.timed(written, k)

faults(written, k) := union({
	freshness.faults(written, k, settings.maxDbAgeHours),
	{freshness.stale(written, k, settings.maxAgeHours)},
	unmarked(written, k),
}) if {
	scans.timed(written, k)
	not freshness.recent(written, k, settings.maxAgeHours)
}

faults(written, k) := freshness.faults(written, k, settings.maxDbAgeHours) | unmarked(written, k) if {
	scans.timed(written, k)
	freshness.recent(written, k, settings.maxAgeHours)
}

unmarked(written, k) := {{"reason": "scan-mark-unknown", "msg": msg, "fix": fix} |
	not marked(written, k)
	msg := sprintf("whether a newer %s scan was seen before could not be looked up", [scans.scanner(written, k)])
	fix := "try again; if that does not help, ask whoever runs Portcullis"
}
