# METADATA
# title: Exemptions of policies
# description: |
#   A policy's parameter "exempt" is a list of objects with "images" (patterns of registry/repository, see lib/globs),
#   "paths" (patterns of paths in the image, see lib/paths) and "rules". All that
#   one says must hold. A faulty one exempts nothing.
package portcullis.lib.exemptions

import rego.v1

import data.portcullis.lib.globs
import data.portcullis.lib.paths
import data.portcullis.lib.text

# Whether one of the exemptions holds for a rule at a path of an image; "" where there is no path or rule.
holds(exempt, written, path, rule) if {
	some one in exempt
	of_image(one, written)
	matches_path(object.get(one, "paths", ["/**"]), path)
	matches_rule(object.get(one, "rules", [rule]), rule)
}

# Whether one of them, free of faults, is of this image.
of_image(one, written) if {
	not faulty(one)
	matches_image(object.get(one, "images", ["**"]), place(written))
}

# Of a policy that looks for files.
fields := ["images", "paths", "rules"]

# Why exemptions are wrong, given the fields that the policy reads.
faults(exempt, fields) := {problem |
	some one in exempt
	some problem in (entry_faults(one) | {problem |
		some field, _ in one
		not field in fields
		problem := sprintf("an element of \"exempt\" has the field %s, not one of %s", [
			text.quoted(field),
			concat(", ", fields),
		])
	})
}

faulty(one) if count(entry_faults(one)) > 0

# A misspelt field must not widen what the others say.
faulty(one) if count(object.keys(one) - {"images", "paths", "rules"}) > 0

entry_faults(one) := (shapeless(one) | wrong_lists(one)) | wrong_patterns(one)

# What exempts all of every image is turned off by the policy's mode instead.
shapeless(one) := {"an element of \"exempt\" must say \"images\" or \"paths\"" |
	count({"images", "paths"} & object.keys(one)) == 0
}

wrong_lists(one) := {problem |
	some field, value in one
	not texts(value)
	problem := sprintf("%s in \"exempt\" must be a list of strings", [text.quoted(field)])
}

texts(value) if {
	is_array(value)
	count(value) > 0
	every element in value {
		is_string(element)
	}
}

wrong_patterns(one) := {problem |
	some pattern in one.images
	is_string(pattern)
	fault := globs.fault(pattern)
	problem := sprintf("%s in \"exempt\" is no pattern of images: %s", [text.quoted(pattern), fault])
} | {problem |
	some pattern in one.paths
	is_string(pattern)
	fault := paths.fault(pattern)
	problem := sprintf("%s in \"exempt\" is no pattern of paths: %s", [text.quoted(pattern), fault])
}

default place(_) := ""

place(written) := sprintf("%s/%s", [registry, repository]) if {
	registry := input.images[written].registry
	repository := input.images[written].repository
	is_string(registry)
	is_string(repository)
}

matches_image(patterns, found) if {
	some pattern in patterns
	globs.matches(pattern, found)
}

matches_path(patterns, _) if patterns == ["/**"]

matches_path(patterns, path) if {
	some pattern in patterns
	paths.matches(pattern, path)
}

matches_rule(rules, rule) if rule in rules
