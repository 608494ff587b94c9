# Workloads of several kinds, for the tests of the policies pss-*: shaped as portcullis reads them from an object.
package portcullis.lib.podsecurity_fixtures_test

import rego.v1

pod_paths := {
	"Pod": "spec",
	"Deployment": "spec.template.spec",
	"CronJob": "spec.jobTemplate.spec.template.spec",
	"PodTemplate": "template.spec",
}

lists := {"containers": "container", "initContainers": "init", "ephemeralContainers": "ephemeral"}

# A document over a pod spec; its containers are read from it.
workload(kind, metadata, spec) := {
	"workload": {"kind": kind, "podMetadata": metadata, "podSpec": spec},
	"containers": array.concat(
		[one |
			some list, container_kind in lists
			some k, container in object.get(spec, list, [])
			one := {
				"name": container.name,
				"kind": container_kind,
				"image": "registry.example/acme/web:1.4",
				"path": sprintf("%s.%s[%d]", [pod_paths[kind], list, k]),
				"spec": container,
			}
		],
		[one |
			some k, volume in object.get(spec, "volumes", [])
			volume.image
			one := {
				"name": volume.name,
				"kind": "volume",
				"image": volume.image.reference,
				"path": sprintf("%s.volumes[%d]", [pod_paths[kind], k]),
				"spec": volume,
			}
		],
	),
	"images": {},
}

pod(spec) := workload("Pod", {}, object.union({"containers": [{"name": "web"}]}, spec))

# A pod of one container that says this.
container(said) := pod({"containers": [object.union({"name": "web"}, said)]})

context(said) := {"securityContext": said}

# Every kind and every list of containers, with the path that a container has there.
container_places := [{"kind": kind, "list": list, "path": path} |
	some kind, pod_path in pod_paths
	some list, _ in lists
	path := sprintf("%s.%s[0]", [pod_path, list])
]

# The second container of each pod is a plain one, or the first where it is itself one.
in_place(place, said) := workload(place.kind, {}, object.union(
	{"containers": [{"name": "plain"}]},
	{place.list: [object.union({"name": "web"}, said)]},
))

# The same beside a container that does all that level restricted asks for.
in_restricted_place(place, said) := workload(place.kind, {}, object.union(
	{"containers": [object.union({"name": "plain"}, context(restricted))]},
	{place.list: [object.union({"name": "web"}, said)]},
))

restricted := {
	"allowPrivilegeEscalation": false,
	"runAsNonRoot": true,
	"capabilities": {"drop": ["ALL"]},
	"seccompProfile": {"type": "RuntimeDefault"},
}

# What there is of a violation beside its words.
shown(violations) := {[object.get(violation, "container", "the pod"), violation.field, violation.details.reason] |
	some violation in violations
	violation.msg != ""
	violation.fix != ""
}

reasons(violations) := {violation.details.reason | some violation in violations}

messages(violations) := {violation.msg | some violation in violations}

# What a container must not be, whatever a policy reads of it.
junk := [null, true, 7, "junk", [], ["junk"], [{}]]

# Values that are no object and not null: below them nothing can be found.
not_objects := [false, true, 0, 7, "", "junk", [], ["junk"], [{}]]
