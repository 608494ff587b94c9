package portcullis.policies.pss_non_root_test

import rego.v1

import data.portcullis.lib.podsecurity_fixtures_test as fixtures
import data.portcullis.policies.pss_non_root

non_root(value) := fixtures.context({"runAsNonRoot": value})

bad_containers := array.concat(
	[[said, "securityContext.runAsNonRoot", "run-as-non-root"] |
		some said in [
			{},
			{"securityContext": null},
			fixtures.context({"runAsUser": 10001}),
			non_root(null),
			non_root(false),
			non_root("true"),
			non_root(1),
			non_root({}),
		]
	],
	[
		[fixtures.context("junk"), "securityContext.runAsNonRoot", "field-unreadable"],
		[fixtures.context([{"runAsNonRoot": true}]), "securityContext.runAsNonRoot", "field-unreadable"],
	],
)

good_containers := [non_root(true)]

# What the pod says, what its container says, and who is told.
inherited := [
	[true, true, set()],
	[true, null, set()],
	[true, false, {"web"}],
	[true, "true", {"web"}],
	[null, true, set()],
	[null, null, {"web"}],
	[false, true, {"the pod"}],
	[false, null, {"the pod"}],
	[false, false, {"the pod", "web"}],
	["true", null, {"the pod"}],
	[0, true, {"the pod"}],
]

test_the_pod_may_say_it_for_its_containers if {
	every one in inherited {
		violations := pss_non_root.deny with input as fixtures.pod(object.union(
			non_root(one[0]),
			{"containers": [object.union({"name": "web"}, non_root(one[1]))]},
		))
		{found[0] | some found in fixtures.shown(violations)} == one[2]
	}
}

test_a_pod_that_cannot_be_read_is_refused if {
	violations := pss_non_root.deny with input as fixtures.pod(fixtures.context("junk"))
	fixtures.shown(violations) == {["the pod", "spec.securityContext.runAsNonRoot", "field-unreadable"]}
}

test_pods_for_windows_are_not_left_out if {
	count(pss_non_root.deny) == 1 with input as fixtures.pod({"os": {"name": "windows"}})
}

relaxed := [non_root(false), {"containers": [object.union({"name": "web"}, non_root(false))]}, {}]

test_bad_containers_are_refused if {
	every one in bad_containers {
		violations := pss_non_root.deny with input as fixtures.container(one[0])
		fixtures.shown(violations) == {["web", sprintf("spec.containers[0].%s", [one[1]]), one[2]]}
	}
}

test_containers_of_every_kind_are_judged if {
	every place in fixtures.container_places {
		violations := pss_non_root.deny with input as fixtures.in_restricted_place(place, bad_containers[0][0])
		fixtures.shown(violations) == {["web", sprintf("%s.%s", [place.path, bad_containers[0][1]]), bad_containers[0][2]]}
	}
}

test_good_containers_pass if {
	every said in good_containers {
		pss_non_root.deny == set() with input as fixtures.container(said)
	}
}

accepting := {"pss-non-root": {"acceptUserNamespaces": true}}

# The pod asks for a user namespace in so many words, and the operator takes its word.
test_user_namespaces if {
	expected := [[false, accepting, 0], [true, accepting, 1], [null, accepting, 1], ["false", accepting, 1], [false, {}, 1]]
	every one in expected {
		every said in relaxed {
			count(pss_non_root.deny) == one[2] with input as fixtures.pod(object.union(said, {"hostUsers": one[0]}))
				with data.portcullis.parameters as one[1]
		}
	}
}

test_user_namespaces_excuse_nothing_that_cannot_be_read if {
	violations := pss_non_root.deny with data.portcullis.parameters as accepting
		with input as fixtures.pod({"hostUsers": false, "containers": [{"name": "web", "securityContext": "junk"}]})
	fixtures.reasons(violations) == {"field-unreadable"}
}

test_a_parameter_of_a_wrong_type_accepts_nothing if {
	violations := pss_non_root.deny with data.portcullis.parameters as {"pss-non-root": {"acceptUserNamespaces": "true"}}
		with input as fixtures.pod(object.union(relaxed[0], {"hostUsers": false}))
	"parameter-invalid" in fixtures.reasons(violations)
	count(violations) == 2
}

test_words if {
	fixtures.messages(pss_non_root.deny) == {"the pod lets its containers run as root (runAsNonRoot)", "is not bound to run as a non-root user (runAsNonRoot is not true)"} with input as fixtures.pod(object.union(non_root(false), {"containers": [object.union({"name": "web"}, non_root(false))]}))
}

test_wrong_parameters_are_a_violation if {
	violations := pss_non_root.deny with input as fixtures.pod({}) with data.portcullis.parameters as {"pss-non-root": {"strict": true}}
	"parameter-invalid" in fixtures.reasons(violations)
}

test_no_pod_is_not_judged if {
	pss_non_root.deny == set() with input as {"workload": {"podSpec": null, "podMetadata": null}, "containers": [], "images": {}}
}
