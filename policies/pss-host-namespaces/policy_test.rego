package portcullis.policies.pss_host_namespaces_test

import rego.v1

import data.portcullis.lib.podsecurity_fixtures_test as fixtures
import data.portcullis.policies.pss_host_namespaces

bad_pods := [[{field: value}, field, "host-namespace"] |
	some field in ["hostNetwork", "hostPID", "hostIPC"]
	some value in [true, "false", "", 0, 1, [], {}]
]

good_pods := [{}, {"hostNetwork": false, "hostPID": null, "hostIPC": false}, {"hostUsers": true, "hostname": "web"}]

test_each_is_told if {
	violations := pss_host_namespaces.deny with input as fixtures.pod({"hostNetwork": true, "hostPID": true, "hostIPC": true})
	fixtures.messages(violations) == {
		"the pod shares the network of its node (hostNetwork)",
		"the pod shares the processes of its node (hostPID)",
		"the pod shares the IPC of its node (hostIPC)",
	}
}

test_a_pod_spec_that_is_none_is_refused if {
	violations := pss_host_namespaces.deny with input as {"workload": {"podSpec": "junk"}, "containers": []}
	fixtures.reasons(violations) == {"field-unreadable"}
}

test_bad_pods_are_refused if {
	every one in bad_pods {
		violations := pss_host_namespaces.deny with input as fixtures.pod(one[0])
		fixtures.shown(violations) == {["the pod", sprintf("spec.%s", [one[1]]), one[2]]}
	}
}

test_pods_of_every_kind_are_judged if {
	every kind, path in fixtures.pod_paths {
		spec := object.union({"containers": [{"name": "web"}]}, bad_pods[0][0])
		violations := pss_host_namespaces.deny with input as fixtures.workload(kind, {}, spec)
		fixtures.shown(violations) == {["the pod", sprintf("%s.%s", [path, bad_pods[0][1]]), bad_pods[0][2]]}
	}
}

test_good_pods_pass if {
	every said in good_pods {
		pss_host_namespaces.deny == set() with input as fixtures.pod(said)
	}
}

test_wrong_parameters_are_a_violation if {
	violations := pss_host_namespaces.deny with input as fixtures.pod({}) with data.portcullis.parameters as {"pss-host-namespaces": {"strict": true}}
	"parameter-invalid" in fixtures.reasons(violations)
}

test_no_pod_is_not_judged if {
	pss_host_namespaces.deny == set() with input as {"workload": {"podSpec": null, "podMetadata": null}, "containers": [], "images": {}}
}
