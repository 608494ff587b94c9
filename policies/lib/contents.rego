# METADATA
# title: What lies in the layers of an image
# description: |
#   Judges the lists of findings in input.images[written].platforms[j].contents. Each image is judged once, however many
#   containers have it. A list is known only where the look into the layers came to its end. Then every finding in it is
#   held against the image, except those that something pardons: so one that is odd is never overlooked.
#
#   What a policy looks for is an object of
#   class: the name of the list, such as shells;
#   deleted: whether files count that lie in an earlier layer only;
#   settings: allowInBase (whether layers of an allowed base are let pass) and exempt (see lib/exemptions).
package portcullis.lib.contents

import rego.v1

import data.portcullis.lib.bases
import data.portcullis.lib.containers
import data.portcullis.lib.exemptions
import data.portcullis.lib.paths
import data.portcullis.lib.platforms
import data.portcullis.lib.text

# By name, not contents[class]: that would read the packages too, and have every policy wait for them.
list("shells", written, j) := input.images[written].platforms[j].contents.shells

list("buildTools", written, j) := input.images[written].platforms[j].contents.buildTools

list("packageManagers", written, j) := input.images[written].platforms[j].contents.packageManagers

list("downloadTools", written, j) := input.images[written].platforms[j].contents.downloadTools

list("setuid", written, j) := input.images[written].platforms[j].contents.setuid

list("worldWritable", written, j) := input.images[written].platforms[j].contents.worldWritable

list("secrets", written, j) := input.images[written].platforms[j].contents.secrets

list("vcs", written, j) := input.images[written].platforms[j].contents.vcs

list("caches", written, j) := input.images[written].platforms[j].contents.caches

list("tests", written, j) := input.images[written].platforms[j].contents.tests

# -- what is known -------------------------------------------------------------------------------------------------

# A violation for every container of whose image one of these lists is not known.
unknown(classes, settings) := {violation |
	some i in containers.all
	written := containers.image(i)
	some class in classes
	not known(class, written)
	not exemptions.holds(settings.exempt, written, "", "")
	violation := containers.violation(i, platforms.contents_unknown)
}

known(class, written) if {
	count(platforms.of[written]) > 0
	every j in platforms.of[written] {
		input.images[written].platforms[j].contents.status == "complete"
		is_array(list(class, written, j))
	}
}

# -- what is found -------------------------------------------------------------------------------------------------

# What a violation says of an image whose list is known and holds something that counts, else undefined. Of several
# platforms it tells the first to blame, which is named unless all are alike.
#   place: platform and digest, or nothing;
#   findings: all of them, in the order of the input;
#   beside that what told says of them.
judged(look, written) := object.union(told(findings), {
	"place": platforms.place(written, alike),
	"findings": findings,
}) if {
	known(look.class, written)
	blamed := {j | some j in platforms.of[written]; count(found(look, written, j)) > 0}
	count(blamed) > 0
	findings := found(look, written, min(blamed))
	alike := {j | some j in blamed; paths_of(look, written, j) == paths_of(look, written, min(blamed))}
}

# The findings of one platform that nothing pardons.
found(look, written, j) := list(look.class, written, j) if {
	count(pardoned(look, written, j)) == 0
} else := [finding |
	pardons := pardoned(look, written, j)
	some k, finding in list(look.class, written, j)
	not k in pardons
]

paths_of(look, written, j) := [field(finding, "path") | some finding in found(look, written, j)]

# By their place in the list.
pardoned(look, written, j) := (gone(look, written, j) | excused(look, written, j)) | exempt(look, written, j)

# Nothing runs a file that a later layer deletes.
gone(look, written, j) := {k |
	look.deleted == false
	some k, finding in list(look.class, written, j)
	finding.deleted == true
}

excused(look, written, j) := {k |
	look.settings.allowInBase == true
	layers := bases.layers(written, j)
	layers > 0
	some k, finding in list(look.class, written, j)
	is_number(finding.layerIndex)
	finding.layerIndex >= 0
	finding.layerIndex < layers
}

# An exemption is either of all paths or of those that one expression matches, and so it is with rules. Not a function
# for each finding: there may be thousands.
exempt(look, written, j) := {k |
	some one in look.settings.exempt
	exemptions.of_image(one, written)
	some k in (exempt_paths(one, look, written, j) & exempt_rules(one, look, written, j))
}

exempt_paths(one, look, written, j) := {k | some k, _ in list(look.class, written, j)} if not one.paths

exempt_paths(one, look, written, j) := {k |
	some k, finding in list(look.class, written, j)
	is_string(finding.path)
	finding.path != ""
	regex.match(expression, finding.path)
} if {
	one.paths
	expression := concat("|", [part | some pattern in one.paths; part := paths.expression(pattern)])
}

exempt_rules(one, look, written, j) := {k | some k, _ in list(look.class, written, j)} if not one.rules

exempt_rules(one, look, written, j) := {k |
	some k, finding in list(look.class, written, j)
	finding.rule in one.rules
} if {
	one.rules
}

# A field of a finding, null where it has none.
default field(_, _) := null

field(finding, name) := finding[name]

# Where a finding is: in a file, in a file that a later layer deletes, or in a line of the history.
state(finding) := "history" if {
	finding.path == ""
} else := "deleted" if {
	finding.deleted == true
} else := "present"

# -- words ---------------------------------------------------------------------------------------------------------

# What is said of findings, of which there is at least one.
#   shown: such as: /bin/bash, /bin/dash and 2 more (from layer 1, "RUN apt-get install bash")
#   paths: the paths alone: /bin/bash, /bin/dash and 2 more
#   places: layer 1
#   details: the first 20 and their number.
told(findings) := {
	"shown": sprintf("%s%s (from %s)", [
		concat(", ", [described(one) | some one in first]),
		more,
		origin(layers, findings[0]),
	]),
	"paths": sprintf("%s%s", [concat(", ", [path(one) | some one in first]), more]),
	"places": places(layers),
	"details": {"findings": [brief(one) | some one in array.slice(findings, 0, 20)], "total": count(findings)},
} if {
	first := array.slice(findings, 0, 3)
	more := remainder(count(findings) - count(first))
	layers := sort({field(one, "layerIndex") | some one in findings})
}

remainder(0) := ""

remainder(n) := sprintf(" and %d more", [n]) if n > 0

brief(finding) := {
	"path": text.short(field(finding, "path"), 256),
	"what": text.short(field(finding, "what"), 64),
	"rule": text.short(field(finding, "rule"), 64),
	"layerIndex": field(finding, "layerIndex"),
	"deleted": field(finding, "deleted"),
}

# With what the path does not tell.
described(finding) := path(finding) if {
	count(remarks(finding)) == 0
} else := sprintf("%s (%s)", [path(finding), concat(", ", remarks(finding))])

remarks(finding) := array.concat(
	[what |
		is_string(finding.what)
		not told_by_path(finding)
		what := text.short(finding.what, 40)
	],
	array.concat(
		[files |
			is_number(finding.count)
			finding.count > 1
			files := sprintf("%v files", [finding.count])
		],
		["deleted by a later layer" | finding.deleted == true],
	),
)

told_by_path(finding) if {
	is_string(finding.path)
	contains(finding.path, finding.what)
}

# As it is, as far as it can be read in one line.
default path(_) := `""`

path(finding) := text.short(finding.path, 64) if {
	is_string(finding.path)
	regex.match(`^[!-~]+$`, finding.path)
} else := text.quoted(finding.path)

# Layers count from 0, the base first, as layerIndex does.
places(layers) := sprintf("layer %v", [layers[0]]) if {
	count(layers) == 1
} else := sprintf("layers %s", [text.listed([number | some layer in layers; number := sprintf("%v", [layer])], 4)])

origin(layers, finding) := sprintf("%s, %s", [places(layers), text.quoted(line)]) if {
	count(layers) == 1
	is_string(finding.createdBy)
	line := step(finding.createdBy)
	line != ""
} else := places(layers)

# A line of the history in short. Values of arguments and variables are left out: they may be secrets.
step(created_by) := trim_space(hidden) if {
	plain := regex.replace(regex.replace(created_by, `\s+`, " "), ` ?# buildkit$`, "")
	made := regex.replace(plain, `^/bin/sh -c #\(nop\) ?`, "")
	bare := regex.replace(made, `^(?:RUN )?\|[0-9]+ (?:.*?/bin/sh -c |.*$)`, "RUN ")
	run := regex.replace(bare, `^(?:RUN )?/bin/sh -c `, "RUN ")
	assigned := regex.replace(run, `([A-Za-z_][A-Za-z0-9_]*=)(?:"[^"]*"?|'[^']*'?|\S+)`, "${1}…")
	named := regex.replace(assigned, `(?i)((?:pass|passwd|password|token|secret|bearer|basic)["']?[ :]+)\S+`, "${1}…")
	hidden := regex.replace(named, `://[^/@ ]*@`, "://…@")
}
