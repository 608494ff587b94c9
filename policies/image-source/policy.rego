# METADATA
# title: Images come from allowed places
# description: |
#   The registry and repository of every image must match an allowed pattern and no denied one. Without parameters
#   everything is allowed.
# custom:
#   severity: high
#   mode: deny
#   category: image
package portcullis.policies.image_source

import rego.v1

import data.portcullis.lib.containers
import data.portcullis.lib.globs
import data.portcullis.lib.parameters
import data.portcullis.lib.text

shape := {
	"allow": {"type": "strings", "default": ["**"]},
	"deny": {"type": "strings", "default": []},
}

settings := parameters.settings("image-source", shape)

deny contains violation if {
	some violation in parameters.faults("image-source", shape)
}

deny contains violation if {
	some name, patterns in settings
	some pattern in patterns
	problem := globs.fault(pattern)
	violation := parameters.violation("image-source", sprintf(
		"%s in %q is no pattern: %s",
		[text.quoted(pattern), name, problem],
	))
}

deny contains violation if {
	some i in containers.all
	not containers.image(i) in named
	violation := containers.violation(i, {
		"msg": "is no image reference",
		"fix": "write it as registry/repository:tag or registry/repository@sha256:…",
		"details": {"reason": "image-reference-invalid"},
	})
}

deny contains violation if {
	some i in containers.all
	written := containers.image(i)
	some pattern in forbidding[written]
	violation := containers.violation(i, {
		"msg": sprintf("comes from %s, which the pattern %s forbids", [place[written], pattern]),
		"fix": "use an image from another place",
		"details": {"reason": "image-not-allowed", "pattern": pattern},
	})
}

deny contains violation if {
	some i in containers.all
	written := containers.image(i)
	not written in allowed
	violation := containers.violation(i, {
		"msg": sprintf("comes from %s, which is not an allowed place", [place[written]]),
		"fix": fix,
		"details": {"reason": "image-not-allowed"},
	})
}

# registry/repository of each image that has a reference.
place[written] := sprintf("%s/%s", [registry, repository]) if {
	some written
	registry := input.images[written].registry
	repository := input.images[written].repository
	is_string(registry)
	is_string(repository)
	is_string(input.images[written].reference)
}

named contains written if some written, _ in place

allowed contains written if {
	some written, path in place
	some pattern in settings.allow
	globs.matches(pattern, path)
}

forbidding[written] contains pattern if {
	some written, path in place
	some pattern in settings.deny
	globs.matches(pattern, path)
}

default fix := "no place is allowed at present; ask whoever runs Portcullis"

fix := sprintf("use an image that matches %s", [text.listed(settings.allow, 5)]) if count(settings.allow) > 0
