# METADATA
# title: Controls of the Pod Security Standards
# description: |
#   The values that https://kubernetes.io/docs/concepts/security/pod-security-standards/ allows. What is absent is
#   the API's default, which level baseline allows and level restricted mostly does not.
package portcullis.lib.pods

import rego.v1

import data.portcullis.lib.containers
import data.portcullis.lib.text

default_capabilities := {
	"AUDIT_WRITE",
	"CHOWN",
	"DAC_OVERRIDE",
	"FOWNER",
	"FSETID",
	"KILL",
	"MKNOD",
	"NET_BIND_SERVICE",
	"SETFCAP",
	"SETGID",
	"SETPCAP",
	"SETUID",
	"SYS_CHROOT",
}

safe_sysctls := {
	"kernel.shm_rmid_forced",
	"net.ipv4.ip_local_port_range",
	"net.ipv4.ip_local_reserved_ports",
	"net.ipv4.ip_unprivileged_port_start",
	"net.ipv4.ping_group_range",
	"net.ipv4.tcp_fin_timeout",
	"net.ipv4.tcp_keepalive_intvl",
	"net.ipv4.tcp_keepalive_probes",
	"net.ipv4.tcp_keepalive_time",
	"net.ipv4.tcp_rmem",
	"net.ipv4.tcp_syncookies",
	"net.ipv4.tcp_wmem",
}

plain_kinds := {
	"configMap",
	"csi",
	"downwardAPI",
	"emptyDir",
	"ephemeral",
	"image",
	"persistentVolumeClaim",
	"projected",
	"secret",
}

selinux_types := {"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}

off(value) if value in {false, null}

# The elements of a list; anything that is no list stands for itself, so that it is not overlooked.
elements(value) := value if is_array(value)

elements(value) := [] if value == null

elements(value) := [value] if {
	value != null
	not is_array(value)
}

default volume_name(_) := "\"\""

volume_name(k) := text.quoted(input.workload.podSpec.volumes[k].name)

default sysctl_name(_) := "\"\""

sysctl_name(k) := text.quoted(input.workload.podSpec.securityContext.sysctls[k].name)

safe_sysctl_indexes contains k if {
	some k
	input.workload.podSpec.securityContext.sysctls[k].name in safe_sysctls
}

plain_volumes contains k if {
	some k
	some kind in plain_kinds
	_ = input.workload.podSpec.volumes[k][kind]
	keys := object.keys(input.workload.podSpec.volumes[k])
	count(keys - {"name", kind}) == 0
}

confined_by_annotation(value) if value == "runtime/default"

confined_by_annotation(value) if {
	is_string(value)
	startswith(value, "localhost/")
}

# Faults that a security context of a pod may have as well as one of a container.
context_faults(context) := {fault | some fault in ((profiles(context) | selinux(context)) | host_process(context))}

profiles(context) := {fault |
	some field, what in {"seccompProfile": "seccomp", "appArmorProfile": "AppArmor"}
	type := context[field].type
	not type in {"RuntimeDefault", "Localhost", null}
	fault := {
		"field": sprintf("%s.type", [field]),
		"msg": sprintf("turns %s off (%s)", [what, field]),
		"fix": sprintf("set %s.type to RuntimeDefault", [field]),
	}
}

selinux(context) := {fault |
	some field, allowed in {"type": selinux_types, "user": {""}, "role": {""}}
	value := context.seLinuxOptions[field]
	not value in (allowed | {null})
	fault := {
		"field": sprintf("seLinuxOptions.%s", [field]),
		"msg": sprintf("sets an SELinux %s of its own", [field]),
		"fix": sprintf("remove seLinuxOptions.%s", [field]),
	}
}

host_process(context) := {fault |
	value := context.windowsOptions.hostProcess
	not off(value)
	fault := {
		"field": "windowsOptions.hostProcess",
		"msg": "runs on the node itself (hostProcess)",
		"fix": "remove windowsOptions.hostProcess",
	}
}

# -- level restricted: the containers that do what it asks ---------------------------------------------------------

no_escalation contains i if {
	some i
	input.containers[i].spec.securityContext.allowPrivilegeEscalation == false
}

drops_all contains i if {
	some i
	"ALL" in input.containers[i].spec.securityContext.capabilities.drop
}

promises_non_root contains i if {
	some i
	input.containers[i].spec.securityContext.runAsNonRoot == true
	not zero_user[i]
}

promises_non_root contains i if {
	some i in containers.running
	not own_non_root[i]
	input.workload.podSpec.securityContext.runAsNonRoot == true
	not zero_user[i]
}

own_non_root contains i if {
	some i
	is_boolean(input.containers[i].spec.securityContext.runAsNonRoot)
}

zero_user contains i if {
	some i
	input.containers[i].spec.securityContext.runAsUser == 0
}

zero_user contains i if {
	some i in containers.running
	not own_user[i]
	input.workload.podSpec.securityContext.runAsUser == 0
}

own_user contains i if {
	some i
	is_number(input.containers[i].spec.securityContext.runAsUser)
}

seccomp contains i if {
	some i
	input.containers[i].spec.securityContext.seccompProfile.type in {"RuntimeDefault", "Localhost"}
}

seccomp contains i if {
	some i in containers.running
	not own_seccomp[i]
	input.workload.podSpec.securityContext.seccompProfile.type in {"RuntimeDefault", "Localhost"}
}

own_seccomp contains i if {
	some i
	is_string(input.containers[i].spec.securityContext.seccompProfile.type)
}
