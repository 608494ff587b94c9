package portcullis.policies.image_build_tools_test

import rego.v1

import data.portcullis.lib.fixtures_test as fixtures
import data.portcullis.policies.image_build_tools

one := fixtures.found("/usr/bin/gcc-14", {"what": "gcc", "rule": "rule"})

holding(findings) := fixtures.holding({"buildTools": findings})

on_two(amd64, arm64) := fixtures.on_two({"buildTools": amd64}, {"buildTools": arm64})

on_base(layers, more) := fixtures.on_base("image-build-tools", layers, more)

test_an_image_without_passes if {
	image_build_tools.deny == set() with input as fixtures.holding({})
}

test_what_is_found_is_refused if {
	some violation in image_build_tools.deny with input as holding([one])
	violation.msg == "has build tools: /usr/bin/gcc-14 (from layer 0)"
	violation.fix != ""
	violation.container == "web"
	violation.image == fixtures.image
	violation.details == {
		"reason": "build-tools-present",
		"findings": [{
			"path": "/usr/bin/gcc-14",
			"what": "gcc",
			"rule": "rule",
			"layerIndex": 0,
			"deleted": false,
		}],
		"total": 1,
	}
}

test_one_violation_for_many_findings if {
	many := [fixtures.found(sprintf("/x/%d", [n]), {"what": "x"}) | some n in numbers.range(1, 30)]
	violations := image_build_tools.deny with input as holding(many)
	count(violations) == 1
	some violation in violations
	contains(violation.msg, "/x/1, /x/2, /x/3 and 27 more")
	count(violation.details.findings) == 20
	violation.details.total == 30
}

test_every_container_of_the_image_is_told if {
	platform := fixtures.looked_into("linux/amd64", {"contents": {"buildTools": [one]}})
	image := fixtures.facts({"platforms": [platform]})
	names := {violation.container | some violation in image_build_tools.deny} with input as fixtures.document(
		[
			fixtures.container({"name": "a"}),
			fixtures.container({"name": "b", "kind": "init"}),
			fixtures.container({"name": "c", "kind": "volume"}),
		],
		{fixtures.image: image},
	)
	names == {"a", "b", "c"}
}

test_the_platform_is_named_where_they_differ if {
	other := fixtures.found("/other", {"what": "other"})
	every lists in [[[], [one]], [[other], []], [[one], [other]]] {
		some violation in image_build_tools.deny with input as on_two(lists[0], lists[1])
		violation.platform == ["linux/amd64", "linux/arm64"][count([1 | count(lists[0]) == 0])]
		violation.digest == fixtures.platform(violation.platform, {}).digest
	}
	violations := image_build_tools.deny with input as on_two([one], [one])
	count(violations) == 1
	some violation in violations
	not violation.platform
}

test_what_a_later_layer_deletes_passes if {
	deleted := object.union(one, {"deleted": true})
	image_build_tools.deny == set() with input as holding([deleted])
	count(image_build_tools.deny) == 1 with input as holding([deleted, one])
}

test_what_comes_with_an_allowed_base_passes if {
	own := object.union(one, {"layerIndex": 1})
	image_build_tools.deny == set() with data.portcullis.parameters as on_base(1, {}) with input as holding([one])
	count(image_build_tools.deny) == 1 with data.portcullis.parameters as on_base(1, {})
		with input as holding([one, own])
	image_build_tools.deny == set() with data.portcullis.parameters as on_base(2, {})
		with input as holding([one, own])
}

test_an_allowed_base_excuses_nothing_where_the_operator_says_so if {
	count(image_build_tools.deny) == 1 with data.portcullis.parameters as on_base(3, {"allowInBase": false})
		with input as holding([one])
}

exempt(one_of_them) := {"image-build-tools": {"exempt": [one_of_them]}}

test_exemptions if {
	every exemption in [
		{"images": ["registry.example/acme/**"]},
		{"paths": ["/usr/bin/gcc-14"]},
		{"images": ["registry.example/**"], "paths": ["/*/**"], "rules": ["rule"]},
	] {
		image_build_tools.deny == set() with data.portcullis.parameters as exempt(exemption)
			with input as holding([one])
	}
	every exemption in [
		{"images": ["registry.example/other/**"]},
		{"paths": ["/opt/**"]},
		{"images": ["registry.example/acme/**"], "paths": ["/opt/**"]},
		{"images": ["registry.example/acme/**"], "rules": ["other"]},
	] {
		count(image_build_tools.deny) == 1 with data.portcullis.parameters as exempt(exemption)
			with input as holding([one])
	}
}

test_what_is_not_known_is_refused if {
	violations := image_build_tools.deny with input as fixtures.unknown_contents("buildTools")
	fixtures.reasons(violations) == {"contents-unknown"}
	count(violations) == count(fixtures.unknown_images("buildTools"))
	every document in [{}, {"images": null}, {"images": []}] {
		unread := image_build_tools.deny with input as object.union({"containers": [fixtures.container({})]}, document)
		fixtures.reasons(unread) == {"contents-unknown"}
	}
}

# Neither a base nor an exemption pardons what lacks the fields that they go by.
test_odd_findings_are_never_overlooked if {
	violations := image_build_tools.deny with data.portcullis.parameters as fixtures.nearly_pardoned("image-build-tools")
		with input as fixtures.odd_contents("buildTools")
	count(violations) == count(fixtures.odd_findings)
}

test_one_platform_that_is_not_known_is_enough if {
	violations := image_build_tools.deny with input as fixtures.on_two({}, {"status": "pending"})
	fixtures.reasons(violations) == {"contents-unknown"}
}

test_an_image_that_is_exempt_need_not_be_known if {
	image_build_tools.deny == set() with data.portcullis.parameters as exempt({"images": ["registry.example/acme/*"]})
		with input as fixtures.inside({"contents": {"status": "pending"}})
}

test_wrong_parameters_are_a_violation if {
	every parameters in [
		{"allowInBase": "yes"},
		{"allowInbase": true},
		{"exempt": {}},
		{"exempt": ["/bin/sh"]},
		{"exempt": [{}]},
		{"exempt": [{"rules": ["rule"]}]},
		{"exempt": [{"paths": ["bin/sh"]}]},
		{"exempt": [{"images": ["web"]}]},
		{"exempt": [{"images": ["**"], "path": ["/opt/**"]}]},
	] {
		violations := image_build_tools.deny with data.portcullis.parameters as {"image-build-tools": parameters}
			with input as holding([one])
		fixtures.reasons(violations) == {"parameter-invalid", "build-tools-present"}
	}
}

test_a_folder_tells_how_many_files_it_stands_for if {
	some violation in image_build_tools.deny with input as holding([
		fixtures.found("/usr/include", {"what": "headers", "count": 340}),
		fixtures.found("/usr/bin/make", {"what": "make", "layerIndex": 2}),
	])
	violation.msg == "has build tools: /usr/include (headers, 340 files), /usr/bin/make (from layers 0, 2)"
}
