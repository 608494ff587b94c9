package portcullis.policies.image_size_test

import rego.v1

import data.portcullis.lib.fixtures_test as fixtures
import data.portcullis.lib.history_fixtures_test as building
import data.portcullis.policies.image_size

mib := building.mib

limits(set) := {"image-size": set}

test_a_small_image_passes if {
	image_size.deny == set() with input as building.with_facts({})
}

test_size_to_pull if {
	some violation in image_size.deny with input as building.with_facts({"compressedBytes": 501 * mib})
	violation == {
		"container": "web",
		"image": fixtures.image,
		"msg": "is 501 MiB to pull; the limit is 500 MiB; largest: layer 0 with 1 MiB (\"ADD rootfs.tar.xz /\"), layer 1 with 1 MiB (\"COPY web /app\")",
		"fix": "build on a smaller base, copy only what runs from a build stage, and leave caches out",
		"details": {"reason": "image-size", "limit": "maxCompressedMiB", "mib": 501},
	}
	image_size.deny == set() with input as building.with_facts({"compressedBytes": 500 * mib})
}

test_size_unpacked if {
	some violation in image_size.deny with input as building.with_contents({"bytes": 1501 * mib})
	startswith(violation.msg, "is 1501 MiB unpacked; the limit is 1500 MiB; largest: layer 0 with")
	violation.details.limit == "maxMiB"
	image_size.deny == set() with input as building.with_contents({"bytes": 1500 * mib})
}

many_layers(number) := building.judged([building.platform("linux/amd64", [line | some _ in numbers.range(1, number); line := "RUN x"], {})])

test_number_of_layers if {
	some violation in image_size.deny with input as many_layers(61)
	violation.msg == "has 61 layers; the limit is 60"
	violation.details.limit == "maxLayers"
	image_size.deny == set() with input as many_layers(60)
}

sized(sizes) := building.with_facts({
	"layers": count(sizes),
	"layerList": [{"compressedBytes": size * mib, "createdBy": sprintf("RUN step %d", [index])} | some index, size in sizes],
})

test_large_layers_are_named_the_largest_first if {
	some violation in image_size.deny with input as sized([1, 301, 400, 350])
	violation.msg == concat("", [
		"has layers of more than 300 MiB: layer 2 with 400 MiB (\"RUN step 2\"), ",
		"layer 3 with 350 MiB (\"RUN step 3\") and 1 more",
	])
	violation.details == {"reason": "image-size", "limit": "maxLayerMiB", "layers": [2, 3, 1]}
	image_size.deny == set() with input as sized([300, 300])
}

test_layers_that_nobody_explains if {
	every line in ["", null, 7] {
		some violation in image_size.deny with input as building.with_facts({
			"layers": 1,
			"layerList": [{"compressedBytes": 400 * mib, "createdBy": line}],
		})
		violation.msg == "has layers of more than 300 MiB: layer 0 with 400 MiB"
	}
}

test_no_layers if {
	image_size.deny == set() with input as building.with_facts({"layers": 0, "layerList": [], "compressedBytes": 0})
	some violation in image_size.deny with input as building.with_facts({"layers": 0, "layerList": [], "compressedBytes": 600 * mib})
	violation.msg == "is 600 MiB to pull; the limit is 500 MiB"
}

test_limits_are_parameters if {
	every name in ["maxCompressedMiB", "maxMiB", "maxLayerMiB", "maxLayers"] {
		tight := limits({name: 0.5})
		found := {violation.details.limit | some violation in image_size.deny} with input as building.with_facts({})
			with data.portcullis.parameters as tight
		found == {name}
	}
	loose := limits({"maxCompressedMiB": 1000, "maxMiB": 5000, "maxLayerMiB": 1000, "maxLayers": 100})
	image_size.deny == set() with data.portcullis.parameters as loose with input as building.with_facts({
		"compressedBytes": 900 * mib,
		"contents": {"bytes": 4000 * mib},
	})
}

test_contents_that_are_not_known_are_reported if {
	every contents in building.unknown {
		violations := image_size.deny with input as building.with_contents(contents)
		fixtures.reasons(violations) == {"contents-unknown"}
	}
}

test_sizes_that_are_not_known_are_reported if {
	every odd in [null, "1", -1, [], true] {
		every facts in [
			{"compressedBytes": odd},
			{"layers": odd},
			{"contents": {"bytes": odd}},
			{"layerList": [{"compressedBytes": odd}, {"compressedBytes": 1}]},
		] {
			violations := image_size.deny with input as building.with_facts(facts)
			fixtures.reasons(violations) == {"image-size-unknown"}
		}
	}
	every odd in [null, [], "x", [{"compressedBytes": 1}], [{}, {}], [null, null]] {
		violations := image_size.deny with input as building.with_facts({"layerList": odd})
		fixtures.reasons(violations) == {"image-size-unknown"}
	}
}

test_absent_facts_are_reported if {
	every document in building.silent {
		violations := image_size.deny with input as document
		"image-size-unknown" in fixtures.reasons(violations)
		fixtures.reasons(violations) - {"image-size-unknown", "contents-unknown"} == set()
	}
}

test_the_platform_to_blame_is_named if {
	some violation in image_size.deny with input as building.two({}, {"compressedBytes": 900 * mib})
	violation.platform == "linux/arm64"
	some alike in image_size.deny with input as building.two({"layers": 90}, {"layers": 90})
	not alike.platform
}

test_every_container_is_told_and_volumes_are_judged_too if {
	bad := building.with_facts({"compressedBytes": 900 * mib})
	count(image_size.deny) == 8 with input as building.many(bad)
	count(image_size.deny) == 1 with input as building.volume(bad)
}

test_images_can_be_exempt if {
	bad := building.with_facts({"compressedBytes": 900 * mib})
	every pattern, number in {"registry.example/**": 0, "docker.io/**": 1} {
		count(image_size.deny) == number with input as bad
			with data.portcullis.parameters as limits({"exempt": [{"images": [pattern]}]})
	}
}

test_wrong_parameters_are_a_violation if {
	every parameters in [
		{"maxMiB": "1"},
		{"maxLayers": -1},
		{"maxSize": 1},
		{"exempt": ["docker.io/**"]},
		{"exempt": [{"images": ["docker.io"]}]},
	] {
		violations := image_size.deny with input as building.with_facts({})
			with data.portcullis.parameters as limits(parameters)
		fixtures.reasons(violations) == {"parameter-invalid"}
	}
}

test_containers_are_judged_by_their_own_images if {
	violations := image_size.deny with input as fixtures.beside(building.with_facts({"compressedBytes": 501 * mib}), building.with_facts({}))
	fixtures.told(violations) == {"web"}
}

test_an_exempt_image_without_platforms_passes if {
	every images in [["registry.example/**"], ["other.example/**"]] {
		violations := image_size.deny with input as fixtures.judged({}, {"platforms": []})
			with data.portcullis.parameters as limits({"exempt": [{"images": images}]})
		count(violations) == count([one | some one in images; startswith(one, "other")])
	}
}

test_a_number_of_layers_that_is_not_known if {
	every layers in [null, "3", -1] {
		some violation in image_size.deny with input as building.with_facts({"layers": layers})
		violation.details.reason == "image-size-unknown"
		contains(violation.msg, "number of layers")
	}
}
