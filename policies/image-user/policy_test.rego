package portcullis.policies.image_user_test

import rego.v1

import data.portcullis.lib.fixtures_test as fixtures
import data.portcullis.policies.image_user

user(more) := object.union(fixtures.container({}).user, more)

accepting := {"image-user": {"acceptRunAsNonRoot": true}}

test_numeric_user_passes if {
	image_user.deny == set() with input as fixtures.judged({}, {})
}

# Each source of root has words of its own.
test_root_is_refused if {
	expected := {
		"container": "runs as root: its securityContext says so (runAsUser)",
		"pod": "runs as root: its securityContext says so (runAsUser)",
		"unset": "runs as root: the image names no USER",
		"image": "runs as root: that is the user of the image",
		"unresolved": "runs as root: that is the user of the image",
	}
	every source, msg in expected {
		some violation in image_user.deny with input as fixtures.judged({"user": user({"root": true, "source": source})}, {})
		violation.msg == msg
		violation.container == "web"
		violation.image == fixtures.image
		violation.details.reason == "user-root"
		violation.fix != ""
	}
}

test_name_that_is_in_no_passwd_is_refused if {
	some violation in image_user.deny with input as fixtures.judged(
		{"user": user({"root": "unknown", "source": "unresolved", "uid": null, "name": "app"})},
		{},
	)
	violation.msg == "may run as root: its user \"app\" is not in the image's /etc/passwd"
	contains(violation.fix, "USER to a numeric id")
	violation.details.reason == "user-unknown"
}

test_name_of_uid_0_is_refused_by_its_name if {
	some violation in image_user.deny with input as fixtures.judged(
		{"user": user({"root": true, "source": "image", "uid": 0, "name": "app"})},
		{},
	)
	violation.msg == "runs as root: its user \"app\" has the uid 0 in the image"
	violation.details.reason == "user-root"
}

test_unknown_user_is_refused if {
	some violation in image_user.deny with input as fixtures.judged({"user": user({"root": "unknown"})}, {})
	violation.msg == "may run as root: its user is not known"
}

# Whatever is not exactly false refuses: absent, null, or of a wrong type.
test_absent_and_odd_facts_are_refused if {
	odd := [
		fixtures.without(fixtures.container({}), ["user/root"]),
		fixtures.without(fixtures.container({}), ["user"]),
		fixtures.without(fixtures.container({}), ["name", "kind", "user"]),
		fixtures.container({"user": null}),
		fixtures.container({"user": []}),
		fixtures.container({"user": user({"root": null})}),
		fixtures.container({"user": user({"root": "false"})}),
		fixtures.container({"user": user({"root": 0})}),
		fixtures.container({"user": user({"root": "unknown", "source": "unresolved", "name": 7})}),
	]
	every container in odd {
		violations := image_user.deny with input as fixtures.document([container], {})
		fixtures.reasons(violations) == {"user-unknown"}
	}
}

test_init_and_ephemeral_containers_are_judged_and_volumes_are_not if {
	root := {"user": user({"root": true})}
	every kind in {"container", "init", "ephemeral"} {
		count(image_user.deny) == 1 with input as fixtures.judged(object.union(root, {"kind": kind}), {})
	}
	image_user.deny == set() with input as fixtures.judged(object.union(root, {"kind": "volume"}), {})
}

test_one_bad_container_among_good_ones if {
	good := fixtures.container({"name": "good"})
	bad := fixtures.container({"name": "bad", "user": user({"root": true})})
	names := {violation.container | some violation in image_user.deny} with input as fixtures.document([good, bad], {})
	names == {"bad"}
}

both(first, second) := fixtures.facts({"isIndex": true, "platforms": [
	fixtures.platform("linux/amd64", {"user": {"root": first}}),
	fixtures.platform("linux/arm64", {"user": {"root": second}}),
]})

test_the_platform_to_blame_is_named if {
	some violation in image_user.deny with input as fixtures.document(
		[fixtures.container({"user": user({"root": true})})],
		{fixtures.image: both(false, true)},
	)
	violation.platform == "linux/arm64"
	violation.digest == fixtures.platform("linux/arm64", {}).digest
}

test_no_platform_is_named_where_all_are_alike if {
	some violation in image_user.deny with input as fixtures.document(
		[fixtures.container({"user": user({"root": true})})],
		{fixtures.image: both(true, true)},
	)
	not violation.platform
}

test_no_platform_is_named_where_the_pod_decides if {
	some violation in image_user.deny with input as fixtures.document(
		[fixtures.container({"user": user({"root": true, "source": "pod"})})],
		{fixtures.image: both(false, true)},
	)
	not violation.platform
}

test_run_as_non_root_is_not_enough_by_default if {
	count(image_user.deny) == 1 with input as fixtures.judged(
		{"user": user({"root": "unknown", "runAsNonRoot": true})},
		{},
	)
}

test_run_as_non_root_is_enough_where_it_is_accepted if {
	image_user.deny == set() with data.portcullis.parameters as accepting
		with input as fixtures.judged({"user": user({"root": "unknown", "runAsNonRoot": true})}, {})
}

test_run_as_non_root_never_excuses_a_known_root_or_silence if {
	every one in [{"root": true, "runAsNonRoot": true}, {"root": "unknown"}, {"root": "unknown", "runAsNonRoot": "true"}] {
		count(image_user.deny) == 1 with data.portcullis.parameters as accepting
			with input as fixtures.judged({"user": user(one)}, {})
	}
}

test_wrong_parameters_are_a_violation if {
	violations := image_user.deny with data.portcullis.parameters as {"image-user": {"acceptRunAsNonRoot": "yes"}}
		with input as fixtures.judged({}, {})
	fixtures.reasons(violations) == {"parameter-invalid"}
}

# The platforms of another image are not to blame.
test_the_platform_to_blame_is_of_the_image_of_the_container if {
	documents := fixtures.document(
		[fixtures.container({"user": user({"root": true})})],
		{fixtures.image: both(true, true), "other": both(false, true)},
	)
	some violation in image_user.deny with input as documents
	not violation.platform
}

# An image that is no index has one platform, which nobody needs to be told.
test_no_platform_is_named_where_there_is_no_index if {
	images := {fixtures.image: object.union(both(false, true), {"isIndex": false})}
	some violation in image_user.deny with input as fixtures.document([fixtures.container({"user": user({"root": true})})], images)
	not violation.platform
}

test_no_platform_is_named_where_none_is_like_the_container if {
	images := {fixtures.image: both(false, false)}
	some violation in image_user.deny with input as fixtures.document([fixtures.container({"user": user({"root": true})})], images)
	not violation.platform
	violation.msg != ""
}

# What is not known is never told as root, whatever it was looked for in.
test_unknown_is_told_as_unknown_for_every_source if {
	every source in ["container", "pod", "unset", "image"] {
		some violation in image_user.deny with input as fixtures.judged({"user": user({"root": "unknown", "source": source, "name": "app"})}, {})
		violation.msg == "may run as root: its user is not known"
	}
	every name in ["", null] {
		some violation in image_user.deny with input as fixtures.judged({"user": user({"root": "unknown", "source": "unresolved", "name": name})}, {})
		violation.msg == "may run as root: its user is not known"
	}
}

test_root_without_a_name_is_told_as_root if {
	every name in [null, "", "root", 7] {
		some violation in image_user.deny with input as fixtures.judged({"user": user({"root": true, "source": "image", "name": name})}, {})
		violation.msg == "runs as root: that is the user of the image"
	}
}
