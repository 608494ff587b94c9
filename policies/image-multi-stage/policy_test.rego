package portcullis.policies.image_multi_stage_test

import rego.v1

import data.portcullis.lib.fixtures_test as fixtures
import data.portcullis.lib.history_fixtures_test as building
import data.portcullis.policies.image_multi_stage

base := ["ADD rootfs /", "RUN apt-get install -y gcc && pip install wheel", "CMD [\"python3\"]"]

built(lines) := building.built(array.concat(base, lines))

tool(more) := object.union(fixtures.found("/usr/bin/gcc", {"what": "gcc", "rule": "compiler", "layerIndex": 2}), more)

platform(tools) := building.platform("linux/amd64", array.concat(base, ["COPY /venv /venv"]), {"contents": {"buildTools": tools}})

holding(tools) := building.judged([platform(tools)])

set_to(more) := {"image-multi-stage": more}

reasons(document) := fixtures.reasons(violations) if {
	violations := image_multi_stage.deny with input as document
}

test_what_only_copies_passes if {
	reasons(built(["WORKDIR /app", "COPY /venv /venv", "COPY . .", "RUN useradd app", "CMD [\"web\"]"])) == set()
}

test_lines_that_install if {
	every line in [
		"RUN pip install -r requirements.txt",
		"RUN python3 -m pip wheel .",
		"RUN uv sync --frozen",
		"RUN uv pip install .",
		"RUN poetry install --no-root",
		"RUN pipenv sync",
		"RUN pdm install",
	] {
		reasons(built([line])) == {"final-stage-installs"}
	}
}

test_lines_that_install_a_compiler if {
	every line in [
		"RUN apt-get update && apt-get install -y gcc",
		"RUN apk add --no-cache build-base",
		"RUN apt-get install -y python3-dev && make && apt-get purge -y python3-dev",
		"RUN dnf install -y gcc",
		"RUN yum install -y make",
		"RUN microdnf install -y gcc",
		"RUN zypper in -y gcc",
	] {
		reasons(built([line])) == {"final-stage-compiler"}
	}
}

test_other_lines_pass if {
	every line in [
		"RUN pip install --no-index --find-links /wheels app",
		"RUN pip cache purge",
		"RUN apt-get install -y libpq5",
		"RUN apk add --no-cache gcompat",
		"RUN uv run app",
		"COPY pip install /x",
		"ENV A=b pip install x",
	] {
		reasons(built([line, "COPY web /app"])) == set()
	}
}

test_the_words if {
	image_multi_stage.deny == {{
		"container": "web",
		"image": fixtures.image,
		"msg": "builds its dependencies in its final stage: \"RUN pip install a\"",
		"fix": "do that in a stage of its own, and COPY --from it what runs",
		"details": {"reason": "final-stage-installs", "lines": ["RUN pip install a", "RUN pip install b"]},
	}} with input as built(["RUN pip install a", "RUN pip install b"])
	violations := image_multi_stage.deny with input as holding([tool({})])
	violations == {{
		"container": "web",
		"image": fixtures.image,
		"msg": "brings build tools in its final stage: /usr/bin/gcc (from layer 2)",
		"fix": "install them in a stage of its own, and COPY --from it what runs",
		"details": {
			"reason": "final-stage-tools",
			"findings": [{"path": "/usr/bin/gcc", "what": "gcc", "rule": "compiler", "layerIndex": 2, "deleted": false}],
			"total": 1,
		},
	}}
}

test_tools_of_the_base_and_of_environments_are_left_out if {
	every more in [{"layerIndex": 0}, {"layerIndex": 1}, {"rule": "language-package-manager"}, {"rule": "python-build"}, {"rule": "python-build-command"}] {
		reasons(holding([tool(more)])) == set()
	}
	every more in [{"layerIndex": null}, {"rule": null}, {"rule": "version-control"}] {
		reasons(holding([tool(more)])) == {"final-stage-tools"}
	}
}

test_what_is_not_known_is_told if {
	every document in building.silent {
		reasons(document) == {"contents-unknown", "history-unknown"}
	}
	every unknown in building.unknown {
		reasons(building.with_contents(object.union(unknown, {"buildTools": [tool({})]}))) == {"contents-unknown"}
	}
	reasons(building.with_facts({"config": {"history": null}})) == {"history-unknown"}
}

test_unknown_histories_pass_where_they_are_accepted if {
	violations := image_multi_stage.deny with input as building.with_facts({"config": {"history": null}})
		with data.portcullis.parameters as set_to({"acceptUnknown": true})
	violations == set()
}

test_the_platform_to_blame_is_named if {
	good := platform([])
	bad := building.platform("linux/arm64", array.concat(base, ["RUN pip install x"]), {})
	{violation.platform | some violation in image_multi_stage.deny} == {"linux/arm64"} with input as building.judged([good, bad])
	{violation.platform | some violation in image_multi_stage.deny} == {"linux/arm64"} with input as building.judged([
		good,
		object.union(platform([tool({})]), {"platform": "linux/arm64"}),
	])
}

test_containers_are_judged_by_their_own_images if {
	containers := [fixtures.container({"name": "good"}), fixtures.container({"name": "bad", "image": "bad"})]
	every bad in [
		fixtures.facts({"platforms": [platform([tool({})])]}),
		fixtures.facts({"platforms": [building.platform("linux/amd64", ["RUN pip install x"], {})]}),
		fixtures.facts({"platforms": [building.platform("linux/amd64", [], {})]}),
	] {
		images := {fixtures.image: fixtures.facts({"platforms": [platform([])]}), "bad": bad}
		names := {violation.container | some violation in image_multi_stage.deny} with input as fixtures.document(containers, images)
		names == {"bad"}
	}
}

test_exemptions if {
	every document in [holding([tool({})]), built(["RUN pip install x"]), building.with_facts({"config": {"history": null}})] {
		image_multi_stage.deny == set() with input as document
			with data.portcullis.parameters as set_to({"exempt": [{"images": ["registry.example/**"]}]})
		count(image_multi_stage.deny) == 1 with input as document
			with data.portcullis.parameters as set_to({"exempt": [{"images": ["other.example/**"]}]})
	}
	image_multi_stage.deny == set() with input as holding([tool({})])
		with data.portcullis.parameters as set_to({"exempt": [{"paths": ["/usr/bin/gcc"]}]})
}

test_wrong_parameters_are_a_violation if {
	every more in [{"exempt": 7}, {"exempt": [{"image": "x"}]}, {"x": 1}, {"acceptUnknown": 1}] {
		violations := image_multi_stage.deny with data.portcullis.parameters as set_to(more)
			with input as holding([])
		fixtures.reasons(violations) == {"parameter-invalid"}
	}
}
