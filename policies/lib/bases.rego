# METADATA
# title: Allowed bases
# description: |
#   What the operator lists as "bases" for the policy image-base, and how much of an image such a base accounts for.
#   Only a base with "layers" does: those are digests of what lies in them, so that nothing else can pass for them. What
#   os-release and labels say is the word of the image itself.
package portcullis.lib.bases

import rego.v1

import data.portcullis.lib.parameters
import data.portcullis.lib.platforms
import data.portcullis.lib.text

default given := {}

given := parameters.given("image-base").bases if is_object(parameters.given("image-base").bases)

# The bases that are well formed. Others account for nothing, and image-base tells their faults.
allowed[name] := base if {
	some name, base in given
	count(faults(base)) == 0
}

# How many leading layers of an image an allowed base accounts for: all of its own, in order, from the lowest. Of
# several bases the longest; 0 where there is none. j is an index into input.images[written].platforms.
layers(written, j) := max({0} | {count(base.layers) |
	some base in allowed
	platforms.begins(written, j, base.layers)
})

# Why a base is no description of one.
faults(base) := {"must be an object"} if not is_object(base)

faults(base) := (empty(base) | unknown(base)) | invalid(base) if is_object(base)

empty(base) := {"must say os, labels or layers" | count(base) == 0}

unknown(base) := {fault |
	some field, _ in base
	not words[field]
	fault := sprintf("has the field %s, not one of os, labels, layers", [text.quoted(field)])
}

invalid(base) := {fault |
	some field, value in base
	fault := words[field]
	not valid(field, value)
}

words := {
	"os": "must have os with a text id, and perhaps a text versionId",
	"labels": "must have labels with a text each, at least one",
	"layers": "must have layers that are digests (sha256:…), the lowest first, at least one",
}

valid("os", os) if {
	is_object(os)
	count(object.keys(os) - {"id", "versionId"}) == 0
	said(os.id)
	said(object.get(os, "versionId", "any"))
}

valid("labels", labels) if {
	is_object(labels)
	count(labels) > 0
	every value in labels {
		is_string(value)
	}
}

valid("layers", layers) if {
	is_array(layers)
	count(layers) > 0
	every layer in layers {
		is_string(layer)
		regex.match(`^sha256:[0-9a-f]{64}$`, layer)
	}
}

said(value) if {
	is_string(value)
	value != ""
}
