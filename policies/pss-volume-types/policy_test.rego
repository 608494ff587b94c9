package portcullis.policies.pss_volume_types_test

import rego.v1

import data.portcullis.lib.podsecurity_fixtures_test as fixtures
import data.portcullis.policies.pss_volume_types

kinds := ["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret"]

others := [
	"hostPath", "gcePersistentDisk", "awsElasticBlockStore", "gitRepo", "nfs", "iscsi", "glusterfs", "rbd", "flexVolume", "cinder", "cephfs",
	"flocker", "fc", "azureFile", "vsphereVolume", "quobyte", "azureDisk", "portworxVolume", "photonPersistentDisk", "scaleIO", "storageos",
	"notYetKnown", "emptydir",
]

bad_volumes := array.concat(
	[{"name": "v", kind: {}} | some kind in others],
	array.concat(
		[null, "junk", 7, true, [], ["emptyDir"], [{"emptyDir": {}}]],
		[
			{"name": "v", "emptyDir": "junk"},
			{"name": "v", "emptyDir": []},
			{"name": "v", "emptyDir": false},
			{"name": "v", "emptyDir": {}, "nfs": {}},
			{"name": "v", "emptyDir": {}, "secret": {}},
			{"name": "v", "emptyDir": {}, "notYetKnown": false},
		],
	),
)

bad_pods := array.concat(
	[[{"volumes": [{"name": "a", "emptyDir": {}}, volume]}, "volumes[1]", "volume-type"] | some volume in bad_volumes],
	[
		[{"volumes": {"name": "v", "emptyDir": {}}}, "volumes", "field-unreadable"],
		[{"volumes": "junk"}, "volumes", "field-unreadable"],
	],
)

good_pods := array.concat(
	[
		{},
		{"volumes": null},
		{"volumes": []},
		{"volumes": [{"name": "v"}, {"name": "w", "nfs": null}]},
		{"volumes": [{"name": "v", "emptyDir": {}, "nfs": null}]},
	],
	[{"volumes": [{"name": "v", kind: {"reference": "registry.example/files"}}]} | some kind in kinds],
)

test_each_is_told if {
	violations := pss_volume_types.deny with input as fixtures.pod({"volumes": [{"name": "a", "nfs": {}}, {"name": "b", "iscsi": {}}]})
	fixtures.messages(violations) == {
		"the pod has the volume \"a\" of a kind that is not allowed",
		"the pod has the volume \"b\" of a kind that is not allowed",
	}
}

test_bad_pods_are_refused if {
	every one in bad_pods {
		violations := pss_volume_types.deny with input as fixtures.pod(one[0])
		fixtures.shown(violations) == {["the pod", sprintf("spec.%s", [one[1]]), one[2]]}
	}
}

test_pods_of_every_kind_are_judged if {
	every kind, path in fixtures.pod_paths {
		spec := object.union({"containers": [{"name": "web"}]}, bad_pods[0][0])
		violations := pss_volume_types.deny with input as fixtures.workload(kind, {}, spec)
		fixtures.shown(violations) == {["the pod", sprintf("%s.%s", [path, bad_pods[0][1]]), bad_pods[0][2]]}
	}
}

test_good_pods_pass if {
	every said in good_pods {
		pss_volume_types.deny == set() with input as fixtures.pod(said)
	}
}

test_wrong_parameters_are_a_violation if {
	violations := pss_volume_types.deny with input as fixtures.pod({}) with data.portcullis.parameters as {"pss-volume-types": {"strict": true}}
	"parameter-invalid" in fixtures.reasons(violations)
}

test_no_pod_is_not_judged if {
	pss_volume_types.deny == set() with input as {"workload": {"podSpec": null, "podMetadata": null}, "containers": [], "images": {}}
}
