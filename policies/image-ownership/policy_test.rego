package portcullis.policies.image_ownership_test

import rego.v1

import data.portcullis.lib.fixtures_test as fixtures
import data.portcullis.lib.history_fixtures_test as building
import data.portcullis.policies.image_ownership

application(more) := building.with_contents({"application": more})

set_to(parameters) := {"image-ownership": parameters}

alien(number) := building.finding(sprintf("/app/data%d", [number]), {})

test_files_of_root_pass if {
	image_ownership.deny == set() with input as application({})
}

test_foreign_files if {
	some violation in image_ownership.deny with input as application({"foreign": [alien(1), alien(2)]})
	violation == {
		"container": "web",
		"image": fixtures.image,
		"msg": "has files that belong to neither root nor its user: \"/app/data1\" (uid 501), \"/app/data2\" (uid 501)",
		"fix": "use COPY --chown with the user of the image, or without it for root",
		"details": {
			"reason": "files-foreign",
			"findings": [{"path": "/app/data1", "uid": 501}, {"path": "/app/data2", "uid": 501}],
			"total": 2,
		},
	}
}

test_many_are_counted if {
	found := [alien(number) | some number in numbers.range(1, 30)]
	every field in ["foreign", "writable"] {
		some violation in image_ownership.deny with input as application({field: found})
			with data.portcullis.parameters as set_to({"acceptWritable": false})
		endswith(violation.msg, "and 27 more")
		count(violation.details.findings) == 20
		violation.details.total == 30
	}
}

test_files_that_the_user_may_change if {
	some violation in image_ownership.deny with input as application({"writable": [alien(1)]})
		with data.portcullis.parameters as set_to({"acceptWritable": false})
	violation.msg == "lets its user change files of the application: \"/app/data1\""
	violation.details.reason == "files-writable"
	every parameters in [{}, {"acceptWritable": true}, {"acceptWritable": false, "owner": "user"}] {
		violations := image_ownership.deny with data.portcullis.parameters as set_to(parameters)
			with input as application({"writable": [alien(1)], "ownedByRoot": 0})
		violations == set()
	}
}

test_who_owns_them if {
	both := {"ownedByRoot": 3, "ownedByUser": 1}
	image_ownership.deny == set() with input as application(both)
	some root in image_ownership.deny with input as application(both)
		with data.portcullis.parameters as set_to({"owner": "root"})
	root.msg == "has 1 file of the application that belong to its user; they are to belong to root"
	root.details == {"reason": "files-owner", "files": 1}
	some user in image_ownership.deny with input as application(both)
		with data.portcullis.parameters as set_to({"owner": "user"})
	user.msg == "has 3 files of the application that belong to root; they are to belong to the user of the image"
	every owner, numbers in {
		"root": {"ownedByRoot": 3, "ownedByUser": 0},
		"user": {"ownedByRoot": 0, "ownedByUser": 3},
		"any": {"ownedByRoot": 3, "ownedByUser": 3},
	} {
		image_ownership.deny == set() with input as application(numbers)
			with data.portcullis.parameters as set_to({"owner": owner})
	}
}

test_files_that_are_stored_twice if {
	mib := building.mib
	some violation in image_ownership.deny with input as application({"rewrittenBytes": (5 * mib) + 1})
	violation.msg == "stores 6 MiB of files twice, because a later layer changed only their owner or mode"
	violation.details == {"reason": "files-rewritten", "mib": 6}
	image_ownership.deny == set() with input as application({"rewrittenBytes": 5 * mib})
	count(image_ownership.deny) == 1 with input as application({"rewrittenBytes": 1})
		with data.portcullis.parameters as set_to({"maxRewrittenMiB": 0})
}

strictest := {"owner": "root", "acceptWritable": false, "maxRewrittenMiB": 0}

test_each_check_tells_its_own if {
	violations := image_ownership.deny with data.portcullis.parameters as set_to(strictest)
		with input as application({"foreign": [alien(1)], "writable": [alien(1)], "ownedByUser": 1, "rewrittenBytes": 1})
	fixtures.reasons(violations) == {"files-foreign", "files-writable", "files-owner", "files-rewritten"}
	count(violations) == 4
}

test_findings_of_an_odd_shape_count if {
	every odd in [null, {}, 7, {"path": null, "uid": "x"}] {
		some violation in image_ownership.deny with input as application({"foreign": [odd]})
		contains(violation.msg, "\"\" (uid unknown)")
	}
}

test_contents_that_are_not_known_are_reported if {
	odd := [{"application": facts} |
		some facts in [
			null,
			[],
			"x",
			{"foreign": null},
			{"writable": {}},
			{"ownedByRoot": null},
			{"ownedByUser": "1"},
			{"ownedByUser": -1},
			{"rewrittenBytes": null},
		]
	]
	every contents in array.concat(building.unknown, odd) {
		violations := image_ownership.deny with input as building.with_contents(contents)
		fixtures.reasons(violations) == {"contents-unknown"}
	}
	every document in building.silent {
		violations := image_ownership.deny with input as document
		fixtures.reasons(violations) == {"contents-unknown"}
	}
}

# A number or list that is not known may belong to another look into the image than the others.
test_nothing_else_is_told_where_not_all_is_known if {
	every check, faulty in {
		"foreign": {"foreign": [alien(1)]},
		"writable": {"writable": [alien(1)]},
		"owner": {"ownedByUser": 1},
		"rewritten": {"rewrittenBytes": 1},
	} {
		told := image_ownership.deny with data.portcullis.parameters as set_to(strictest) with input as application(faulty)
		fixtures.reasons(told) == {sprintf("files-%s", [check])}
		every contents in [
			{"status": "pending", "application": faulty},
			{"application": object.union(faulty, {"ownedByRoot": null})},
		] {
			violations := image_ownership.deny with data.portcullis.parameters as set_to(strictest)
				with input as building.with_contents(contents)
			fixtures.reasons(violations) == {"contents-unknown"}
		}
	}
}

test_the_platform_to_blame_is_named if {
	bad := {"contents": {"application": {"foreign": [alien(1)]}}}
	some violation in image_ownership.deny with input as building.two({}, bad)
	violation.platform == "linux/arm64"
	some unknown in image_ownership.deny with input as building.two({}, {"contents": {"status": "pending"}})
	unknown.platform == "linux/arm64"
	some alike in image_ownership.deny with input as building.two(bad, bad)
	not alike.platform
}

test_every_container_is_told_and_volumes_are_not_judged if {
	bad := application({"foreign": [alien(1)]})
	count(image_ownership.deny) == 8 with input as building.many(bad)
	image_ownership.deny == set() with input as building.volume(bad)
}

everything := application({
	"foreign": [alien(1)],
	"writable": [alien(2)],
	"ownedByUser": 1,
	"rewrittenBytes": 90 * building.mib,
})

test_images_and_paths_can_be_exempt if {
	image := set_to({"owner": "root", "exempt": [{"images": ["registry.example/**"]}]})
	image_ownership.deny == set() with input as everything with data.portcullis.parameters as image
	paths := set_to({"owner": "root", "exempt": [{"paths": ["/app/*"]}]})
	violations := image_ownership.deny with input as everything with data.portcullis.parameters as paths
	fixtures.reasons(violations) == {"files-owner", "files-rewritten"}
	one := set_to({"exempt": [{"paths": ["/app/data1"]}]})
	others := image_ownership.deny with input as application({"foreign": [alien(1), alien(2)]})
		with data.portcullis.parameters as one
	{violation.details.total | some violation in others} == {1}
	image_ownership.deny == set() with input as building.with_contents({"status": "pending"})
		with data.portcullis.parameters as image
}

test_wrong_parameters_are_a_violation if {
	every parameters in [
		{"owner": "me"},
		{"acceptWritable": 1},
		{"maxRewrittenMiB": "5"},
		{"exempt": [{"paths": "/opt"}]},
		{"exempt": [{"paths": ["/opt"], "rules": ["x"]}]},
		{"user": "root"},
	] {
		violations := image_ownership.deny with input as application({})
			with data.portcullis.parameters as set_to(parameters)
		fixtures.reasons(violations) == {"parameter-invalid"}
	}
}

test_containers_are_judged_by_their_own_images if {
	violations := image_ownership.deny with input as fixtures.beside(application({"foreign": [alien(1)]}), application({}))
	fixtures.told(violations) == {"web"}
}

test_without_files_that_its_user_may_change_nothing_is_told if {
	image_ownership.deny == set() with input as application({"writable": []})
		with data.portcullis.parameters as set_to({"acceptWritable": false})
}
