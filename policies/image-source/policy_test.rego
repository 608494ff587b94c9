package portcullis.policies.image_source_test

import rego.v1

import data.portcullis.lib.fixtures_test as fixtures
import data.portcullis.policies.image_source

from(registry, repository) := fixtures.judged({}, {"registry": registry, "repository": repository})

acme := {"image-source": {"allow": ["registry.example/acme/**", "docker.io/library/*"]}}

closed := {"image-source": {"allow": []}}

denying := {"image-source": {"deny": ["registry.example/acme/old/**"]}}

test_without_parameters_everything_passes if {
	image_source.deny == set() with input as from("anywhere.example", "x/y")
}

test_allowed_places_pass if {
	every place in [["registry.example", "acme/web"], ["docker.io", "library/nginx"]] {
		image_source.deny == set() with data.portcullis.parameters as acme
			with input as from(place[0], place[1])
	}
}

test_other_places_are_refused if {
	others := [
		["registry.example.evil.com", "acme/web"],
		["registry.example", "acme-evil/web"],
		["registry.example:5000", "acme/web"],
		["evil.example", "registry.example/acme/web"],
		["docker.io", "stranger/nginx"],
		["docker.io", "library/nginx/x"],
	]
	every place in others {
		some violation in image_source.deny with data.portcullis.parameters as acme
			with input as from(place[0], place[1])
		violation.details.reason == "image-not-allowed"
		startswith(violation.msg, sprintf("comes from %s/%s, which is not", place))
		contains(violation.fix, "registry.example/acme/**")
	}
}

test_denied_places_are_refused_even_where_all_is_allowed if {
	some violation in image_source.deny with data.portcullis.parameters as denying
		with input as from("registry.example", "acme/old/web")
	violation.msg == "comes from registry.example/acme/old/web, which the pattern registry.example/acme/old/** forbids"
	image_source.deny == set() with data.portcullis.parameters as denying
		with input as from("registry.example", "acme/new/web")
}

test_an_empty_list_allows_nothing if {
	some violation in image_source.deny with data.portcullis.parameters as closed
		with input as from("registry.example", "acme/web")
	contains(violation.fix, "no place is allowed")
}

test_every_kind_is_judged if {
	every kind in {"container", "init", "ephemeral", "volume"} {
		count(image_source.deny) == 1 with data.portcullis.parameters as closed
			with input as fixtures.judged({"kind": kind}, {})
	}
}

# Also without parameters: what is no reference comes from nowhere.
test_what_is_no_reference_is_refused if {
	odd := [
		{fixtures.image: fixtures.facts({"reference": null, "registry": null, "repository": null})},
		{fixtures.image: fixtures.facts({"reference": null})},
		{fixtures.image: fixtures.facts({"registry": 7})},
		{fixtures.image: fixtures.without(fixtures.facts({}), ["repository"])},
		{fixtures.image: fixtures.without(fixtures.facts({}), ["reference"])},
		{fixtures.image: {}},
		{fixtures.image: null},
		{},
	]
	every images in odd {
		violations := image_source.deny with input as fixtures.document([fixtures.container({})], images)
		fixtures.reasons(violations) == {"image-reference-invalid"}
	}
}

test_a_container_without_an_image_is_refused if {
	violations := image_source.deny with input as fixtures.document(
		[fixtures.without(fixtures.container({}), ["image"])],
		{fixtures.image: fixtures.facts({})},
	)
	fixtures.reasons(violations) == {"image-reference-invalid"}
}

test_wrong_parameters_are_a_violation if {
	wrong := [{"allow": "**"}, {"allow": ["acme/**"]}, {"deny": ["registry.example/web:1.4"]}, {"alow": ["**"]}]
	every parameters in wrong {
		violations := image_source.deny with data.portcullis.parameters as {"image-source": parameters}
			with input as from("registry.example", "acme/web")
		"parameter-invalid" in fixtures.reasons(violations)
	}
}

test_containers_are_judged_by_their_own_images if {
	documents := fixtures.beside(from("registry.example", "acme/old/x"), from("registry.example", "acme/web"))
	denied := image_source.deny with input as documents with data.portcullis.parameters as denying
	fixtures.told(denied) == {"web"}
	others := image_source.deny with input as fixtures.beside(from("a.example", "x"), from("registry.example", "acme/web"))
		with data.portcullis.parameters as acme
	fixtures.told(others) == {"web"}
}

# What is no reference is told as that alone.
test_what_is_no_reference_is_told_once if {
	violations := image_source.deny with input as fixtures.judged({}, {"reference": null})
		with data.portcullis.parameters as closed
	fixtures.reasons(violations) == {"image-reference-invalid"}
}
