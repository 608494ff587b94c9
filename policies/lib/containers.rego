# METADATA
# title: Containers by their place
# description: |
#   Sets of indexes into input.containers. Only what the request itself says is read here, and always by its whole
#   path, so that a policy over it needs no facts of the image. A container is seen as soon as any one of these
#   fields is there.
package portcullis.lib.containers

import rego.v1

all contains i if {
	some i
	_ = input.containers[i].name
}

all contains i if {
	some i
	_ = input.containers[i].image
}

all contains i if {
	some i
	_ = input.containers[i].kind
}

volumes contains i if {
	some i
	input.containers[i].kind == "volume"
}

# Where a process runs: not in an image volume, which is files only.
running := all - volumes

default name(_) := ""

name(i) := input.containers[i].name if is_string(input.containers[i].name)

default image(_) := ""

image(i) := input.containers[i].image if is_string(input.containers[i].image)

default path(_) := ""

path(i) := input.containers[i].path if is_string(input.containers[i].path)

# A violation of this container: the gate writes its name and image before the words.
violation(i, said) := object.union({"container": name(i), "image": image(i)}, said)
