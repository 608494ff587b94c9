package portcullis.policies.pss_non_root_user_test

import rego.v1

import data.portcullis.lib.podsecurity_fixtures_test as fixtures
import data.portcullis.policies.pss_non_root_user

bad := array.concat(
	[[{"runAsUser": value}, "securityContext.runAsUser", "run-as-root"] | some value in [0, -1, 0.5, "0", "10001", "", false, true, [], [1], {}]],
	[
		["junk", "securityContext.runAsUser", "field-unreadable"],
		[[{"runAsUser": 1}], "securityContext.runAsUser", "field-unreadable"],
	],
)

good := [null, {}, {"runAsUser": null}, {"runAsUser": 1}, {"runAsUser": 10001}, {"runAsUser": 4294967294}]

bad_pods := [[fixtures.context(one[0]), one[1], one[2]] | some one in bad]

bad_containers := bad_pods

good_pods := [fixtures.context(said) | some said in good]

good_containers := good_pods

# Neither takes back what the other says.
test_pod_and_containers_are_told_apart if {
	expected := [[0, 10001, {"the pod"}], [10001, 0, {"web"}], [0, 0, {"the pod", "web"}]]
	every one in expected {
		violations := pss_non_root_user.deny with input as fixtures.pod(object.union(
			fixtures.context({"runAsUser": one[0]}),
			{"containers": [{"name": "web", "securityContext": {"runAsUser": one[1]}}]},
		))
		{found[0] | some found in fixtures.shown(violations)} == one[2]
	}
}

test_pods_for_windows_are_not_left_out if {
	count(pss_non_root_user.deny) == 1 with input as fixtures.pod(object.union({"os": {"name": "windows"}}, fixtures.context({"runAsUser": 0})))
}

relaxed := [fixtures.context({"runAsUser": 0}), {"containers": [{"name": "web", "securityContext": {"runAsUser": 0}}]}]

test_bad_pods_are_refused if {
	every one in bad_pods {
		violations := pss_non_root_user.deny with input as fixtures.pod(one[0])
		fixtures.shown(violations) == {["the pod", sprintf("spec.%s", [one[1]]), one[2]]}
	}
}

test_pods_of_every_kind_are_judged if {
	every kind, path in fixtures.pod_paths {
		spec := object.union({"containers": [{"name": "web"}]}, bad_pods[0][0])
		violations := pss_non_root_user.deny with input as fixtures.workload(kind, {}, spec)
		fixtures.shown(violations) == {["the pod", sprintf("%s.%s", [path, bad_pods[0][1]]), bad_pods[0][2]]}
	}
}

test_bad_containers_are_refused if {
	every one in bad_containers {
		violations := pss_non_root_user.deny with input as fixtures.container(one[0])
		fixtures.shown(violations) == {["web", sprintf("spec.containers[0].%s", [one[1]]), one[2]]}
	}
}

test_containers_of_every_kind_are_judged if {
	every place in fixtures.container_places {
		violations := pss_non_root_user.deny with input as fixtures.in_place(place, bad_containers[0][0])
		fixtures.shown(violations) == {["web", sprintf("%s.%s", [place.path, bad_containers[0][1]]), bad_containers[0][2]]}
	}
}

test_good_pods_pass if {
	every said in good_pods {
		pss_non_root_user.deny == set() with input as fixtures.pod(said)
	}
}

test_good_containers_pass if {
	every said in good_containers {
		pss_non_root_user.deny == set() with input as fixtures.container(said)
	}
}

accepting := {"pss-non-root-user": {"acceptUserNamespaces": true}}

# The pod asks for a user namespace in so many words, and the operator takes its word.
test_user_namespaces if {
	expected := [[false, accepting, 0], [true, accepting, 1], [null, accepting, 1], ["false", accepting, 1], [false, {}, 1]]
	every one in expected {
		every said in relaxed {
			count(pss_non_root_user.deny) == one[2] with input as fixtures.pod(object.union(said, {"hostUsers": one[0]}))
				with data.portcullis.parameters as one[1]
		}
	}
}

test_user_namespaces_excuse_nothing_that_cannot_be_read if {
	violations := pss_non_root_user.deny with data.portcullis.parameters as accepting
		with input as fixtures.pod({"hostUsers": false, "containers": [{"name": "web", "securityContext": "junk"}]})
	fixtures.reasons(violations) == {"field-unreadable"}
}

test_a_parameter_of_a_wrong_type_accepts_nothing if {
	violations := pss_non_root_user.deny with data.portcullis.parameters as {"pss-non-root-user": {"acceptUserNamespaces": "true"}}
		with input as fixtures.pod(object.union(relaxed[0], {"hostUsers": false}))
	"parameter-invalid" in fixtures.reasons(violations)
	count(violations) == 2
}

test_words if {
	fixtures.messages(pss_non_root_user.deny) == {"the pod is told to run as root (runAsUser)"} with input as fixtures.pod(fixtures.context({"runAsUser": 0}))
}

test_wrong_parameters_are_a_violation if {
	violations := pss_non_root_user.deny with input as fixtures.pod({}) with data.portcullis.parameters as {"pss-non-root-user": {"strict": true}}
	"parameter-invalid" in fixtures.reasons(violations)
}

test_no_pod_is_not_judged if {
	pss_non_root_user.deny == set() with input as {"workload": {"podSpec": null, "podMetadata": null}, "containers": [], "images": {}}
}
