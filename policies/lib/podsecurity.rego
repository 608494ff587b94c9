# METADATA
# title: Places of the Pod Security Standards
# description: |
#   What the policies pss-* share: the pod and its containers as places, the value at a path below a place, and the
#   violation there. A value is null where nothing is said, and `unreadable` where it cannot be found, since something
#   on the way to it is of another type than the API says. Policies name the values that are good, so what cannot be
#   read is refused.
# related_resources:
#   - ref: https://kubernetes.io/docs/concepts/security/pod-security-standards/
package portcullis.lib.podsecurity

import rego.v1

import data.portcullis.lib.containers
import data.portcullis.lib.pods

# -- places ----------------------------------------------------------------------------------------------------------

# The JSON of each place by its name: "pod", "metadata" (of the pod, not of the object that makes it), and the index of
# each container that runs something: plain, init and ephemeral ones. Image volumes are files only.
specs["pod"] := pod_spec if pod_spec != null

# Containers stand in a pod: where there is none, it was not understood.
specs["pod"] := unreadable if {
	pod_spec == null
	count(containers.all) > 0
}

specs[i] := container_spec(i) if some i in containers.running

specs["metadata"] := input.workload.podMetadata if input.workload.podMetadata != null

# Where most controls look.
places := object.keys(specs) - {"metadata"}

default pod_spec := null

pod_spec := input.workload.podSpec

default container_spec(_) := null

container_spec(i) := input.containers[i].spec

# -- values ----------------------------------------------------------------------------------------------------------

# A set, which no JSON can hold and no good value is.
unreadable := {"unreadable"}

# The value at a path of fields below a place.
default value(_, _) := null

value(place, path) := at(specs[place], path)

# The value at a path of fields below any JSON.
at(root, path) := unreadable if {
	not is_object(root)
} else := unreadable if {
	some k, _ in path
	above := object.get(root, array.slice(path, 0, k), null)
	not above == null
	not is_object(above)
} else := object.get(root, path, null)

# The elements of a list, each with its own path. What is no list is one element that cannot be read.
list(place, path) := elements(value(place, path), path)

elements(found, path) := [{"path": array.concat(path, [k]), "value": one} | some k, one in found] if is_array(found)

elements(null, _) := []

elements(found, path) := [{"path": path, "value": unreadable}] if {
	not found == null
	not is_array(found)
}

# -- violations ------------------------------------------------------------------------------------------------------

# A violation at a path below a place. `said` has msg, which goes on after the container or "the pod", fix and reason.
violation(place, path, found, said) := object.union(whose(place), {
	"field": field(place, path),
	"msg": concat("", [subject(place), words.msg]),
	"fix": words.fix,
	"details": {"reason": words.reason},
}) if {
	words := worded(dotted(path), found, said)
}

# The container that is named before the words.
whose(place) := containers.violation(place, {}) if is_number(place)

whose(place) := {} if not is_number(place)

subject(place) := "" if is_number(place)

subject(place) := "the pod " if not is_number(place)

worded(_, found, said) := said if found != unreadable

worded(path, found, _) := {
	"msg": sprintf("has something at or above %s that the Kubernetes API does not know, so it cannot be judged", [path]),
	"fix": sprintf("write %s as the Kubernetes API describes it", [path]),
	"reason": "field-unreadable",
} if {
	found == unreadable
}

# The whole path in the object, such as spec.template.spec.volumes[1].hostPath
field(place, path) := concat(".", [part | some part in [base(place), dotted(path)]; part != ""])

base(place) := containers.path(place) if is_number(place)

base("pod") := pod_path

base("metadata") := regex.replace(pod_path, `spec$`, "metadata")

# Containers stand right below the pod spec, whatever the kind of the object.
default pod_path := ""

pod_path := min({path |
	some i in containers.all
	path := regex.replace(containers.path(i), `\.?[A-Za-z]+\[[0-9]+\]$`, "")
})

dotted(path) := trim_left(concat("", [step | some part in path; step := stepped(part)]), ".")

stepped(part) := sprintf("[%d]", [part]) if is_number(part)

stepped(part) := sprintf(".%s", [part]) if is_string(part)

# -- what the standard knows ------------------------------------------------------------------------------------------

# Kubelets run no pod of another operating system than their own, and the API refuses a pod that says windows and asks
# for what only Linux has. Since Kubernetes 1.25 some controls of level restricted leave such pods out.
windows if value("pod", ["os", "name"]) == "windows"

# The pod asks for a user namespace: its root is no root on the node.
user_namespace if value("pod", ["hostUsers"]) == false

# Profiles of seccomp and of AppArmor that confine; a profile without a type does not say that it does.
confined(found) if found == null

confined(found) if at(found, ["type"]) in {"RuntimeDefault", "Localhost"}

# Those of Kubernetes 1.37: two more than the policy pod-privileges allows.
safe_sysctls := pods.safe_sysctls | {"net.ipv4.tcp_notsent_lowat", "net.ipv4.tcp_slow_start_after_idle"}
