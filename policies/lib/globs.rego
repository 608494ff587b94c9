# METADATA
# title: Patterns of repositories
# description: |
#   A pattern is compared segment by segment with registry/repository: * is any one segment, ** any number of them,
#   also none, everything else is itself. So registry.example/acme/** is neither registry.example.evil.com nor
#   registry.example/acme-evil. The trust rules of the configuration read patterns in the same way.
package portcullis.lib.globs

import rego.v1

# OPA's regular expressions take linear time, and nothing of the pattern but letters, digits, "_" and "-" gets into
# one without being quoted.
matches(pattern, path) if {
	not faulty(pattern)
	parts := [part | some segment in split(lower(pattern), "/"); part := expression(segment)]
	regex.match(sprintf("^%s$", [concat("", parts)]), sprintf("%s/", [lower(path)]))
}

expression("*") := "[^/]+/"

expression("**") := "([^/]+/)*"

expression(segment) := sprintf("%s/", [regex.replace(segment, `([^a-z0-9_-])`, `\$1`)]) if {
	not segment in {"*", "**"}
}

faulty(pattern) if _ = fault(pattern)

# Why a text is no pattern. One that can match nothing is a mistake: in a deny list it would let pass.
fault(pattern) := "it has an empty segment" if {
	"" in split(pattern, "/")
} else := "* and ** stand for whole segments" if {
	some segment in split(pattern, "/")
	contains(segment, "*")
	not segment in {"*", "**"}
} else := "it must begin with a registry (docker.io for Docker Hub), * or **" if {
	not hostlike(split(pattern, "/")[0])
} else := "Docker Hub is docker.io here" if {
	lower(split(pattern, "/")[0]) in {"index.docker.io", "registry-1.docker.io"}
} else := "it names a registry and no repository" if {
	not contains(pattern, "/")
	pattern != "**"
} else := "it is registry/repository, without tag or digest" if {
	some i, segment in split(pattern, "/")
	i > 0
	not regex.match(`^(\*\*?|[A-Za-z0-9._-]+)$`, segment)
}

hostlike(segment) if segment in {"*", "**", "localhost"}

hostlike(segment) if {
	regex.match(`^[A-Za-z0-9.:\[\]-]+$`, segment)
	regex.match(`[.:]`, segment)
}
