package portcullis.policies.pss_privileged_test

import rego.v1

import data.portcullis.lib.podsecurity_fixtures_test as fixtures
import data.portcullis.policies.pss_privileged

bad_containers := [
	[fixtures.context({"privileged": true}), "securityContext.privileged", "privileged"],
	[fixtures.context({"privileged": "false"}), "securityContext.privileged", "privileged"],
	[fixtures.context({"privileged": 0}), "securityContext.privileged", "privileged"],
	[fixtures.context("junk"), "securityContext.privileged", "field-unreadable"],
	[fixtures.context([{"privileged": false}]), "securityContext.privileged", "field-unreadable"],
]

good_containers := [{}, {"securityContext": null}, fixtures.context({}), fixtures.context({"privileged": false}), fixtures.context({"privileged": null})]

# The API has no such field for pods.
test_the_pod_is_not_asked if {
	pss_privileged.deny == set() with input as fixtures.pod(fixtures.context({"privileged": true}))
}

test_bad_containers_are_refused if {
	every one in bad_containers {
		violations := pss_privileged.deny with input as fixtures.container(one[0])
		fixtures.shown(violations) == {["web", sprintf("spec.containers[0].%s", [one[1]]), one[2]]}
	}
}

test_containers_of_every_kind_are_judged if {
	every place in fixtures.container_places {
		violations := pss_privileged.deny with input as fixtures.in_place(place, bad_containers[0][0])
		fixtures.shown(violations) == {["web", sprintf("%s.%s", [place.path, bad_containers[0][1]]), bad_containers[0][2]]}
	}
}

test_good_containers_pass if {
	every said in good_containers {
		pss_privileged.deny == set() with input as fixtures.container(said)
	}
}

test_words if {
	fixtures.messages(pss_privileged.deny) == {"is privileged, which is root on the node"} with input as fixtures.container(fixtures.context({"privileged": true}))
}

test_wrong_parameters_are_a_violation if {
	violations := pss_privileged.deny with input as fixtures.pod({}) with data.portcullis.parameters as {"pss-privileged": {"strict": true}}
	"parameter-invalid" in fixtures.reasons(violations)
}

test_no_pod_is_not_judged if {
	pss_privileged.deny == set() with input as {"workload": {"podSpec": null, "podMetadata": null}, "containers": [], "images": {}}
}
