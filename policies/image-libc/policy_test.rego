package portcullis.policies.image_libc_test

import rego.v1

import data.portcullis.lib.fixtures_test as fixtures
import data.portcullis.lib.history_fixtures_test as building
import data.portcullis.policies.image_libc

extension(number) := building.finding(sprintf("/app/lib/x%d.so", [number]), {"rule": "libc", "what": "extension for glibc"})

mixed(number) := {
	"os": {"libc": "musl"},
	"libcMismatches": [extension(one) | some one in numbers.range(1, number)],
}

test_extensions_that_fit_pass if {
	image_libc.deny == set() with input as building.with_facts({})
}

test_an_extension_that_does_not_fit if {
	some violation in image_libc.deny with input as building.with_contents(mixed(1))
	violation == {
		"container": "web",
		"image": fixtures.image,
		"msg": "has 1 compiled extension for another C library than its system's (musl): \"/app/lib/x1.so\"",
		"fix": "install packages in a stage on the same base as the image's, and copy them from there",
		"details": {"reason": "libc-mismatch", "paths": ["/app/lib/x1.so"], "total": 1},
	}
}

test_many_are_counted if {
	some violation in image_libc.deny with input as building.with_contents(mixed(30))
	contains(violation.msg, "has 30 compiled extensions")
	endswith(violation.msg, "and 27 more")
	count(violation.details.paths) == 20
	violation.details.total == 30
}

test_the_system_is_only_named_where_it_is_one if {
	every libc in ["", "both", null, 7] {
		some violation in image_libc.deny with input as building.with_contents(object.union(mixed(1), {"os": {"libc": libc}}))
		contains(violation.msg, "its system's: ")
	}
}

test_findings_of_an_odd_shape_count if {
	every odd in [null, {}, {"path": null}, 7] {
		some violation in image_libc.deny with input as building.with_contents({"libcMismatches": [odd]})
		violation.details.paths == [""]
	}
}

test_contents_that_are_not_known_are_reported if {
	lists := [{"libcMismatches": odd} | some odd in [null, {}, "x", 7]]
	every contents in array.concat(building.unknown, lists) {
		violations := image_libc.deny with input as building.with_contents(contents)
		fixtures.reasons(violations) == {"contents-unknown"}
	}
	every document in building.silent {
		violations := image_libc.deny with input as document
		fixtures.reasons(violations) == {"contents-unknown"}
	}
}

# The lists of a look that was not finished mean nothing.
test_findings_do_not_count_before_the_look_is_complete if {
	violations := image_libc.deny with input as building.with_contents(object.union(mixed(1), {"status": "pending"}))
	fixtures.reasons(violations) == {"contents-unknown"}
}

test_the_platform_to_blame_is_named if {
	some violation in image_libc.deny with input as building.two({}, {"contents": mixed(1)})
	violation.platform == "linux/arm64"
	some unknown in image_libc.deny with input as building.two({}, {"contents": {"status": "pending"}})
	unknown.platform == "linux/arm64"
	some alike in image_libc.deny with input as building.two({"contents": mixed(1)}, {"contents": mixed(2)})
	not alike.platform
}

test_every_container_is_told_and_volumes_are_not_judged if {
	bad := building.with_contents(mixed(1))
	count(image_libc.deny) == 8 with input as building.many(bad)
	image_libc.deny == set() with input as building.volume(bad)
}

exempting(one) := {"image-libc": {"exempt": [one]}}

test_images_and_paths_can_be_exempt if {
	every one in [
		{"images": ["registry.example/**"]},
		{"paths": ["/app/lib/**"]},
		{"images": ["registry.example/**"], "paths": ["/app/*/x1.so", "/app/*/x2.so"]},
	] {
		image_libc.deny == set() with input as building.with_contents(mixed(2))
			with data.portcullis.parameters as exempting(one)
	}
	some violation in image_libc.deny with input as building.with_contents(mixed(2))
		with data.portcullis.parameters as exempting({"paths": ["/app/lib/x1.so"]})
	violation.details.paths == ["/app/lib/x2.so"]
	count(image_libc.deny) == 1 with input as building.with_contents(mixed(2))
		with data.portcullis.parameters as exempting({"images": ["docker.io/**"], "paths": ["/app/lib/**"]})
}

test_an_exempt_image_need_not_be_known if {
	image_libc.deny == set() with input as building.with_contents({"status": "pending"})
		with data.portcullis.parameters as exempting({"images": ["registry.example/**"]})
}

test_wrong_parameters_are_a_violation if {
	every parameters in [{"exempt": {}}, {"exempt": [{}]}, {"exempt": [{"rules": ["x"]}]}, {"exemptions": []}] {
		violations := image_libc.deny with input as building.with_facts({})
			with data.portcullis.parameters as {"image-libc": parameters}
		fixtures.reasons(violations) == {"parameter-invalid"}
	}
}

test_containers_are_judged_by_their_own_images if {
	violations := image_libc.deny with input as fixtures.beside(building.with_contents(mixed(1)), building.with_facts({}))
	fixtures.told(violations) == {"web"}
}
