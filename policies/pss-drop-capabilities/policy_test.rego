package portcullis.policies.pss_drop_capabilities_test

import rego.v1

import data.portcullis.lib.podsecurity_fixtures_test as fixtures
import data.portcullis.policies.pss_drop_capabilities

capabilities(said) := fixtures.context({"capabilities": said})

every_single_one := [
	"AUDIT_CONTROL", "AUDIT_WRITE", "BLOCK_SUSPEND", "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "IPC_LOCK", "IPC_OWNER",
	"KILL", "LEASE", "LINUX_IMMUTABLE", "MAC_ADMIN", "MAC_OVERRIDE", "MKNOD", "NET_ADMIN", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_RAW",
	"SETFCAP", "SETGID", "SETUID", "SYSLOG", "SYS_ADMIN", "SYS_BOOT", "SYS_CHROOT", "SYS_MODULE", "SYS_NICE", "SYS_PACCT", "SYS_PTRACE",
	"SYS_RAWIO", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "WAKE_ALARM",
]

bad_containers := array.concat(
	[[said, "securityContext.capabilities.drop", "capabilities-kept"] |
		some said in [
			{},
			{"securityContext": null},
			fixtures.context({}),
			capabilities(null),
			capabilities({}),
			capabilities({"drop": null}),
			capabilities({"drop": []}),
			capabilities({"drop": ["all"]}),
			capabilities({"drop": "ALL"}),
			capabilities({"drop": {"0": "ALL"}}),
			capabilities({"drop": [["ALL"]]}),
			capabilities({"drop": every_single_one}),
			capabilities({"add": ["NET_BIND_SERVICE"]}),
		]
	],
	array.concat(
		[[capabilities({"drop": ["ALL"], "add": ["NET_BIND_SERVICE", name]}), "securityContext.capabilities.add[1]", "capability-added"] |
			some name in ["CHOWN", "ALL", "net_bind_service", "", null, 7, ["NET_BIND_SERVICE"]]
		],
		[
			[capabilities({"drop": ["ALL"], "add": "NET_BIND_SERVICE"}), "securityContext.capabilities.add", "field-unreadable"],
			[capabilities({"drop": ["ALL"], "add": {"0": "NET_BIND_SERVICE"}}), "securityContext.capabilities.add", "field-unreadable"],
		],
	),
)

good_containers := [
	capabilities({"drop": ["ALL"]}),
	capabilities({"drop": ["CHOWN", "ALL"], "add": null}),
	capabilities({"drop": ["ALL"], "add": []}),
	capabilities({"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}),
]

test_a_context_that_is_none_is_refused if {
	every said in [fixtures.context("junk"), capabilities(["ALL"]), capabilities("ALL")] {
		violations := pss_drop_capabilities.deny with input as fixtures.container(said)
		fixtures.shown(violations) == {
			["web", "spec.containers[0].securityContext.capabilities.drop", "field-unreadable"],
			["web", "spec.containers[0].securityContext.capabilities.add", "field-unreadable"],
		}
	}
}

test_what_a_pod_for_windows_adds_is_left_out if {
	pss_drop_capabilities.deny == set() with input as fixtures.pod({"os": {"name": "windows"}, "containers": [object.union({"name": "web"}, capabilities({"add": ["CHOWN"]}))]})
}

test_bad_containers_are_refused if {
	every one in bad_containers {
		violations := pss_drop_capabilities.deny with input as fixtures.container(one[0])
		fixtures.shown(violations) == {["web", sprintf("spec.containers[0].%s", [one[1]]), one[2]]}
	}
}

test_containers_of_every_kind_are_judged if {
	every place in fixtures.container_places {
		violations := pss_drop_capabilities.deny with input as fixtures.in_restricted_place(place, bad_containers[0][0])
		fixtures.shown(violations) == {["web", sprintf("%s.%s", [place.path, bad_containers[0][1]]), bad_containers[0][2]]}
	}
}

test_good_containers_pass if {
	every said in good_containers {
		pss_drop_capabilities.deny == set() with input as fixtures.container(said)
	}
}

test_pods_for_windows_are_left_out if {
	pss_drop_capabilities.deny == set() with input as fixtures.pod({"os": {"name": "windows"}})
	every os in [{"name": "linux"}, {"name": "Windows"}, "windows", {}, null] {
		count(pss_drop_capabilities.deny) > 0 with input as fixtures.pod({"os": os})
	}
}

test_words if {
	fixtures.messages(pss_drop_capabilities.deny) == {"keeps the default capabilities", "adds the capability \"CHOWN\""} with input as fixtures.container(capabilities({"add": ["CHOWN"]}))
}

test_wrong_parameters_are_a_violation if {
	violations := pss_drop_capabilities.deny with input as fixtures.pod({}) with data.portcullis.parameters as {"pss-drop-capabilities": {"strict": true}}
	"parameter-invalid" in fixtures.reasons(violations)
}

test_no_pod_is_not_judged if {
	pss_drop_capabilities.deny == set() with input as {"workload": {"podSpec": null, "podMetadata": null}, "containers": [], "images": {}}
}
