# METADATA
# title: What policies from elsewhere are given, and what is made of their results
# description: |
#   `input` is the policy input here. Results that are not what the origin of the policy calls for are handed on, or
#   told as `undecided`, so that they fail their policy by name.
package portcullis.bridging

import rego.v1

# Gatekeeper's review. It puts the old object of a DELETE into the place of the object, too.
review := object.union(object.remove(input.request, ["object"]), {"object": input.request.oldObject}) if {
	input.request.operation == "DELETE"
} else := input.request

review_with_namespace := object.union(object.remove(review, ["namespaceObject", "_unstable"]), {
	"namespaceObject": namespace_object,
	"_unstable": {"namespace": namespace_object},
})

namespace_object := {
	"apiVersion": "v1",
	"kind": "Namespace",
	"metadata": {
		"name": input.namespace.name,
		"labels": object.get(input.namespace, "labels", {}),
		"annotations": object.get(input.namespace, "annotations", {}),
	},
} if {
	input.namespace.name != ""
} else := null

namespace := object.get(input, "namespace", {})

admission_review := {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": input.request}

# Of conftest's policies; there is none when something is deleted.
subject := input.request.object if is_object(input.request.object)

# An element of a template's `violation`.
violation(found) := {
	"msg": object.get(found, "msg", null),
	"details": details_of(object.get(found, "details", null)),
} if {
	is_object(found)
} else := {"undecided": sprintf("violation holds a value of the type %s, not an object with msg", [type_name(found)])}

details_of(details) := details if {
	is_object(details)
} else := {} if {
	is_null(details)
} else := {"details": details}

# An element of `deny`, `warn` or `violation` elsewhere. What an object holds beside msg is told as details.
message(found) := found if {
	is_string(found)
} else := {"msg": object.get(found, "msg", null), "details": object.remove(found, ["msg"])} if {
	is_object(found)
} else := {"undecided": sprintf("the result is of the type %s, neither text nor an object with msg", [type_name(found)])}
