# METADATA
# title: Images are of a reasonable size
# description: |
#   What is large is slow to pull, and a pod that moves to a new node waits for it. Limits on the image as pulled and
#   unpacked, on each layer, and on their number.
# custom:
#   severity: low
#   mode: warn
#   category: image
package portcullis.policies.image_size

import rego.v1

import data.portcullis.lib.containers
import data.portcullis.lib.contents
import data.portcullis.lib.exemptions
import data.portcullis.lib.parameters
import data.portcullis.lib.platforms
import data.portcullis.lib.text

# A node with 100 Mbit/s pulls 500 MiB in about 40 seconds. Unpacked, images are about three times as large. One layer
# is fetched as one stream and unpacked by one thread, so a large one sets the time. overlayfs stops at 128 layers.
shape := {
	"maxCompressedMiB": {"type": "number", "default": 500},
	"maxMiB": {"type": "number", "default": 1500},
	"maxLayerMiB": {"type": "number", "default": 300},
	"maxLayers": {"type": "number", "default": 60},
	"exempt": {"type": "objects", "default": []},
}

settings := parameters.settings("image-size", shape)

mib := 1048576

deny contains violation if {
	some violation in parameters.faults("image-size", shape)
}

deny contains violation if {
	some problem in exemptions.faults(settings.exempt, ["images"])
	violation := parameters.violation("image-size", problem)
}

deny contains violation if {
	some i in containers.all
	written := containers.image(i)
	some said in judged[written]
	violation := containers.violation(i, said)
}

deny contains violation if {
	some i in containers.all
	written := containers.image(i)
	not platforms.of[written]
	not exemptions.holds(settings.exempt, written, "", "")
	violation := containers.violation(i, unknown("size"))
}

# Of each image, once however many containers have it: the words on each limit that it is not known to keep.
judged[written] contains said if {
	some written, _ in platforms.of
	not exemptions.holds(settings.exempt, written, "", "")
	some limit, _ in {"maxCompressedMiB", "maxMiB", "maxLayerMiB", "maxLayers"}
	blamed := platforms.of[written] - object.get(object.get(kept, written, {}), limit, set())
	said := object.union(words(limit, written, min(blamed)), platforms.place(written, blamed))
}

kept[written].maxCompressedMiB contains j if {
	some written, j
	at_most(input.images[written].platforms[j].compressedBytes, settings.maxCompressedMiB * mib)
}

kept[written].maxMiB contains j if {
	some written
	some j in platforms.complete[written]
	at_most(input.images[written].platforms[j].contents.bytes, settings.maxMiB * mib)
}

kept[written].maxLayers contains j if {
	some written, j
	at_most(input.images[written].platforms[j].layers, settings.maxLayers)
}

kept[written].maxLayerMiB contains j if {
	some written, j
	layers := input.images[written].platforms[j].layerList
	is_array(layers)
	count(layers) == input.images[written].platforms[j].layers
	every layer in layers {
		at_most(layer.compressedBytes, settings.maxLayerMiB * mib)
	}
}

# Whatever lies between two numbers in the order of Rego is a number.
at_most(value, limit) if {
	value >= 0
	value <= limit
}

# -- words ---------------------------------------------------------------------------------------------------------

words("maxCompressedMiB", written, j) := {
	"msg": sprintf("is %d MiB to pull; the limit is %v MiB%s", [size, settings.maxCompressedMiB, largest(written, j)]),
	"fix": "build on a smaller base, copy only what runs from a build stage, and leave caches out",
	"details": {"reason": "image-size", "limit": "maxCompressedMiB", "mib": size},
} if {
	size := whole(input.images[written].platforms[j].compressedBytes)
} else := unknown("compressed size")

words("maxMiB", written, j) := platforms.contents_unknown if {
	not j in object.get(platforms.complete, written, set())
} else := {
	"msg": sprintf("is %d MiB unpacked; the limit is %v MiB%s", [size, settings.maxMiB, largest(written, j)]),
	"fix": "build on a smaller base, copy only what runs from a build stage, and leave caches out",
	"details": {"reason": "image-size", "limit": "maxMiB", "mib": size},
} if {
	size := whole(input.images[written].platforms[j].contents.bytes)
} else := unknown("unpacked size")

words("maxLayers", written, j) := {
	"msg": sprintf("has %d layers; the limit is %v", [layers, settings.maxLayers]),
	"fix": "join RUN lines that belong together, and COPY lines of one source",
	"details": {"reason": "image-size", "limit": "maxLayers", "layers": layers},
} if {
	is_number(input.images[written].platforms[j].layers)
	input.images[written].platforms[j].layers >= 0
	layers := floor(input.images[written].platforms[j].layers)
} else := unknown("number of layers")

words("maxLayerMiB", written, j) := {
	"msg": sprintf("has layers of more than %v MiB: %s", [settings.maxLayerMiB, text.listed(shown, 2)]),
	"fix": "split what changes often from what does not, and leave out what does not run",
	"details": {"reason": "image-size", "limit": "maxLayerMiB", "layers": [index | some [index, _, _] in over]},
} if {
	over := [found | some found in by_size(written, j); found[1] > settings.maxLayerMiB * mib]
	count(over) > 0
	shown := [layer_words(found) | some found in array.slice(over, 0, 20)]
} else := unknown("size of each layer")

unknown(what) := {
	"msg": sprintf("does not say its %s", [what]),
	"fix": "push it again with another tool; its manifest must say the size of each layer",
	"details": {"reason": "image-size-unknown"},
}

whole(bytes) := round(bytes / mib) if {
	is_number(bytes)
	bytes >= 0
}

# The two largest layers and the lines that made them.
largest(written, j) := sprintf("; largest: %s", [concat(", ", shown)]) if {
	shown := [layer_words(found) | some found in array.slice(by_size(written, j), 0, 2)]
	count(shown) > 0
} else := ""

# [index, bytes, layer], the largest first. One of a negative size has no words.
by_size(written, j) := [found |
	some rank in sort([[0 - layer.compressedBytes, index] |
		some index, layer in input.images[written].platforms[j].layerList
		is_number(layer.compressedBytes)
	])
	found := [rank[1], 0 - rank[0], input.images[written].platforms[j].layerList[rank[1]]]
]

layer_words(found) := sprintf("layer %d with %d MiB%s", [found[0], whole(found[1]), made_by(found[2])])

default made_by(_) := ""

made_by(layer) := sprintf(" (%s)", [text.quoted(line)]) if {
	is_string(layer.createdBy)
	line := contents.step(layer.createdBy)
	line != ""
}
