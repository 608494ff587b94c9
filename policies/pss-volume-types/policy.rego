# METADATA
# title: No volumes but those of the cluster's own kinds
# description: |
#   A volume is a configMap, csi, downwardAPI, emptyDir, ephemeral, image, persistentVolumeClaim, projected or secret. Other
#   kinds let the pod choose what the node mounts, and are for a persistentVolume (Pod Security Standards, restricted,
#   control Volume Types).
# related_resources:
#   - ref: https://kubernetes.io/docs/concepts/security/pod-security-standards/
# custom:
#   severity: medium
#   mode: deny
#   category: pod security restricted
#   onRequest: true
package portcullis.policies.pss_volume_types

import rego.v1

import data.portcullis.lib.parameters
import data.portcullis.lib.pods
import data.portcullis.lib.podsecurity
import data.portcullis.lib.text

shape := {}

deny contains violation if {
	some violation in parameters.faults("pss-volume-types", shape)
}

deny contains violation if {
	some volume in podsecurity.list("pod", ["volumes"])
	not plain(volume.value)
	violation := podsecurity.violation("pod", volume.path, volume.value, {
		"msg": sprintf("has the volume %s of a kind that is not allowed", [text.quoted(podsecurity.at(volume.value, ["name"]))]),
		"fix": "use a persistentVolumeClaim, an emptyDir, a configMap or a secret",
		"reason": "volume-type",
	})
}

# The API makes a volume that says nothing an emptyDir. Of two kinds nobody knows which one counts.
plain(volume) if {
	is_object(volume)
	kinds := {kind | some kind, source in volume; kind != "name"; source != null}
	count(kinds - pods.plain_kinds) == 0
	count(kinds) <= 1
	every kind in kinds {
		is_object(volume[kind])
	}
}
