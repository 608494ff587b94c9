package portcullis.policies.pss_host_ports_test

import rego.v1

import data.portcullis.lib.podsecurity_fixtures_test as fixtures
import data.portcullis.policies.pss_host_ports

ports(value) := {"ports": value}

bad_containers := array.concat(
	[[ports([{"containerPort": 80}, {"containerPort": 80, "hostPort": port}]), "ports[1].hostPort", "host-port"] |
		some port in [80, 65535, -1, 0.5, "80", "0", "", false, true, [], {}]
	],
	[
		[ports([80]), "ports[0].hostPort", "field-unreadable"],
		[ports([null]), "ports[0].hostPort", "field-unreadable"],
		[ports({"0": {"hostPort": 0}}), "ports.hostPort", "field-unreadable"],
		[ports("junk"), "ports.hostPort", "field-unreadable"],
	],
)

good_containers := [
	{},
	ports(null),
	ports([]),
	ports([{"containerPort": 80}, {"containerPort": 81, "hostPort": 0}, {"containerPort": 82, "hostPort": null}]),
]

allowing(ranges) := {"pss-host-ports": {"allowed": ranges}}

test_allowed_ports_pass if {
	expected := {8442: 1, 8443: 0, 8444: 1, 29999: 1, 30000: 0, 30005: 0, 30010: 0, 30011: 1}
	every port, violations in expected {
		count(pss_host_ports.deny) == violations with input as fixtures.container(ports([{"hostPort": port}]))
			with data.portcullis.parameters as allowing(["8443", "30000-30010"])
	}
}

test_the_highest_and_the_lowest_port_may_be_allowed if {
	pss_host_ports.deny == set() with input as fixtures.container(ports([{"hostPort": 1}, {"hostPort": 65535}]))
		with data.portcullis.parameters as allowing(["1-65535"])
	pss_host_ports.deny == set() with input as fixtures.container(ports([{"hostPort": 65535}]))
		with data.portcullis.parameters as allowing(["65535-65535"])
}

test_texts_are_never_allowed if {
	violations := pss_host_ports.deny with input as fixtures.container(ports([{"hostPort": "8443"}]))
		with data.portcullis.parameters as allowing(["8443", "1-65535"])
	fixtures.reasons(violations) == {"host-port"}
}

test_faulty_ranges_are_told_and_allow_nothing if {
	faulty := ["", "0", "0-80", "70000", "1-70000", "90-80", "80-", "-80", "80,81", "http", "1-2-3", "+80", "8e1", "080"]
	every one in faulty {
		violations := pss_host_ports.deny with input as fixtures.container(ports([{"hostPort": 80}]))
			with data.portcullis.parameters as allowing([one])
		fixtures.reasons(violations) == {"parameter-invalid", "host-port"}
	}
	violations := pss_host_ports.deny with input as fixtures.pod({}) with data.portcullis.parameters as allowing(["80", "90-80"])
	fixtures.messages(violations) == {concat("", [
		"the policy itself is set up wrongly: ",
		"\"90-80\" in \"allowed\" is neither a port nor a range such as 30000-30010",
	])}
}

test_ports_that_are_no_list_of_texts_are_a_fault if {
	every odd in [8443, [8443], {"8443": true}] {
		violations := pss_host_ports.deny with input as fixtures.container(ports([{"hostPort": 8443}]))
			with data.portcullis.parameters as allowing(odd)
		fixtures.reasons(violations) == {"parameter-invalid", "host-port"}
	}
}

test_bad_containers_are_refused if {
	every one in bad_containers {
		violations := pss_host_ports.deny with input as fixtures.container(one[0])
		fixtures.shown(violations) == {["web", sprintf("spec.containers[0].%s", [one[1]]), one[2]]}
	}
}

test_containers_of_every_kind_are_judged if {
	every place in fixtures.container_places {
		violations := pss_host_ports.deny with input as fixtures.in_place(place, bad_containers[0][0])
		fixtures.shown(violations) == {["web", sprintf("%s.%s", [place.path, bad_containers[0][1]]), bad_containers[0][2]]}
	}
}

test_good_containers_pass if {
	every said in good_containers {
		pss_host_ports.deny == set() with input as fixtures.container(said)
	}
}

test_words if {
	fixtures.messages(pss_host_ports.deny) == {"takes the port 80 of its node (hostPort)", "takes the port a long text instead… of its node (hostPort)"} with input as fixtures.container(ports([{"hostPort": 80}, {"hostPort": "a long text instead of a port"}]))
}

test_wrong_parameters_are_a_violation if {
	violations := pss_host_ports.deny with input as fixtures.pod({}) with data.portcullis.parameters as {"pss-host-ports": {"strict": true}}
	"parameter-invalid" in fixtures.reasons(violations)
}

test_no_pod_is_not_judged if {
	pss_host_ports.deny == set() with input as {"workload": {"podSpec": null, "podMetadata": null}, "containers": [], "images": {}}
}
