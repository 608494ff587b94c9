# METADATA
# title: Images hold no package manager and no download tool
# description: |
#   What installs packages or fetches files from elsewhere lets whoever gets into a container bring the rest along. An
#   image is changed by building it anew. What lies in an earlier layer only does not count. What cannot be known is
#   refused.
# custom:
#   severity: low
#   mode: warn
#   category: image
package portcullis.policies.image_package_manager

import rego.v1

import data.portcullis.lib.containers
import data.portcullis.lib.contents
import data.portcullis.lib.exemptions
import data.portcullis.lib.parameters

shape := {
	"downloadTools": {"type": "boolean", "default": true},
	"allowInBase": {"type": "boolean", "default": true},
	"exempt": {"type": "objects", "default": []},
}

settings := parameters.settings("image-package-manager", shape)

classes contains "packageManagers"

classes contains "downloadTools" if settings.downloadTools == true

look(class) := {"class": class, "deleted": false, "settings": settings}

deny contains violation if {
	some violation in parameters.faults("image-package-manager", shape)
}

deny contains violation if {
	some problem in exemptions.faults(settings.exempt, exemptions.fields)
	violation := parameters.violation("image-package-manager", problem)
}

deny contains violation if {
	some violation in contents.unknown(classes, settings)
}

deny contains violation if {
	some i in containers.all
	judged := contents.judged(look("packageManagers"), containers.image(i))
	violation := containers.violation(i, object.union(judged.place, {
		"msg": sprintf("has a package manager: %s", [judged.shown]),
		"fix": "install in a build stage and copy the result onto a base without one (distroless, scratch)",
		"details": object.union({"reason": "package-manager-present"}, judged.details),
	}))
}

deny contains violation if {
	"downloadTools" in classes
	some i in containers.all
	judged := contents.judged(look("downloadTools"), containers.image(i))
	violation := containers.violation(i, object.union(judged.place, {
		"msg": sprintf("has a download tool: %s", [judged.shown]),
		"fix": "fetch files in a build stage; for health checks use httpGet, or the program itself",
		"details": object.union({"reason": "download-tool-present"}, judged.details),
	}))
}
