# METADATA
# title: The application's files belong to whom they should
# description: |
#   The files of the application belong to root or to the user that runs it (which is what COPY --chown is for), and they
#   are not stored twice because a later layer changed their owner. What a process may not change, an intruder in it cannot
#   change either: acceptWritable: false asks for that as well.
# custom:
#   severity: medium
#   mode: warn
#   category: image
package portcullis.policies.image_ownership

import rego.v1

import data.portcullis.lib.containers
import data.portcullis.lib.exemptions
import data.portcullis.lib.parameters
import data.portcullis.lib.platforms
import data.portcullis.lib.text

# A few small files that are touched again are nothing to speak of.
shape := {
	"owner": {"type": "choice", "choices": ["any", "root", "user"], "default": "any"},
	"acceptWritable": {"type": "boolean", "default": true},
	"maxRewrittenMiB": {"type": "number", "default": 5},
	"exempt": {"type": "objects", "default": []},
}

settings := parameters.settings("image-ownership", shape)

mib := 1048576

deny contains violation if {
	some violation in parameters.faults("image-ownership", shape)
}

deny contains violation if {
	some problem in exemptions.faults(settings.exempt, ["images", "paths"])
	violation := parameters.violation("image-ownership", problem)
}

deny contains violation if {
	some i in containers.running
	written := containers.image(i)
	platforms.lacking(written, known)
	not exemptions.holds(settings.exempt, written, "", "")
	violation := containers.violation(i, object.union(
		platforms.contents_unknown,
		platforms.place(written, object.get(platforms.of, written, set()) - object.get(known, written, set())),
	))
}

deny contains violation if {
	some i in containers.running
	written := containers.image(i)
	some check, by_platform in faults[written]
	blamed := object.keys(by_platform)
	violation := containers.violation(i, object.union(by_platform[min(blamed)], platforms.place(written, blamed)))
}

# The platforms that say everything about the application's files.
known[written] contains j if {
	some written
	some j in platforms.complete[written]
	application := input.images[written].platforms[j].contents.application
	is_array(application.foreign)
	is_array(application.writable)
	every number in [application.ownedByRoot, application.ownedByUser, application.rewrittenBytes] {
		is_number(number)
		number >= 0
	}
}

# -- the checks: the words on each platform that fails one ---------------------------------------------------------

faults[written].foreign[j] := {
	"msg": sprintf("has files that belong to neither root nor its user: %s", [text.listed(shown, 3)]),
	"fix": "use COPY --chown with the user of the image, or without it for root",
	"details": {"reason": "files-foreign", "findings": array.slice(found, 0, 20), "total": count(found)},
} if {
	some written
	some j in known[written]
	found := remaining(written, input.images[written].platforms[j].contents.application.foreign)
	count(found) > 0
	shown := [sprintf("%s (uid %v)", [text.quoted(one.path), one.uid]) | some one in found]
}

# Files that shall belong to the user are his to change.
faults[written].writable[j] := {
	"msg": sprintf("lets its user change files of the application: %s", [text.listed(shown, 3)]),
	"fix": "leave them to root and readable (COPY without --chown, --chmod=a-w); mount a volume for what is written",
	"details": {"reason": "files-writable", "findings": array.slice(found, 0, 20), "total": count(found)},
} if {
	settings.acceptWritable == false
	settings.owner != "user"
	some written
	some j in known[written]
	found := remaining(written, input.images[written].platforms[j].contents.application.writable)
	count(found) > 0
	shown := [text.quoted(one.path) | some one in found]
}

faults[written].owner[j] := {
	"msg": sprintf("has %s of the application that %s; they are to belong to %s", [
		text.counted(number, "file", "files"),
		wrong_owner[settings.owner].words,
		wanted[settings.owner],
	]),
	"fix": wrong_owner[settings.owner].fix,
	"details": {"reason": "files-owner", "files": number},
} if {
	some written
	some j in known[written]
	not exemptions.holds(settings.exempt, written, "", "")
	number := floor(input.images[written].platforms[j].contents.application[wrong_owner[settings.owner].field])
	number > 0
}

wanted := {"root": "root", "user": "the user of the image"}

wrong_owner := {
	"root": {
		"field": "ownedByUser",
		"words": "belong to its user",
		"fix": "use COPY without --chown",
	},
	"user": {
		"field": "ownedByRoot",
		"words": "belong to root",
		"fix": "use COPY --chown with the user of the image",
	},
}

faults[written].rewritten[j] := {
	"msg": sprintf("stores %d MiB of files twice, because a later layer changed only their owner or mode", [size]),
	"fix": "use COPY --chown and COPY --chmod instead of chown and chmod in a RUN",
	"details": {"reason": "files-rewritten", "mib": size},
} if {
	some written
	some j in known[written]
	not exemptions.holds(settings.exempt, written, "", "")
	bytes := input.images[written].platforms[j].contents.application.rewrittenBytes
	bytes > settings.maxRewrittenMiB * mib
	size := ceil(bytes / mib)
}

# The findings that are not exempt, as far as they are told; one of an odd shape is one all the same.
remaining(written, findings) := [one |
	some finding in findings
	one := {"path": field(finding, "path", ""), "uid": field(finding, "uid", "unknown")}
	not exemptions.holds(settings.exempt, written, one.path, "")
]

field(finding, name, otherwise) := value if {
	value := finding[name]
	type_name(value) == type_name(typical[name])
} else := otherwise

typical := {"path": "", "uid": 0}
