# METADATA
# title: Platforms of an image
# description: |
#   Which platforms of an image are judged, and which of them a violation names. j is an index into
#   input.images[written].platforms. Each image is looked at once, however many containers have it.
package portcullis.lib.platforms

import rego.v1

of[written] contains j if {
	some written, j
	_ = input.images[written].platforms[j]
}

# Those whose layers were looked into to the end. A list in the contents of any other means nothing.
complete[written] contains j if {
	some written, j
	input.images[written].platforms[j].contents.status == "complete"
}

# Images of which some platform is not among the good ones, and those that have no platform at all.
lacking(written, good) if count(of[written] - object.get(good, written, set())) > 0

lacking(written, _) if not of[written]

# The platform that a violation names: the first to blame, where others are not.
default place(_, _) := {}

place(written, blamed) := {"platform": platform, "digest": digest} if {
	input.images[written].isIndex == true
	count(blamed) > 0
	count(of[written] - blamed) > 0
	platform := input.images[written].platforms[min(blamed)].platform
	digest := input.images[written].platforms[min(blamed)].digest
}

# Whether its lowest layers are these digests of tars, all of them.
begins(written, j, diff_ids) if {
	is_array(diff_ids)
	count(diff_ids) > 0
	every digest in diff_ids {
		is_string(digest)
	}
	array.slice(layers(written, j), 0, count(diff_ids)) == diff_ids
}

layers(written, j) := [digest |
	some layer in input.images[written].platforms[j].layerList
	digest := diff_id(layer)
]

default diff_id(_) := null

diff_id(layer) := layer.diffId if is_string(layer.diffId)

# Words for an image whose contents are not known. The policies that read them are evaluated once they are, so this
# is for documents that no look into the layers made.
contents_unknown := {
	"msg": "was not looked into: what lies in its layers is not known",
	"fix": "try again; if that does not help, ask whoever runs Portcullis",
	"details": {"reason": "contents-unknown"},
}
