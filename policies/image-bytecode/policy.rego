# METADATA
# title: Images hold no byte code that was left behind
# description: |
#   __pycache__ of the application and its packages is there because something was imported or compiled while the image was
#   built. It changes with every build, so that layers are never the same twice. What the base ships with its own Python
#   is left out.
# custom:
#   severity: low
#   mode: warn
#   category: python service
#   onRequest: true
package portcullis.policies.image_bytecode

import rego.v1

import data.portcullis.lib.containers
import data.portcullis.lib.contents
import data.portcullis.lib.exemptions
import data.portcullis.lib.parameters
import data.portcullis.lib.platforms
import data.portcullis.lib.stages

shape := {"exempt": {"type": "objects", "default": []}}

settings := parameters.settings("image-bytecode", shape)

look := {"class": "caches", "deleted": true, "settings": object.union(settings, {"allowInBase": true})}

deny contains violation if {
	some violation in parameters.faults("image-bytecode", shape)
}

deny contains violation if {
	some problem in exemptions.faults(settings.exempt, exemptions.fields)
	violation := parameters.violation("image-bytecode", problem)
}

deny contains violation if {
	some violation in contents.unknown({"caches"}, settings)
}

deny contains violation if {
	some i in containers.all
	written := containers.image(i)
	blamed := {j | some j, _ in found[written]}
	told := contents.told(found[written][min(blamed)])
	violation := containers.violation(i, object.union(platforms.place(written, blamed), {
		"msg": sprintf("holds byte code that its build left behind: %s", [told.shown]),
		"fix": "set ENV PYTHONDONTWRITEBYTECODE=1 and pip install --no-compile, and list __pycache__ in .dockerignore",
		"details": object.union({"reason": "bytecode-present"}, told.details),
	}))
}

found[written][j] := findings if {
	some written, j
	_ = platforms.of[written][j]
	contents.known("caches", written)
	findings := [finding |
		some finding in contents.found(look, written, j)
		not other(finding)
		not stages.of_base(written, j, contents.field(finding, "layerIndex"))
	]
	count(findings) > 0
}

# A cache of something else, by the rule of the catalogue that found it. One that does not say its rule counts.
other(finding) if {
	is_string(finding.rule)
	finding.rule != "bytecode-cache"
}
