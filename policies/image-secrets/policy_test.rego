package portcullis.policies.image_secrets_test

import rego.v1

import data.portcullis.lib.fixtures_test as fixtures
import data.portcullis.policies.image_secrets

one := fixtures.found("/srv/id_rsa", {"what": "private key", "rule": "rule"})

holding(findings) := fixtures.holding({"secrets": findings})

on_two(amd64, arm64) := fixtures.on_two({"secrets": amd64}, {"secrets": arm64})

on_base(layers, more) := fixtures.on_base("image-secrets", layers, more)

test_an_image_without_passes if {
	image_secrets.deny == set() with input as fixtures.holding({})
}

test_what_is_found_is_refused if {
	some violation in image_secrets.deny with input as holding([one])
	violation.msg == "holds a secret (private key): /srv/id_rsa (from layer 0)"
	violation.fix != ""
	violation.container == "web"
	violation.image == fixtures.image
	violation.details == {
		"reason": "secret-present",
		"findings": [{
			"path": "/srv/id_rsa",
			"what": "private key",
			"rule": "rule",
			"layerIndex": 0,
			"deleted": false,
		}],
		"total": 1,
	}
}

test_one_violation_for_many_findings if {
	many := [fixtures.found(sprintf("/x/%d", [n]), {"what": "x"}) | some n in numbers.range(1, 30)]
	violations := image_secrets.deny with input as holding(many)
	count(violations) == 1
	some violation in violations
	contains(violation.msg, "/x/1, /x/2, /x/3 and 27 more")
	count(violation.details.findings) == 20
	violation.details.total == 30
}

test_every_container_of_the_image_is_told if {
	platform := fixtures.looked_into("linux/amd64", {"contents": {"secrets": [one]}})
	image := fixtures.facts({"platforms": [platform]})
	names := {violation.container | some violation in image_secrets.deny} with input as fixtures.document(
		[
			fixtures.container({"name": "a"}),
			fixtures.container({"name": "b", "kind": "init"}),
			fixtures.container({"name": "c", "kind": "volume"}),
		],
		{fixtures.image: image},
	)
	names == {"a", "b", "c"}
}

test_the_platform_is_named_where_they_differ if {
	other := fixtures.found("/other", {"what": "other"})
	every lists in [[[], [one]], [[other], []], [[one], [other]]] {
		some violation in image_secrets.deny with input as on_two(lists[0], lists[1])
		violation.platform == ["linux/amd64", "linux/arm64"][count([1 | count(lists[0]) == 0])]
		violation.digest == fixtures.platform(violation.platform, {}).digest
	}
	violations := image_secrets.deny with input as on_two([one], [one])
	count(violations) == 1
	some violation in violations
	not violation.platform
}

test_a_base_excuses_only_where_the_operator_says_so if {
	count(image_secrets.deny) == 1 with data.portcullis.parameters as on_base(3, {})
		with input as holding([one])
	image_secrets.deny == set() with data.portcullis.parameters as on_base(1, {"allowInBase": true})
		with input as holding([one])
	own := object.union(one, {"layerIndex": 1})
	count(image_secrets.deny) == 1 with data.portcullis.parameters as on_base(1, {"allowInBase": true})
		with input as holding([own])
}

exempt(one_of_them) := {"image-secrets": {"exempt": [one_of_them]}}

test_exemptions if {
	every exemption in [
		{"images": ["registry.example/acme/**"]},
		{"paths": ["/srv/id_rsa"]},
		{"images": ["registry.example/**"], "paths": ["/*/**"], "rules": ["rule"]},
	] {
		image_secrets.deny == set() with data.portcullis.parameters as exempt(exemption)
			with input as holding([one])
	}
	every exemption in [
		{"images": ["registry.example/other/**"]},
		{"paths": ["/opt/**"]},
		{"images": ["registry.example/acme/**"], "paths": ["/opt/**"]},
		{"images": ["registry.example/acme/**"], "rules": ["other"]},
	] {
		count(image_secrets.deny) == 1 with data.portcullis.parameters as exempt(exemption)
			with input as holding([one])
	}
}

test_what_is_not_known_is_refused if {
	violations := image_secrets.deny with input as fixtures.unknown_contents("secrets")
	fixtures.reasons(violations) == {"contents-unknown"}
	count(violations) == count(fixtures.unknown_images("secrets"))
	every document in [{}, {"images": null}, {"images": []}] {
		unread := image_secrets.deny with input as object.union({"containers": [fixtures.container({})]}, document)
		fixtures.reasons(unread) == {"contents-unknown"}
	}
}

# Neither a base nor an exemption pardons what lacks the fields that they go by.
test_odd_findings_are_never_overlooked if {
	violations := image_secrets.deny with data.portcullis.parameters as fixtures.nearly_pardoned("image-secrets")
		with input as fixtures.odd_contents("secrets")
	count(violations) == count(fixtures.odd_findings)
}

test_one_platform_that_is_not_known_is_enough if {
	violations := image_secrets.deny with input as fixtures.on_two({}, {"status": "pending"})
	fixtures.reasons(violations) == {"contents-unknown"}
}

test_an_image_that_is_exempt_need_not_be_known if {
	image_secrets.deny == set() with data.portcullis.parameters as exempt({"images": ["registry.example/acme/*"]})
		with input as fixtures.inside({"contents": {"status": "pending"}})
}

test_wrong_parameters_are_a_violation if {
	every parameters in [
		{"allowInBase": "yes"},
		{"allowInbase": true},
		{"exempt": {}},
		{"exempt": ["/bin/sh"]},
		{"exempt": [{}]},
		{"exempt": [{"rules": ["rule"]}]},
		{"exempt": [{"paths": ["bin/sh"]}]},
		{"exempt": [{"images": ["web"]}]},
		{"exempt": [{"images": ["**"], "path": ["/opt/**"]}]},
	] {
		violations := image_secrets.deny with data.portcullis.parameters as {"image-secrets": parameters}
			with input as holding([one])
		fixtures.reasons(violations) == {"parameter-invalid", "secret-present"}
	}
}

test_a_deleted_one_is_refused_too if {
	some violation in image_secrets.deny with input as holding([object.union(one, {"deleted": true, "layerIndex": 2})])
	violation.msg == "holds a secret (private key): /srv/id_rsa, still in layer 2 although a later layer deletes it"
	violation.details.reason == "secret-deleted"
}

# The line of the history may be the secret.
test_one_in_the_history_is_told_without_it if {
	said := object.union(one, {
		"path": "",
		"what": "token in a build argument",
		"createdBy": "RUN |1 NPM_TOKEN=npm_abc /bin/sh -c npm ci",
	})
	some violation in image_secrets.deny with input as holding([said])
	violation.msg == "tells a secret in its history (token in a build argument)"
	violation.details.reason == "secret-in-history"
	not contains(json.marshal(violation), "npm_abc")
}

test_the_line_of_a_layer_is_never_shown if {
	said := object.union(one, {"createdBy": "RUN echo npm_abc > /srv/.npmrc"})
	some violation in image_secrets.deny with input as holding([said])
	not contains(json.marshal(violation), "npm_abc")
}

test_a_violation_for_each_kind if {
	violations := image_secrets.deny with input as holding([
		one,
		fixtures.found("/srv/key.pem", {"what": "private key", "rule": "rule"}),
		fixtures.found("/srv/old.pem", {"what": "private key", "rule": "rule", "deleted": true}),
		fixtures.found("/root/.npmrc", {"what": "npm token", "rule": "npm-token", "layerIndex": 1}),
	])
	{violation.msg | some violation in violations} == {
		"holds a secret (private key): /srv/id_rsa, /srv/key.pem (from layer 0)",
		"holds a secret (private key): /srv/old.pem, still in layer 0 although a later layer deletes it",
		"holds a secret (npm token): /root/.npmrc (from layer 1)",
	}
}

test_one_in_the_history_is_exempt_by_image_and_rule if {
	said := object.union(one, {"path": "", "rule": "build-argument"})
	image_secrets.deny == set() with input as holding([said])
		with data.portcullis.parameters as {"image-secrets": {"exempt": [
			{"images": ["registry.example/**"], "rules": ["build-argument"]},
		]}}
	count(image_secrets.deny) == 1 with input as holding([said])
		with data.portcullis.parameters as {"image-secrets": {"exempt": [{"paths": ["/*/**"]}]}}
}
