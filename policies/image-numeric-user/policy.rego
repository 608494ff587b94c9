# METADATA
# title: Images name their user by a number
# description: |
#   USER of every platform is a number above 0. The kubelet can hold runAsNonRoot against a number only, and a name may be
#   another number, or root, after the next change of /etc/passwd. What a pod says of the user does not matter here.
# custom:
#   severity: medium
#   mode: warn
#   category: python service
#   onRequest: true
package portcullis.policies.image_numeric_user

import rego.v1

import data.portcullis.lib.containers
import data.portcullis.lib.exemptions
import data.portcullis.lib.parameters
import data.portcullis.lib.platforms
import data.portcullis.lib.text

shape := {"exempt": {"type": "objects", "default": []}}

settings := parameters.settings("image-numeric-user", shape)

deny contains violation if {
	some violation in parameters.faults("image-numeric-user", shape)
}

deny contains violation if {
	some problem in exemptions.faults(settings.exempt, ["images"])
	violation := parameters.violation("image-numeric-user", problem)
}

deny contains violation if {
	some i in containers.running
	written := containers.image(i)
	platforms.lacking(written, numeric)
	not exemptions.holds(settings.exempt, written, "", "")
	blamed := object.get(platforms.of, written, set()) - object.get(numeric, written, set())
	violation := containers.violation(i, object.union(
		platforms.place(written, blamed),
		{
			"msg": said(written, blamed),
			"fix": "set USER to a number above 0 in the Dockerfile (USER 10001)",
			"details": {"reason": reason(written, blamed)},
		},
	))
}

# The platforms whose USER is a number above 0; a group may follow.
numeric[written] contains j if {
	some written, j
	user := input.images[written].platforms[j].config.user
	is_string(user)
	regex.match(`^0*[1-9][0-9]*(?::.*)?$`, user)
}

default blamed_user(_, _) := null

blamed_user(written, blamed) := input.images[written].platforms[min(blamed)].config.user

default reason(_, _) := "user-unknown"

reason(written, blamed) := "user-unset" if {
	blamed_user(written, blamed) == ""
} else := "user-root" if {
	regex.match(`^(?:0+|root)(?::.*)?$`, word(written, blamed))
} else := "user-named" if {
	word(written, blamed)
}

word(written, blamed) := user if {
	user := blamed_user(written, blamed)
	is_string(user)
}

said(written, blamed) := {
	"user-unset": "names no USER, so it is root",
	"user-root": "names root as its USER",
	"user-named": sprintf("names its USER %s, which is no number", [text.quoted(blamed_user(written, blamed))]),
	"user-unknown": "has a USER that is not known",
}[reason(written, blamed)]
