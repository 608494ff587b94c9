# METADATA
# title: Pods keep to the Pod Security Standards
# description: |
#   No pod takes what belongs to the node: the controls of the Pod Security Standards, level baseline, or restricted
#   by parameter (https://kubernetes.io/docs/concepts/security/pod-security-standards/).
# custom:
#   severity: high
#   mode: deny
#   category: pod
package portcullis.policies.pod_privileges

import rego.v1

import data.portcullis.lib.containers
import data.portcullis.lib.parameters
import data.portcullis.lib.pods
import data.portcullis.lib.text

shape := {
	"level": {"type": "choice", "choices": ["baseline", "restricted"], "default": "baseline"},
	"capabilities": {"type": "strings", "default": []},
}

settings := parameters.settings("pod-privileges", shape)

deny contains violation if {
	some violation in parameters.faults("pod-privileges", shape)
}

deny contains violation if {
	some said in pod_faults
	violation := object.union(said, {"details": {"reason": "pod-privileges"}})
}

deny contains violation if {
	some i in containers.running
	some said in container_faults[i]
	violation := containers.violation(i, {
		"field": sprintf("%s.%s", [containers.path(i), said.field]),
		"msg": said.msg,
		"fix": said.fix,
		"details": {"reason": "pod-privileges"},
	})
}

# -- the pod, level baseline ---------------------------------------------------------------------------------------

pod_faults contains {"field": field, "msg": msg, "fix": fix} if {
	some field, what in {"hostNetwork": "network", "hostPID": "processes", "hostIPC": "IPC"}
	value := input.workload.podSpec[field]
	not pods.off(value)
	msg := sprintf("the pod shares the %s of its node (%s)", [what, field])
	fix := sprintf("remove %s from the pod spec", [field])
}

pod_faults contains {"field": "volumes", "msg": msg, "fix": "use a persistentVolumeClaim, an emptyDir or a configMap"} if {
	some k
	_ = input.workload.podSpec.volumes[k].hostPath
	msg := sprintf("the volume %s is a folder of the node (hostPath)", [pods.volume_name(k)])
}

pod_faults contains {"field": "securityContext.sysctls", "msg": msg, "fix": fix} if {
	some k
	_ = input.workload.podSpec.securityContext.sysctls[k]
	not k in pods.safe_sysctl_indexes
	msg := sprintf("the pod sets the sysctl %s, which reaches beyond it", [pods.sysctl_name(k)])
	fix := "remove it from securityContext.sysctls"
}

pod_faults contains {"field": sprintf("securityContext.%s", [fault.field]), "msg": msg, "fix": fault.fix} if {
	some fault in pods.context_faults(input.workload.podSpec.securityContext)
	msg := sprintf("the pod %s", [fault.msg])
}

pod_faults contains {"field": "metadata.annotations", "msg": msg, "fix": "remove the annotation"} if {
	some key, value in input.workload.podMetadata.annotations
	startswith(key, "container.apparmor.security.beta.kubernetes.io/")
	not pods.confined_by_annotation(value)
	msg := sprintf("the annotation %s takes AppArmor away", [text.quoted(key)])
}

# -- containers, level baseline ------------------------------------------------------------------------------------

container_faults[i] contains {"field": "securityContext.privileged", "msg": msg, "fix": fix} if {
	some i
	value := input.containers[i].spec.securityContext.privileged
	not pods.off(value)
	msg := "is privileged, which is root on the node"
	fix := "remove securityContext.privileged"
}

container_faults[i] contains {"field": "securityContext.capabilities.add", "msg": msg, "fix": fix} if {
	some i
	added := pods.elements(input.containers[i].spec.securityContext.capabilities.add)
	excess := [text.quoted(one) | some one in added; not one in addable]
	count(excess) > 0
	msg := sprintf("adds the capabilities %s", [text.listed(sort(excess), 5)])
	fix := sprintf("add none but %s", [concat(", ", sort(addable))])
}

container_faults[i] contains {"field": "ports", "msg": msg, "fix": "remove hostPort and use a Service"} if {
	some i, k
	port := input.containers[i].spec.ports[k].hostPort
	not port in {0, null}
	msg := sprintf("listens on the port %v of its node (hostPort)", [port])
}

container_faults[i] contains {"field": "securityContext.procMount", "msg": msg, "fix": fix} if {
	some i
	value := input.containers[i].spec.securityContext.procMount
	not value in {"Default", null}
	msg := "sees all of /proc (procMount)"
	fix := "remove securityContext.procMount"
}

container_faults[i] contains {"field": sprintf("securityContext.%s", [fault.field]), "msg": fault.msg, "fix": fault.fix} if {
	some i
	some fault in pods.context_faults(input.containers[i].spec.securityContext)
}

container_faults[i] contains {"field": field, "msg": msg, "fix": "remove host: the pod itself is the default"} if {
	some i, probe, action
	probe in {"livenessProbe", "readinessProbe", "startupProbe"}
	action in {"httpGet", "tcpSocket"}
	host := input.containers[i].spec[probe][action].host
	not host in {"", null}
	field := sprintf("%s.%s.host", [probe, action])
	msg := sprintf("makes the node call another host (%s)", [field])
}

container_faults[i] contains {"field": field, "msg": msg, "fix": "remove host: the pod itself is the default"} if {
	some i, hook, action
	hook in {"postStart", "preStop"}
	action in {"httpGet", "tcpSocket"}
	host := input.containers[i].spec.lifecycle[hook][action].host
	not host in {"", null}
	field := sprintf("lifecycle.%s.%s.host", [hook, action])
	msg := sprintf("makes the node call another host (%s)", [field])
}

# What may be added: the capabilities that runtimes give by default, and none of them where all must be dropped.
addable := pods.default_capabilities | named if settings.level == "baseline"

addable := {"NET_BIND_SERVICE"} | named if settings.level == "restricted"

named := {one | some one in settings.capabilities}

# -- level restricted ----------------------------------------------------------------------------------------------

pod_faults contains {"field": "volumes", "msg": msg, "fix": "use a persistentVolumeClaim, an emptyDir or a configMap"} if {
	settings.level == "restricted"
	some k
	_ = input.workload.podSpec.volumes[k]
	not k in pods.plain_volumes
	msg := sprintf("the volume %s is of a kind that is not allowed", [pods.volume_name(k)])
}

container_faults[i] contains {"field": "securityContext.allowPrivilegeEscalation", "msg": msg, "fix": fix} if {
	settings.level == "restricted"
	some i in containers.running
	not i in pods.no_escalation
	msg := "may gain privileges (allowPrivilegeEscalation is not false)"
	fix := "set securityContext.allowPrivilegeEscalation to false"
}

container_faults[i] contains {"field": "securityContext.capabilities.drop", "msg": msg, "fix": fix} if {
	settings.level == "restricted"
	some i in containers.running
	not i in pods.drops_all
	msg := "keeps the default capabilities"
	fix := "set securityContext.capabilities.drop to [ALL]"
}

container_faults[i] contains {"field": "securityContext.runAsNonRoot", "msg": msg, "fix": fix} if {
	settings.level == "restricted"
	some i in containers.running
	not i in pods.promises_non_root
	msg := "is not bound to run as a non-root user (runAsNonRoot is not true)"
	fix := "set securityContext.runAsNonRoot to true for the pod or the container"
}

container_faults[i] contains {"field": "securityContext.seccompProfile", "msg": msg, "fix": fix} if {
	settings.level == "restricted"
	some i in containers.running
	not i in pods.seccomp
	msg := "runs without a seccomp profile"
	fix := "set securityContext.seccompProfile.type to RuntimeDefault for the pod or the container"
}
