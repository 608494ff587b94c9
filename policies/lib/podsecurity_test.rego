package portcullis.lib.podsecurity_test

import rego.v1

import data.portcullis.lib.podsecurity
import data.portcullis.lib.podsecurity_fixtures_test as fixtures

test_places if {
	podsecurity.places == {"pod", 0, 1} with input as fixtures.pod({"initContainers": [{"name": "first"}]})
	podsecurity.places == set() with input as {"workload": {"podSpec": null, "podMetadata": null}, "containers": []}
	podsecurity.places == set() with input as {}
}

test_image_volumes_are_no_places if {
	podsecurity.places == {"pod", 0} with input as fixtures.pod({"volumes": [
		{"name": "v", "image": {"reference": "registry.example/files"}},
		{"name": "w", "emptyDir": {}},
	]})
}

# The path, below this pod spec, and the value that is found.
values := [
	[{}, ["a"], null],
	[{"a": null}, ["a"], null],
	[{"a": null}, ["a", "b"], null],
	[{"a": {}}, ["a", "b"], null],
	[{"a": {"b": null}}, ["a", "b", "c"], null],
	[{"a": false}, ["a"], false],
	[{"a": [1]}, ["a"], [1]],
	[{"a": {"b": {"c": 7}}}, ["a", "b", "c"], 7],
	[{"a": {"b": {"c": 7}}}, ["a", "b"], {"c": 7}],
]

test_values if {
	every one in values {
		podsecurity.at(one[0], one[1]) == one[2]
		podsecurity.value("pod", one[1]) == one[2] with input as fixtures.pod(one[0])
		podsecurity.value(0, one[1]) == one[2] with input as fixtures.container(one[0])
		podsecurity.value("metadata", one[1]) == one[2] with input as fixtures.workload("Pod", one[0], {})
	}
}

# Nothing is found below what is no object, and that is not the same as nothing said.
test_what_is_no_object_cannot_be_read if {
	every junk in fixtures.not_objects {
		podsecurity.at(junk, ["a"]) == podsecurity.unreadable
		podsecurity.at({"a": junk}, ["a", "b"]) == podsecurity.unreadable
		podsecurity.at({"a": junk}, ["a", "b", "c"]) == podsecurity.unreadable
		podsecurity.at({"a": {"b": junk}}, ["a", "b", "c"]) == podsecurity.unreadable
		podsecurity.at({"a": junk}, ["a"]) == junk
	}
	podsecurity.at(null, ["a"]) == podsecurity.unreadable
}

# A container without a spec, and containers without a pod, were not understood.
test_absent_places_cannot_be_read if {
	every container in [{"name": "web"}, {"name": "web", "spec": null}, {"name": "web", "spec": 7}] {
		every workload in [{}, {"podSpec": null}, {"podSpec": "junk"}, {"podSpec": false}] {
			document := {"containers": [container], "workload": workload}
			podsecurity.value(0, ["a"]) == podsecurity.unreadable with input as document
			podsecurity.value("pod", ["a"]) == podsecurity.unreadable with input as document
			podsecurity.places == {"pod", 0} with input as document
		}
	}
	podsecurity.value("pod", ["a"]) == podsecurity.unreadable with input as {"workload": {"podSpec": 7}}
	podsecurity.value("metadata", ["a"]) == podsecurity.unreadable with input as {"workload": {"podMetadata": 7}}
}

test_of_no_pod_nothing_is_said if {
	podsecurity.value("pod", ["a"]) == null with input as {"containers": []}
	podsecurity.value("metadata", ["a"]) == null with input as {"workload": {"podMetadata": null}}
}

test_lists if {
	podsecurity.list("pod", ["a", "b"]) == [] with input as fixtures.pod({})
	podsecurity.list("pod", ["a", "b"]) == [] with input as fixtures.pod({"a": {"b": []}})
	podsecurity.list("pod", ["a", "b"]) == [
		{"path": ["a", "b", 0], "value": 7},
		{"path": ["a", "b", 1], "value": null},
	] with input as fixtures.pod({"a": {"b": [7, null]}})
	every junk in [false, 7, "junk", {}, {"0": 7}] {
		podsecurity.list("pod", ["a"]) == [{"path": ["a"], "value": podsecurity.unreadable}] with input as fixtures.pod({"a": junk})
	}
	podsecurity.list("pod", ["a", "b"]) == [{"path": ["a", "b"], "value": podsecurity.unreadable}] with input as fixtures.pod({"a": 7})
}

said := {"msg": "is bad", "fix": "mend it", "reason": "bad"}

test_violations_of_the_pod if {
	every kind, path in fixtures.pod_paths {
		podsecurity.violation("pod", ["volumes", 1, "hostPath"], 7, said) == {
			"field": sprintf("%s.volumes[1].hostPath", [path]),
			"msg": "the pod is bad",
			"fix": "mend it",
			"details": {"reason": "bad"},
		} with input as fixtures.workload(kind, {}, {"containers": [{"name": "web"}]})
	}
}

test_violations_of_containers if {
	every place in fixtures.container_places {
		some violation in {found |
			some i in podsecurity.places
			podsecurity.value(i, ["a"]) == 7
			found := podsecurity.violation(i, ["a"], 7, said)
		} with input as fixtures.in_place(place, {"a": 7})
		violation == {
			"container": "web",
			"image": "registry.example/acme/web:1.4",
			"field": sprintf("%s.a", [place.path]),
			"msg": "is bad",
			"fix": "mend it",
			"details": {"reason": "bad"},
		}
	}
}

test_metadata_stands_beside_the_spec if {
	expected := {
		"Pod": "metadata.annotations",
		"Deployment": "spec.template.metadata.annotations",
		"CronJob": "spec.jobTemplate.spec.template.metadata.annotations",
		"PodTemplate": "template.metadata.annotations",
	}
	every kind, field in expected {
		violation := podsecurity.violation("metadata", ["annotations"], 7, said) with input as fixtures.workload(kind, {}, {"containers": [{"name": "web"}]})
		violation.field == field
		violation.msg == "the pod is bad"
	}
}

test_without_containers_the_path_begins_at_the_pod if {
	violation := podsecurity.violation("pod", ["hostPID"], 7, said) with input as {"workload": {"podSpec": {}}}
	violation.field == "hostPID"
}

# What cannot be read is told so, whatever the policy would say.
test_violations_of_what_cannot_be_read if {
	podsecurity.violation("pod", ["a", "b"], podsecurity.unreadable, said) == {
		"field": "spec.a.b",
		"msg": "the pod has something at or above a.b that the Kubernetes API does not know, so it cannot be judged",
		"fix": "write a.b as the Kubernetes API describes it",
		"details": {"reason": "field-unreadable"},
	} with input as fixtures.pod({"a": 7})
}

test_windows if {
	podsecurity.windows with input as fixtures.pod({"os": {"name": "windows"}})
	every os in [null, {}, {"name": "linux"}, {"name": "Windows"}, {"name": null}, "windows", ["windows"]] {
		not podsecurity.windows with input as fixtures.pod({"os": os})
	}
	not podsecurity.windows with input as fixtures.pod({})
}

test_user_namespace if {
	podsecurity.user_namespace with input as fixtures.pod({"hostUsers": false})
	every said_of_it in [null, true, "false", 0, {}] {
		not podsecurity.user_namespace with input as fixtures.pod({"hostUsers": said_of_it})
	}
	not podsecurity.user_namespace with input as fixtures.pod({})
	not podsecurity.user_namespace with input as {}
}

test_profiles_that_confine if {
	every profile in [null, {"type": "RuntimeDefault"}, {"type": "Localhost", "localhostProfile": "web.json"}] {
		podsecurity.confined(profile)
	}
	every profile in array.concat(fixtures.not_objects, [{}, {"type": null}, {"type": "Unconfined"}, {"type": "runtimeDefault"}]) {
		not podsecurity.confined(profile)
	}
	not podsecurity.confined(podsecurity.unreadable)
}
