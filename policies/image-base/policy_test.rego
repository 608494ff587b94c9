package portcullis.policies.image_base_test

import rego.v1

import data.portcullis.lib.fixtures_test as fixtures
import data.portcullis.lib.history_fixtures_test as building
import data.portcullis.policies.image_base

bases(list) := {"image-base": {"bases": list}}

debian := {"debian": {"os": {"id": "debian", "versionId": "13"}}}

labelled := {"python": {"labels": {"org.opencontainers.image.base.name": "registry.example/base/python"}}}

layered := {"python": {"layers": [building.diff_id(0)]}}

good_labels := {"config": {"labels": {"org.opencontainers.image.base.name": "registry.example/base/python", "b": "c"}}}

test_without_bases_every_image_passes if {
	image_base.deny == set() with input as building.with_facts({})
	every document in building.silent {
		image_base.deny == set() with input as document
	}
}

test_an_allowed_base_passes if {
	every list in [
		debian,
		{"debian": {"os": {"id": "debian"}}},
		layered,
		{"python": {"layers": [building.diff_id(0), building.diff_id(1)]}},
		labelled,
		object.union(debian, {"other": {"os": {"id": "other"}}}),
		{"all": {"os": {"id": "debian"}, "layers": [building.diff_id(0)], "labels": {"b": "c"}}},
	] {
		image_base.deny == set() with data.portcullis.parameters as bases(list)
			with input as building.with_facts(good_labels)
	}
}

# All that one base says must hold.
test_another_base_is_refused if {
	every list in [
		{"x": {"os": {"id": "debian", "versionId": "12"}}},
		{"x": {"os": {"id": "alpine"}}},
		{"x": {"labels": {"b": "d"}}},
		{"x": {"labels": {"b": "c", "missing": "c"}}},
		{"x": {"layers": [building.diff_id(1)]}},
		{"x": {"layers": [building.diff_id(0), building.diff_id(2)]}},
		{"x": {"os": {"id": "debian"}, "labels": {"b": "d"}}},
		{"x": {"os": {"id": "debian"}, "layers": [building.diff_id(1)]}},
	] {
		violations := image_base.deny with data.portcullis.parameters as bases(list)
			with input as building.with_facts(good_labels)
		fixtures.reasons(violations) == {"base-not-allowed"}
	}
}

test_the_words if {
	some violation in image_base.deny with data.portcullis.parameters as bases({"b": {"os": {"id": "x"}}, "a": {"os": {"id": "y"}}})
		with input as building.with_facts({})
	violation.container == "web"
	violation.image == fixtures.image
	violation.msg == "is built on debian 13, which is not an allowed base"
	violation.fix == "build it FROM one of the allowed bases (a, b)"
	violation.details == {"reason": "base-not-allowed", "system": "debian 13"}
}

words(os) := violation.msg if {
	some violation in image_base.deny with data.portcullis.parameters as bases({"b": {"os": {"id": "x"}}})
		with input as building.with_contents({"os": os})
}

test_the_words_on_other_systems if {
	words({"versionId": null}) == "is built on debian, which is not an allowed base"
	words({"id": null}) == "is built on no known system, which is not an allowed base"
}

scratch := {"os": {"id": null, "versionId": null, "distroless": true}}

test_an_image_without_a_system_stands_on_nothing if {
	every id in [null, ""] {
		image_base.deny == set() with data.portcullis.parameters as bases(debian)
			with input as building.with_contents({"os": {"id": id, "distroless": true}})
	}
	strict := {"image-base": {"bases": debian, "acceptScratch": false}}
	violations := image_base.deny with data.portcullis.parameters as strict with input as building.with_contents(scratch)
	fixtures.reasons(violations) == {"base-not-allowed"}
}

# A system whose os-release was removed is a system all the same; and a distroless one has a base.
test_what_only_looks_like_nothing if {
	every os in [
		{"id": null, "distroless": false},
		{"id": null, "distroless": null},
		{"id": null, "distroless": "true"},
		{"id": "alpine", "distroless": true},
		{"id": 7, "distroless": true},
	] {
		violations := image_base.deny with data.portcullis.parameters as bases(debian)
			with input as building.with_contents({"os": os})
		fixtures.reasons(violations) == {"base-not-allowed"}
	}
}

test_contents_that_are_not_known_are_refused if {
	every contents in building.unknown {
		every more in [{}, scratch] {
			violations := image_base.deny with data.portcullis.parameters as bases(debian)
				with input as building.with_contents(object.union(contents, more))
			fixtures.reasons(violations) == {"contents-unknown"}
		}
	}
}

# Layers and labels are told by the configuration.
test_other_conditions_need_no_contents if {
	every contents in building.unknown {
		every list in [layered, labelled] {
			image_base.deny == set() with data.portcullis.parameters as bases(list)
				with input as building.with_facts(object.union(good_labels, {"contents": contents}))
		}
	}
}

test_absent_and_odd_facts_are_refused if {
	every list in [debian, labelled, layered] {
		every document in building.silent {
			count(image_base.deny) == 1 with data.portcullis.parameters as bases(list) with input as document
		}
		every odd in [null, [], "debian", {"id": ["debian"], "labels": null}] {
			facts := {"config": {"labels": odd}, "layerList": odd, "contents": {"os": odd}}
			violations := image_base.deny with data.portcullis.parameters as bases(list)
				with input as building.with_facts(facts)
			fixtures.reasons(violations) == {"base-not-allowed"}
		}
	}
}

test_one_bad_platform_is_enough_and_is_named if {
	some violation in image_base.deny with data.portcullis.parameters as bases(debian)
		with input as building.two({}, {"contents": {"os": {"id": "alpine"}}})
	violation.platform == "linux/arm64"
	violation.msg == "is built on alpine 13, which is not an allowed base"
}

test_platforms_may_stand_on_different_bases if {
	list := object.union(debian, {"alpine": {"os": {"id": "alpine"}}})
	image_base.deny == set() with data.portcullis.parameters as bases(list)
		with input as building.two({}, {"contents": {"os": {"id": "alpine"}}})
}

test_every_container_is_told_and_volumes_are_not_judged if {
	bad := building.with_contents({"os": {"id": "alpine"}})
	count(image_base.deny) == 8 with data.portcullis.parameters as bases(debian) with input as building.many(bad)
	image_base.deny == set() with data.portcullis.parameters as bases(debian) with input as building.volume(bad)
}

test_images_can_be_exempt if {
	bad := building.with_contents({"os": {"id": "alpine"}})
	every pattern, number in {"registry.example/**": 0, "docker.io/**": 1} {
		parameters := {"image-base": {"bases": debian, "exempt": [{"images": [pattern]}]}}
		count(image_base.deny) == number with data.portcullis.parameters as parameters with input as bad
	}
}

wrong_bases := [
	7,
	{},
	{"os": "debian"},
	{"os": {}},
	{"os": {"id": ""}},
	{"os": {"id": "debian", "versionId": 13}},
	{"os": {"id": "debian", "version": "13"}},
	{"labels": {}},
	{"labels": []},
	{"labels": {"b": true}},
	{"layers": []},
	{"layers": "sha256:01"},
	{"layers": ["sha256:01"]},
	{"layers": [null]},
	{"os": {"id": "debian"}, "layer": []},
]

# A faulty base is told, and allows nothing.
test_wrong_bases if {
	every base in wrong_bases {
		violations := image_base.deny with data.portcullis.parameters as bases({"x": base})
			with input as building.with_facts(good_labels)
		fixtures.reasons(violations) == {"parameter-invalid", "base-not-allowed"}
	}
}

test_wrong_parameters_are_a_violation if {
	every parameters in [
		{"bases": []},
		{"acceptScratch": "yes"},
		{"exempt": [{"paths": ["/opt"]}]},
		{"base": {}},
	] {
		violations := image_base.deny with data.portcullis.parameters as {"image-base": parameters}
			with input as building.with_facts({})
		fixtures.reasons(violations) == {"parameter-invalid"}
	}
}
