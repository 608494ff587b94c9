package portcullis.policies.pss_sysctls_test

import rego.v1

import data.portcullis.lib.podsecurity_fixtures_test as fixtures
import data.portcullis.policies.pss_sysctls

setting(sysctls) := fixtures.context({"sysctls": sysctls})

safe := [
	"kernel.shm_rmid_forced",
	"net.ipv4.ip_local_port_range",
	"net.ipv4.ip_local_reserved_ports",
	"net.ipv4.ip_unprivileged_port_start",
	"net.ipv4.ping_group_range",
	"net.ipv4.tcp_fin_timeout",
	"net.ipv4.tcp_keepalive_intvl",
	"net.ipv4.tcp_keepalive_probes",
	"net.ipv4.tcp_keepalive_time",
	"net.ipv4.tcp_notsent_lowat",
	"net.ipv4.tcp_rmem",
	"net.ipv4.tcp_slow_start_after_idle",
	"net.ipv4.tcp_syncookies",
	"net.ipv4.tcp_wmem",
]

bad_pods := array.concat(
	[[setting([{"name": safe[0], "value": "0"}, {"name": name, "value": "1"}]), "securityContext.sysctls[1].name", "sysctl-unsafe"] |
		some name in ["kernel.msgmax", "net.ipv4/tcp_syncookies", "net.ipv4.*", "", null, 7, [safe[0]], {}]
	],
	[
		[setting([{}]), "securityContext.sysctls[0].name", "sysctl-unsafe"],
		[setting([safe[0]]), "securityContext.sysctls[0].name", "field-unreadable"],
		[setting({"name": safe[0]}), "securityContext.sysctls.name", "field-unreadable"],
		[fixtures.context([setting([])]), "securityContext.sysctls.name", "field-unreadable"],
	],
)

good_pods := [{}, fixtures.context(null), setting(null), setting([]), setting([{"name": name, "value": "1"} | some name in safe])]

test_bad_pods_are_refused if {
	every one in bad_pods {
		violations := pss_sysctls.deny with input as fixtures.pod(one[0])
		fixtures.shown(violations) == {["the pod", sprintf("spec.%s", [one[1]]), one[2]]}
	}
}

test_pods_of_every_kind_are_judged if {
	every kind, path in fixtures.pod_paths {
		spec := object.union({"containers": [{"name": "web"}]}, bad_pods[0][0])
		violations := pss_sysctls.deny with input as fixtures.workload(kind, {}, spec)
		fixtures.shown(violations) == {["the pod", sprintf("%s.%s", [path, bad_pods[0][1]]), bad_pods[0][2]]}
	}
}

test_good_pods_pass if {
	every said in good_pods {
		pss_sysctls.deny == set() with input as fixtures.pod(said)
	}
}

test_words if {
	fixtures.messages(pss_sysctls.deny) == {"the pod sets the sysctl \"kernel.msgmax\", which may reach beyond it", "the pod sets the sysctl \"a\", which may reach beyond it"} with input as fixtures.pod(setting([{"name": "kernel.msgmax", "value": "1"}, {"name": "a"}]))
}

test_wrong_parameters_are_a_violation if {
	violations := pss_sysctls.deny with input as fixtures.pod({}) with data.portcullis.parameters as {"pss-sysctls": {"strict": true}}
	"parameter-invalid" in fixtures.reasons(violations)
}

test_no_pod_is_not_judged if {
	pss_sysctls.deny == set() with input as {"workload": {"podSpec": null, "podMetadata": null}, "containers": [], "images": {}}
}
