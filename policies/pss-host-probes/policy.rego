# METADATA
# title: Probes and hooks call the pod itself
# description: |
#   The kubelet makes the calls of probes and lifecycle hooks, from the node's network. With a host of its own choice a pod
#   would send it elsewhere: to the metadata service of a cloud, or round a network policy (Pod Security Standards,
#   baseline, control Host Probes / Lifecycle Hooks, since Kubernetes 1.34).
# related_resources:
#   - ref: https://kubernetes.io/docs/concepts/security/pod-security-standards/
# custom:
#   severity: high
#   mode: deny
#   category: pod security baseline
#   onRequest: true
package portcullis.policies.pss_host_probes

import rego.v1

import data.portcullis.lib.containers
import data.portcullis.lib.parameters
import data.portcullis.lib.podsecurity

shape := {}

deny contains violation if {
	some violation in parameters.faults("pss-host-probes", shape)
}

deny contains violation if {
	some place in containers.running
	some handler in handlers
	some action in {"httpGet", "tcpSocket"}
	path := array.concat(handler, [action, "host"])
	found := podsecurity.value(place, path)
	not found in {null, ""}
	violation := podsecurity.violation(place, path, found, {
		"msg": sprintf("makes the node call another host (%s)", [concat(".", path)]),
		"fix": "remove host: the pod itself is the default",
		"reason": "probe-host",
	})
}

handlers := {
	["livenessProbe"],
	["readinessProbe"],
	["startupProbe"],
	["lifecycle", "postStart"],
	["lifecycle", "preStop"],
}
