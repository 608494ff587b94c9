# METADATA
# title: Exceptions for single vulnerabilities
# description: |
#   A policy's parameter "allow" is a list of objects with "id" (compared with the id and the aliases of a finding),
#   "expires" (RFC 3339), "reason", and perhaps "packages" (names, or purls without what follows the name) and "images"
#   (see lib/globs). All that one says must hold. A faulty one allows nothing, and nor does one that has ended.
package portcullis.lib.allowances

import rego.v1

import data.portcullis.lib.exemptions
import data.portcullis.lib.globs
import data.portcullis.lib.packages
import data.portcullis.lib.text
import data.portcullis.lib.times

# By id in capital letters, so that a report of ten thousand findings is looked up and not compared with each.
indexed(allow) := {id: [one | some one in allow; sound(one); upper(one.id) == id] |
	some given in allow
	sound(given)
	id := upper(given.id)
}

sound(one) if count(entry_faults(one)) == 0

# Those that speak of a finding in this image, ended or not.
about(index, written, finding) := [one |
	some id in names(finding)
	some one in index[id]
	matches_packages(one, finding)
	exemptions.matches_image(object.get(one, "images", ["**"]), exemptions.place(written))
]

holds(one, now) if times.hours_between(now, one.expires) > 0

covers(index, written, finding, now) if {
	count(index) > 0
	some one in about(index, written, finding)
	holds(one, now)
}

# Such as: CVE-2026-0004 until 2026-11-01T00:00:00Z
ended(index, written, finding, now) := {sprintf("%s until %s", [text.short(one.id, 40), one.expires]) |
	some one in about(index, written, finding)
	not holds(one, now)
}

names(finding) := {upper(name) |
	some name in array.concat([object.get(finding, "id", null)], listed(object.get(finding, "aliases", [])))
	is_string(name)
}

default listed(_) := []

listed(value) := value if is_array(value)

matches_packages(one, _) if not one.packages

matches_packages(one, finding) if {
	packages.any(one.packages, object.get(finding, "package", ""), object.get(finding, "purl", ""))
}

# -- faults ----------------------------------------------------------------------------------------------------------

faults(allow) := {problem |
	some one in allow
	some problem in entry_faults(one)
}

fields := ["id", "expires", "reason", "packages", "images"]

entry_faults(one) := union({unsaid(one), untimed(one), unknown(one), wrong_lists(one), wrong_images(one)})

unsaid(one) := {problem |
	some field in ["id", "expires", "reason"]
	not says(one, field)
	problem := sprintf("an element of \"allow\" must say %q", [field])
}

says(one, field) if {
	is_string(one[field])
	trim_space(one[field]) != ""
}

untimed(one) := {problem |
	says(one, "expires")
	not times.seconds(one.expires)
	problem := sprintf("\"expires\" in \"allow\" must be a time such as 2027-01-31T00:00:00Z, which %s is not", [text.quoted(one.expires)])
}

unknown(one) := {problem |
	some field, _ in one
	not field in fields
	problem := sprintf("an element of \"allow\" has the field %s, not one of %s", [
		text.quoted(field),
		concat(", ", fields),
	])
}

wrong_lists(one) := {problem |
	some field in ["packages", "images"]
	value := one[field]
	not exemptions.texts(value)
	problem := sprintf("%q in \"allow\" must be a list of strings", [field])
}

wrong_images(one) := {problem |
	some pattern in one.images
	is_string(pattern)
	fault := globs.fault(pattern)
	problem := sprintf("%s in \"allow\" is no pattern of images: %s", [text.quoted(pattern), fault])
}
