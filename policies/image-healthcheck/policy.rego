# METADATA
# title: Somebody notices when a service no longer answers
# description: |
#   A container has a liveness or readiness probe, or its image a HEALTHCHECK. Kubernetes does not run HEALTHCHECK, other
#   runtimes do; whoever wants probes alone says so with the parameter "accept". Init containers and ephemeral ones
#   are left out.
# custom:
#   severity: low
#   mode: warn
#   category: python service
#   onRequest: true
package portcullis.policies.image_healthcheck

import rego.v1

import data.portcullis.lib.containers
import data.portcullis.lib.exemptions
import data.portcullis.lib.parameters
import data.portcullis.lib.platforms
import data.portcullis.lib.text

shape := {
	"accept": {"type": "strings", "default": ["image", "probe"]},
	"exempt": {"type": "objects", "default": []},
}

settings := parameters.settings("image-healthcheck", shape)

deny contains violation if {
	some violation in parameters.faults("image-healthcheck", shape)
}

deny contains violation if {
	some problem in exemptions.faults(settings.exempt, ["images"])
	violation := parameters.violation("image-healthcheck", problem)
}

deny contains violation if {
	some name in settings.accept
	not words[name]
	violation := parameters.violation(
		"image-healthcheck",
		sprintf("\"accept\" may name image and probe, not %s", [text.quoted(name)]),
	)
}

deny contains violation if {
	some i in serving
	not i in watched
	written := containers.image(i)
	not exemptions.holds(settings.exempt, written, "", "")
	violation := containers.violation(i, {
		"msg": sprintf("has no %s", [concat(" and no ", [words[name] | some name in accepted])]),
		"fix": sprintf("add %s", [concat(" or ", [words[name] | some name in accepted])]),
		"details": {"reason": "healthcheck-missing"},
	})
}

deny contains violation if {
	settings.accept == []
	violation := parameters.violation("image-healthcheck", "\"accept\" must name image or probe, or both")
}

# In the order of the words. Where nothing known is named, both are accepted, and the fault is told.
accepted := named if {
	named := [name | some name in ["image", "probe"]; name in settings.accept]
	count(named) > 0
} else := ["image", "probe"]

words := {"image": "HEALTHCHECK in its image", "probe": "livenessProbe or readinessProbe"}

serving := containers.running - passing

passing contains i if {
	some i
	input.containers[i].kind in {"init", "ephemeral"}
}

watched contains i if {
	"probe" in accepted
	some i
	some probe in ["livenessProbe", "readinessProbe"]
	is_object(input.containers[i].spec[probe])
	count(input.containers[i].spec[probe]) > 0
}

watched contains i if {
	"image" in accepted
	some i in serving
	not platforms.lacking(containers.image(i), checked)
}

# NONE switches off the check of the base.
checked[written] contains j if {
	some written, j
	input.images[written].platforms[j].config.healthcheck[0] in {"CMD", "CMD-SHELL"}
	is_array(input.images[written].platforms[j].config.healthcheck)
	count(input.images[written].platforms[j].config.healthcheck) > 1
}
