# METADATA
# title: Vulnerability scans of an image
# description: |
#   Which scans count, for which platform, and which of them is the newest. k is an index into
#   input.images[written].scans, j one into its platforms.
package portcullis.lib.scans

import rego.v1

import data.portcullis.lib.attestations
import data.portcullis.lib.text

# A scan counts only with the verified attestation of a vulnerability predicate that carried it.
carried[written] contains k if {
	some written, k
	some a in attestations.verified[written]
	input.images[written].attestations[a].predicateClass == "vulnerability"
	input.images[written].scans[k].attestation == input.images[written].attestations[a].digest
}

name(written, k) := lower(input.images[written].scans[k].scanner.name) if {
	is_string(input.images[written].scans[k].scanner.name)
}

# The platforms that must be covered.
targets[written] contains j if {
	some written, j
	_ = input.images[written].platforms[j].platform
}

# The scans that speak of a platform: those of it, and those that do not say of which they are.
about[written][j] contains k if {
	some written
	some j in targets[written]
	some k in carried[written]
	input.images[written].scans[k].platform in {null, input.images[written].platforms[j].platform}
}

timed(written, k) if {
	is_string(input.images[written].scans[k].scannedAt)
	is_number(input.images[written].scans[k].ageHours)
}

# Of each scanner the scan with the latest time; several where the times are equal.
newest[written][j] contains k if {
	some written, j
	some k in about[written][j]
	timed(written, k)
	latest := max({time |
		some other in about[written][j]
		timed(written, other)
		name(written, other) == name(written, k)
		time := input.images[written].scans[other].scannedAt
	})
	input.images[written].scans[k].scannedAt == latest
}

# -- findings --------------------------------------------------------------------------------------------------------

severities := ["critical", "high", "medium", "low", "negligible", "unknown"]

well_formed(written, k) if {
	is_array(input.images[written].scans[k].vulnerabilities)
	every finding in input.images[written].scans[k].vulnerabilities {
		is_object(finding)
	}
}

# The distinct findings that count as a severity; scanners repeat one for every place where they saw it.
findings(written, k, severity, only_fixable, unknown_as) := {seen |
	some finding in input.images[written].scans[k].vulnerabilities
	counts_as(finding, unknown_as) == severity
	counted(finding, only_fixable)
	seen := [object.get(finding, key, "") | some key in ["id", "package", "installed", "fixed", "severity"]]
}

counts_as(finding, unknown_as) := severity if {
	severity := object.get(finding, "severity", "unknown")
	severity in {"critical", "high", "medium", "low", "negligible"}
} else := unknown_as

counted(_, false)

counted(finding, true) if object.get(finding, "fixed", null) != ""

# -- words -----------------------------------------------------------------------------------------------------------

# Findings by severity as [rank, id, package, installed, fixed, severity], the worst first.
ranked(found) := sort({array.concat([rank], finding) |
	some rank, severity in severities
	some finding in found[severity]
})

labels(worst) := [label |
	some i, finding in worst
	not named_before(worst, i)
	label := label_of(finding)
]

# One id may be found in several packages, which stand side by side.
named_before(worst, i) if {
	i > 0
	worst[i - 1][1] == worst[i][1]
}

label_of(finding) := sprintf("%s (severity unknown)", [text.short(finding[1], 40)]) if {
	finding[5] == "unknown"
} else := text.short(finding[1], 40)

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
