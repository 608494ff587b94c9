# METADATA
# title: No hostPath volumes
# description: |
#   A hostPath volume is a folder or a file of the node: it shows other pods' data and the node's own secrets, and written
#   to it can take the node over (Pod Security Standards, baseline, control HostPath Volumes).
# related_resources:
#   - ref: https://kubernetes.io/docs/concepts/security/pod-security-standards/
# custom:
#   severity: high
#   mode: deny
#   category: pod security baseline
#   onRequest: true
package portcullis.policies.pss_host_path

import rego.v1

import data.portcullis.lib.parameters
import data.portcullis.lib.podsecurity
import data.portcullis.lib.text

shape := {}

deny contains violation if {
	some violation in parameters.faults("pss-host-path", shape)
}

deny contains violation if {
	some volume in podsecurity.list("pod", ["volumes"])
	found := podsecurity.at(volume.value, ["hostPath"])
	not found == null
	violation := podsecurity.violation("pod", array.concat(volume.path, ["hostPath"]), found, {
		"msg": sprintf("has the volume %s, which is a place of the node (hostPath)", [name(volume.value)]),
		"fix": "use a persistentVolumeClaim, an emptyDir or a configMap",
		"reason": "host-path",
	})
}

name(volume) := text.quoted(podsecurity.at(volume, ["name"]))
