package portcullis.policies.pss_host_path_test

import rego.v1

import data.portcullis.lib.podsecurity_fixtures_test as fixtures
import data.portcullis.policies.pss_host_path

bad_pods := [
	[{"volumes": [{"name": "run", "hostPath": {"path": "/run"}}]}, "volumes[0].hostPath", "host-path"],
	[{"volumes": [{"name": "a", "emptyDir": {}}, {"name": "b", "hostPath": {"path": "/"}}]}, "volumes[1].hostPath", "host-path"],
	[{"volumes": [{"name": "a", "emptyDir": {}, "hostPath": {"path": "/"}}]}, "volumes[0].hostPath", "host-path"],
	[{"volumes": [{"hostPath": {}}]}, "volumes[0].hostPath", "host-path"],
	[{"volumes": [{"hostPath": "/"}]}, "volumes[0].hostPath", "host-path"],
	[{"volumes": [{"hostPath": false}]}, "volumes[0].hostPath", "host-path"],
	[{"volumes": ["junk"]}, "volumes[0].hostPath", "field-unreadable"],
	[{"volumes": [null]}, "volumes[0].hostPath", "field-unreadable"],
	[{"volumes": {"hostPath": null}}, "volumes.hostPath", "field-unreadable"],
]

good_pods := [
	{},
	{"volumes": null},
	{"volumes": []},
	{"volumes": [{"name": "a", "emptyDir": {}}, {"name": "b", "nfs": {"server": "nfs.example"}}, {"name": "c", "hostPath": null}]},
]

test_each_is_told if {
	violations := pss_host_path.deny with input as fixtures.pod({"volumes": [
		{"name": "run", "hostPath": {"path": "/run"}},
		{"name": "etc", "hostPath": {"path": "/etc"}},
		{"hostPath": {"path": "/"}},
	]})
	fixtures.messages(violations) == {
		"the pod has the volume \"run\", which is a place of the node (hostPath)",
		"the pod has the volume \"etc\", which is a place of the node (hostPath)",
		"the pod has the volume \"\", which is a place of the node (hostPath)",
	}
}

test_bad_pods_are_refused if {
	every one in bad_pods {
		violations := pss_host_path.deny with input as fixtures.pod(one[0])
		fixtures.shown(violations) == {["the pod", sprintf("spec.%s", [one[1]]), one[2]]}
	}
}

test_pods_of_every_kind_are_judged if {
	every kind, path in fixtures.pod_paths {
		spec := object.union({"containers": [{"name": "web"}]}, bad_pods[0][0])
		violations := pss_host_path.deny with input as fixtures.workload(kind, {}, spec)
		fixtures.shown(violations) == {["the pod", sprintf("%s.%s", [path, bad_pods[0][1]]), bad_pods[0][2]]}
	}
}

test_good_pods_pass if {
	every said in good_pods {
		pss_host_path.deny == set() with input as fixtures.pod(said)
	}
}

test_wrong_parameters_are_a_violation if {
	violations := pss_host_path.deny with input as fixtures.pod({}) with data.portcullis.parameters as {"pss-host-path": {"strict": true}}
	"parameter-invalid" in fixtures.reasons(violations)
}

test_no_pod_is_not_judged if {
	pss_host_path.deny == set() with input as {"workload": {"podSpec": null, "podMetadata": null}, "containers": [], "images": {}}
}
