# METADATA
# title: No HostProcess containers
# description: |
#   A HostProcess container is a Windows process of the node itself, with the node's files, network and accounts
#   (Pod Security Standards, baseline, control HostProcess).
# related_resources:
#   - ref: https://kubernetes.io/docs/concepts/security/pod-security-standards/
# custom:
#   severity: critical
#   mode: deny
#   category: pod security baseline
#   onRequest: true
package portcullis.policies.pss_host_process

import rego.v1

import data.portcullis.lib.parameters
import data.portcullis.lib.pods
import data.portcullis.lib.podsecurity

shape := {}

deny contains violation if {
	some violation in parameters.faults("pss-host-process", shape)
}

deny contains violation if {
	some place in podsecurity.places
	found := podsecurity.value(place, path)
	not pods.off(found)
	violation := podsecurity.violation(place, path, found, {
		"msg": "runs as a process of the node itself (hostProcess)",
		"fix": "remove securityContext.windowsOptions.hostProcess",
		"reason": "host-process",
	})
}

path := ["securityContext", "windowsOptions", "hostProcess"]
