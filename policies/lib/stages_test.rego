package portcullis.lib.stages_test

import rego.v1

import data.portcullis.lib.fixtures_test as fixtures
import data.portcullis.lib.history_fixtures_test as building
import data.portcullis.lib.stages

slim := ["ADD rootfs /", "CMD [\"bash\"]", "ENV A=b", "RUN make python", "CMD [\"python3\"]"]

own := [step.instruction | some step in stages.own[fixtures.image][0]]

lowest := stages.lowest(fixtures.image, 0)

test_what_stands_before_a_cmd_that_layers_follow_is_the_bases if {
	own == ["WORKDIR", "COPY", "CMD"] with input as building.built(array.concat(slim, ["WORKDIR /app", "COPY web /app", "CMD [\"web\"]"]))
	own == ["ENV", "RUN", "CMD"] with input as building.built(slim)
	own == ["ADD", "COPY", "CMD"] with input as building.built(["ADD rootfs /", "COPY web /app", "CMD [\"web\"]"])
}

test_layers_of_an_allowed_base_are_the_bases_too if {
	parameters := {"image-base": {"bases": {"x": {"layers": [building.diff_id(0)]}}}}
	own == ["COPY", "CMD"] with input as building.built(["ADD rootfs /", "COPY web /app", "CMD [\"web\"]"])
		with data.portcullis.parameters as parameters
}

test_the_lowest_layer if {
	lowest == 2 with input as building.built(array.concat(slim, ["USER 1", "COPY web /app"]))
	lowest == 1 with input as building.built(slim)
	lowest == 0 with input as building.built(["COPY web /"])
	lowest == 0 with input as building.with_facts({"config": {"history": null}})
}

# Lines that make no layer follow the base's CMD.
test_without_layers_of_its_own_an_image_has_no_findings_of_its_own if {
	parameters := {"image-base": {"bases": {"x": {"layers": [building.diff_id(0)]}}}}
	lowest == 1 with input as building.built(["ADD rootfs /", "USER 1"]) with data.portcullis.parameters as parameters
}

test_of_base if {
	document := building.built(array.concat(slim, ["COPY web /app"]))
	[index | some index in [0, 1, 2, -1, null, "0"]; stages.of_base(fixtures.image, 0, index)] == [0, 1] with input as document
}

unplaced := [object.union(step, {"layerIndex": null}) | some step in building.steps(slim)]

test_where_lines_do_not_fit_the_layers_every_layer_counts if {
	document := building.with_facts({"config": {"history": unplaced}})
	lowest == 0 with input as document
	count(own) == 5 with input as document
}
