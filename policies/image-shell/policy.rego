# METADATA
# title: Images hold no shell
# description: |
#   Whoever gets into a container finds no shell there: what a program needs to run is the program. A shell that lies in
#   an earlier layer only, and is gone from the files of the image, does not count. What cannot be known is refused.
# custom:
#   severity: medium
#   mode: deny
#   category: image
package portcullis.policies.image_shell

import rego.v1

import data.portcullis.lib.containers
import data.portcullis.lib.contents
import data.portcullis.lib.exemptions
import data.portcullis.lib.parameters

shape := {
	"allowInBase": {"type": "boolean", "default": true},
	"exempt": {"type": "objects", "default": []},
}

settings := parameters.settings("image-shell", shape)

look := {"class": "shells", "deleted": false, "settings": settings}

deny contains violation if {
	some violation in parameters.faults("image-shell", shape)
}

deny contains violation if {
	some problem in exemptions.faults(settings.exempt, exemptions.fields)
	violation := parameters.violation("image-shell", problem)
}

deny contains violation if {
	some violation in contents.unknown({"shells"}, settings)
}

deny contains violation if {
	some i in containers.all
	judged := contents.judged(look, containers.image(i))
	violation := containers.violation(i, object.union(judged.place, {
		"msg": sprintf("has a shell: %s", [judged.shown]),
		"fix": "build on a base without a shell (distroless, scratch), or copy only what runs from a build stage",
		"details": object.union({"reason": "shell-present"}, judged.details),
	}))
}
