package portcullis.policies.image_bytecode_test

import rego.v1

import data.portcullis.lib.fixtures_test as fixtures
import data.portcullis.lib.history_fixtures_test as building
import data.portcullis.policies.image_bytecode

lines := ["ADD rootfs /", "RUN make python", "CMD [\"python3\"]", "WORKDIR /app", "COPY web /app", "CMD [\"web\"]"]

one(more) := object.union(
	fixtures.found("/x", object.union({"path": "/app/__pycache__", "what": "__pycache__", "rule": "bytecode-cache"}, {"layerIndex": 2, "createdBy": "COPY web /app"})),
	more,
)

platform(findings) := building.platform("linux/amd64", lines, {"contents": {"caches": findings}})

holding(findings) := building.judged([platform(findings)])

set_to(more) := {"image-bytecode": more}

test_an_image_without_passes if {
	image_bytecode.deny == set() with input as holding([])
}

test_what_is_found_is_told if {
	image_bytecode.deny == {{
		"container": "web",
		"image": fixtures.image,
		"msg": "holds byte code that its build left behind: /app/__pycache__ (from layer 2, \"COPY web /app\")",
		"fix": fix,
		"details": {
			"reason": "bytecode-present",
			"findings": [{
				"path": one({}).path,
				"what": one({}).what,
				"rule": one({}).rule,
				"layerIndex": 2,
				"deleted": false,
			}],
			"total": 1,
		},
	}} with input as holding([one({})])
}

fix := violation.fix if {
	some violation in image_bytecode.deny with input as holding([one({})])
	violation.fix != ""
}

test_all_of_the_kind_count_and_others_do_not if {
	every value in ["bytecode-cache"] {
		count(image_bytecode.deny) == 1 with input as holding([one({"rule": value})])
	}
	every value in ["language-cache", "apt-cache", "", "my-cache"] {
		image_bytecode.deny == set() with input as holding([one({"rule": value})])
	}
	count(image_bytecode.deny) == 1 with input as holding([one({"rule": null})])
}

test_what_lies_in_the_base_is_left_out if {
	image_bytecode.deny == set() with input as holding([one({"layerIndex": 0}), one({"layerIndex": 1})])
	every index in [2, 3, null, -1] {
		count(image_bytecode.deny) == 1 with input as holding([one({"layerIndex": index})])
	}
}

test_an_allowed_base_by_its_layers_is_one_too if {
	document := building.judged([building.platform(
		"linux/amd64",
		["ADD rootfs /", "COPY web /app"],
		{"contents": {"caches": [one({"layerIndex": 0})]}},
	)])
	count(image_bytecode.deny) == 1 with input as document
	image_bytecode.deny == set() with input as document
		with data.portcullis.parameters as fixtures.on_base("image-bytecode", 1, {})
}

test_unknown_contents_are_told if {
	every document in array.concat(building.silent, [building.with_contents(object.union(unknown, {"caches": [one({})]})) | some unknown in building.unknown]) {
		violations := image_bytecode.deny with input as document
		fixtures.reasons(violations) == {"contents-unknown"}
	}
}

# Where the history is not known, all layers are the image's own.
test_without_a_history_every_layer_counts if {
	document := fixtures.holding({"caches": [one({"layerIndex": 0})]})
	count(image_bytecode.deny) == 1 with input as document
}

test_the_platform_to_blame_is_named if {
	document := building.judged([platform([]), object.union(platform([one({})]), {"platform": "linux/arm64"})])
	{violation.platform | some violation in image_bytecode.deny} == {"linux/arm64"} with input as document
}

test_containers_are_judged_by_their_own_images if {
	containers := [fixtures.container({"name": "good"}), fixtures.container({"name": "bad", "image": "bad", "kind": "volume"})]
	images := {
		fixtures.image: fixtures.facts({"platforms": [platform([])]}),
		"bad": fixtures.facts({"platforms": [platform([one({})])]}),
	}
	names := {violation.container | some violation in image_bytecode.deny} with input as fixtures.document(containers, images)
	names == {"bad"}
}

test_exemptions if {
	every exempt in [{"images": ["registry.example/**"]}, {"paths": ["/**"]}, {"paths": ["/**"], "rules": [one({}).rule]}] {
		image_bytecode.deny == set() with input as holding([one({})])
			with data.portcullis.parameters as set_to({"exempt": [exempt]})
	}
	every exempt in [{"images": ["other.example/**"]}, {"paths": ["/opt/**"]}] {
		count(image_bytecode.deny) == 1 with input as holding([one({})])
			with data.portcullis.parameters as set_to({"exempt": [exempt]})
	}
}

test_wrong_parameters_are_a_violation if {
	every more in [{"exempt": 7}, {"exempt": [{"image": "x"}]}, {"x": 1}] {
		violations := image_bytecode.deny with data.portcullis.parameters as set_to(more)
			with input as holding([])
		fixtures.reasons(violations) == {"parameter-invalid"}
	}
}
