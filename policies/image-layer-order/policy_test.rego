package portcullis.policies.image_layer_order_test

import rego.v1

import data.portcullis.lib.fixtures_test as fixtures
import data.portcullis.lib.history_fixtures_test as building
import data.portcullis.policies.image_layer_order

base := ["ADD rootfs /", "CMD [\"python3\"]", "WORKDIR /app"]

of_python(name, index) := {"manager": "python", "name": name, "version": "1", "architecture": "", "layerIndex": index}

platform(lines, packages) := building.platform(
	"linux/amd64",
	array.concat(base, lines),
	{"contents": {"packages": array.concat([of_python("pip", 0), of_python("wheel", 0)], packages)}},
)

# Layers of the final stage count from 1; each brings that many packages.
judged(lines, counts) := building.judged([platform(lines, packages(counts))])

packages(counts) := [of_python(sprintf("p%d-%d", [k, n]), k + 1) |
	some k, number in counts
	some n in numbers.range(1, 9)
	n <= number
]

set_to(more) := {"image-layer-order": more}

reasons(document) := fixtures.reasons(violations) if {
	violations := image_layer_order.deny with input as document
}

test_dependencies_below_the_code_pass if {
	every lines in [
		["COPY /venv /venv", "COPY . ."],
		["RUN pip install -r requirements.txt", "COPY web /app/web"],
		["COPY /usr/local/lib/python3.13/site-packages /usr/local/lib/python3.13/site-packages", "COPY --chown=1 . /app"],
		["COPY /opt/venv /opt/venv", "ADD src /srv"],
	] {
		reasons(judged(lines, [5, 0])) == set()
	}
}

# The package of the application itself is in the layer of its code.
test_one_package_in_the_layer_of_the_code_is_the_application if {
	reasons(judged(["COPY /venv /venv", "COPY /app /app"], [5, 1])) == set()
	reasons(judged(["COPY /venv /venv", "COPY /app /app"], [5, 2])) == {"layer-mixed"}
}

test_code_below_the_dependencies if {
	every line in ["COPY . .", "ADD src /app/src", "COPY dir:0123 in /app", "COPY main.py /app/", "COPY [\"src\", \"/srv\"]", "RUN git clone https://x /app"] {
		reasons(judged([line, "RUN pip install x"], [0, 5])) == {"layer-order"}
	}
}

test_code_with_the_dependencies if {
	every line in ["COPY /app /app", "RUN git clone https://x && pip install ./x"] {
		reasons(judged([line], [5])) == {"layer-mixed"}
	}
}

test_what_is_no_code_may_stand_anywhere if {
	every line in [
		"COPY requirements.txt .",
		"COPY pyproject.toml uv.lock README.md ./",
		"COPY file:0123 in /app/",
		"COPY entrypoint.sh /usr/local/bin/",
		"COPY app.conf /etc/app/",
		"COPY /wheels /wheels",
		"RUN git fetch",
		"RUN clone x",
		"RUN hg clone x /app",
		"LABEL a=b; git clone x",
		"COPY --chown=1 requirements.txt .",
		"ENV A=COPY",
		"LABEL a=b",
	] {
		reasons(judged([line, "RUN pip install x"], [0, 5])) == set()
	}
}

# The first WORKDIR is that of a folder for programs, the second that of the application.
test_the_folder_is_the_last_one_named if {
	expected := {
		"layer-order": [["WORKDIR /etc", "WORKDIR /srv", "COPY a b"], ["COPY a b", "WORKDIR /etc"]],
		"": [["WORKDIR /etc", "COPY a b"], ["WORKDIR /etc", "ENV A=b", "COPY a b"]],
	}
	every reason, cases in expected {
		every lines in cases {
			found := reasons(building.judged([platform(array.concat(lines, ["RUN pip install x"]), packages([0, 5]))]))
			found == {reason} - {""}
		}
	}
}

test_a_path_without_a_folder_lies_at_the_root if {
	document := building.judged([building.platform(
		"linux/amd64",
		["COPY etc etc", "RUN pip install x"],
		{"contents": {"packages": [of_python("a", 1)]}},
	)])
	reasons(document) == set()
	reasons(building.judged([building.platform(
		"linux/amd64",
		["COPY . .", "RUN pip install x"],
		{"contents": {"packages": [of_python("a", 1)]}},
	)])) == {"layer-order"}
}

test_only_packages_of_python_above_the_base_count if {
	of_debian := object.union(of_python("x", 2), {"manager": "dpkg"})
	reasons(building.judged([platform(["COPY . .", "RUN apt-get install x"], [of_debian])])) == set()
	reasons(building.judged([platform(["COPY . ."], [])])) == set()
}

# Each reason is told with the platform that it holds on, though that is not the first one to blame.
test_platforms_with_different_faults if {
	on_two := building.judged([
		platform(["COPY /app /app"], packages([5])),
		object.union(
			platform(["COPY . .", "RUN pip install x"], packages([0, 5])),
			{"platform": "linux/arm64"},
		),
	])
	violations := image_layer_order.deny with input as on_two
	{[violation.details.reason, violation.platform] | some violation in violations} == {
		["layer-mixed", "linux/amd64"],
		["layer-order", "linux/arm64"],
	}
}

test_the_words if {
	image_layer_order.deny == {{
		"container": "web",
		"image": fixtures.image,
		"msg": "brings its code before its dependencies, so that every change of code brings both anew: \"COPY . .\"",
		"fix": "copy the code after the line that installs or copies the dependencies",
		"details": {"reason": "layer-order", "line": "\"COPY . .\""},
	}} with input as judged(["COPY . .", "RUN pip install x"], [0, 5])
	image_layer_order.deny == {{
		"container": "web",
		"image": fixtures.image,
		"msg": "brings its dependencies and its code in one layer: \"COPY /app /app\"",
		"fix": "copy or install the dependencies in a line of their own, before that of the code",
		"details": {"reason": "layer-mixed", "line": "\"COPY /app /app\""},
	}} with input as judged(["COPY /app /app"], [5])
}

test_what_is_not_known_is_told if {
	every document in building.silent {
		reasons(document) == {"contents-unknown", "history-unknown"}
	}
	every unknown in building.unknown {
		reasons(building.with_contents(object.union(unknown, {"packages": [of_python("a", 1), of_python("b", 1)]}))) == {"contents-unknown"}
	}
	every odd in [null, {}, "x", [null], [{}], [object.remove(of_python("a", 1), ["layerIndex"])], [object.remove(of_python("a", 1), ["manager"])]] {
		reasons(building.with_contents({"packages": odd})) == {"contents-unknown"}
	}
	reasons(building.with_facts({"contents": {"packages": []}, "config": {"history": null}})) == {"history-unknown"}
}

test_unknown_histories_pass_where_they_are_accepted if {
	document := building.with_facts({"contents": {"packages": []}, "config": {"history": null}})
	image_layer_order.deny == set() with input as document
		with data.portcullis.parameters as set_to({"acceptUnknown": true})
}

test_the_platform_to_blame_is_named if {
	good := platform(["COPY . ."], [])
	bad := object.union(platform(["COPY . .", "RUN pip install x"], packages([0, 2])), {"platform": "linux/arm64"})
	{violation.platform | some violation in image_layer_order.deny} == {"linux/arm64"} with input as building.judged([good, bad])
}

test_containers_are_judged_by_their_own_images if {
	containers := [fixtures.container({"name": "good"}), fixtures.container({"name": "bad", "image": "bad"})]
	every bad in [
		platform(["COPY . .", "RUN pip install x"], packages([0, 2])),
		object.union(platform(["COPY . ."], []), {"contents": {"packages": null}}),
		object.union(platform(["COPY . ."], []), {"config": {"history": null}}),
	] {
		images := {
			fixtures.image: fixtures.facts({"platforms": [platform(["COPY . ."], [])]}),
			"bad": fixtures.facts({"platforms": [bad]}),
		}
		names := {violation.container | some violation in image_layer_order.deny} with input as fixtures.document(containers, images)
		names == {"bad"}
	}
}

test_images_can_be_exempt if {
	every document in [judged(["COPY /app /app"], [5]), building.with_contents({"packages": null}), building.with_facts({"contents": {"packages": []}, "config": {"history": null}})] {
		image_layer_order.deny == set() with input as document
			with data.portcullis.parameters as set_to({"exempt": [{"images": ["registry.example/**"]}]})
		count(image_layer_order.deny) == 1 with input as document
			with data.portcullis.parameters as set_to({"exempt": [{"images": ["other.example/**"]}]})
	}
}

test_wrong_parameters_are_a_violation if {
	every more in [{"exempt": 7}, {"exempt": [{"image": "x"}]}, {"x": 1}, {"acceptUnknown": 1}] {
		violations := image_layer_order.deny with data.portcullis.parameters as set_to(more)
			with input as judged(["COPY . ."], [])
		fixtures.reasons(violations) == {"parameter-invalid"}
	}
}
