package portcullis.policies.pss_seccomp_test

import rego.v1

import data.portcullis.lib.podsecurity_fixtures_test as fixtures
import data.portcullis.policies.pss_seccomp

bad := array.concat(
	[[{"seccompProfile": profile}, "securityContext.seccompProfile", "seccomp-off"] |
		some profile in array.concat(
			fixtures.not_objects,
			[{}, {"type": null}, {"type": ""}, {"type": "Unconfined"}, {"type": "runtimeDefault"}, {"type": ["RuntimeDefault"]}],
		)
	],
	[
		["junk", "securityContext.seccompProfile", "field-unreadable"],
		[[{"seccompProfile": null}], "securityContext.seccompProfile", "field-unreadable"],
	],
)

good := [null, {}, {"seccompProfile": null}, {"seccompProfile": {"type": "RuntimeDefault"}}, {"seccompProfile": {"type": "Localhost", "localhostProfile": "web.json"}}]

bad_pods := [[fixtures.context(one[0]), one[1], one[2]] | some one in bad]

bad_containers := bad_pods

good_pods := [fixtures.context(said) | some said in good]

good_containers := good_pods

test_bad_pods_are_refused if {
	every one in bad_pods {
		violations := pss_seccomp.deny with input as fixtures.pod(one[0])
		fixtures.shown(violations) == {["the pod", sprintf("spec.%s", [one[1]]), one[2]]}
	}
}

test_pods_of_every_kind_are_judged if {
	every kind, path in fixtures.pod_paths {
		spec := object.union({"containers": [{"name": "web"}]}, bad_pods[0][0])
		violations := pss_seccomp.deny with input as fixtures.workload(kind, {}, spec)
		fixtures.shown(violations) == {["the pod", sprintf("%s.%s", [path, bad_pods[0][1]]), bad_pods[0][2]]}
	}
}

test_bad_containers_are_refused if {
	every one in bad_containers {
		violations := pss_seccomp.deny with input as fixtures.container(one[0])
		fixtures.shown(violations) == {["web", sprintf("spec.containers[0].%s", [one[1]]), one[2]]}
	}
}

test_containers_of_every_kind_are_judged if {
	every place in fixtures.container_places {
		violations := pss_seccomp.deny with input as fixtures.in_place(place, bad_containers[0][0])
		fixtures.shown(violations) == {["web", sprintf("%s.%s", [place.path, bad_containers[0][1]]), bad_containers[0][2]]}
	}
}

test_good_pods_pass if {
	every said in good_pods {
		pss_seccomp.deny == set() with input as fixtures.pod(said)
	}
}

test_good_containers_pass if {
	every said in good_containers {
		pss_seccomp.deny == set() with input as fixtures.container(said)
	}
}

test_words if {
	fixtures.messages(pss_seccomp.deny) == {"the pod turns seccomp off (seccompProfile)"} with input as fixtures.pod(fixtures.context({"seccompProfile": {"type": "Unconfined"}}))
}

test_wrong_parameters_are_a_violation if {
	violations := pss_seccomp.deny with input as fixtures.pod({}) with data.portcullis.parameters as {"pss-seccomp": {"strict": true}}
	"parameter-invalid" in fixtures.reasons(violations)
}

test_no_pod_is_not_judged if {
	pss_seccomp.deny == set() with input as {"workload": {"podSpec": null, "podMetadata": null}, "containers": [], "images": {}}
}
