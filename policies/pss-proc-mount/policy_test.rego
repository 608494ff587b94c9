package portcullis.policies.pss_proc_mount_test

import rego.v1

import data.portcullis.lib.podsecurity_fixtures_test as fixtures
import data.portcullis.policies.pss_proc_mount

bad_containers := array.concat(
	[[fixtures.context({"procMount": value}), "securityContext.procMount", "proc-mount"] |
		some value in ["Unmasked", "default", "", 7, false, ["Default"], {}]
	],
	[
		[fixtures.context("junk"), "securityContext.procMount", "field-unreadable"],
		[fixtures.context(["Default"]), "securityContext.procMount", "field-unreadable"],
	],
)

good_containers := [{}, fixtures.context(null), fixtures.context({"procMount": null}), fixtures.context({"procMount": "Default"})]

relaxed := [{"containers": [{"name": "web", "securityContext": {"procMount": "Unmasked"}}]}]

test_bad_containers_are_refused if {
	every one in bad_containers {
		violations := pss_proc_mount.deny with input as fixtures.container(one[0])
		fixtures.shown(violations) == {["web", sprintf("spec.containers[0].%s", [one[1]]), one[2]]}
	}
}

test_containers_of_every_kind_are_judged if {
	every place in fixtures.container_places {
		violations := pss_proc_mount.deny with input as fixtures.in_place(place, bad_containers[0][0])
		fixtures.shown(violations) == {["web", sprintf("%s.%s", [place.path, bad_containers[0][1]]), bad_containers[0][2]]}
	}
}

test_good_containers_pass if {
	every said in good_containers {
		pss_proc_mount.deny == set() with input as fixtures.container(said)
	}
}

accepting := {"pss-proc-mount": {"acceptUserNamespaces": true}}

# The pod asks for a user namespace in so many words, and the operator takes its word.
test_user_namespaces if {
	expected := [[false, accepting, 0], [true, accepting, 1], [null, accepting, 1], ["false", accepting, 1], [false, {}, 1]]
	every one in expected {
		every said in relaxed {
			count(pss_proc_mount.deny) == one[2] with input as fixtures.pod(object.union(said, {"hostUsers": one[0]}))
				with data.portcullis.parameters as one[1]
		}
	}
}

test_user_namespaces_excuse_nothing_that_cannot_be_read if {
	violations := pss_proc_mount.deny with data.portcullis.parameters as accepting
		with input as fixtures.pod({"hostUsers": false, "containers": [{"name": "web", "securityContext": "junk"}]})
	fixtures.reasons(violations) == {"field-unreadable"}
}

test_a_parameter_of_a_wrong_type_accepts_nothing if {
	violations := pss_proc_mount.deny with data.portcullis.parameters as {"pss-proc-mount": {"acceptUserNamespaces": "true"}}
		with input as fixtures.pod(object.union(relaxed[0], {"hostUsers": false}))
	"parameter-invalid" in fixtures.reasons(violations)
	count(violations) == 2
}

test_words if {
	fixtures.messages(pss_proc_mount.deny) == {"sees all of /proc (procMount)"} with input as fixtures.container(fixtures.context({"procMount": "Unmasked"}))
}

test_wrong_parameters_are_a_violation if {
	violations := pss_proc_mount.deny with input as fixtures.pod({}) with data.portcullis.parameters as {"pss-proc-mount": {"strict": true}}
	"parameter-invalid" in fixtures.reasons(violations)
}

test_no_pod_is_not_judged if {
	pss_proc_mount.deny == set() with input as {"workload": {"podSpec": null, "podMetadata": null}, "containers": [], "images": {}}
}
