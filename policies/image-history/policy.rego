# METADATA
# title: Images are built in a good way
# description: |
#   Judges the lines of the Dockerfile that the builder noted in the image: caches that stay in layers, scripts piped
#   from the network into a shell, secrets in build arguments, code copied before dependencies. Lines of an allowed
#   base are its maker's affair. It is the builder's word, so this helps those who mean well.
# custom:
#   severity: low
#   mode: warn
#   category: image
package portcullis.policies.image_history

import rego.v1

import data.portcullis.lib.commands
import data.portcullis.lib.containers
import data.portcullis.lib.exemptions
import data.portcullis.lib.history
import data.portcullis.lib.parameters
import data.portcullis.lib.platforms
import data.portcullis.lib.text

shape := {
	"checks": {"type": "object", "default": {}},
	"acceptUnknown": {"type": "boolean", "default": false},
	"exempt": {"type": "objects", "default": []},
}

settings := parameters.settings("image-history", shape)

deny contains violation if {
	some violation in parameters.faults("image-history", shape)
}

deny contains violation if {
	some problem in ((wrong_checks | exemptions.faults(settings.exempt, ["images", "rules"])) | wrong_rules)
	violation := parameters.violation("image-history", problem)
}

wrong_checks contains sprintf("\"checks\" has no check %s", [text.quoted(name)]) if {
	some name, _ in settings.checks
	not checks[name]
}

wrong_checks contains sprintf("the check %q must be true or false", [name]) if {
	some name, _ in checks
	not is_boolean(object.get(settings.checks, name, true))
}

wrong_rules contains sprintf("\"exempt\" has no check %s", [text.quoted(name)]) if {
	some name in settings.exempt[_].rules
	not checks[name]
}

# What is looked for, and the words for it.
checks := {
	"pip-cache": {
		"msg": "keeps pip's cache in a layer",
		"fix": "use pip install --no-cache-dir, or ENV PIP_NO_CACHE_DIR=1",
	},
	"apt-recommends": {
		"msg": "installs packages that are only recommended",
		"fix": "use apt-get install --no-install-recommends and name what is needed",
	},
	"apt-lists": {
		"msg": "keeps the package lists of apt in a layer",
		"fix": "end the same RUN with rm -rf /var/lib/apt/lists/*",
	},
	"apk-cache": {
		"msg": "keeps the package index of apk in a layer",
		"fix": "use apk add --no-cache",
	},
	"npm-install": {
		"msg": "installs what npm finds best instead of what is locked",
		"fix": "use npm ci with a package-lock.json",
	},
	"npm-cache": {
		"msg": "keeps npm's cache in a layer",
		"fix": "end the same RUN with npm cache clean --force, or use a cache mount and turn this check off",
	},
	"add-url": {
		"msg": "adds a file from the network that nothing here shows to be checked",
		"fix": "download it in a RUN that compares its sha256",
	},
	"curl-pipe": {
		"msg": "runs what it downloads, unseen",
		"fix": "download it to a file, compare its sha256, then run it",
	},
	"sudo": {
		"msg": "uses sudo in a RUN",
		"fix": "change to USER root for those lines and back; leave sudo out of the image",
	},
	"copy-order": {
		"msg": "copies the code before it installs dependencies, so that every change of code installs them anew",
		"fix": "COPY the lock file first (requirements.txt, package-lock.json, go.mod …), install, then COPY the code",
	},
	"compiler": {
		"msg": "installs a compiler and keeps it: built in a single stage",
		"fix": "compile in a stage of its own and COPY --from it what runs",
	},
	"chown-run": {
		"msg": "changes the owner of files after they were copied, which stores them twice",
		"fix": "use COPY --chown",
	},
	"build-secret": {
		"msg": "was built with a secret in a build argument or variable, and shows it to whoever pulls it",
		"fix": "revoke it, and build with RUN --mount=type=secret",
	},
}

enabled contains name if {
	some name, _ in checks
	not settings.checks[name] == false
}

# -- verdict -------------------------------------------------------------------------------------------------------

deny contains violation if {
	some i in containers.all
	written := containers.image(i)
	settings.acceptUnknown != true
	platforms.lacking(written, history.readable)
	not exemptions.holds(settings.exempt, written, "", "")
	violation := containers.violation(i, {
		"msg": "has no history that can be read, so how it was built is not known",
		"fix": "build it with a builder that notes what it does, and do not squash or import it",
		"details": {"reason": "history-unknown"},
	})
}

deny contains violation if {
	some i in containers.all
	written := containers.image(i)
	some name, said in judged[written]
	violation := containers.violation(i, said)
}

# Of each image, once however many containers have it: the words on each check that it fails.
judged[written][name] := object.union(platforms.place(written, blamed), {
	"msg": sprintf("%s: %s", [checks[name].msg, few(lines, total)]),
	"fix": checks[name].fix,
	"details": {"reason": "image-history", "check": name, "lines": lines, "total": total},
}) if {
	some written, _ in history.own
	some name in enabled
	not exemptions.holds(settings.exempt, written, "", name)
	blamed := {j | _ = bad[written][j][name]}
	first := min(blamed)
	total := count(bad[written][first][name])
	lines := [text.short(words(name, history.own[written][first][k]), 200) |
		some k in array.slice(sort(bad[written][first][name]), 0, 20)
	]
}

few(lines, total) := concat(", ", [text.quoted(line) | some line in lines]) if total <= 2

few(lines, total) := sprintf("%s, %s and %d more", [text.quoted(lines[0]), text.quoted(lines[1]), total - 2]) if total > 2

# A secret is named and never shown.
words("build-secret", step) := concat(", ", secret_names(step))

words(name, step) := history.line(step) if name != "build-secret"

# -- the checks: line k of the image's own fails one ---------------------------------------------------------------

# By line of the image's own, the arguments of each program that a RUN calls.
calls[written][j] := {k: programs |
	some k, step in history.own[written][j]
	step.instruction == "RUN"
	all := history.calls(step.arguments)
	programs := {program: arguments |
		some program in looked_at
		arguments := {call[1] | some call in all; call[0] == program}
		count(arguments) > 0
	}
} if {
	some written, j
	_ = history.own[written][j]
}

looked_at := (commands.package_managers | object.keys(commands.installers)) | {"rm", "find", "sudo", "chown"}

mounted[written][j] contains k if {
	some written, j
	some k, step in history.own[written][j]
	history.cache_mount(step.arguments)
}

# A RUN that deletes such a path.
removes(written, j, k, path) if {
	some program in {"rm", "find"}
	some arguments in calls[written][j][k][program]
	regex.match(path, arguments)
}

# A RUN that calls the program with such arguments.
runs(written, j, k, program, pattern) if {
	some arguments in calls[written][j][k][program]
	regex.match(pattern, arguments)
}

bad[written][j]["pip-cache"] contains k if {
	some written, j, k
	some arguments in calls[written][j][k].pip
	regex.match(`(?:^|\s)install(?:\s|$)`, arguments)
	not contains(arguments, "--no-cache")
	not contains(history.own[written][j][k].createdBy, "PIP_NO_CACHE_DIR=")
	not mounted[written][j][k]
	not sets_pip(written, j)
	not removes(written, j, k, `\.cache`)
	not runs(written, j, k, "pip", `^cache\s+purge`)
}

sets_pip(written, j) if "PIP_NO_CACHE_DIR" in input.images[written].platforms[j].config.envNames

bad[written][j]["apt-recommends"] contains k if {
	some written, j, k
	some arguments in calls[written][j][k]["apt-get"]
	regex.match(`(?:^|\s)install(?:\s|$)`, arguments)
	not regex.match(`--no-install-recommends|(?i:install-recommends["']?=["']?(?:0|no|false))`, arguments)
}

bad[written][j]["apt-lists"] contains k if {
	some written, j, k
	_ = calls[written][j][k]["apt-get"]
	runs(written, j, k, "apt-get", `(?:^|\s)update(?:\s|$)`)
	not mounted[written][j][k]
	not removes(written, j, k, `/var/lib/(?:apt|\{)`)
	not runs(written, j, k, "apt-get", `(?:^|\s)dist-?clean`)
}

bad[written][j]["apk-cache"] contains k if {
	some written, j, k
	some arguments in calls[written][j][k].apk
	regex.match(`(?:^|\s)(?:add|update)(?:\s|$)`, arguments)
	not contains(arguments, "--no-cache")
	not mounted[written][j][k]
	not removes(written, j, k, `/var/cache/(?:apk|\*)`)
}

bad[written][j]["npm-install"] contains k if {
	some written, j, k
	some arguments in calls[written][j][k].npm
	regex.match(commands.unlocked, arguments)
	not regex.match(`(?:^|\s)(?:-g|--global)(?:\s|$)`, arguments)
}

bad[written][j]["npm-cache"] contains k if {
	some written, j, k
	some arguments in calls[written][j][k].npm
	regex.match(`(?:^|\s)(?:install|i|ci|add)(?:\s|$)`, arguments)
	not contains(arguments, "--cache")
	not contains(lower(history.own[written][j][k].createdBy), "npm_config_cache=")
	not mounted[written][j][k]
	not removes(written, j, k, `\.npm`)
	not runs(written, j, k, "npm", `^cache\s+(?:clean|clear|rm|verify)`)
}

bad[written][j]["add-url"] contains k if {
	some written, j
	some k, step in history.own[written][j]
	step.instruction == "ADD"
	regex.match(`(?:^|[\s"])(?:(?:https?|ftp|git|ssh)://|git@)`, step.arguments)
	not contains(step.arguments, "--checksum=")
}

bad[written][j]["curl-pipe"] contains k if {
	some written, j
	some k, step in history.own[written][j]
	step.instruction == "RUN"
	some pattern in commands.piped
	regex.match(pattern, step.arguments)
}

bad[written][j].sudo contains k if {
	some written, j, k
	_ = calls[written][j][k].sudo
}

# The code was copied before the tool was used for the first time.
bad[written][j]["copy-order"] contains k if {
	some written, j
	copied := min(whole[written][j])
	some tool, lines in installing[written][j]
	copied < min(lines)
	some k in lines
}

# The lines that copy the whole folder of the build. The classic builder only tells that it was a folder.
whole[written][j] contains k if {
	some written, j
	some k, step in history.own[written][j]
	step.instruction in {"COPY", "ADD"}
	regex.match(`^(?:--\S+\s+)*(?:\[\s*)?["']?(?:\.|\./|\*|\./\*|dir:[0-9a-f]+)["']?,?\s`, step.arguments)
}

installing[written][j][tool] contains k if {
	some written, j, k
	some tool, pattern in commands.installers
	_ = calls[written][j][k][tool]
	runs(written, j, k, tool, pattern)
}

bad[written][j].compiler contains k if {
	some written, j, k
	some program in commands.package_managers
	_ = calls[written][j][k][program]
	runs(written, j, k, program, commands.compilers)
	not runs(written, j, k, program, `(?:^|\s)(?:purge|remove|autoremove|del|erase|rm)(?:\s|$)`)
}

bad[written][j]["chown-run"] contains k if {
	some written, j, k
	some arguments in calls[written][j][k].chown
	regex.match(`^(?:-\S+\s+)*(?:-[a-zA-Z]*R[a-zA-Z]*|--recursive)\s`, arguments)
	folder := history.workdir(written, j, k)
	words := [word | some word in regex.split(`\s+`, arguments); not startswith(word, "-")]
	some word in array.slice(words, 1, 50)
	some before in touched(written, j, word, folder)
	before < k
}

# The lines that copied something into that folder, or that folder with another. A variable may stand for any.
touched(written, j, word, folder) := {k | some k in copied[written][j][_]} if {
	contains(word, "$")
} else := object.get(into, path, set()) | {k |
	some outer in history.enclosing(path)
	some k in copied[written][j][outer]
} if {
	path := history.resolved(word, folder)
	into := object.get(object.get(filled, written, {}), j, {})
}

# Where COPY and ADD wrote; the root is where bases put theirs.
copied[written][j][path] contains k if {
	some written, j
	some k, step in history.own[written][j]
	step.instruction in {"COPY", "ADD"}
	path := history.target(step, history.workdir(written, j, k))
	path != ""
}

# The same for all folders above.
filled[written][j][folder] contains k if {
	some written, j
	some path, lines in copied[written][j]
	some folder in history.enclosing(path)
	some k in lines
}

bad[written][j]["build-secret"] contains k if {
	some written, j
	some k, step in history.own[written][j]
	count(secret_names(step)) > 0
}

# Names of arguments and variables that hold a secret, as far as names tell. Empty values hold none, and names of
# files, addresses and the like are no secrets.
secret_names(step) := [name |
	some name in sort({found[1] | some found in regex.find_all_string_submatch_n(
		`(?:^|\s)([A-Za-z_][A-Za-z0-9_]*)=["']?[^\s"']`,
		assigned(step),
		1000,
	)})
	regex.match(`(?i)(?:^|_)(?:token|secret|password|passwd|passphrase|apikey|api_key|private_key|access_key|secret_key|credentials?)(?:_|$)`, name)
	not regex.match(`(?i)_(?:file|path|dir|url|uri|host|name|user|id|ttl|type)$`, name)
]

# What stands before the command of a RUN: |2 A=b C=d /bin/sh -c …
assigned(step) := step.arguments if {
	step.instruction in {"ARG", "ENV"}
} else := split(regex.replace(step.createdBy, before_command, " "), step.arguments)[0] if {
	regex.match(before_command, step.createdBy)
}

before_command := `^(?:RUN\s+)?\|[0-9]+\s`
