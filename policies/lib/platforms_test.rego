package portcullis.lib.platforms_test

import rego.v1

import data.portcullis.lib.fixtures_test as fixtures
import data.portcullis.lib.history_fixtures_test as building
import data.portcullis.lib.platforms

both := building.two({}, {"contents": {"status": "pending"}})

test_platforms_of_an_image if {
	platforms.of[fixtures.image] == {0, 1} with input as both
	platforms.complete[fixtures.image] == {0} with input as both
}

test_what_is_lacking if {
	platforms.lacking(fixtures.image, platforms.complete) with input as both
	not platforms.lacking(fixtures.image, platforms.of) with input as both
	platforms.lacking(fixtures.image, {}) with input as both
	platforms.lacking("other", platforms.of) with input as both
	platforms.lacking(fixtures.image, platforms.of) with input as fixtures.judged({}, {"platforms": []})
}

test_the_first_to_blame_is_named_where_others_are_not if {
	platforms.place(fixtures.image, {1}).platform == "linux/arm64" with input as both
	platforms.place(fixtures.image, {1}).digest == fixtures.platform("linux/arm64", {}).digest with input as both
	platforms.place(fixtures.image, {0, 1}) == {} with input as both
	platforms.place(fixtures.image, set()) == {} with input as both
	platforms.place(fixtures.image, {0}) == {} with input as building.with_facts({})
}

test_lowest_layers if {
	two := [building.diff_id(0), building.diff_id(1)]
	every layers in [array.slice(two, 0, 1), two] {
		platforms.begins(fixtures.image, 0, layers) with input as building.with_facts({})
	}
	wrong := [
		[],
		null,
		"x",
		array.slice(two, 1, 2),
		array.concat(two, [building.diff_id(2)]),
		array.reverse(two),
		[null],
	]
	every layers in wrong {
		not platforms.begins(fixtures.image, 0, layers) with input as building.with_facts({})
	}
}

# A layer whose tar is not known keeps its place.
test_unknown_layers_are_nobodys if {
	second := {"diffId": building.diff_id(1)}
	every first in [{"diffId": null}, {}, null, 7] {
		every layers in [[building.diff_id(1)], [null, building.diff_id(1)]] {
			not platforms.begins(fixtures.image, 0, layers) with input as building.with_facts({"layerList": [first, second]})
		}
	}
}
