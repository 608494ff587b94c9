# METADATA
# title: Parameters of policies
# description: |
#   Reads what the operator set for a policy, checked against the shape that the policy declares: an object from
#   name to {"type", "default"}, where type is number (0 or more), boolean, strings, objects (a list of them), object
#   or choice (one of "choices"). A wrong value is a fault and never taken; the policy reports faults as violations.
#   {"type": "moved", "to"} is a name that another policy has taken over.
package portcullis.lib.parameters

import rego.v1

default all := {}

all := data.portcullis.parameters

default given(_) := {}

given(policy) := all[policy] if is_object(all[policy])

# The value of every parameter: what the operator set where that is valid, else the default.
settings(policy, shape) := {name: value |
	some name, wanted in shape
	value := chosen(given(policy), name, wanted)
}

# Violations for what the operator set wrongly.
faults(policy, shape) := {fault |
	some problem in ((unknown(given(policy), shape) | invalid(given(policy), shape)) | shapeless(policy))
	fault := violation(policy, problem)
}

violation(policy, problem) := {
	"msg": sprintf("the policy itself is set up wrongly: %s", [problem]),
	"fix": sprintf("whoever runs Portcullis must mend policies.parameters.%s in its configuration", [policy]),
	"details": {"reason": "parameter-invalid"},
}

chosen(set, name, wanted) := set[name] if {
	valid(wanted, set[name])
} else := wanted["default"]

unknown(set, shape) := {problem |
	some name, _ in set
	not shape[name]
	problem := sprintf("there is no parameter %q", [name])
}

invalid(set, shape) := {problem |
	some name, wanted in shape
	value := set[name]
	not valid(wanted, value)
	problem := misfit(name, wanted)
}

misfit(name, wanted) := sprintf("%q is a parameter of %s now", [name, wanted.to]) if {
	wanted.type == "moved"
} else := sprintf("the parameter %q must be %s", [name, words(wanted)])

shapeless(policy) := {problem |
	value := all[policy]
	not is_object(value)
	problem := "its parameters are no object"
}

valid(wanted, value) if {
	wanted.type == "number"
	is_number(value)
	value >= 0
}

valid(wanted, value) if {
	wanted.type == "boolean"
	is_boolean(value)
}

valid(wanted, value) if {
	wanted.type == "object"
	is_object(value)
}

valid(wanted, value) if {
	wanted.type == "objects"
	is_array(value)
	every element in value {
		is_object(element)
	}
}

valid(wanted, value) if {
	wanted.type == "choice"
	value in wanted.choices
}

valid(wanted, value) if {
	wanted.type == "strings"
	is_array(value)
	every element in value {
		is_string(element)
	}
}

words(wanted) := {
	"number": "a number of 0 or more",
	"boolean": "true or false",
	"object": "an object",
	"strings": "a list of strings",
	"objects": "a list of objects",
}[wanted.type]

words(wanted) := sprintf("one of %s", [concat(", ", wanted.choices)]) if wanted.type == "choice"
