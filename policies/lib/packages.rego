# METADATA
# title: Names of packages
# description: |
#   A wanted name is the name of a package, or a package URL (pkg:deb/debian/openssl) that a purl begins with: up to
#   the end of one of its parts, so that pkg:npm/left is not pkg:npm/left-pad. Capital letters do not matter.
package portcullis.lib.packages

import rego.v1

any(wanted, name, purl) if {
	some one in wanted
	is(one, name, purl)
}

is(wanted, name, _) if {
	is_string(name)
	lower(wanted) == lower(name)
}

is(wanted, _, purl) if {
	startswith(lower(wanted), "pkg:")
	is_string(purl)
	begins(lower(purl), lower(wanted))
}

begins(purl, wanted) if purl == wanted

begins(purl, wanted) if {
	some part in ["@", "/", "?", "#"]
	startswith(purl, sprintf("%s%s", [trim_suffix(wanted, part), part]))
}
