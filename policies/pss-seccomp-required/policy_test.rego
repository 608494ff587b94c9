package portcullis.policies.pss_seccomp_required_test

import rego.v1

import data.portcullis.lib.podsecurity_fixtures_test as fixtures
import data.portcullis.policies.pss_seccomp_required

profile(value) := fixtures.context({"seccompProfile": value})

bad_containers := array.concat(
	[[said, "securityContext.seccompProfile", "seccomp-missing"] |
		some said in [
			{},
			{"securityContext": null},
			fixtures.context({}),
			profile(null),
			profile({}),
			profile({"type": null}),
			profile({"type": "Unconfined"}),
			profile({"type": ["RuntimeDefault"]}),
			profile("RuntimeDefault"),
			profile(["RuntimeDefault"]),
			profile(false),
		]
	],
	[
		[fixtures.context("junk"), "securityContext.seccompProfile", "field-unreadable"],
		[fixtures.context([{"seccompProfile": {"type": "RuntimeDefault"}}]), "securityContext.seccompProfile", "field-unreadable"],
	],
)

good_containers := [profile({"type": "RuntimeDefault"}), profile({"type": "Localhost", "localhostProfile": "web.json"})]

good := {"type": "RuntimeDefault"}

off := {"type": "Unconfined"}

# What the pod says, what its container says, and who is told.
inherited := [
	[good, good, set()],
	[good, null, set()],
	[good, off, {"web"}],
	[good, {}, {"web"}],
	[good, "RuntimeDefault", {"web"}],
	[null, good, set()],
	[null, null, {"web"}],
	[off, good, {"the pod"}],
	[off, null, {"the pod"}],
	[off, off, {"the pod", "web"}],
	["RuntimeDefault", null, {"the pod"}],
]

test_the_pod_may_say_it_for_its_containers if {
	every one in inherited {
		violations := pss_seccomp_required.deny with input as fixtures.pod(object.union(
			profile(one[0]),
			{"containers": [object.union({"name": "web"}, profile(one[1]))]},
		))
		{found[0] | some found in fixtures.shown(violations)} == one[2]
	}
}

test_a_pod_that_cannot_be_read_is_refused if {
	violations := pss_seccomp_required.deny with input as fixtures.pod(fixtures.context("junk"))
	fixtures.shown(violations) == {["the pod", "spec.securityContext.seccompProfile", "field-unreadable"]}
}

test_what_a_pod_for_windows_says_is_left_out if {
	pss_seccomp_required.deny == set() with input as fixtures.pod(object.union({"os": {"name": "windows"}}, profile(off)))
}

test_bad_containers_are_refused if {
	every one in bad_containers {
		violations := pss_seccomp_required.deny with input as fixtures.container(one[0])
		fixtures.shown(violations) == {["web", sprintf("spec.containers[0].%s", [one[1]]), one[2]]}
	}
}

test_containers_of_every_kind_are_judged if {
	every place in fixtures.container_places {
		violations := pss_seccomp_required.deny with input as fixtures.in_restricted_place(place, bad_containers[0][0])
		fixtures.shown(violations) == {["web", sprintf("%s.%s", [place.path, bad_containers[0][1]]), bad_containers[0][2]]}
	}
}

test_good_containers_pass if {
	every said in good_containers {
		pss_seccomp_required.deny == set() with input as fixtures.container(said)
	}
}

test_pods_for_windows_are_left_out if {
	pss_seccomp_required.deny == set() with input as fixtures.pod({"os": {"name": "windows"}})
	every os in [{"name": "linux"}, {"name": "Windows"}, "windows", {}, null] {
		count(pss_seccomp_required.deny) > 0 with input as fixtures.pod({"os": os})
	}
}

test_words if {
	fixtures.messages(pss_seccomp_required.deny) == {"the pod turns seccomp off (seccompProfile)", "runs without a seccomp profile of its own or of its pod"} with input as fixtures.pod(object.union(profile(off), {"containers": [object.union({"name": "web"}, profile(off))]}))
}

test_wrong_parameters_are_a_violation if {
	violations := pss_seccomp_required.deny with input as fixtures.pod({}) with data.portcullis.parameters as {"pss-seccomp-required": {"strict": true}}
	"parameter-invalid" in fixtures.reasons(violations)
}

test_no_pod_is_not_judged if {
	pss_seccomp_required.deny == set() with input as {"workload": {"podSpec": null, "podMetadata": null}, "containers": [], "images": {}}
}
