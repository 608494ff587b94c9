# METADATA
# title: Patterns of paths in images
# description: |
#   A pattern is compared with an absolute path segment by segment: * in a segment is any characters of it, ** is any
#   number of segments, also none, everything else is itself, capital letters too. So /opt/tool/** is /opt/tool and all
#   below it, but not /opt/tool-evil.
package portcullis.lib.paths

import rego.v1

matches(pattern, path) if {
	is_string(path)
	path != ""
	not faulty(pattern)
	regex.match(expression(pattern), path)
}

# For absolute paths that are not empty. OPA's regular expressions take linear time, and whatever has a meaning in one is
# quoted. The root is a slash without a segment.
expression(pattern) := sprintf("^%s/?$", [concat("", [part |
	some i, segment in split(pattern, "/")
	i > 0
	part := segment_expression(segment)
])])

segment_expression("**") := "(?:/[^/]+)*"

segment_expression("*") := "/[^/]+"

segment_expression(segment) := sprintf("/%s", [concat("[^/]*", pieces)]) if {
	not segment in {"*", "**"}
	pieces := [piece | some plain in split(segment, "*"); piece := quoted(plain)]
}

quoted(plain) := regex.replace(plain, `([\\.+?()|\[\]{}^$])`, `\$1`)

faulty(pattern) if _ = fault(pattern)

# Why a text is no pattern. One that can match nothing is a mistake, since paths in images are absolute and clean.
fault(pattern) := "it must begin with /" if {
	not startswith(pattern, "/")
} else := "it has an empty segment" if {
	"" in split(substring(pattern, 1, -1), "/")
} else := "it has a segment . or .." if {
	some segment in split(pattern, "/")
	segment in {".", ".."}
} else := "** stands for whole segments" if {
	some segment in split(pattern, "/")
	contains(segment, "**")
	segment != "**"
}
