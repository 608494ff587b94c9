# METADATA
# title: No sysctls but the safe ones
# description: |
#   A sysctl sets a value of the kernel. Those that reach beyond the pod, or turn a safeguard off, are not allowed; the safe
#   ones are those of Kubernetes 1.37 (Pod Security Standards, baseline, control Sysctls).
# related_resources:
#   - ref: https://kubernetes.io/docs/concepts/security/pod-security-standards/
# custom:
#   severity: high
#   mode: deny
#   category: pod security baseline
#   onRequest: true
package portcullis.policies.pss_sysctls

import rego.v1

import data.portcullis.lib.parameters
import data.portcullis.lib.podsecurity
import data.portcullis.lib.text

shape := {}

deny contains violation if {
	some violation in parameters.faults("pss-sysctls", shape)
}

deny contains violation if {
	some sysctl in podsecurity.list("pod", ["securityContext", "sysctls"])
	found := podsecurity.at(sysctl.value, ["name"])
	not found in podsecurity.safe_sysctls
	violation := podsecurity.violation("pod", array.concat(sysctl.path, ["name"]), found, {
		"msg": sprintf("sets the sysctl %s, which may reach beyond it", [text.quoted(found)]),
		"fix": "remove it from securityContext.sysctls",
		"reason": "sysctl-unsafe",
	})
}
