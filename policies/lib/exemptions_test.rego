package portcullis.lib.exemptions_test

import rego.v1

import data.portcullis.lib.exemptions
import data.portcullis.lib.fixtures_test as fixtures

held(one, path, rule) if {
	exemptions.holds([one], fixtures.image, path, rule) with input as fixtures.judged({}, {})
}

test_all_that_is_said_must_hold if {
	every one in [
		{"images": ["registry.example/acme/**"]},
		{"images": ["docker.io/**", "registry.example/acme/web"]},
		{"paths": ["/opt/**"]},
		{"paths": ["/opt/*/bin/é.sh"]},
		{"paths": ["/**"]},
		{"images": ["registry.example/**"], "paths": ["/opt/**"], "rules": ["r"]},
	] {
		held(one, "/opt/Tool/bin/é.sh", "r")
	}
	every one in [
		{"images": ["docker.io/**"]},
		{"images": ["docker.io/**"], "paths": ["/opt/**"]},
		{"images": ["registry.example/**"], "paths": ["/srv/**"]},
		{"images": ["registry.example/**"], "rules": ["s"]},
		{"paths": ["/opt"]},
		{"paths": ["/opt/*"]},
		{"paths": ["/opt/tool/bin/é.sh"]},
		{"paths": ["/opt/Tool/bin/..sh"]},
	] {
		not held(one, "/opt/Tool/bin/é.sh", "r")
	}
}

test_a_path_that_is_not_known_is_exempt_with_all_paths_only if {
	every path in ["", null, 7] {
		held({"paths": ["/**"]}, path, "r")
		not held({"paths": ["/*/**"]}, path, "r")
	}
}

test_an_image_without_a_place_is_not_exempt if {
	one := {"images": ["**"]}
	held(one, "", "")
	every facts in [{"registry": null}, {"repository": 7}] {
		not exemptions.holds([one], fixtures.image, "", "") with input as fixtures.judged({}, facts)
	}
	not exemptions.holds([one], fixtures.image, "", "") with input as {}
}

faulty := [
	{},
	{"rules": ["r"]},
	{"images": "docker.io/**"},
	{"images": []},
	{"images": [7]},
	{"images": ["/x"]},
	{"images": ["docker.io/a*"]},
	{"paths": ["opt"]},
	{"paths": ["/opt/**a"]},
	{"images": ["**"], "path": ["/srv/**"]},
	{"paths": ["/**"], "rules": "r"},
]

test_faulty_ones_are_told_and_exempt_nothing if {
	every one in faulty {
		count(exemptions.faults([one], ["images", "paths", "rules"])) > 0
		not held(one, "/opt", "r")
	}
}

test_fields_that_the_policy_does_not_read if {
	exemptions.faults([{"images": ["**"], "paths": ["/opt"]}], ["images"]) == {
		"an element of \"exempt\" has the field \"paths\", not one of images",
	}
	exemptions.faults([{"images": ["**"]}], ["images"]) == set()
	exemptions.faults([], ["images"]) == set()
}
