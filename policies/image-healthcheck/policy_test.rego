package portcullis.policies.image_healthcheck_test

import rego.v1

import data.portcullis.lib.fixtures_test as fixtures
import data.portcullis.policies.image_healthcheck

with_check(check) := fixtures.platform("linux/amd64", {"config": {"healthcheck": check}})

judged(spec, checks) := fixtures.judged({"spec": spec}, {"platforms": [with_check(check) | some check in checks]})

check := ["CMD", "python", "-m", "app.health"]

probe := {"httpGet": {"path": "/health", "port": 8080}}

set_to(more) := {"image-healthcheck": more}

test_a_check_of_the_image_or_a_probe_is_enough if {
	every document in [
		judged({}, [check]),
		judged({}, [["CMD-SHELL", "true"], check]),
		judged({"livenessProbe": probe}, [[]]),
		judged({"readinessProbe": probe}, [[]]),
	] {
		image_healthcheck.deny == set() with input as document
	}
}

test_neither_is_told if {
	every document in array.concat(
		[judged(spec, [[]]) | some spec in [{}, null, {"livenessProbe": {}}, {"livenessProbe": null}, {"startupProbe": probe}, {"livenessProbe": 7}, {"readinessProbe": "x"}]],
		array.concat(
			[judged({}, [odd]) | some odd in [["NONE"], ["CMD"], null, [], "CMD true", ["NONE", "x"], [null, "x"]]],
			[judged({}, [check, []]), judged({}, []), fixtures.document([fixtures.container({})], {})],
		),
	) {
		image_healthcheck.deny == {{
			"container": "web",
			"image": fixtures.image,
			"msg": "has no HEALTHCHECK in its image and no livenessProbe or readinessProbe",
			"fix": "add HEALTHCHECK in its image or livenessProbe or readinessProbe",
			"details": {"reason": "healthcheck-missing"},
		}} with input as document
	}
}

test_only_what_is_accepted_counts if {
	count(image_healthcheck.deny) == 1 with input as judged({}, [check])
		with data.portcullis.parameters as set_to({"accept": ["probe"]})
	count(image_healthcheck.deny) == 1 with input as judged({"livenessProbe": probe}, [[]])
		with data.portcullis.parameters as set_to({"accept": ["image"]})
	image_healthcheck.deny == set() with input as judged({"livenessProbe": probe}, [[]])
		with data.portcullis.parameters as set_to({"accept": ["probe"]})
	violations := image_healthcheck.deny with input as judged({}, [[]])
		with data.portcullis.parameters as set_to({"accept": ["probe"]})
	{violation.msg | some violation in violations} == {"has no livenessProbe or readinessProbe"}
	{violation.fix | some violation in violations} == {"add livenessProbe or readinessProbe"}
}

test_only_containers_that_serve_are_told if {
	kinds := ["container", "init", "ephemeral", "volume", "other"]
	containers := [fixtures.container({"name": kind, "kind": kind}) | some kind in kinds]
	images := {fixtures.image: fixtures.facts({"platforms": [with_check([])]})}
	names := {violation.container | some violation in image_healthcheck.deny} with input as fixtures.document(containers, images)
	names == {"container", "other"}
}

test_one_container_does_not_pass_for_another if {
	containers := [fixtures.container({"name": "a", "spec": {"livenessProbe": probe}}), fixtures.container({"name": "b", "image": "b"})]
	names := {violation.container | some violation in image_healthcheck.deny} with input as fixtures.document(
		containers,
		{fixtures.image: fixtures.facts({"platforms": [with_check(check)]})},
	)
	names == {"b"}
}

test_images_can_be_exempt if {
	image_healthcheck.deny == set() with input as judged({}, [[]])
		with data.portcullis.parameters as set_to({"exempt": [{"images": ["registry.example/**"]}]})
	count(image_healthcheck.deny) == 1 with input as judged({}, [[]])
		with data.portcullis.parameters as set_to({"exempt": [{"images": ["other.example/**"]}]})
}

test_wrong_parameters_are_a_violation if {
	every one in [{"exempt": 7}, {"exempt": [{"image": "x"}]}, {"accept": ["probes"]}, {"accept": "probe"}, {"accept": []}, {"accept": ["image", "x"]}, {"x": 1}] {
		violations := image_healthcheck.deny with data.portcullis.parameters as set_to(one)
			with input as judged({"livenessProbe": probe}, [check])
		fixtures.reasons(violations) == {"parameter-invalid"}
	}
}
