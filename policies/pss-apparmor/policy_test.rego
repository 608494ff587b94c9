package portcullis.policies.pss_apparmor_test

import rego.v1

import data.portcullis.lib.podsecurity_fixtures_test as fixtures
import data.portcullis.policies.pss_apparmor

bad := array.concat(
	[[{"appArmorProfile": profile}, "securityContext.appArmorProfile", "apparmor-off"] |
		some profile in array.concat(
			fixtures.not_objects,
			[{}, {"type": null}, {"type": ""}, {"type": "Unconfined"}, {"type": "runtimeDefault"}, {"type": ["RuntimeDefault"]}],
		)
	],
	[
		["junk", "securityContext.appArmorProfile", "field-unreadable"],
		[[{"appArmorProfile": null}], "securityContext.appArmorProfile", "field-unreadable"],
	],
)

good := [null, {}, {"appArmorProfile": null}, {"appArmorProfile": {"type": "RuntimeDefault"}}, {"appArmorProfile": {"type": "Localhost", "localhostProfile": "web.json"}}]

bad_pods := [[fixtures.context(one[0]), one[1], one[2]] | some one in bad]

bad_containers := bad_pods

good_pods := [fixtures.context(said) | some said in good]

good_containers := good_pods

annotated(annotations) := fixtures.workload("CronJob", {"annotations": annotations}, {"containers": [{"name": "web"}]})

key := "container.apparmor.security.beta.kubernetes.io/web"

test_annotations if {
	expected := {"unconfined": 1, "runtime": 1, "Runtime/default": 1, "localhost": 1, "": 0, "runtime/default": 0, "localhost/web": 0}
	every profile, violations in expected {
		count(pss_apparmor.deny) == violations with input as annotated({key: profile, "other": "unconfined"})
	}
	every profile in [null, false, 7, [], ["localhost/web"], {}] {
		count(pss_apparmor.deny) == 1 with input as annotated({key: profile})
	}
}

test_annotations_are_shown if {
	violations := pss_apparmor.deny with input as annotated({key: "unconfined"})
	fixtures.shown(violations) == {["the pod", "spec.jobTemplate.spec.template.metadata.annotations", "apparmor-off"]}
	fixtures.messages(violations) == {sprintf("the pod turns AppArmor off by the annotation %q", [key])}
}

test_annotations_that_are_none_are_refused if {
	every junk in fixtures.not_objects {
		violations := pss_apparmor.deny with input as annotated(junk)
		fixtures.reasons(violations) == {"field-unreadable"}
		pss_apparmor.annotations == {} with input as annotated(junk)
	}
	violations := pss_apparmor.deny with input as fixtures.workload("Pod", "junk", {"containers": [{"name": "web"}]})
	fixtures.reasons(violations) == {"field-unreadable"}
}

test_without_annotations if {
	every annotations in [null, {}] {
		pss_apparmor.deny == set() with input as annotated(annotations)
	}
}

test_bad_pods_are_refused if {
	every one in bad_pods {
		violations := pss_apparmor.deny with input as fixtures.pod(one[0])
		fixtures.shown(violations) == {["the pod", sprintf("spec.%s", [one[1]]), one[2]]}
	}
}

test_pods_of_every_kind_are_judged if {
	every kind, path in fixtures.pod_paths {
		spec := object.union({"containers": [{"name": "web"}]}, bad_pods[0][0])
		violations := pss_apparmor.deny with input as fixtures.workload(kind, {}, spec)
		fixtures.shown(violations) == {["the pod", sprintf("%s.%s", [path, bad_pods[0][1]]), bad_pods[0][2]]}
	}
}

test_bad_containers_are_refused if {
	every one in bad_containers {
		violations := pss_apparmor.deny with input as fixtures.container(one[0])
		fixtures.shown(violations) == {["web", sprintf("spec.containers[0].%s", [one[1]]), one[2]]}
	}
}

test_containers_of_every_kind_are_judged if {
	every place in fixtures.container_places {
		violations := pss_apparmor.deny with input as fixtures.in_place(place, bad_containers[0][0])
		fixtures.shown(violations) == {["web", sprintf("%s.%s", [place.path, bad_containers[0][1]]), bad_containers[0][2]]}
	}
}

test_good_pods_pass if {
	every said in good_pods {
		pss_apparmor.deny == set() with input as fixtures.pod(said)
	}
}

test_good_containers_pass if {
	every said in good_containers {
		pss_apparmor.deny == set() with input as fixtures.container(said)
	}
}

test_words if {
	fixtures.messages(pss_apparmor.deny) == {"the pod turns AppArmor off (appArmorProfile)"} with input as fixtures.pod(fixtures.context({"appArmorProfile": {"type": "Unconfined"}}))
}

test_wrong_parameters_are_a_violation if {
	violations := pss_apparmor.deny with input as fixtures.pod({}) with data.portcullis.parameters as {"pss-apparmor": {"strict": true}}
	"parameter-invalid" in fixtures.reasons(violations)
}

test_no_pod_is_not_judged if {
	pss_apparmor.deny == set() with input as {"workload": {"podSpec": null, "podMetadata": null}, "containers": [], "images": {}}
}
