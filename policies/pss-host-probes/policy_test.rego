package portcullis.policies.pss_host_probes_test

import rego.v1

import data.portcullis.lib.podsecurity_fixtures_test as fixtures
import data.portcullis.policies.pss_host_probes

handler(action) := {action: {"host": "169.254.169.254", "port": 8080}}

bad_containers := array.concat(
	[[{probe: handler(action)}, sprintf("%s.%s.host", [probe, action]), "probe-host"] |
		some probe in ["livenessProbe", "readinessProbe", "startupProbe"]
		some action in ["httpGet", "tcpSocket"]
	],
	array.concat(
		[[{"lifecycle": {hook: handler(action)}}, sprintf("lifecycle.%s.%s.host", [hook, action]), "probe-host"] |
			some hook in ["postStart", "preStop"]
			some action in ["httpGet", "tcpSocket"]
		],
		[[{"livenessProbe": {"httpGet": {"host": host}}}, "livenessProbe.httpGet.host", "probe-host"] |
			some host in ["bad.host", "localhost", "127.0.0.1", " ", 7, false, [], {}]
		],
	),
)

good_containers := [
	{},
	{"livenessProbe": null, "lifecycle": null},
	{"livenessProbe": {"httpGet": {"port": 8080}}, "readinessProbe": {"tcpSocket": {"host": "", "port": 8080}}},
	{"startupProbe": {"exec": {"command": ["true"]}}, "livenessProbe": {"grpc": {"port": 8080}}},
	{"lifecycle": {"preStop": {"httpGet": {"host": null, "port": 8080}}, "postStart": {"sleep": {"seconds": 1}}}},
]

# A handler of which nothing can be read is told once for each action.
test_handlers_that_are_none_are_refused if {
	every said in [{"livenessProbe": "junk"}, {"lifecycle": {"preStop": ["httpGet"]}}, {"startupProbe": {"httpGet": 7, "tcpSocket": 7}}] {
		violations := pss_host_probes.deny with input as fixtures.container(said)
		fixtures.reasons(violations) == {"field-unreadable"}
		count(violations) == 2
	}
}

test_bad_containers_are_refused if {
	every one in bad_containers {
		violations := pss_host_probes.deny with input as fixtures.container(one[0])
		fixtures.shown(violations) == {["web", sprintf("spec.containers[0].%s", [one[1]]), one[2]]}
	}
}

test_containers_of_every_kind_are_judged if {
	every place in fixtures.container_places {
		violations := pss_host_probes.deny with input as fixtures.in_place(place, bad_containers[0][0])
		fixtures.shown(violations) == {["web", sprintf("%s.%s", [place.path, bad_containers[0][1]]), bad_containers[0][2]]}
	}
}

test_good_containers_pass if {
	every said in good_containers {
		pss_host_probes.deny == set() with input as fixtures.container(said)
	}
}

test_words if {
	fixtures.messages(pss_host_probes.deny) == {"makes the node call another host (lifecycle.preStop.httpGet.host)"} with input as fixtures.container({"lifecycle": {"preStop": {"httpGet": {"host": "10.0.0.1"}}}})
}

test_wrong_parameters_are_a_violation if {
	violations := pss_host_probes.deny with input as fixtures.pod({}) with data.portcullis.parameters as {"pss-host-probes": {"strict": true}}
	"parameter-invalid" in fixtures.reasons(violations)
}

test_no_pod_is_not_judged if {
	pss_host_probes.deny == set() with input as {"workload": {"podSpec": null, "podMetadata": null}, "containers": [], "images": {}}
}
