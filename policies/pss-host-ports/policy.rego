# METADATA
# title: No ports of the node
# description: |
#   A host port is a port of the node: it goes round Services and network policies, and may shadow a port of the node's
#   own programs. The operator may list the ports that are allowed (Pod Security Standards, baseline, control Host Ports).
# related_resources:
#   - ref: https://kubernetes.io/docs/concepts/security/pod-security-standards/
# custom:
#   severity: medium
#   mode: deny
#   category: pod security baseline
#   onRequest: true
package portcullis.policies.pss_host_ports

import rego.v1

import data.portcullis.lib.containers
import data.portcullis.lib.parameters
import data.portcullis.lib.podsecurity
import data.portcullis.lib.text

shape := {"allowed": {"type": "strings", "default": []}}

settings := parameters.settings("pss-host-ports", shape)

deny contains violation if {
	some violation in parameters.faults("pss-host-ports", shape)
}

deny contains violation if {
	some problem in range_faults
	violation := parameters.violation("pss-host-ports", problem)
}

deny contains violation if {
	some place in containers.running
	some port in podsecurity.list(place, ["ports"])
	found := podsecurity.at(port.value, ["hostPort"])
	not harmless(found)
	violation := podsecurity.violation(place, array.concat(port.path, ["hostPort"]), found, {
		"msg": sprintf("takes the port %s of its node (hostPort)", [text.short(sprintf("%v", [found]), 20)]),
		"fix": "remove hostPort and use a Service",
		"reason": "host-port",
	})
}

harmless(port) if port in {0, null}

# What lies between two numbers is one.
harmless(port) if {
	some allowed in ranges
	port >= allowed.from
	port <= allowed.to
}

# A faulty one allows nothing.
ranges contains {"from": ends[0], "to": ends[count(ends) - 1]} if {
	some one in settings.allowed
	sound(one)
	ends := numbers_of(one)
}

numbers_of(range_text) := [to_number(end) | some end in split(range_text, "-")]

# A range from 0, or one that ends before it begins, is a slip.
range_faults contains sprintf("%s in \"allowed\" is neither a port nor a range such as 30000-30010", [said]) if {
	some one in settings.allowed
	not sound(one)
	said := text.quoted(one)
}

sound(one) if {
	regex.match(`^[1-9][0-9]{0,4}(-[1-9][0-9]{0,4})?$`, one)
	ends := numbers_of(one)
	every end in ends {
		end <= 65535
	}
	ends[0] <= ends[count(ends) - 1]
}
