# METADATA
# title: Vulnerability scans are fresh
# description: |
#   Of every judged platform the newest scan of each scanner is recent, by a recent database. What the scans found is
#   for scan-severity, whether there is a scan at all for scan-required.
# custom:
#   severity: high
#   mode: deny
#   category: evidence
package portcullis.policies.scan_fresh

import rego.v1

import data.portcullis.lib.containers
import data.portcullis.lib.exemptions
import data.portcullis.lib.freshness
import data.portcullis.lib.parameters
import data.portcullis.lib.scans

shape := {
	"maxAgeHours": {"type": "number", "default": 168},
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
	not exemptions.holds(settings.exempt, written, "", "")
	some k in scans.judged[written]
	not good(written, k)
	some fault in freshness.faults(written, k, settings)
	violation := containers.violation(i, scans.of_scan(written, k, fault))
}

good(written, k) if freshness.good(written, k, settings)

good(written, k) if of_another_scanner(written, k)

# Whose name is not known matters.
of_another_scanner(written, k) if {
	count(named) > 0
	not scans.name(written, k) in named
	scans.name(written, k) != ""
}
