package portcullis.lib.parameters_test

import rego.v1

import data.portcullis.lib.parameters

shape := {
	"days": {"type": "number", "default": 7},
	"strict": {"type": "boolean", "default": false},
	"names": {"type": "strings", "default": []},
	"max": {"type": "object", "default": {}},
	"exempt": {"type": "objects", "default": []},
	"level": {"type": "choice", "choices": ["low", "high"], "default": "low"},
}

defaults := {"days": 7, "strict": false, "names": [], "max": {}, "exempt": [], "level": "low"}

good := {"days": 0, "strict": true, "names": ["a"], "max": {"a": 1}, "exempt": [{}], "level": "high"}

bad := {
	{"days": "7"},
	{"days": -1},
	{"days": null},
	{"strict": "true"},
	{"names": "a"},
	{"names": [1]},
	{"max": []},
	{"exempt": {}},
	{"exempt": ["a"]},
	{"level": "medium"},
	{"levle": "high"},
}

test_without_parameters_the_defaults_hold if {
	parameters.settings("p", shape) == defaults
	parameters.faults("p", shape) == set()
}

test_of_another_policy if {
	parameters.settings("p", shape) == defaults with data.portcullis.parameters as {"q": good}
}

test_good_values_are_taken if {
	parameters.settings("p", shape) == good with data.portcullis.parameters as {"p": good}
	parameters.faults("p", shape) == set() with data.portcullis.parameters as {"p": good}
}

test_bad_values_are_faults_and_never_taken if {
	every values in bad {
		parameters.settings("p", shape) == defaults with data.portcullis.parameters as {"p": values}
		count(parameters.faults("p", shape)) == 1 with data.portcullis.parameters as {"p": values}
	}
}

test_a_parameter_that_another_policy_has_now if {
	moving := object.union(shape, {"age": {"type": "moved", "to": "q"}})
	parameters.settings("p", moving) == defaults
	parameters.faults("p", moving) == set()
	parameters.settings("p", moving) == defaults with data.portcullis.parameters as {"p": {"age": 1}}
	some fault in parameters.faults("p", moving) with data.portcullis.parameters as {"p": {"age": 1}}
	fault.msg == "the policy itself is set up wrongly: \"age\" is a parameter of q now"
}

test_parameters_that_are_no_object if {
	parameters.settings("p", shape) == defaults with data.portcullis.parameters as {"p": [1]}
	some fault in parameters.faults("p", shape) with data.portcullis.parameters as {"p": [1]}
	fault.details.reason == "parameter-invalid"
	contains(fault.fix, "policies.parameters.p")
}

test_parameters_that_are_false if {
	count(parameters.faults("p", shape)) == 1 with data.portcullis.parameters as {"p": false}
}
