# METADATA
# title: Words for people
# description: Texts from images and reports may be of any length and content; these make them fit for one line.
package portcullis.lib.text

import rego.v1

default quoted(_) := "\"\""

# In quotation marks, control characters escaped, cut after 64 characters.
quoted(value) := sprintf("%q", [value]) if {
	is_string(value)
	count(value) <= 64
}

quoted(value) := sprintf("%q…", [substring(value, 0, 64)]) if {
	is_string(value)
	count(value) > 64
}

# The first of the texts, and how many more there are.
listed(texts, limit) := concat(", ", texts) if count(texts) <= limit

listed(texts, limit) := sprintf("%s and %d more", [
	concat(", ", array.slice(texts, 0, limit)),
	count(texts) - limit,
]) if {
	count(texts) > limit
}

counted(1, one, _) := sprintf("1 %s", [one])

counted(number, _, many) := sprintf("%d %s", [number, many]) if number != 1

default short(_, _) := ""

short(value, limit) := value if {
	is_string(value)
	count(value) <= limit
}

short(value, limit) := sprintf("%s…", [substring(value, 0, limit - 1)]) if {
	is_string(value)
	count(value) > limit
}

# A span of hours in the unit that people use for it.
span(hours) := counted(floor(hours), "hour", "hours") if hours < 48

span(hours) := sprintf("%d days", [floor(hours / 24)]) if hours >= 48
