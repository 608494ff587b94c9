package portcullis.policies.image_package_manager_test

import rego.v1

import data.portcullis.lib.fixtures_test as fixtures
import data.portcullis.policies.image_package_manager

one := fixtures.found("/usr/bin/apt-get", {"what": "apt", "rule": "rule"})

holding(findings) := fixtures.holding({"packageManagers": findings})

on_two(amd64, arm64) := fixtures.on_two({"packageManagers": amd64}, {"packageManagers": arm64})

on_base(layers, more) := fixtures.on_base("image-package-manager", layers, more)

test_an_image_without_passes if {
	image_package_manager.deny == set() with input as fixtures.holding({})
}

test_what_is_found_is_refused if {
	some violation in image_package_manager.deny with input as holding([one])
	violation.msg == "has a package manager: /usr/bin/apt-get (from layer 0)"
	violation.fix != ""
	violation.container == "web"
	violation.image == fixtures.image
	violation.details == {
		"reason": "package-manager-present",
		"findings": [{
			"path": "/usr/bin/apt-get",
			"what": "apt",
			"rule": "rule",
			"layerIndex": 0,
			"deleted": false,
		}],
		"total": 1,
	}
}

test_one_violation_for_many_findings if {
	many := [fixtures.found(sprintf("/x/%d", [n]), {"what": "x"}) | some n in numbers.range(1, 30)]
	violations := image_package_manager.deny with input as holding(many)
	count(violations) == 1
	some violation in violations
	contains(violation.msg, "/x/1, /x/2, /x/3 and 27 more")
	count(violation.details.findings) == 20
	violation.details.total == 30
}

test_every_container_of_the_image_is_told if {
	platform := fixtures.looked_into("linux/amd64", {"contents": {"packageManagers": [one]}})
	image := fixtures.facts({"platforms": [platform]})
	names := {violation.container | some violation in image_package_manager.deny} with input as fixtures.document(
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
		some violation in image_package_manager.deny with input as on_two(lists[0], lists[1])
		violation.platform == ["linux/amd64", "linux/arm64"][count([1 | count(lists[0]) == 0])]
		violation.digest == fixtures.platform(violation.platform, {}).digest
	}
	violations := image_package_manager.deny with input as on_two([one], [one])
	count(violations) == 1
	some violation in violations
	not violation.platform
}

test_what_a_later_layer_deletes_passes if {
	deleted := object.union(one, {"deleted": true})
	image_package_manager.deny == set() with input as holding([deleted])
	count(image_package_manager.deny) == 1 with input as holding([deleted, one])
}

test_what_comes_with_an_allowed_base_passes if {
	own := object.union(one, {"layerIndex": 1})
	image_package_manager.deny == set() with data.portcullis.parameters as on_base(1, {}) with input as holding([one])
	count(image_package_manager.deny) == 1 with data.portcullis.parameters as on_base(1, {})
		with input as holding([one, own])
	image_package_manager.deny == set() with data.portcullis.parameters as on_base(2, {})
		with input as holding([one, own])
}

test_an_allowed_base_excuses_nothing_where_the_operator_says_so if {
	count(image_package_manager.deny) == 1 with data.portcullis.parameters as on_base(3, {"allowInBase": false})
		with input as holding([one])
}

exempt(one_of_them) := {"image-package-manager": {"exempt": [one_of_them]}}

test_exemptions if {
	every exemption in [
		{"images": ["registry.example/acme/**"]},
		{"paths": ["/usr/bin/apt-get"]},
		{"images": ["registry.example/**"], "paths": ["/*/**"], "rules": ["rule"]},
	] {
		image_package_manager.deny == set() with data.portcullis.parameters as exempt(exemption)
			with input as holding([one])
	}
	every exemption in [
		{"images": ["registry.example/other/**"]},
		{"paths": ["/opt/**"]},
		{"images": ["registry.example/acme/**"], "paths": ["/opt/**"]},
		{"images": ["registry.example/acme/**"], "rules": ["other"]},
	] {
		count(image_package_manager.deny) == 1 with data.portcullis.parameters as exempt(exemption)
			with input as holding([one])
	}
}

test_what_is_not_known_is_refused if {
	violations := image_package_manager.deny with input as fixtures.unknown_contents("packageManagers")
	fixtures.reasons(violations) == {"contents-unknown"}
	count(violations) == count(fixtures.unknown_images("packageManagers"))
	every document in [{}, {"images": null}, {"images": []}] {
		unread := image_package_manager.deny with input as object.union({"containers": [fixtures.container({})]}, document)
		fixtures.reasons(unread) == {"contents-unknown"}
	}
}

# Neither a base nor an exemption pardons what lacks the fields that they go by.
test_odd_findings_are_never_overlooked if {
	violations := image_package_manager.deny with data.portcullis.parameters as fixtures.nearly_pardoned("image-package-manager")
		with input as fixtures.odd_contents("packageManagers")
	count(violations) == count(fixtures.odd_findings)
}

test_one_platform_that_is_not_known_is_enough if {
	violations := image_package_manager.deny with input as fixtures.on_two({}, {"status": "pending"})
	fixtures.reasons(violations) == {"contents-unknown"}
}

test_an_image_that_is_exempt_need_not_be_known if {
	image_package_manager.deny == set() with data.portcullis.parameters as exempt({"images": ["registry.example/acme/*"]})
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
		{"downloadTools": 1},
	] {
		violations := image_package_manager.deny with data.portcullis.parameters as {"image-package-manager": parameters}
			with input as holding([one])
		fixtures.reasons(violations) == {"parameter-invalid", "package-manager-present"}
	}
}

without_tools := {"image-package-manager": {"downloadTools": false}}

curl := fixtures.found("/usr/bin/curl", {"what": "curl", "rule": "download-tool"})

test_download_tools if {
	document := fixtures.holding({"downloadTools": [curl], "packageManagers": [one]})
	violations := image_package_manager.deny with input as document
	fixtures.reasons(violations) == {"package-manager-present", "download-tool-present"}
	some violation in violations
	violation.msg == "has a download tool: /usr/bin/curl (from layer 0)"
	left := image_package_manager.deny with data.portcullis.parameters as without_tools
		with input as document
	fixtures.reasons(left) == {"package-manager-present"}
}

test_download_tools_that_are_not_known if {
	document := fixtures.holding({"downloadTools": null})
	violations := image_package_manager.deny with input as document
	fixtures.reasons(violations) == {"contents-unknown"}
	left := image_package_manager.deny with data.portcullis.parameters as without_tools
		with input as document
	left == set()
}

test_download_tools_of_a_base_and_exempt_ones if {
	every parameters in [
		on_base(1, {}),
		{"image-package-manager": {"exempt": [{"paths": ["/usr/bin/curl"]}]}},
	] {
		image_package_manager.deny == set() with data.portcullis.parameters as parameters
			with input as fixtures.holding({"downloadTools": [curl]})
	}
}
