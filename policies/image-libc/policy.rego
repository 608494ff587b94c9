# METADATA
# title: Compiled extensions fit the system's C library
# description: |
#   A library that was compiled for glibc does not load on a system with musl, nor the other way round. That is what
#   comes of copying site-packages or node_modules from a stage on another base. Some packages ship both on purpose,
#   which is why this warns.
# custom:
#   severity: medium
#   mode: warn
#   category: image
package portcullis.policies.image_libc

import rego.v1

import data.portcullis.lib.containers
import data.portcullis.lib.exemptions
import data.portcullis.lib.parameters
import data.portcullis.lib.platforms
import data.portcullis.lib.text

shape := {"exempt": {"type": "objects", "default": []}}

settings := parameters.settings("image-libc", shape)

deny contains violation if {
	some violation in parameters.faults("image-libc", shape)
}

deny contains violation if {
	some problem in exemptions.faults(settings.exempt, ["images", "paths"])
	violation := parameters.violation("image-libc", problem)
}

deny contains violation if {
	some i in containers.running
	written := containers.image(i)
	platforms.lacking(written, listed)
	not exemptions.holds(settings.exempt, written, "", "")
	violation := containers.violation(i, object.union(
		platforms.contents_unknown,
		platforms.place(written, object.get(platforms.of, written, set()) - object.get(listed, written, set())),
	))
}

deny contains violation if {
	some i in containers.running
	written := containers.image(i)
	violation := containers.violation(i, judged[written])
}

# The platforms whose mismatches are known.
listed[written] contains j if {
	some written
	some j in platforms.complete[written]
	is_array(input.images[written].platforms[j].contents.libcMismatches)
}

wrong[written][j] := paths if {
	some written
	some j in listed[written]
	paths := [path |
		some finding in input.images[written].platforms[j].contents.libcMismatches
		path := path_of(finding)
		not exemptions.holds(settings.exempt, written, path, "")
	]
	count(paths) > 0
}

# A finding of an odd shape is one all the same.
default path_of(_) := ""

path_of(finding) := finding.path if is_string(finding.path)

judged[written] := object.union(platforms.place(written, object.keys(wrong[written])), {
	"msg": sprintf("has %s for another C library than its system's%s: %s", [
		text.counted(count(paths), "compiled extension", "compiled extensions"),
		library(written, first),
		text.listed([text.quoted(path) | some path in paths], 3),
	]),
	"fix": "install packages in a stage on the same base as the image's, and copy them from there",
	"details": {"reason": "libc-mismatch", "paths": array.slice(paths, 0, 20), "total": count(paths)},
}) if {
	some written
	first := min(object.keys(wrong[written]))
	paths := wrong[written][first]
}

library(written, j) := sprintf(" (%s)", [libc]) if {
	libc := input.images[written].platforms[j].contents.os.libc
	libc in {"glibc", "musl"}
} else := ""
