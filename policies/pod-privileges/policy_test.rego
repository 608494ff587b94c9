package portcullis.policies.pod_privileges_test

import rego.v1

import data.portcullis.lib.fixtures_test as fixtures
import data.portcullis.policies.pod_privileges

restricted := {"pod-privileges": {"level": "restricted"}}

fields(violations) := {violation.field | some violation in violations}

context(more) := {"securityContext": more}

test_a_plain_pod_passes if {
	pod_privileges.deny == set() with input as fixtures.pod({}, {"image": fixtures.image})
	pod_privileges.deny == set() with input as fixtures.pod(
		{"hostNetwork": false, "hostPID": null, "volumes": [{"name": "v", "emptyDir": {}}]},
		{
			"ports": [{"containerPort": 80}, {"hostPort": 0}],
			"securityContext": {
				"privileged": false,
				"procMount": "Default",
				"capabilities": {"drop": ["ALL"], "add": ["CHOWN"]},
				"seccompProfile": {"type": "RuntimeDefault"},
				"appArmorProfile": {"type": "Localhost"},
				"seLinuxOptions": {"type": "container_t", "level": "s0"},
			},
		},
	)
}

# Pod spec, and the field that is named.
bad_pods := [
	[{"hostNetwork": true}, "hostNetwork"],
	[{"hostPID": true}, "hostPID"],
	[{"hostIPC": true}, "hostIPC"],
	[{"hostIPC": "true"}, "hostIPC"],
	[{"volumes": [{"name": "a", "emptyDir": {}}, {"name": "b", "hostPath": {"path": "/"}}]}, "volumes"],
	[{"volumes": [{"hostPath": null}]}, "volumes"],
	[context({"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}), "securityContext.sysctls"],
	[context({"sysctls": [{}]}), "securityContext.sysctls"],
	[context({"seccompProfile": {"type": "Unconfined"}}), "securityContext.seccompProfile.type"],
	[context({"appArmorProfile": {"type": "Unconfined"}}), "securityContext.appArmorProfile.type"],
	[context({"seLinuxOptions": {"type": "spc_t"}}), "securityContext.seLinuxOptions.type"],
	[context({"seLinuxOptions": {"user": "root"}}), "securityContext.seLinuxOptions.user"],
	[context({"windowsOptions": {"hostProcess": true}}), "securityContext.windowsOptions.hostProcess"],
]

test_bad_pods_are_refused if {
	every one in bad_pods {
		violations := pod_privileges.deny with input as fixtures.pod(one[0], {})
		fields(violations) == {one[1]}
		every violation in violations {
			violation.msg != ""
			violation.fix != ""
			violation.details.reason == "pod-privileges"
		}
	}
}

bad_containers := [
	[context({"privileged": true}), "securityContext.privileged"],
	[context({"privileged": "false"}), "securityContext.privileged"],
	[context({"capabilities": {"add": ["SYS_ADMIN"]}}), "securityContext.capabilities.add"],
	[context({"capabilities": {"add": ["CAP_CHOWN"]}}), "securityContext.capabilities.add"],
	[context({"capabilities": {"add": ["ALL"]}}), "securityContext.capabilities.add"],
	[context({"capabilities": {"add": "SYS_ADMIN"}}), "securityContext.capabilities.add"],
	[context({"procMount": "Unmasked"}), "securityContext.procMount"],
	[context({"seccompProfile": {"type": "Unconfined"}}), "securityContext.seccompProfile.type"],
	[context({"appArmorProfile": {"type": "Unconfined"}}), "securityContext.appArmorProfile.type"],
	[context({"seLinuxOptions": {"role": "sysadm_r"}}), "securityContext.seLinuxOptions.role"],
	[context({"windowsOptions": {"hostProcess": true}}), "securityContext.windowsOptions.hostProcess"],
	[{"ports": [{"containerPort": 80}, {"hostPort": 80}]}, "ports"],
	[{"ports": [{"hostPort": "80"}]}, "ports"],
	[{"livenessProbe": {"httpGet": {"host": "169.254.169.254"}}}, "livenessProbe.httpGet.host"],
	[{"startupProbe": {"tcpSocket": {"host": "10.0.0.1"}}}, "startupProbe.tcpSocket.host"],
	[{"lifecycle": {"preStop": {"httpGet": {"host": "10.0.0.1"}}}}, "lifecycle.preStop.httpGet.host"],
]

test_bad_containers_are_refused if {
	every one in bad_containers {
		violations := pod_privileges.deny with input as fixtures.pod({}, one[0])
		fields(violations) == {sprintf("spec.containers[0].%s", [one[1]])}
		every violation in violations {
			violation.container == "web"
			violation.msg != ""
			violation.fix != ""
		}
	}
}

test_init_and_ephemeral_containers_are_judged if {
	every kind in {"container", "init", "ephemeral"} {
		container := fixtures.container({"kind": kind, "spec": context({"privileged": true})})
		count(pod_privileges.deny) == 1 with input as fixtures.document([container], {})
	}
}

test_a_workload_without_a_pod_passes if {
	pod_privileges.deny == set() with input as {
		"containers": [],
		"images": {},
		"workload": {"podSpec": null, "podMetadata": null},
	}
}

test_apparmor_annotations if {
	key := "container.apparmor.security.beta.kubernetes.io/web"
	expected := {"unconfined": 1, "": 1, "runtime/default": 0, "localhost/profile": 0}
	every value, violations in expected {
		count(pod_privileges.deny) == violations with input as {
			"containers": [],
			"images": {},
			"workload": {"podSpec": {}, "podMetadata": {"annotations": {key: value, "other": "unconfined"}}},
		}
	}
}

test_more_capabilities_may_be_allowed if {
	pod_privileges.deny == set() with input as fixtures.pod({}, context({"capabilities": {"add": ["SYS_TIME"]}}))
		with data.portcullis.parameters as {"pod-privileges": {"capabilities": ["SYS_TIME"]}}
}

# -- level restricted ----------------------------------------------------------------------------------------------

good := context({
	"allowPrivilegeEscalation": false,
	"runAsNonRoot": true,
	"runAsUser": 10001,
	"capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
	"seccompProfile": {"type": "RuntimeDefault"},
})

own(field, value) := context(object.union(good.securityContext, {field: value}))

test_restricted_passes_what_asks_for_nothing if {
	pod_privileges.deny == set() with data.portcullis.parameters as restricted
		with input as fixtures.pod({"volumes": [{"name": "v", "emptyDir": {}}]}, good)
}

test_restricted_takes_the_words_of_the_pod if {
	pod_privileges.deny == set() with data.portcullis.parameters as restricted
		with input as fixtures.pod(
			context({"runAsNonRoot": true, "runAsUser": 1, "seccompProfile": {"type": "Localhost"}}),
			context({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}),
		)
}

test_restricted_wants_everything_said if {
	violations := pod_privileges.deny with data.portcullis.parameters as restricted with input as fixtures.pod({}, {})
	fields(violations) == {
		"spec.containers[0].securityContext.allowPrivilegeEscalation",
		"spec.containers[0].securityContext.capabilities.drop",
		"spec.containers[0].securityContext.runAsNonRoot",
		"spec.containers[0].securityContext.seccompProfile",
	}
}

# Each value that undoes one promise, also over what the pod says, and of a wrong type.
test_restricted_refuses if {
	pod := context({"runAsNonRoot": true, "runAsUser": 1, "seccompProfile": {"type": "RuntimeDefault"}})
	undone := [
		["allowPrivilegeEscalation", true],
		["allowPrivilegeEscalation", null],
		["allowPrivilegeEscalation", "false"],
		["capabilities", {"drop": ["CHOWN"]}],
		["capabilities", {"drop": "ALL"}],
		["capabilities", {"drop": ["ALL"], "add": ["CHOWN"]}],
		["runAsNonRoot", false],
		["seccompProfile", {"type": "Unconfined"}],
	]
	every one in undone {
		violations := pod_privileges.deny with data.portcullis.parameters as restricted
			with input as fixtures.pod(pod, own(one[0], one[1]))
		some field in fields(violations)
		contains(field, one[0])
	}
}

test_restricted_user_zero_breaks_the_promise if {
	violations := pod_privileges.deny with data.portcullis.parameters as restricted
		with input as fixtures.pod({}, own("runAsUser", 0))
	fields(violations) == {"spec.containers[0].securityContext.runAsNonRoot"}
}

test_restricted_pod_user_zero_breaks_the_promise if {
	violations := pod_privileges.deny with data.portcullis.parameters as restricted
		with input as fixtures.pod(
			context({"runAsUser": 0, "runAsNonRoot": true}),
			context(object.remove(good.securityContext, ["runAsUser", "runAsNonRoot"])),
		)
	fields(violations) == {"spec.containers[0].securityContext.runAsNonRoot"}
}

test_restricted_volumes if {
	every volume in [{"name": "n", "nfs": {}}, {"name": "n"}, {"name": "n", "emptyDir": {}, "nfs": {}}, "text"] {
		count(pod_privileges.deny) == 1 with data.portcullis.parameters as restricted
			with input as fixtures.pod({"volumes": [volume]}, good)
	}
}

test_wrong_parameters_are_a_violation if {
	violations := pod_privileges.deny with data.portcullis.parameters as {"pod-privileges": {"level": "privileged"}}
		with input as fixtures.pod({}, {})
	fixtures.reasons(violations) == {"parameter-invalid"}
}

test_what_only_looks_alike_passes if {
	every spec in [
		{"probe": {"httpGet": {"host": "x"}}},
		{"livenessProbe": {"exec": {"host": "x"}}},
		{"livenessProbe": {"httpGet": {"host": ""}}},
		{"startupProbe": {"tcpSocket": {"host": null}}},
		{"lifecycle": {"later": {"httpGet": {"host": "x"}}}},
		{"lifecycle": {"preStop": {"exec": {"host": "x"}}}},
		{"lifecycle": {"preStop": {"httpGet": {"host": ""}}}},
		{"lifecycle": {"postStart": {"tcpSocket": {"host": null}}}},
	] {
		pod_privileges.deny == set() with input as fixtures.pod({}, spec)
	}
	every spec in [
		context({"sysctls": [{"name": "kernel.shm_rmid_forced", "value": "1"}]}),
		{"volumes": [{"name": "v", "nfs": {"server": "a", "path": "/"}}]},
	] {
		pod_privileges.deny == set() with input as fixtures.pod(spec, {})
	}
}

test_image_volumes_run_nothing if {
	pod_privileges.deny == set() with input as fixtures.judged({"kind": "volume", "spec": context({"privileged": true})}, {})
}
