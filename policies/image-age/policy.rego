# METADATA
# title: Images are rebuilt now and then
# description: |
#   An image that was built long ago lacks the fixes since. Every judged platform must say when it was built, and
#   that must be neither too long ago nor in the future. What an image says of its age is its builder's word.
# custom:
#   severity: low
#   mode: warn
#   category: image
package portcullis.policies.image_age

import rego.v1

import data.portcullis.lib.containers
import data.portcullis.lib.parameters

shape := {
	"maxAgeDays": {"type": "number", "default": 365},
	"acceptUnknown": {"type": "boolean", "default": false},
}

settings := parameters.settings("image-age", shape)

# Reproducible builds write 1970 (the epoch) or 1980 (the first year of ZIP); nobody built images before this.
first_images := "2013"

deny contains violation if {
	some violation in parameters.faults("image-age", shape)
}

deny contains violation if {
	some i in containers.all
	not containers.image(i) in accepted
	violation := containers.violation(i, object.union(said(containers.image(i)), place(containers.image(i))))
}

accepted contains written if {
	some written
	_ = input.images[written].platforms[_].platform
	not written in objectionable
}

objectionable contains written if {
	some written, _ in bad
}

# The platforms that are not known to be of a good age.
bad[written] contains j if {
	some written, j
	_ = input.images[written].platforms[j]
	not good(written, j)
}

good(written, j) if {
	real_time(written, j)
	age := input.images[written].platforms[j].ageHours
	age <= settings.maxAgeDays * 24
	age >= -24
}

good(written, j) if {
	settings.acceptUnknown == true
	not real_time(written, j)
}

# Whether the image says a time that can be its own.
real_time(written, j) if {
	is_number(input.images[written].platforms[j].ageHours)
	is_string(input.images[written].platforms[j].created)
	input.images[written].platforms[j].created >= first_images
}

worst(written) := min(bad[written])

said(written) := {
	"msg": sprintf("was built %d days ago; the limit is %v days", [floor(age / 24), settings.maxAgeDays]),
	"fix": "rebuild it on a current base image",
	"details": {"reason": "image-old", "created": created},
} if {
	real_time(written, worst(written))
	age := input.images[written].platforms[worst(written)].ageHours
	age > 0
	created := input.images[written].platforms[worst(written)].created
} else := {
	"msg": sprintf("says that it was built in the future, at %s", [created]),
	"fix": "rebuild it where the clock is right",
	"details": {"reason": "image-age-future", "created": created},
} if {
	real_time(written, worst(written))
	created := input.images[written].platforms[worst(written)].created
} else := {
	"msg": sprintf("carries the build time %s, which is not its own, so its age is not known", [created]),
	"fix": "let the build write its own time (SOURCE_DATE_EPOCH of the commit keeps it reproducible)",
	"details": {"reason": "image-age-unknown", "created": created},
} if {
	created := input.images[written].platforms[worst(written)].created
	is_string(created)
} else := {
	"msg": "does not say when it was built",
	"fix": "let the build write its time into the image configuration (created)",
	"details": {"reason": "image-age-unknown"},
}

default place(_) := {}

place(written) := {"platform": platform, "digest": digest} if {
	input.images[written].isIndex == true
	platform := input.images[written].platforms[worst(written)].platform
	digest := input.images[written].platforms[worst(written)].digest
}
