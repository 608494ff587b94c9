# METADATA
# title: The match block of Gatekeeper's constraints
# description: |
#   Whether a constraint is about a request. Every part of the block must match, an absent one always does; the object
#   or, on an update, the old object must match. Source: pkg/mutation/match/match.go and pkg/target/matcher.go of
#   Gatekeeper. `namespace` is that of the request: its name and, where they are known, its labels.
package portcullis.matching

import rego.v1

matches(match, review, namespace) if {
	some subject in subjects(review)
	selected(match, subject, review, namespace)
	namespace_selected(match, subject, review, namespace)
}

# The labels of the namespace would tell, and are not known.
unknown(match, review, namespace) if {
	match.namespaceSelector
	not namespace.labels
	some subject in subjects(review)
	selected(match, subject, review, namespace)
	not is_namespace(subject, review)
	namespace_of(subject, review, namespace) != ""
}

subjects(review) := [subject |
	some key in ["object", "oldObject"]
	subject := object.get(review, key, null)
	is_object(subject)
]

# All parts but the namespaceSelector.
selected(match, subject, review, namespace) if {
	operation_matches(match, review)
	kind_matches(match, subject, review)
	scope_matches(match, subject, review, namespace)
	in_namespaces(match, subject, review, namespace)
	not in_excluded(match, subject, review, namespace)
	label_selected(match, subject)
	name_matches(match, subject)
	object.get(match, "source", "All") != "Generated" # what a webhook is sent is original
}

operation_matches(match, _) if not match.operations

operation_matches(match, review) if {
	some operation in match.operations
	operation in {"*", review.operation}
}

# -- kinds ---------------------------------------------------------------------

kind_matches(match, _, _) if not match.kinds

kind_matches(match, subject, review) if {
	some entry in match.kinds
	listed(object.get(entry, "kinds", null), kind_of(subject, review))
	listed(object.get(entry, "apiGroups", null), group_of(subject, review))
}

listed(null, _)

listed([], _)

listed(texts, text) if {
	some entry in texts
	entry in {"*", text}
}

kind_of(subject, review) := object.get(subject, "kind", object.get(review, ["kind", "kind"], ""))

group_of(subject, _) := group if {
	parts := split(subject.apiVersion, "/")
	group := concat("", array.slice(parts, 0, count(parts) - 1))
}

group_of(subject, review) := object.get(review, ["kind", "group"], "") if not subject.apiVersion

is_namespace(subject, review) if {
	kind_of(subject, review) == "Namespace"
	group_of(subject, review) == ""
}

# -- namespaces ----------------------------------------------------------------

# "" for what lies in none; a Namespace itself counts as lying in itself where names are compared.
namespace_of(subject, _, namespace) := name if {
	name := object.get(namespace, "name", "")
	name != ""
} else := metadata_text(subject, "namespace")

compared_namespace(subject, review, _) := metadata_text(subject, "name") if is_namespace(subject, review)

compared_namespace(subject, review, namespace) := namespace_of(subject, review, namespace) if {
	not is_namespace(subject, review)
}

scope_matches(match, _, _, _) if object.get(match, "scope", "*") == "*"

scope_matches(match, subject, review, namespace) if {
	match.scope == "Namespaced"
	not cluster_scoped(subject, review, namespace)
}

scope_matches(match, subject, review, namespace) if {
	match.scope == "Cluster"
	cluster_scoped(subject, review, namespace)
}

cluster_scoped(subject, review, _) if is_namespace(subject, review)

cluster_scoped(subject, review, namespace) if namespace_of(subject, review, namespace) == ""

in_namespaces(match, _, _, _) if not match.namespaces

in_namespaces(_, subject, review, namespace) if compared_namespace(subject, review, namespace) == ""

in_namespaces(match, subject, review, namespace) if {
	some glob in match.namespaces
	fits(glob, compared_namespace(subject, review, namespace))
}

in_excluded(match, subject, review, namespace) if {
	name := compared_namespace(subject, review, namespace)
	name != ""
	some glob in match.excludedNamespaces
	fits(glob, name)
}

namespace_selected(match, _, _, _) if not match.namespaceSelector

namespace_selected(match, subject, review, _) if {
	is_namespace(subject, review)
	chosen(match.namespaceSelector, labels_of(subject))
}

namespace_selected(_, subject, review, namespace) if {
	not is_namespace(subject, review)
	namespace_of(subject, review, namespace) == ""
}

namespace_selected(match, subject, review, namespace) if {
	not is_namespace(subject, review)
	namespace_of(subject, review, namespace) != ""
	chosen(match.namespaceSelector, namespace.labels)
}

# -- labels and names ----------------------------------------------------------

label_selected(match, _) if not match.labelSelector

label_selected(match, subject) if chosen(match.labelSelector, labels_of(subject))

chosen(selector, labels) if {
	every key, value in given(selector, "matchLabels", {}) {
		labels[key] == value
	}
	every expression in given(selector, "matchExpressions", []) {
		holds(expression, labels)
	}
}

holds(expression, labels) if {
	expression.operator == "In"
	labels[expression.key] in expression.values
}

# A label that is not there is in no list (k8s.io/apimachinery/pkg/labels).
holds(expression, labels) if {
	expression.operator == "NotIn"
	not one_of(expression, labels)
}

holds(expression, labels) if {
	expression.operator == "Exists"
	expression.key in object.keys(labels)
}

holds(expression, labels) if {
	expression.operator == "DoesNotExist"
	not expression.key in object.keys(labels)
}

one_of(expression, labels) if labels[expression.key] in expression.values

name_matches(match, _) if not match.name

name_matches(match, subject) if fits(match.name, metadata_text(subject, "name"))

# A name that is still to be made: only its beginning is known.
name_matches(match, subject) if {
	beginning := metadata_text(subject, "generateName")
	beginning != ""
	endswith(match.name, "*")
	fits(match.name, beginning)
}

# `*` at the beginning, at the end, or at both.
fits(glob, text) if {
	not startswith(glob, "*")
	not endswith(glob, "*")
	glob == text
}

fits(glob, text) if {
	not startswith(glob, "*")
	endswith(glob, "*")
	startswith(text, trim_suffix(glob, "*"))
}

fits(glob, text) if {
	startswith(glob, "*")
	not endswith(glob, "*")
	endswith(text, trim_prefix(glob, "*"))
}

fits(glob, text) if {
	startswith(glob, "*")
	endswith(glob, "*")
	contains(text, trim_suffix(trim_prefix(glob, "*"), "*"))
}

labels_of(subject) := given(given(subject, "metadata", {}), "labels", {})

metadata_text(subject, key) := given(given(subject, "metadata", {}), key, "")

# null is as good as absent.
given(holder, key, otherwise) := value if {
	value := object.get(holder, key, otherwise)
	value != null
} else := otherwise
