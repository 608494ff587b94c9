# METADATA
# title: Images are built in stages
# description: |
#   The final stage takes over what an earlier one has built: it installs no compiler, builds no dependencies, and brings no
#   build tools. By the lines of the Dockerfile that the builder noted, and by the files above those of the base. Wheels
#   that an earlier stage has built may be installed (pip install --no-index).
# custom:
#   severity: medium
#   mode: warn
#   category: python service
#   onRequest: true
package portcullis.policies.image_multi_stage

import rego.v1

import data.portcullis.lib.containers
import data.portcullis.lib.contents
import data.portcullis.lib.exemptions
import data.portcullis.lib.history
import data.portcullis.lib.parameters
import data.portcullis.lib.platforms
import data.portcullis.lib.stages
import data.portcullis.lib.text

shape := {
	"acceptUnknown": {"type": "boolean", "default": false},
	"exempt": {"type": "objects", "default": []},
}

settings := parameters.settings("image-multi-stage", shape)

look := {"class": "buildTools", "deleted": true, "settings": object.union(settings, {"allowInBase": true})}

deny contains violation if {
	some violation in parameters.faults("image-multi-stage", shape)
}

deny contains violation if {
	some problem in exemptions.faults(settings.exempt, exemptions.fields)
	violation := parameters.violation("image-multi-stage", problem)
}

deny contains violation if {
	some violation in contents.unknown({"buildTools"}, settings)
}

deny contains violation if {
	some i in containers.all
	written := containers.image(i)
	settings.acceptUnknown != true
	platforms.lacking(written, history.readable)
	not exemptions.holds(settings.exempt, written, "", "")
	violation := containers.violation(i, stages.history_unknown)
}

deny contains violation if {
	some i in containers.all
	written := containers.image(i)
	some reason, words in checks
	blamed := {j | count(lines[written][j][reason]) > 0}
	not exemptions.holds(settings.exempt, written, "", "")
	violation := containers.violation(i, object.union(platforms.place(written, blamed), {
		"msg": sprintf("%s in its final stage: %s", [words, text.quoted(lines[written][min(blamed)][reason][0])]),
		"fix": "do that in a stage of its own, and COPY --from it what runs",
		"details": {"reason": reason, "lines": array.slice(lines[written][min(blamed)][reason], 0, 20)},
	}))
}

deny contains violation if {
	some i in containers.all
	written := containers.image(i)
	blamed := {j | some j, _ in tools[written]}
	told := contents.told(tools[written][min(blamed)])
	violation := containers.violation(i, object.union(platforms.place(written, blamed), {
		"msg": sprintf("brings build tools in its final stage: %s", [told.shown]),
		"fix": "install them in a stage of its own, and COPY --from it what runs",
		"details": object.union({"reason": "final-stage-tools"}, told.details),
	}))
}

# -- the lines -----------------------------------------------------------------------------------------------------

checks := {
	"final-stage-installs": "builds its dependencies",
	"final-stage-compiler": "installs a compiler",
}

lines[written][j] := {reason: found |
	some reason, _ in checks
	found := [text.short(history.line(step), 200) |
		some step in stages.own[written][j]
		step.instruction == "RUN"
		some call in history.calls(step.arguments)
		regex.match(calling[reason][call[0]], call[1])
		not contains(call[1], "--no-index")
	]
} if {
	some written, j
	_ = stages.own[written][j]
}

system := concat("", [
	`(?:^|\s)(?:install|add|in)\s(?:.*[\s"'])?`,
	`(?:build-essential|build-base|gcc|g\+\+|clang|llvm|gcc-c\+\+|make|cmake|golang|golang-go|rust|rustc|cargo|musl-dev|`,
	`libc6-dev|python3-dev|python3-devel|linux-headers|base-devel)(?:-[0-9.]+)?(?:[=~<>]\S*)?(?:[\s"']|$)`,
])

calling := {
	"final-stage-installs": {
		"pip": `(?:^|\s)(?:install|wheel)(?:\s|$)`,
		"uv": `^(?:sync|pip\s+(?:sync|install)|build)(?:\s|$)`,
		"poetry": `(?:^|\s)(?:install|sync|build)(?:\s|$)`,
		"pipenv": `(?:^|\s)(?:install|sync)(?:\s|$)`,
		"pdm": `(?:^|\s)(?:install|sync|build)(?:\s|$)`,
	},
	"final-stage-compiler": {name: system |
		some name in {"apt-get", "apk", "dnf", "yum", "microdnf", "zypper"}
	},
}

# -- the files -----------------------------------------------------------------------------------------------------

# Not what a virtual environment brings (pip, setuptools): that is for image-build-tools and image-package-manager.
for_environments := {"language-package-manager", "python-build", "python-build-command"}

tools[written][j] := findings if {
	some written, j
	_ = platforms.of[written][j]
	contents.known("buildTools", written)
	findings := [finding |
		some finding in contents.found(look, written, j)
		not contents.field(finding, "rule") in for_environments
		not stages.of_base(written, j, contents.field(finding, "layerIndex"))
	]
	count(findings) > 0
}
