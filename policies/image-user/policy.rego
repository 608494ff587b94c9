# METADATA
# title: Images run as a non-root user
# description: |
#   The first process of a container must not be uid 0. A name as USER counts for what the image's own passwd says.
#   Where the user cannot be known (the name is not in it) the container is refused as well.
# custom:
#   severity: high
#   mode: deny
#   category: image
package portcullis.policies.image_user

import rego.v1

import data.portcullis.lib.containers
import data.portcullis.lib.parameters
import data.portcullis.lib.text

shape := {"acceptRunAsNonRoot": {"type": "boolean", "default": false}}

settings := parameters.settings("image-user", shape)

deny contains violation if {
	some violation in parameters.faults("image-user", shape)
}

deny contains violation if {
	some i in containers.running
	not i in nonroot
	violation := containers.violation(i, object.union(said(i), place(i)))
}

nonroot contains i if {
	some i
	input.containers[i].user.root == false
}

# The kubelet refuses to start a user that is not known to be other than root where runAsNonRoot is set.
nonroot contains i if {
	settings.acceptRunAsNonRoot == true
	some i
	input.containers[i].user.root == "unknown"
	input.containers[i].user.runAsNonRoot == true
}

said(i) := {
	"msg": "runs as root: its securityContext says so (runAsUser)",
	"fix": "set runAsUser to a number above 0, or remove it if the image has a numeric USER",
	"details": {"reason": "user-root"},
} if {
	input.containers[i].user.root == true
	input.containers[i].user.source in {"container", "pod"}
} else := {
	"msg": "runs as root: the image names no USER",
	"fix": "set USER to a numeric id in the Dockerfile, or runAsUser in the securityContext",
	"details": {"reason": "user-root"},
} if {
	input.containers[i].user.root == true
	input.containers[i].user.source == "unset"
} else := {
	"msg": sprintf("runs as root: its user %s has the uid 0 in the image", [text.quoted(name)]),
	"fix": "set USER to a numeric id above 0 in the Dockerfile, or runAsUser in the securityContext",
	"details": {"reason": "user-root"},
} if {
	input.containers[i].user.root == true
	name := input.containers[i].user.name
	is_string(name)
	not name in {"", "root"}
} else := {
	"msg": "runs as root: that is the user of the image",
	"fix": "set USER to a numeric id above 0 in the Dockerfile, or runAsUser in the securityContext",
	"details": {"reason": "user-root"},
} if {
	input.containers[i].user.root == true
} else := {
	"msg": sprintf("may run as root: its user %s is not in the image's /etc/passwd", [text.quoted(name)]),
	"fix": "add the user in the Dockerfile, or better set USER to a numeric id (USER 10001)",
	"details": {"reason": "user-unknown"},
} if {
	input.containers[i].user.source == "unresolved"
	name := input.containers[i].user.name
	is_string(name)
	name != ""
} else := {
	"msg": "may run as root: its user is not known",
	"fix": "set USER to a numeric id in the Dockerfile, or runAsUser in the securityContext",
	"details": {"reason": "user-unknown"},
}

# With several platforms, the first one that is to blame, where the image decides.
default place(_) := {}

place(i) := {"platform": blamed[0].platform, "digest": blamed[0].digest} if {
	source := input.containers[i].user.source
	not source in {"container", "pod"}
	written := containers.image(i)
	input.images[written].isIndex == true
	blamed := [{"platform": platform, "digest": digest} |
		some j
		input.images[written].platforms[j].user.root == input.containers[i].user.root
		platform := input.images[written].platforms[j].platform
		digest := input.images[written].platforms[j].digest
	]
	count(blamed) < count([j | some j; _ = input.images[written].platforms[j].platform])
}
