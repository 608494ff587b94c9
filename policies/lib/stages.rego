# METADATA
# title: The final stage of a build
# description: |
#   Which lines of the history and which layers are those of the image itself, and which its base's, also where no
#   allowed base is listed. A base nearly always ends with a CMD of its own (python:3.13-slim with CMD ["python3"]), and a
#   Dockerfile puts its own last: what stands before a CMD that further layers follow is the base's. That is the
#   builder's word and a guess beside, so it is for advice, and never pardons what security hangs on.
package portcullis.lib.stages

import rego.v1

import data.portcullis.lib.history

# The lines of the final stage, of platforms whose history can be read.
own[written][j] := array.slice(steps, first_line(written, j), count(steps)) if {
	some written
	some j in history.readable[written]
	steps := input.images[written].platforms[j].config.history
}

first_line(written, j) := max({history.start(written, j)} | {after |
	some k, step in input.images[written].platforms[j].config.history
	step.instruction == "CMD"
	k < last_layer[written][j]
	after := k + 1
})

# The last line that made a layer.
last_layer[written][j] := max(made) if {
	some written
	some j in history.readable[written]
	made := {k | is_number(input.images[written].platforms[j].config.history[k].layerIndex)}
}

# The lowest layer of the final stage. Where the lines cannot be told to layers it is 0, so that all of them count.
default lowest(_, _) := 0

lowest(written, j) := min(layers) if {
	layers := {step.layerIndex | some step in own[written][j]; is_number(step.layerIndex)}
	count(layers) > 0
} else := 1 + input.images[written].platforms[j].config.history[last_layer[written][j]].layerIndex

of_base(written, j, layer_index) if {
	is_number(layer_index)
	layer_index >= 0
	layer_index < lowest(written, j)
}

# Words for an image whose history cannot be read.
history_unknown := {
	"msg": "has no history that can be read, so how it was built is not known",
	"fix": "build it with a builder that notes what it does, and do not squash or import it",
	"details": {"reason": "history-unknown"},
}
