package portcullis.policies.image_numeric_user_test

import rego.v1

import data.portcullis.lib.fixtures_test as fixtures
import data.portcullis.policies.image_numeric_user

with_user(user) := fixtures.platform("linux/amd64", {"config": {"user": user}})

judged(platforms) := fixtures.judged({}, {"isIndex": count(platforms) > 1, "platforms": platforms})

told(platforms) := [violation | some violation in violations] if {
	violations := image_numeric_user.deny with input as judged(platforms)
}

test_numbers_pass if {
	every user in ["10001", "1", "010", "10001:0", "10001:app"] {
		told([with_user(user)]) == []
	}
}

test_others_are_told if {
	expected := {
		"": ["user-unset", "names no USER, so it is root"],
		"0": ["user-root", "names root as its USER"],
		"000:1": ["user-root", "names root as its USER"],
		"root": ["user-root", "names root as its USER"],
		"root:app": ["user-root", "names root as its USER"],
		"rooty": ["user-named", "names its USER \"rooty\", which is no number"],
		"app": ["user-named", "names its USER \"app\", which is no number"],
		"10001x": ["user-named", "names its USER \"10001x\", which is no number"],
		"-1": ["user-named", "names its USER \"-1\", which is no number"],
	}
	every user, words in expected {
		told([with_user(user)]) == [{
			"container": "web",
			"image": fixtures.image,
			"msg": words[1],
			"fix": "set USER to a number above 0 in the Dockerfile (USER 10001)",
			"details": {"reason": words[0]},
		}]
	}
}

test_unknown_users_are_told if {
	every platforms in [[], [null], [{}], [{"config": null}], [with_user(null)], [with_user(10001)], [with_user(["1"])]] {
		fixtures.reasons(told(platforms)) == {"user-unknown"}
	}
	violations := image_numeric_user.deny with input as fixtures.document([fixtures.container({})], {})
	fixtures.reasons(violations) == {"user-unknown"}
	[violation.msg | some violation in violations] == ["has a USER that is not known"]
}

test_the_platform_to_blame_is_named if {
	good := with_user("1")
	bad := object.union(with_user("app"), {"platform": "linux/arm64"})
	[violation.platform | some violation in told([good, bad])] == ["linux/arm64"]
	count(told([good, bad])) == 1
}

test_every_running_container_is_told_and_volumes_are_not if {
	containers := [fixtures.container({"name": kind, "kind": kind}) | some kind in ["container", "init", "volume"]]
	images := {fixtures.image: fixtures.facts({"platforms": [with_user("app")]})}
	names := {violation.container | some violation in image_numeric_user.deny} with input as fixtures.document(containers, images)
	names == {"container", "init"}
}

test_one_image_does_not_pass_for_another if {
	containers := [fixtures.container({}), fixtures.container({"name": "b", "image": "b"})]
	images := {fixtures.image: fixtures.facts({"platforms": [with_user("1")]}), "b": fixtures.facts({"platforms": [with_user("app")]})}
	names := {violation.container | some violation in image_numeric_user.deny} with input as fixtures.document(containers, images)
	names == {"b"}
}

test_images_can_be_exempt if {
	count(image_numeric_user.deny) == 0 with input as judged([with_user("app")])
		with data.portcullis.parameters as {"image-numeric-user": {"exempt": [{"images": ["registry.example/**"]}]}}
	count(image_numeric_user.deny) == 1 with input as judged([with_user("app")])
		with data.portcullis.parameters as {"image-numeric-user": {"exempt": [{"images": ["other.example/**"]}]}}
}

test_wrong_parameters_are_a_violation if {
	every one in [{"exempt": 7}, {"exempt": [{"image": "x"}]}, {"other": 1}] {
		violations := image_numeric_user.deny with data.portcullis.parameters as {"image-numeric-user": one}
			with input as judged([with_user("1")])
		fixtures.reasons(violations) == {"parameter-invalid"}
	}
}
