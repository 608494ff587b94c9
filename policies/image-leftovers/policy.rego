# METADATA
# title: Images hold nothing that was left behind
# description: |
#   Version control folders tell the whole history of a program, and caches and tests make an image larger for nothing.
#   What a later layer deletes still lies in the earlier one and is pulled with it, so it counts. What cannot be known is
#   refused.
# custom:
#   severity: low
#   mode: warn
#   category: image
package portcullis.policies.image_leftovers

import rego.v1

import data.portcullis.lib.containers
import data.portcullis.lib.contents
import data.portcullis.lib.exemptions
import data.portcullis.lib.parameters

shape := {
	"vcs": {"type": "boolean", "default": true},
	"caches": {"type": "boolean", "default": true},
	"tests": {"type": "boolean", "default": true},
	"allowInBase": {"type": "boolean", "default": true},
	"exempt": {"type": "objects", "default": []},
}

settings := parameters.settings("image-leftovers", shape)

classes contains class if {
	some class in {"vcs", "caches", "tests"}
	settings[class] == true
}

look(class) := {"class": class, "deleted": true, "settings": settings}

deny contains violation if {
	some violation in parameters.faults("image-leftovers", shape)
}

deny contains violation if {
	some problem in exemptions.faults(settings.exempt, exemptions.fields)
	violation := parameters.violation("image-leftovers", problem)
}

deny contains violation if {
	some violation in contents.unknown(classes, settings)
}

deny contains violation if {
	"vcs" in classes
	some i in containers.all
	judged := contents.judged(look("vcs"), containers.image(i))
	violation := containers.violation(i, object.union(judged.place, {
		"msg": sprintf("has version control data: %s", [judged.shown]),
		"fix": "list it in .dockerignore, and copy only what the program needs",
		"details": object.union({"reason": "vcs-present"}, judged.details),
	}))
}

deny contains violation if {
	"caches" in classes
	some i in containers.all
	judged := contents.judged(look("caches"), containers.image(i))
	violation := containers.violation(i, object.union(judged.place, {
		"msg": sprintf("has caches: %s", [judged.shown]),
		"fix": "delete them in the RUN that makes them, or keep them in a cache mount (RUN --mount=type=cache)",
		"details": object.union({"reason": "caches-present"}, judged.details),
	}))
}

deny contains violation if {
	"tests" in classes
	some i in containers.all
	judged := contents.judged(look("tests"), containers.image(i))
	violation := containers.violation(i, object.union(judged.place, {
		"msg": sprintf("has tests: %s", [judged.shown]),
		"fix": "list them in .dockerignore, or copy only what the program needs from a build stage",
		"details": object.union({"reason": "tests-present"}, judged.details),
	}))
}
