# METADATA
# title: Dependencies lie below the code
# description: |
#   The layers that bring Python packages come before the layer that brings the application, and none brings both: then a
#   change of code builds and pulls a small layer, and that of the dependencies stays. Packages are found in the layers;
#   which line copied the code is the builder's word.
# custom:
#   severity: low
#   mode: warn
#   category: python service
#   onRequest: true
package portcullis.policies.image_layer_order

import rego.v1

import data.portcullis.lib.containers
import data.portcullis.lib.exemptions
import data.portcullis.lib.history
import data.portcullis.lib.parameters
import data.portcullis.lib.platforms
import data.portcullis.lib.stages
import data.portcullis.lib.text

shape := {
	"acceptUnknown": {"type": "boolean", "default": false},
	"exempt": {"type": "objects", "default": []},
}

settings := parameters.settings("image-layer-order", shape)

deny contains violation if {
	some violation in parameters.faults("image-layer-order", shape)
}

deny contains violation if {
	some problem in exemptions.faults(settings.exempt, ["images"])
	violation := parameters.violation("image-layer-order", problem)
}

deny contains violation if {
	some i in containers.all
	written := containers.image(i)
	platforms.lacking(written, listed)
	not exemptions.holds(settings.exempt, written, "", "")
	violation := containers.violation(i, platforms.contents_unknown)
}

deny contains violation if {
	some i in containers.all
	written := containers.image(i)
	settings.acceptUnknown != true
	platforms.lacking(written, history.readable)
	not exemptions.holds(settings.exempt, written, "", "")
	violation := containers.violation(i, stages.history_unknown)
}

deny contains violation if {
	some i in containers.all
	written := containers.image(i)
	not exemptions.holds(settings.exempt, written, "", "")
	some reason in ["layer-mixed", "layer-order"]
	blamed := {j | _ = faults[written][j][reason]}
	violation := containers.violation(i, object.union(
		platforms.place(written, blamed),
		said(reason, stages.own[written][min(blamed)][min(faults[written][min(blamed)][reason])]),
	))
}

said("layer-mixed", step) := {
	"msg": sprintf("brings its dependencies and its code in one layer: %s", [shown(step)]),
	"fix": "copy or install the dependencies in a line of their own, before that of the code",
	"details": {"reason": "layer-mixed", "line": shown(step)},
}

said("layer-order", step) := {
	"msg": sprintf("brings its code before its dependencies, so that every change of code brings both anew: %s", [shown(step)]),
	"fix": "copy the code after the line that installs or copies the dependencies",
	"details": {"reason": "layer-order", "line": shown(step)},
}

shown(step) := text.quoted(text.short(history.line(step), 150))

# By reason the lines of the final stage that copy code to the wrong place.
faults[written][j]["layer-mixed"] contains k if {
	some written, j
	some k in code[written][j]
	count(packaged[written][j][stages.own[written][j][k].layerIndex]) > 1
}

faults[written][j]["layer-order"] contains k if {
	some written, j
	some k in code[written][j]
	some index, _ in packaged[written][j]
	index > stages.own[written][j][k].layerIndex
}

# -- packages ------------------------------------------------------------------------------------------------------

listed[written] contains j if {
	some j in platforms.complete[written]
	is_array(input.images[written].platforms[j].contents.packages)
	every found in input.images[written].platforms[j].contents.packages {
		is_string(found.manager)
		is_number(found.layerIndex)
	}
}

# The Python packages that each layer brings. Those of the base lie below all code.
packaged[written][j][index] contains name if {
	some written
	some j in listed[written]
	some found in input.images[written].platforms[j].contents.packages
	found.manager == "python"
	index := found.layerIndex
	name := found.name
}

# -- code ----------------------------------------------------------------------------------------------------------

# The lines that bring code: COPY and ADD of something else than lists of dependencies, to where programs of the
# application lie, and RUN that clones a repository.
code[written][j] contains k if {
	some written, j
	some k, step in stages.own[written][j]
	step.instruction in {"COPY", "ADD"}
	path := history.target(step, folder(written, j, k))
	not regex.match(dependencies, path)
	not regex.match(system, path)
	some source in sources(step)
	not regex.match(lists, source)
}

code[written][j] contains k if {
	some written, j
	some k, step in stages.own[written][j]
	step.instruction == "RUN"
	some call in history.calls(step.arguments)
	call[0] == "git"
	regex.match(`(?:^|\s)clone\s`, call[1])
}

# Where dependencies are copied to.
dependencies := `(?:^|/)(?:\.?v?env|virtualenvs?|(?:site|dist)-packages|python[0-9.]*|\.local|wheels|wheelhouse|deps|dependencies)(?:/|$)`

# Where nobody's application lies.
system := `^/(?:(?:bin|sbin|etc|lib|lib64|tmp|run|dev|root)(?:/|$)|usr/(?:bin|sbin|lib|share|include|local)(?:/|$)|var/(?:lib|cache|log|run)(?:/|$))`

# What names dependencies, and single files of the classic builder, whose names it does not note.
lists := concat("", [
	`(?:^|/)(?:requirements[^/]*\.(?:txt|in)|constraints[^/]*\.txt|pyproject\.toml|setup\.(?:py|cfg)|Pipfile|[^/]*\.lock|`,
	`pylock[^/]*\.toml|README[^/]*|LICENSE[^/]*|\.python-version|[^/]*\.whl)$|^file:`,
])

sources(step) := array.slice(words, 0, count(words) - 1) if {
	words := [word |
		some part in regex.split(`[\s,\[\]]+`, step.arguments)
		word := trim(part, `"'`)
		not word in {"", "in"}
		not startswith(word, "--")
	]
}

# The WORKDIR at a line of the final stage.
folder(written, j, k) := stages.own[written][j][max(before)].arguments if {
	before := {line |
		some line, step in array.slice(stages.own[written][j], 0, k)
		step.instruction == "WORKDIR"
	}
} else := ""
