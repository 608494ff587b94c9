package portcullis.policies.image_age_test

import rego.v1

import data.portcullis.lib.fixtures_test as fixtures
import data.portcullis.policies.image_age

aged(more) := fixtures.judged({}, {"platforms": [fixtures.platform("linux/amd64", more)]})

epoch := {"created": "1970-01-01T00:00:00.000000Z", "ageHours": 498000}

test_young_image_passes if {
	image_age.deny == set() with input as aged({})
}

test_old_image_is_reported if {
	some violation in image_age.deny with input as aged({"created": "2025-01-01T00:00:00.000000Z", "ageHours": 16632})
	violation.msg == "was built 693 days ago; the limit is 365 days"
	violation.details.reason == "image-old"
	not violation.platform
}

test_the_limit_is_a_parameter if {
	tight := {"image-age": {"maxAgeDays": 20}}
	image_age.deny == set() with input as aged({"ageHours": 480}) with data.portcullis.parameters as tight
	count(image_age.deny) == 1 with input as aged({"ageHours": 480.1}) with data.portcullis.parameters as tight
}

test_future_is_reported if {
	some violation in image_age.deny with input as aged({"created": "2099-01-01T00:00:00.000000Z", "ageHours": -600000})
	violation.details.reason == "image-age-future"
	contains(violation.msg, "2099-01-01")
	image_age.deny == set() with input as aged({"ageHours": -23})
}

test_times_of_reproducible_builds_are_no_age if {
	some violation in image_age.deny with input as aged(epoch)
	violation.details.reason == "image-age-unknown"
	contains(violation.msg, "1970-01-01")
}

test_unknown_age_is_reported if {
	odd := [
		{"created": null, "ageHours": null},
		{"created": null},
		{"ageHours": "3"},
		{"created": 7},
		{"created": ["2026"]},
		{"created": {"year": 2026}},
		{"created": "2026-11-01T00:00:00.000000Z", "ageHours": null},
	]
	every more in odd {
		violations := image_age.deny with input as aged(more)
		fixtures.reasons(violations) == {"image-age-unknown"}
	}
}

test_only_a_text_is_shown_as_a_build_time if {
	every created in [null, 7, ["2026"], {"year": 2026}] {
		some violation in image_age.deny with input as aged({"created": created})
		violation.msg == "does not say when it was built"
		object.keys(violation.details) == {"reason"}
	}
}

test_absent_facts_are_reported if {
	bare := fixtures.without(fixtures.platform("linux/amd64", {}), ["created", "ageHours"])
	every facts in [{"platforms": [bare]}, {"platforms": [{}]}, {"platforms": []}, {"platforms": null}] {
		violations := image_age.deny with input as fixtures.judged({}, facts)
		fixtures.reasons(violations) == {"image-age-unknown"}
	}
	every images in [{}, {fixtures.image: {}}, {fixtures.image: null}] {
		count(image_age.deny) == 1 with input as fixtures.document([fixtures.container({})], images)
	}
}

test_unknown_ages_pass_where_they_are_accepted if {
	accepting := {"image-age": {"acceptUnknown": true}}
	every more in [epoch, {"created": null, "ageHours": null}] {
		image_age.deny == set() with input as aged(more) with data.portcullis.parameters as accepting
	}
	count(image_age.deny) == 1 with input as aged({"ageHours": 90000}) with data.portcullis.parameters as accepting
	count(image_age.deny) == 1 with input as fixtures.judged({}, {"platforms": []})
		with data.portcullis.parameters as accepting
}

test_one_bad_platform_is_enough_and_is_named if {
	some violation in image_age.deny with input as fixtures.judged({}, {"isIndex": true, "platforms": [
		fixtures.platform("linux/amd64", {}),
		fixtures.platform("linux/arm64", {"ageHours": 90000}),
	]})
	violation.platform == "linux/arm64"
	violation.digest == fixtures.platform("linux/arm64", {}).digest
}

test_wrong_parameters_are_a_violation if {
	violations := image_age.deny with data.portcullis.parameters as {"image-age": {"maxAgeDays": "30"}}
		with input as aged({})
	fixtures.reasons(violations) == {"parameter-invalid"}
}
