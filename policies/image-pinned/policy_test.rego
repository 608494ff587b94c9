package portcullis.policies.image_pinned_test

import rego.v1

import data.portcullis.lib.fixtures_test as fixtures
import data.portcullis.policies.image_pinned

test_digest_passes if {
	image_pinned.deny == set() with input as fixtures.judged({"pinned": true}, {})
}

test_tag_is_reported if {
	some violation in image_pinned.deny with input as fixtures.judged({}, {})
	violation.msg == "is named by the tag \"1.4\", which may be moved to another image"
	violation.container == "web"
	violation.details.reason == "image-not-pinned"
}

test_every_kind_is_judged if {
	every kind in {"container", "init", "ephemeral", "volume"} {
		count(image_pinned.deny) == 1 with input as fixtures.judged({"kind": kind}, {})
	}
}

# What is absent or of a wrong type is not pinned; no fact of the image is needed to say so.
test_absent_and_odd_facts_are_reported if {
	odd := [
		fixtures.without(fixtures.container({}), ["pinned"]),
		fixtures.without(fixtures.container({}), ["pinned", "image"]),
		fixtures.container({"pinned": null}),
		fixtures.container({"pinned": "true"}),
		fixtures.container({"pinned": 1}),
	]
	every container in odd {
		some violation in image_pinned.deny with input as fixtures.document([container], {})
		violation.msg == "is not named by digest, so what runs may not be what was judged"
	}
}

test_a_tag_that_is_no_text_is_not_shown if {
	every odd in [null, 7, ["1.4"], true] {
		some violation in image_pinned.deny with input as fixtures.judged({}, {"tag": odd})
		violation.msg == "is not named by digest, so what runs may not be what was judged"
	}
}

test_wrong_parameters_are_a_violation if {
	violations := image_pinned.deny with data.portcullis.parameters as {"image-pinned": {"strict": true}}
		with input as fixtures.judged({"pinned": true}, {})
	fixtures.reasons(violations) == {"parameter-invalid"}
}
