# METADATA
# title: Vulnerability scans of an image
# description: |
#   Which scans count, for which platform, and which of them are the newest. k is an index into
#   input.images[written].scans, j one into its platforms.
package portcullis.lib.scans

import rego.v1

import data.portcullis.lib.attestations
import data.portcullis.lib.text

# A scan counts only with the verified attestation of a vulnerability predicate that carried it.
carried[written] contains k if {
	some written, k
	attestations.carries(written, "vulnerability", input.images[written].scans[k].attestation)
}

name(written, k) := lower(input.images[written].scans[k].scanner.name) if {
	is_string(input.images[written].scans[k].scanner.name)
}

default signer(_, _) := ""

signer(written, k) := input.images[written].scans[k].signer.name if {
	is_string(input.images[written].scans[k].signer.name)
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

# Of these scans all but those of which a newer one by the same scanner is among them: one that cannot be put in order
# counts, and so do several with one time.
newest(written, among) := {k |
	some k in among
	not outdone(written, k, among)
}

outdone(written, k, among) if {
	timed(written, k)
	some other in among
	timed(written, other)
	name(written, other) == name(written, k)
	input.images[written].scans[other].scannedAt > input.images[written].scans[k].scannedAt
}

# The scans whose content matters: the newest of each judged platform, and every one of which it is not known whether
# it is about such a platform.
judged[written] contains k if {
	some written, by_platform in about
	some among in by_platform
	some k in newest(written, among)
}

judged[written] contains k if {
	some written, _ in carried
	some k in carried[written]
	not placed(written, k)
}

placed(written, k) if {
	count(targets[written]) > 0
	input.images[written].scans[k].platform == null
}

placed(written, k) if {
	count(targets[written]) > 0
	is_string(input.images[written].scans[k].platform)
}

# -- words -----------------------------------------------------------------------------------------------------------

said(reason, msg, fix, place, more) := object.union(
	{"msg": msg, "fix": fix, "details": object.union({"reason": reason}, more)},
	place,
)

default scanner(_, _) := ""

scanner(written, k) := text.short(input.images[written].scans[k].scanner.name, 40)

# A fault of one scan, with what programs want to know of it.
of_scan(written, k, fault) := said(fault.reason, fault.msg, fault.fix, place(written, k), object.union(
	object.get(fault, "more", {}),
	{"scanner": scanner(written, k), "scannedAt": scanned_at(written, k)},
))

default scanned_at(_, _) := null

scanned_at(written, k) := input.images[written].scans[k].scannedAt

# The platform of a scan is worth naming where the image has several.
default place(_, _) := {}

place(written, k) := {"platform": input.images[written].scans[k].platform} if {
	input.images[written].isIndex == true
	is_string(input.images[written].scans[k].platform)
}

# Words for an image without a scan that counts.
unscanned(written) := said(why.reason, why.msg, why.fix, {}, why.more) if {
	why := attestations.none(written, "vulnerability")
}

# Words for a platform of which none of these scans is.
off_platform(written, j, seen) := said("scan-platform-missing", msg, fix, {}, {"platform": platform}) if {
	platforms := {text.short(input.images[written].scans[k].platform, 40) | some k in seen}
	platform := input.images[written].platforms[j].platform
	msg := sprintf("has vulnerability scans of %s, none of %s", [concat(", ", sort(platforms)), platform])
	fix := "scan every platform of the image and attach the signed reports"
}

# Of an image that is not known to be good, what is wrong; where nothing is told, that nothing is known.
told(problems) := problems if count(problems) > 0

told(problems) := {said("attestation-missing", msg, attestations.attach("vulnerability"), {}, {})} if {
	count(problems) == 0
	msg := "has no accepted vulnerability scan"
}
