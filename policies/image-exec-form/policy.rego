# METADATA
# title: Programs start without a shell around them
# description: |
#   ENTRYPOINT and CMD are lists (exec form). Written as one text they run below /bin/sh -c: the shell is process 1 and does
#   not pass SIGTERM on, so that every stop takes the whole grace period and ends in SIGKILL. A text that begins with exec
#   puts the program in place of the shell and passes. What the pod says (command, args) is judged by nobody here: it
#   replaces what the image says.
# custom:
#   severity: low
#   mode: warn
#   category: python service
#   onRequest: true
package portcullis.policies.image_exec_form

import rego.v1

import data.portcullis.lib.containers
import data.portcullis.lib.exemptions
import data.portcullis.lib.parameters
import data.portcullis.lib.platforms

shape := {"exempt": {"type": "objects", "default": []}}

settings := parameters.settings("image-exec-form", shape)

deny contains violation if {
	some violation in parameters.faults("image-exec-form", shape)
}

deny contains violation if {
	some problem in exemptions.faults(settings.exempt, ["images"])
	violation := parameters.violation("image-exec-form", problem)
}

deny contains violation if {
	some i in containers.running
	not i in commanded
	written := containers.image(i)
	platforms.lacking(written, started[i])
	not exemptions.holds(settings.exempt, written, "", "")
	violation := containers.violation(i, object.union(
		platforms.place(written, object.get(platforms.of, written, set()) - started[i][written]),
		said(i, written),
	))
}

# The pod says what is started.
commanded contains i if {
	some i
	is_array(input.containers[i].spec.command)
	count(input.containers[i].spec.command) > 0
}

# The pod says the arguments, in place of CMD.
argued contains i if {
	some i
	is_array(input.containers[i].spec.args)
	count(input.containers[i].spec.args) > 0
}

# Of each container the platforms of its image that start without a shell.
started[i][written] := {j |
	some j
	direct(input.images[written].platforms[j].config.entrypoint)
	direct(arguments(i, written, j))
	count(input.images[written].platforms[j].config.entrypoint) + count(arguments(i, written, j)) > 0
} if {
	some i in containers.running
	written := containers.image(i)
}

arguments(i, written, j) := input.images[written].platforms[j].config.cmd if not i in argued

arguments(i, _, _) := input.containers[i].spec.args if i in argued

direct(words) if {
	is_array(words)
	every word in words {
		is_string(word)
	}
	not through_shell(words)
}

through_shell(words) if {
	every word in words {
		is_string(word)
	}
	regex.match(`^(?:/usr)?(?:/bin/)?(?:ba|da|a)?sh$`, words[0])
	words[1] == "-c"
	not replaces_shell(words)
}

replaces_shell(words) if regex.match(`^\s*exec\s`, words[2])

said(i, written) := shell_form("ENTRYPOINT") if {
	some j
	through_shell(input.images[written].platforms[j].config.entrypoint)
} else := shell_form("CMD") if {
	some j in platforms.of[written]
	through_shell(arguments(i, written, j))
} else := {
	"msg": "does not say what it starts",
	"fix": "set ENTRYPOINT or CMD in the Dockerfile, as a list",
	"details": {"reason": "command-unknown"},
}

shell_form(instruction) := {
	"msg": sprintf("starts its program below a shell, which keeps signals from it: %s is no list", [instruction]),
	"fix": sprintf("write %s as a list: %s [\"python\", \"-m\", \"app\"]", [instruction, instruction]),
	"details": {"reason": "shell-form", "instruction": instruction},
}
