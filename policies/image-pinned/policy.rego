# METADATA
# title: Images are named by digest
# description: |
#   A tag can be moved between the moment it is judged and the moment a node pulls it. Only a digest names what was
#   judged. The default mode is warn, because most manifests in the world use tags; set it to deny where a pipeline
#   writes digests.
# custom:
#   severity: medium
#   mode: warn
#   category: image
package portcullis.policies.image_pinned

import rego.v1

import data.portcullis.lib.containers
import data.portcullis.lib.parameters
import data.portcullis.lib.text

shape := {}

deny contains violation if {
	some violation in parameters.faults("image-pinned", shape)
}

deny contains violation if {
	some i in containers.all
	not i in pinned
	violation := containers.violation(i, {
		"msg": msg(i),
		"fix": "name it by digest as well: IMAGE:TAG@sha256:…",
		"details": {"reason": "image-not-pinned"},
	})
}

pinned contains i if {
	some i
	input.containers[i].pinned == true
}

default msg(_) := "is not named by digest, so what runs may not be what was judged"

msg(i) := sprintf("is named by the tag %s, which may be moved to another image", [text.quoted(tag)]) if {
	tag := input.images[containers.image(i)].tag
	is_string(tag)
}
