package portcullis.policies.pss_privilege_escalation_test

import rego.v1

import data.portcullis.lib.podsecurity_fixtures_test as fixtures
import data.portcullis.policies.pss_privilege_escalation

bad_containers := array.concat(
	[[said, "securityContext.allowPrivilegeEscalation", "privilege-escalation"] |
		some said in [
			{},
			{"securityContext": null},
			fixtures.context({}),
			fixtures.context({"allowPrivilegeEscalation": null}),
			fixtures.context({"allowPrivilegeEscalation": true}),
			fixtures.context({"allowPrivilegeEscalation": "false"}),
			fixtures.context({"allowPrivilegeEscalation": 0}),
		]
	],
	[
		[fixtures.context("junk"), "securityContext.allowPrivilegeEscalation", "field-unreadable"],
		[fixtures.context([{"allowPrivilegeEscalation": false}]), "securityContext.allowPrivilegeEscalation", "field-unreadable"],
	],
)

good_containers := [fixtures.context({"allowPrivilegeEscalation": false})]

# The API has no such field for pods.
test_the_pod_does_not_answer_for_it if {
	count(pss_privilege_escalation.deny) == 1 with input as fixtures.pod(fixtures.context({"allowPrivilegeEscalation": false}))
}

test_bad_containers_are_refused if {
	every one in bad_containers {
		violations := pss_privilege_escalation.deny with input as fixtures.container(one[0])
		fixtures.shown(violations) == {["web", sprintf("spec.containers[0].%s", [one[1]]), one[2]]}
	}
}

test_containers_of_every_kind_are_judged if {
	every place in fixtures.container_places {
		violations := pss_privilege_escalation.deny with input as fixtures.in_restricted_place(place, bad_containers[0][0])
		fixtures.shown(violations) == {["web", sprintf("%s.%s", [place.path, bad_containers[0][1]]), bad_containers[0][2]]}
	}
}

test_good_containers_pass if {
	every said in good_containers {
		pss_privilege_escalation.deny == set() with input as fixtures.container(said)
	}
}

test_pods_for_windows_are_left_out if {
	pss_privilege_escalation.deny == set() with input as fixtures.pod({"os": {"name": "windows"}})
	every os in [{"name": "linux"}, {"name": "Windows"}, "windows", {}, null] {
		count(pss_privilege_escalation.deny) > 0 with input as fixtures.pod({"os": os})
	}
}

test_words if {
	fixtures.messages(pss_privilege_escalation.deny) == {"may gain privileges (allowPrivilegeEscalation is not false)"} with input as fixtures.pod({})
}

test_wrong_parameters_are_a_violation if {
	violations := pss_privilege_escalation.deny with input as fixtures.pod({}) with data.portcullis.parameters as {"pss-privilege-escalation": {"strict": true}}
	"parameter-invalid" in fixtures.reasons(violations)
}

test_no_pod_is_not_judged if {
	pss_privilege_escalation.deny == set() with input as {"workload": {"podSpec": null, "podMetadata": null}, "containers": [], "images": {}}
}
