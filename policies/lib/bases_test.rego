package portcullis.lib.bases_test

import rego.v1

import data.portcullis.lib.bases
import data.portcullis.lib.fixtures_test as fixtures

with_layers(layers) := {"image-base": {"bases": {"debian": {"layers": layers}}}}

first := fixtures.diff_id(0)

second := fixtures.diff_id(1)

third := fixtures.diff_id(2)

# How many of the three layers of an image are those of a base.
counted(parameters) := n if {
	n := bases.layers(fixtures.image, 0) with data.portcullis.parameters as parameters
		with input as fixtures.inside({})
}

test_the_whole_list_must_lead if {
	counted(with_layers([first])) == 1
	counted(with_layers([first, second])) == 2
	counted(with_layers([first, second, third])) == 3
	every layers in [[second], [second, first], [first, third], [first, second, third, third]] {
		counted(with_layers(layers)) == 0
	}
}

test_the_longest_base_counts if {
	counted({"image-base": {"bases": {
		"a": {"layers": [first]},
		"b": {"layers": [first, second]},
		"c": {"layers": [third]},
	}}}) == 2
}

test_only_layers_account_for_layers if {
	counted({}) == 0
	counted({"image-base": {}}) == 0
	counted({"image-base": {"bases": {"a": {"os": {"id": "debian"}}, "b": {"labels": {"a": "b"}}}}}) == 0
	counted({"image-base": {"bases": {"a": {"os": {"id": "debian"}, "layers": [first]}}}}) == 1
}

test_what_the_operator_wrote_wrongly_accounts_for_nothing if {
	every parameters in [
		null,
		{"image-base": null},
		{"image-base": {"bases": [{"layers": [first]}]}},
		{"image-base": {"bases": "debian"}},
		{"image-base": {"bases": {"a": [first]}}},
		{"image-base": {"bases": {"a": {"layers": [first], "tag": "13"}}}},
		{"image-base": {"bases": {"a": {"layers": [first], "os": {}}}}},
		with_layers(first),
		with_layers([]),
		with_layers([first, null]),
	] {
		counted(parameters) == 0
	}
}

# A layer without a digest is one all the same: it must not make way for the next one.
test_odd_layers_are_those_of_no_base if {
	every layer_list in [
		null,
		[],
		{},
		[null, {"diffId": first}],
		[{}, {"diffId": first}],
		[{"diffId": null}, {"diffId": first}],
		[{"diffId": 7}],
		"junk",
	] {
		odd := fixtures.inside({"layerList": layer_list})
		n := bases.layers(fixtures.image, 0) with data.portcullis.parameters as with_layers([first]) with input as odd
		n == 0
	}
	n := bases.layers(fixtures.image, 0) with data.portcullis.parameters as with_layers([first]) with input as {}
	n == 0
}

test_good_bases if {
	every base in [
		{"os": {"id": "debian"}},
		{"os": {"id": "debian", "versionId": "13"}},
		{"labels": {"vendor": "acme"}},
		{"layers": [first, second]},
		{"os": {"id": "debian"}, "labels": {"vendor": "acme"}, "layers": [first]},
	] {
		bases.faults(base) == set()
	}
}

test_faulty_bases if {
	every base in [
		{},
		null,
		"debian",
		{"os": "debian"},
		{"os": {}},
		{"os": {"id": ""}},
		{"os": {"id": 7}},
		{"os": {"id": "debian", "versionId": 13}},
		{"os": {"id": "debian", "name": "Debian"}},
		{"labels": {}},
		{"labels": {"vendor": 7}},
		{"layers": []},
		{"layers": "sha256:11"},
		{"layers": ["sha256:11"]},
		{"layers": [7]},
		{"layer": [first]},
	] {
		count(bases.faults(base)) > 0
	}
}
