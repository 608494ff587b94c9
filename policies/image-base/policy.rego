# METADATA
# title: Images are built on allowed bases
# description: |
#   Every platform of an image stands on one of the bases that the operator lists, told by its os-release, by labels or
#   by its lowest layers. Layers are proof, since they are digests; os-release and labels are the builder's word. An
#   image without an operating system stands on nothing. Without a list every base is allowed.
# custom:
#   severity: high
#   mode: deny
#   category: image
package portcullis.policies.image_base

import rego.v1

import data.portcullis.lib.bases
import data.portcullis.lib.containers
import data.portcullis.lib.exemptions
import data.portcullis.lib.parameters
import data.portcullis.lib.platforms
import data.portcullis.lib.text

shape := {
	"bases": {"type": "object", "default": {}},
	"acceptScratch": {"type": "boolean", "default": true},
	"exempt": {"type": "objects", "default": []},
}

settings := parameters.settings("image-base", shape)

deny contains violation if {
	some violation in parameters.faults("image-base", shape)
}

deny contains violation if {
	some problem in (exemptions.faults(settings.exempt, ["images"]) | wrong_bases)
	violation := parameters.violation("image-base", problem)
}

# -- the list of bases ---------------------------------------------------------------------------------------------

wrong_bases contains problem if {
	some name, base in settings.bases
	some fault in bases.faults(base)
	problem := sprintf("the base %s %s", [text.quoted(name), fault])
}

# -- verdict -------------------------------------------------------------------------------------------------------

deny contains violation if {
	count(settings.bases) > 0
	some i in containers.running
	written := containers.image(i)
	platforms.lacking(written, allowed)
	not exemptions.holds(settings.exempt, written, "", "")
	violation := containers.violation(i, object.union(words(written), platforms.place(written, blamed(written))))
}

allowed[written] contains j if {
	some written
	some j in platforms.of[written]
	some base in bases.allowed
	fits(base, written, j)
}

allowed[written] contains j if {
	settings.acceptScratch == true
	some written
	some j in platforms.complete[written]
	nothing(input.images[written].platforms[j].contents.os.id)
	input.images[written].platforms[j].contents.os.distroless == true
}

nothing(id) if id in {"", null}

# All that the base says must hold.
fits(base, written, j) if {
	every field, value in base {
		holds(field, value, written, j)
	}
}

holds("os", os, written, j) if {
	j in platforms.complete[written]
	every field, value in os {
		input.images[written].platforms[j].contents.os[field] == value
	}
}

holds("labels", labels, written, j) if {
	every name, value in labels {
		input.images[written].platforms[j].config.labels[name] == value
	}
}

holds("layers", layers, written, j) if platforms.begins(written, j, layers)

# -- words ---------------------------------------------------------------------------------------------------------

default blamed(_) := set()

blamed(written) := platforms.of[written] - object.get(allowed, written, set())

# A base that is told by its os-release may be there although it was not seen.
words(written) := platforms.contents_unknown if {
	count(blamed(written) & object.get(platforms.complete, written, set())) < count(blamed(written))
} else := platforms.contents_unknown if {
	not platforms.of[written]
} else := {
	"msg": sprintf("is built on %s, which is not an allowed base", [found]),
	"fix": sprintf("build it FROM one of the allowed bases (%s)", [text.listed(sort(object.keys(settings.bases)), 5)]),
	"details": {"reason": "base-not-allowed", "system": found},
} if {
	found := system(written, min(blamed(written)))
}

system(written, j) := sprintf("%s %s", [text.short(os.id, 40), text.short(os.versionId, 20)]) if {
	os := input.images[written].platforms[j].contents.os
	bases.said(os.id)
	bases.said(os.versionId)
} else := text.short(input.images[written].platforms[j].contents.os.id, 40) if {
	bases.said(input.images[written].platforms[j].contents.os.id)
} else := "no known system"
