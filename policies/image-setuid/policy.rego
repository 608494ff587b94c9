# METADATA
# title: Images hold no files that give privileges
# description: |
#   Files with the setuid or setgid bit or with file capabilities give whoever runs them rights that he has not. Files
#   that anybody may write, and such folders without the sticky bit, let any process of the container change what
#   another one runs. What lies in an earlier layer only does not count. What cannot be known is refused.
# custom:
#   severity: medium
#   mode: warn
#   category: image
package portcullis.policies.image_setuid

import rego.v1

import data.portcullis.lib.containers
import data.portcullis.lib.contents
import data.portcullis.lib.exemptions
import data.portcullis.lib.parameters
import data.portcullis.lib.paths
import data.portcullis.lib.text

shape := {
	"allow": {"type": "strings", "default": []},
	"allowInBase": {"type": "boolean", "default": true},
	"exempt": {"type": "objects", "default": []},
}

settings := parameters.settings("image-setuid", shape)

look(class) := {"class": class, "deleted": false, "settings": allowing}

# What is allowed is exempt in every image. No paths, or a faulty one among them, exempt nothing.
allowing := object.union(settings, {"exempt": array.concat(settings.exempt, [{"paths": settings.allow}])})

deny contains violation if {
	some violation in parameters.faults("image-setuid", shape)
}

deny contains violation if {
	some problem in exemptions.faults(settings.exempt, exemptions.fields)
	violation := parameters.violation("image-setuid", problem)
}

deny contains violation if {
	some pattern in settings.allow
	problem := paths.fault(pattern)
	violation := parameters.violation("image-setuid", sprintf(
		"%s in \"allow\" is no pattern of paths: %s",
		[text.quoted(pattern), problem],
	))
}

deny contains violation if {
	some violation in contents.unknown({"setuid", "worldWritable"}, settings)
}

deny contains violation if {
	some i in containers.all
	judged := contents.judged(look("setuid"), containers.image(i))
	violation := containers.violation(i, object.union(judged.place, {
		"msg": sprintf("has files that give privileges: %s", [judged.shown]),
		"fix": "remove them, or the bits (chmod a-s) and capabilities (setcap -r), in the step that brings them",
		"details": object.union({"reason": "setuid-present"}, judged.details),
	}))
}

deny contains violation if {
	some i in containers.all
	judged := contents.judged(look("worldWritable"), containers.image(i))
	violation := containers.violation(i, object.union(judged.place, {
		"msg": sprintf("has files or folders that anybody may write: %s", [judged.shown]),
		"fix": "take the right to write from others (chmod o-w), or mount a volume where the program writes",
		"details": object.union({"reason": "world-writable"}, judged.details),
	}))
}
