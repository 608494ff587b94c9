# METADATA
# title: Patterns of names that a report or a builder gives
# description: |
#   Addresses of builders and repositories, refs, licences. The whole text is compared: * is any characters but the
#   ones that part an address (/ ? # @), ** any characters at all, everything else is itself. Capital letters matter.
package portcullis.lib.patterns

import rego.v1

any(patterns, value) if {
	is_string(value)
	some pattern in patterns
	matches(pattern, value)
}

# OPA's regular expressions take linear time, and nothing of the pattern but letters, digits, "_" and "-" gets into
# one without being quoted.
matches(pattern, value) if {
	pattern != ""
	quoted := regex.replace(pattern, `([^A-Za-z0-9_*-])`, `\$1`)
	parts := [replace(part, "*", `[^/?#@]*`) | some part in split(quoted, "**")]
	regex.match(sprintf(`^(?s:%s)$`, [concat(".*", parts)]), value)
}

# Why the values of a parameter are no patterns.
faults(name, patterns) := {sprintf("the parameter %q holds an empty pattern", [name]) |
	some pattern in patterns
	trim_space(pattern) == ""
}
