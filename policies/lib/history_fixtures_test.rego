# Images with a history and contents, for the tests of policies about how an image is built.
package portcullis.lib.history_fixtures_test

import rego.v1

import data.portcullis.lib.fixtures_test as fixtures

diff_id(index) := fixtures.diff_id(index)

# A line as BuildKit notes it: "RUN make" is one of /bin/sh. RUN, COPY and ADD make layers.
step(line, before) := {
	"createdBy": noted(line),
	"emptyLayer": split(line, " ")[0] in ({"RUN", "COPY", "ADD"} == false),
	"instruction": split(line, " ")[0],
	"arguments": trim_prefix(trim_prefix(line, split(line, " ")[0]), " "),
	"layerIndex": layer_index(line, before),
}

default noted(_) := ""

noted(line) := sprintf("RUN /bin/sh -c %s # buildkit", [trim_prefix(line, "RUN ")]) if startswith(line, "RUN ")

noted(line) := line if not startswith(line, "RUN ")

makes_layer(line) if split(line, " ")[0] in {"RUN", "COPY", "ADD"}

default layer_index(_, _) := null

layer_index(line, before) := count([other | some other in before; makes_layer(other)]) if makes_layer(line)

steps(lines) := [step(line, array.slice(lines, 0, k)) | some k, line in lines]

mib := 1048576

# An image built by these lines, whose layers have 1 MiB each.
platform(name, lines, more) := fixtures.platform(name, object.union(
	{
		"compressedBytes": mib * count(made(lines)),
		"layers": count(made(lines)),
		"layerList": [layer(index, line) | some index, line in made(lines)],
		"config": {"envNames": ["PATH"], "labels": {}, "history": steps(lines)},
		"contents": contents,
	},
	more,
))

made(lines) := [line | some line in lines; makes_layer(line)]

layer(index, line) := object.union(fixtures.layer(index), {"compressedBytes": mib, "createdBy": noted(line)})

contents := fixtures.contents({"os": {"distroless": false}})

finding(path, more) := object.union(fixtures.found(path, {"uid": 501, "gid": 20}), more)

lines := ["ADD rootfs.tar.xz /", "CMD [\"bash\"]", "WORKDIR /app", "COPY web /app", "USER 10001"]

# One container of one image with one platform.
built(built_by) := judged([platform("linux/amd64", built_by, {})])

# The platform is that of the fixtures, with other facts.
with_facts(more) := judged([platform("linux/amd64", lines, more)])

with_contents(more) := with_facts({"contents": more})

judged(platforms) := fixtures.judged({}, {"isIndex": count(platforms) > 1, "platforms": platforms})

two(first, second) := judged([
	platform("linux/amd64", lines, first),
	platform("linux/arm64", lines, second),
])

# Eight containers of that image, to see that each of them is told.
many(document) := object.union(document, {"containers": [fixtures.container({"name": sprintf("web-%d", [number])}) |
	some number in numbers.range(1, 8)
]})

# Whatever contents may be instead of complete.
unknown := [
	{"status": "pending"},
	{"status": "unavailable"},
	{"status": "skipped"},
	{"status": null},
	{"status": true},
	{"status": ["complete"]},
]

# Platforms that say nothing of what a policy about contents asks for.
silent := [
	fixtures.judged({}, {"platforms": [fixtures.platform("linux/amd64", {})]}),
	fixtures.judged({}, {"platforms": [fixtures.platform("linux/amd64", {"contents": null, "config": null})]}),
	fixtures.judged({}, {"platforms": [fixtures.platform("linux/amd64", {"contents": [], "config": "x"})]}),
	fixtures.judged({}, {"platforms": [{}]}),
	fixtures.judged({}, {"platforms": [null]}),
	fixtures.judged({}, {"platforms": []}),
	fixtures.judged({}, {"platforms": null}),
	fixtures.document([fixtures.container({})], {}),
	fixtures.document([fixtures.container({})], {fixtures.image: null}),
]

volume(document) := object.union(document, {"containers": [fixtures.container({"kind": "volume"})]})
