# METADATA
# title: Images hold no build tools
# description: |
#   Compilers, build systems, headers and static libraries, and the tools that install dependencies belong into a build
#   stage: in a running container they serve whoever got in, and they need updates as everything else does. What lies in
#   an earlier layer only does not count. What cannot be known is refused.
# custom:
#   severity: medium
#   mode: deny
#   category: image
package portcullis.policies.image_build_tools

import rego.v1

import data.portcullis.lib.containers
import data.portcullis.lib.contents
import data.portcullis.lib.exemptions
import data.portcullis.lib.parameters

shape := {
	"allowInBase": {"type": "boolean", "default": true},
	"exempt": {"type": "objects", "default": []},
}

settings := parameters.settings("image-build-tools", shape)

look := {"class": "buildTools", "deleted": false, "settings": settings}

deny contains violation if {
	some violation in parameters.faults("image-build-tools", shape)
}

deny contains violation if {
	some problem in exemptions.faults(settings.exempt, exemptions.fields)
	violation := parameters.violation("image-build-tools", problem)
}

deny contains violation if {
	some violation in contents.unknown({"buildTools"}, settings)
}

deny contains violation if {
	some i in containers.all
	judged := contents.judged(look, containers.image(i))
	violation := containers.violation(i, object.union(judged.place, {
		"msg": sprintf("has build tools: %s", [judged.shown]),
		"fix": "build in a stage of its own and copy only what runs into the last one (COPY --from)",
		"details": object.union({"reason": "build-tools-present"}, judged.details),
	}))
}
