# METADATA
# title: No namespaces of the node
# description: |
#   A pod that shares the network, the processes or the IPC of its node sees and reaches what belongs to the node and to
#   other pods (Pod Security Standards, baseline, control Host Namespaces).
# related_resources:
#   - ref: https://kubernetes.io/docs/concepts/security/pod-security-standards/
# custom:
#   severity: high
#   mode: deny
#   category: pod security baseline
#   onRequest: true
package portcullis.policies.pss_host_namespaces

import rego.v1

import data.portcullis.lib.parameters
import data.portcullis.lib.pods
import data.portcullis.lib.podsecurity

shape := {}

deny contains violation if {
	some violation in parameters.faults("pss-host-namespaces", shape)
}

deny contains violation if {
	some field, what in {"hostNetwork": "network", "hostPID": "processes", "hostIPC": "IPC"}
	found := podsecurity.value("pod", [field])
	not pods.off(found)
	violation := podsecurity.violation("pod", [field], found, {
		"msg": sprintf("shares the %s of its node (%s)", [what, field]),
		"fix": sprintf("remove %s from the pod spec", [field]),
		"reason": "host-namespace",
	})
}
