package portcullis.policies.image_leftovers_test

import rego.v1

import data.portcullis.lib.fixtures_test as fixtures
import data.portcullis.policies.image_leftovers

one := fixtures.found("/srv/.git", {"what": "git repository", "rule": "rule"})

holding(findings) := fixtures.holding({"vcs": findings})

on_two(amd64, arm64) := fixtures.on_two({"vcs": amd64}, {"vcs": arm64})

on_base(layers, more) := fixtures.on_base("image-leftovers", layers, more)

test_an_image_without_passes if {
	image_leftovers.deny == set() with input as fixtures.holding({})
}

test_what_is_found_is_refused if {
	some violation in image_leftovers.deny with input as holding([one])
	violation.msg == "has version control data: /srv/.git (git repository) (from layer 0)"
	violation.fix != ""
	violation.container == "web"
	violation.image == fixtures.image
	violation.details == {
		"reason": "vcs-present",
		"findings": [{
			"path": "/srv/.git",
			"what": "git repository",
			"rule": "rule",
			"layerIndex": 0,
			"deleted": false,
		}],
		"total": 1,
	}
}

test_one_violation_for_many_findings if {
	many := [fixtures.found(sprintf("/x/%d", [n]), {"what": "x"}) | some n in numbers.range(1, 30)]
	violations := image_leftovers.deny with input as holding(many)
	count(violations) == 1
	some violation in violations
	contains(violation.msg, "/x/1, /x/2, /x/3 and 27 more")
	count(violation.details.findings) == 20
	violation.details.total == 30
}

test_every_container_of_the_image_is_told if {
	platform := fixtures.looked_into("linux/amd64", {"contents": {"vcs": [one]}})
	image := fixtures.facts({"platforms": [platform]})
	names := {violation.container | some violation in image_leftovers.deny} with input as fixtures.document(
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
		some violation in image_leftovers.deny with input as on_two(lists[0], lists[1])
		violation.platform == ["linux/amd64", "linux/arm64"][count([1 | count(lists[0]) == 0])]
		violation.digest == fixtures.platform(violation.platform, {}).digest
	}
	violations := image_leftovers.deny with input as on_two([one], [one])
	count(violations) == 1
	some violation in violations
	not violation.platform
}

test_what_comes_with_an_allowed_base_passes if {
	own := object.union(one, {"layerIndex": 1})
	image_leftovers.deny == set() with data.portcullis.parameters as on_base(1, {}) with input as holding([one])
	count(image_leftovers.deny) == 1 with data.portcullis.parameters as on_base(1, {})
		with input as holding([one, own])
	image_leftovers.deny == set() with data.portcullis.parameters as on_base(2, {})
		with input as holding([one, own])
}

test_an_allowed_base_excuses_nothing_where_the_operator_says_so if {
	count(image_leftovers.deny) == 1 with data.portcullis.parameters as on_base(3, {"allowInBase": false})
		with input as holding([one])
}

exempt(one_of_them) := {"image-leftovers": {"exempt": [one_of_them]}}

test_exemptions if {
	every exemption in [
		{"images": ["registry.example/acme/**"]},
		{"paths": ["/srv/.git"]},
		{"images": ["registry.example/**"], "paths": ["/*/**"], "rules": ["rule"]},
	] {
		image_leftovers.deny == set() with data.portcullis.parameters as exempt(exemption)
			with input as holding([one])
	}
	every exemption in [
		{"images": ["registry.example/other/**"]},
		{"paths": ["/opt/**"]},
		{"images": ["registry.example/acme/**"], "paths": ["/opt/**"]},
		{"images": ["registry.example/acme/**"], "rules": ["other"]},
	] {
		count(image_leftovers.deny) == 1 with data.portcullis.parameters as exempt(exemption)
			with input as holding([one])
	}
}

test_what_is_not_known_is_refused if {
	violations := image_leftovers.deny with input as fixtures.unknown_contents("vcs")
	fixtures.reasons(violations) == {"contents-unknown"}
	count(violations) == count(fixtures.unknown_images("vcs"))
	every document in [{}, {"images": null}, {"images": []}] {
		unread := image_leftovers.deny with input as object.union({"containers": [fixtures.container({})]}, document)
		fixtures.reasons(unread) == {"contents-unknown"}
	}
}

# Neither a base nor an exemption pardons what lacks the fields that they go by.
test_odd_findings_are_never_overlooked if {
	violations := image_leftovers.deny with data.portcullis.parameters as fixtures.nearly_pardoned("image-leftovers")
		with input as fixtures.odd_contents("vcs")
	count(violations) == count(fixtures.odd_findings)
}

test_one_platform_that_is_not_known_is_enough if {
	violations := image_leftovers.deny with input as fixtures.on_two({}, {"status": "pending"})
	fixtures.reasons(violations) == {"contents-unknown"}
}

test_an_image_that_is_exempt_need_not_be_known if {
	image_leftovers.deny == set() with data.portcullis.parameters as exempt({"images": ["registry.example/acme/*"]})
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
		{"vcs": "no"},
		{"caches": null},
		{"test": false},
	] {
		violations := image_leftovers.deny with data.portcullis.parameters as {"image-leftovers": parameters}
			with input as holding([one])
		fixtures.reasons(violations) == {"parameter-invalid", "vcs-present"}
	}
}

lists := {
	"vcs": [one],
	"caches": [fixtures.found("/root/.cache/pip", {"what": "pip cache", "count": 12, "layerIndex": 1})],
	"tests": [fixtures.found("/srv/tests", {"what": "tests", "count": 7, "layerIndex": 2})],
}

test_every_class_has_words_of_its_own if {
	violations := image_leftovers.deny with input as fixtures.holding(lists)
	{violation.msg: violation.details.reason | some violation in violations} == {
		"has version control data: /srv/.git (git repository) (from layer 0)": "vcs-present",
		"has caches: /root/.cache/pip (pip cache, 12 files) (from layer 1)": "caches-present",
		"has tests: /srv/tests (7 files) (from layer 2)": "tests-present",
	}
}

test_classes_can_be_left_out if {
	every class, reason in {"vcs": "vcs-present", "caches": "caches-present", "tests": "tests-present"} {
		violations := image_leftovers.deny with data.portcullis.parameters as {"image-leftovers": {class: false}}
			with input as fixtures.holding(lists)
		fixtures.reasons(violations) == {"vcs-present", "caches-present", "tests-present"} - {reason}
		unknown := image_leftovers.deny with input as fixtures.unknown_contents(class)
		count(unknown) == count(fixtures.unknown_images(class))
	}
	image_leftovers.deny == set() with input as fixtures.holding(lists)
		with data.portcullis.parameters as {"image-leftovers": {"vcs": false, "caches": false, "tests": false}}
}

test_what_a_later_layer_deletes_is_refused_too if {
	some violation in image_leftovers.deny with input as holding([object.union(one, {"deleted": true})])
	violation.msg == "has version control data: /srv/.git (git repository, deleted by a later layer) (from layer 0)"
	violation.details.findings[0].deleted == true
}
