# METADATA
# title: Images hold no cache of pip
# description: |
#   What pip, uv, Poetry, Pipenv and PDM keep to install faster next time is as large as what they install, and nobody
#   installs anything in a container that runs. Those of the base are its maker's affair.
# custom:
#   severity: low
#   mode: warn
#   category: python service
#   onRequest: true
package portcullis.policies.image_pip_cache

import rego.v1

import data.portcullis.lib.containers
import data.portcullis.lib.contents
import data.portcullis.lib.exemptions
import data.portcullis.lib.parameters
import data.portcullis.lib.platforms
import data.portcullis.lib.stages

shape := {"exempt": {"type": "objects", "default": []}}

settings := parameters.settings("image-pip-cache", shape)

look := {"class": "caches", "deleted": true, "settings": object.union(settings, {"allowInBase": true})}

deny contains violation if {
	some violation in parameters.faults("image-pip-cache", shape)
}

deny contains violation if {
	some problem in exemptions.faults(settings.exempt, exemptions.fields)
	violation := parameters.violation("image-pip-cache", problem)
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
		"msg": sprintf("holds the cache of a package installer: %s", [told.shown]),
		"fix": "use pip install --no-cache-dir or ENV PIP_NO_CACHE_DIR=1; with other installers RUN --mount=type=cache",
		"details": object.union({"reason": "pip-cache"}, told.details),
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

# A cache of something else. One that does not say where it lies counts.
other(finding) if {
	is_string(finding.path)
	not regex.match(`(?:^|/)\.cache/(?:pip|uv|pypoetry|pipenv|pdm)(?:/|$)`, finding.path)
}
