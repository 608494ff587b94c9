package portcullis.policies.pss_selinux_test

import rego.v1

import data.portcullis.lib.podsecurity_fixtures_test as fixtures
import data.portcullis.policies.pss_selinux

options(said) := {"seLinuxOptions": said}

bad := [[options({field: value}), sprintf("securityContext.seLinuxOptions.%s", [field]), "selinux-options"] |
	some field, values in {
		"type": ["spc_t", "unconfined_t", "container_t2", "CONTAINER_T", " "],
		"user": ["root", "system_u", "container_t", " "],
		"role": ["sysadm_r", "system_r", "container_t", " "],
	}
	some value in array.concat(values, [7, false, [], {}])
]

good := array.concat(
	[null, {}, options(null), options({}), options({"type": null, "user": null, "role": null, "level": "s0:c1,c2"})],
	[options({"type": type, "user": "", "role": "", "level": ""}) |
		some type in ["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"]
	],
)

bad_pods := [[fixtures.context(one[0]), one[1], one[2]] | some one in bad]

bad_containers := bad_pods

good_pods := [fixtures.context(said) | some said in good]

good_containers := good_pods

test_each_is_told if {
	violations := pss_selinux.deny with input as fixtures.pod(fixtures.context(options({"type": "spc_t", "user": "root", "role": "r"})))
	fixtures.messages(violations) == {
		"the pod sets an SELinux type of its own",
		"the pod sets an SELinux user of its own",
		"the pod sets an SELinux role of its own",
	}
}

test_options_that_are_none_are_refused if {
	every junk in fixtures.not_objects {
		violations := pss_selinux.deny with input as fixtures.container(fixtures.context(options(junk)))
		fixtures.reasons(violations) == {"field-unreadable"}
		count(violations) == 3
	}
}

test_bad_pods_are_refused if {
	every one in bad_pods {
		violations := pss_selinux.deny with input as fixtures.pod(one[0])
		fixtures.shown(violations) == {["the pod", sprintf("spec.%s", [one[1]]), one[2]]}
	}
}

test_pods_of_every_kind_are_judged if {
	every kind, path in fixtures.pod_paths {
		spec := object.union({"containers": [{"name": "web"}]}, bad_pods[0][0])
		violations := pss_selinux.deny with input as fixtures.workload(kind, {}, spec)
		fixtures.shown(violations) == {["the pod", sprintf("%s.%s", [path, bad_pods[0][1]]), bad_pods[0][2]]}
	}
}

test_bad_containers_are_refused if {
	every one in bad_containers {
		violations := pss_selinux.deny with input as fixtures.container(one[0])
		fixtures.shown(violations) == {["web", sprintf("spec.containers[0].%s", [one[1]]), one[2]]}
	}
}

test_containers_of_every_kind_are_judged if {
	every place in fixtures.container_places {
		violations := pss_selinux.deny with input as fixtures.in_place(place, bad_containers[0][0])
		fixtures.shown(violations) == {["web", sprintf("%s.%s", [place.path, bad_containers[0][1]]), bad_containers[0][2]]}
	}
}

test_good_pods_pass if {
	every said in good_pods {
		pss_selinux.deny == set() with input as fixtures.pod(said)
	}
}

test_good_containers_pass if {
	every said in good_containers {
		pss_selinux.deny == set() with input as fixtures.container(said)
	}
}

test_wrong_parameters_are_a_violation if {
	violations := pss_selinux.deny with input as fixtures.pod({}) with data.portcullis.parameters as {"pss-selinux": {"strict": true}}
	"parameter-invalid" in fixtures.reasons(violations)
}

test_no_pod_is_not_judged if {
	pss_selinux.deny == set() with input as {"workload": {"podSpec": null, "podMetadata": null}, "containers": [], "images": {}}
}
