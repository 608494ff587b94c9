# METADATA
# title: The history of an image
# description: |
#   The lines of the Dockerfile that an image was built from, as its builder noted them, and the commands in them.
#   It is the builder's word: lines of no known form, and images that have no history, say nothing.
package portcullis.lib.history

import rego.v1

import data.portcullis.lib.bases
import data.portcullis.lib.contents

# A hostile image must not keep the engine busy. Real histories have up to 100 lines with some 20,000 characters
# and 300 commands.
max_steps := 300

max_characters := 100000

max_commands := 3000

# The platforms whose history can be read.
readable[written] contains j if {
	some written, j
	history := input.images[written].platforms[j].config.history
	is_array(history)
	count(history) > 0
	count(history) <= max_steps
	every step in history {
		is_string(step.createdBy)
		is_string(step.instruction)
		is_string(step.arguments)
	}
	sum([count(step.createdBy) | some step in history]) <= max_characters
	sum([count(ends) | some step in history; ends := regex.find_n(`[;&|()\n]+`, step.arguments, max_commands)]) < max_commands
}

# The lines that are the image's own: those behind the last one that made a layer of an allowed base. Where the history
# does not fit the layers, no line can be told to be the base's.
own[written][j] := array.slice(history, start(written, j), count(history)) if {
	some written
	some j in readable[written]
	history := input.images[written].platforms[j].config.history
}

start(written, j) := max(array.concat([0], [after |
	some k
	index := input.images[written].platforms[j].config.history[k].layerIndex
	is_number(index)
	index >= 0
	index < bases.layers(written, j)
	after := k + 1
]))

# -- commands ------------------------------------------------------------------------------------------------------

# Where a command begins, what may stand before its program, the folder of that, its name, and what follows.
command := concat("", [
	`(?:^|[;&|()\n])\s*`,
	`(?:(?:if|then|else|elif|do|while|until|!|\{|exec|command|time|env|[A-Za-z_][A-Za-z0-9_]*=(?:"[^"]*"|'[^']*'|[^\s"';&|()]*))\s+)*`,
	`(?:[^\s=;&|()]*/)?([A-Za-z0-9_.+-]+)([^;&|()\n]*)`,
])

# The commands of a RUN as [program, arguments]. Quotes are not minded: what stands in them may be taken for a command.
# sudo is one, and so is what it runs.
calls(arguments) := {call |
	joined := regex.replace(arguments, `\\[ \t\r]*\n`, " ")
	bare := regex.replace(joined, `^(--[a-z]+=\S+\s+)+`, "")
	text := regex.replace(bare, `(^|[\s;&|()])((?:[^\s=;&|()]*/)?sudo)\s+((?:-\S+\s+)*)`, "$1 $2 $3; ")
	some found in regex.find_all_string_submatch_n(command, text, max_commands)
	call := named(found[1], trim_space(found[2]))
}

# python3 -m pip is pip, as pip3.12 is.
named(program, arguments) := [name, regex.replace(arguments, `^-m\s+\S+\s*`, "")] if {
	regex.match(`^python[0-9.]*$`, program)
	module := regex.find_all_string_submatch_n(`^-m\s+([a-z]+)`, arguments, 1)
	name := module[0][1]
} else := ["pip", arguments] if {
	regex.match(`^pip[0-9.]+$`, program)
} else := [object.get(other_names, program, program), arguments]

other_names := {"apt": "apt-get", "bundler": "bundle", "gradlew": "gradle", "mvnw": "mvn"}

# A cache mount keeps what is cached out of the layers. BuildKit does not note it, Buildah does.
cache_mount(arguments) if regex.match(`^(?:--[a-z]+=\S+\s+)*--mount=(?:\S*,)?type=cache`, arguments)

# The folder or file that a COPY or ADD writes, absolute. Both forms, and that of the classic builder.
target(step, folder) := resolved(trim(word, `"'`), folder) if {
	words := [word | some word in regex.split(`[\s,\[\]]+`, step.arguments); word != ""]
	count(words) > 0
	word := words[count(words) - 1]
}

resolved(path, _) := trim_path(path) if startswith(path, "/")

resolved(path, folder) := trim_path(sprintf("%s/%s", [folder, path])) if not startswith(path, "/")

# Without what says "here", without double and last slashes; "" is the root.
trim_path(path) := trim_suffix(regex.replace(regex.replace(path, `/(?:\./|/)+`, "/"), `/\.?$`, "/"), "/")

# A folder and those above it, as far as anybody goes: /a/b is in /a/b and /a. The root is left out.
enclosing(path) := {folder |
	segments := array.slice(split(path, "/"), 0, 30)
	some depth in numbers.range(2, count(segments))
	folder := concat("/", array.slice(segments, 0, depth))
} if {
	path != ""
} else := set()

# The WORKDIR at the line k of the image's own.
workdir(written, j, k) := own[written][j][max(before)].arguments if {
	before := {line | some line in workdirs[written][j]; line < k}
	count(before) > 0
} else := ""

workdirs[written][j] contains k if {
	some written, j
	some k, step in own[written][j]
	step.instruction == "WORKDIR"
}

# -- words ---------------------------------------------------------------------------------------------------------

# Without values of variables and passwords of addresses, which may be secrets.
line(step) := contents.step(sprintf("%s %s", [step.instruction, step.arguments]))
