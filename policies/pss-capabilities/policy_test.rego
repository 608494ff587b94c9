package portcullis.policies.pss_capabilities_test

import rego.v1

import data.portcullis.lib.podsecurity_fixtures_test as fixtures
import data.portcullis.policies.pss_capabilities

adding(value) := fixtures.context({"capabilities": {"add": value}})

bad_containers := array.concat(
	[[adding(["CHOWN", name]), "securityContext.capabilities.add[1]", "capability-added"] |
		some name in ["SYS_ADMIN", "NET_RAW", "ALL", "chown", "CAP_CHOWN", "", null, 7, ["CHOWN"], {"CHOWN": true}]
	],
	[
		[adding("CHOWN"), "securityContext.capabilities.add", "field-unreadable"],
		[adding({"0": "CHOWN"}), "securityContext.capabilities.add", "field-unreadable"],
		[fixtures.context({"capabilities": ["CHOWN"]}), "securityContext.capabilities.add", "field-unreadable"],
		[fixtures.context("junk"), "securityContext.capabilities.add", "field-unreadable"],
	],
)

default_ones := [
	"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD",
	"NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
]

good_containers := [
	{},
	fixtures.context(null),
	fixtures.context({"capabilities": null}),
	fixtures.context({"capabilities": {"drop": ["ALL"]}}),
	adding(null),
	adding([]),
	adding(default_ones),
]

test_each_is_told if {
	violations := pss_capabilities.deny with input as fixtures.container(adding(["SYS_ADMIN", "SYS_TIME"]))
	fixtures.messages(violations) == {"adds the capability \"SYS_ADMIN\"", "adds the capability \"SYS_TIME\""}
	some violation in violations
	violation.fix == sprintf("add none but %s", [concat(", ", default_ones)])
}

test_bad_containers_are_refused if {
	every one in bad_containers {
		violations := pss_capabilities.deny with input as fixtures.container(one[0])
		fixtures.shown(violations) == {["web", sprintf("spec.containers[0].%s", [one[1]]), one[2]]}
	}
}

test_containers_of_every_kind_are_judged if {
	every place in fixtures.container_places {
		violations := pss_capabilities.deny with input as fixtures.in_place(place, bad_containers[0][0])
		fixtures.shown(violations) == {["web", sprintf("%s.%s", [place.path, bad_containers[0][1]]), bad_containers[0][2]]}
	}
}

test_good_containers_pass if {
	every said in good_containers {
		pss_capabilities.deny == set() with input as fixtures.container(said)
	}
}

test_wrong_parameters_are_a_violation if {
	violations := pss_capabilities.deny with input as fixtures.pod({}) with data.portcullis.parameters as {"pss-capabilities": {"strict": true}}
	"parameter-invalid" in fixtures.reasons(violations)
}

test_no_pod_is_not_judged if {
	pss_capabilities.deny == set() with input as {"workload": {"podSpec": null, "podMetadata": null}, "containers": [], "images": {}}
}
