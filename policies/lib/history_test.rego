package portcullis.lib.history_test

import rego.v1

import data.portcullis.lib.fixtures_test as fixtures
import data.portcullis.lib.history
import data.portcullis.lib.history_fixtures_test as building

lines := ["ADD rootfs /", "CMD [\"sh\"]", "RUN one", "ENV A=b", "RUN two", "USER 1"]

own := [step.arguments | some step in history.own[fixtures.image][0]]

based(bases) := {"image-base": {"bases": bases}}

first := [building.diff_id(0)]

second := array.concat(first, [building.diff_id(1)])

test_without_a_base_every_line_is_the_images_own if {
	every parameters in [{}, based({}), based({"x": {"os": {"id": "debian"}}}), {"image-base": 7}] {
		count(own) == 6 with input as building.built(lines) with data.portcullis.parameters as parameters
	}
}

test_lines_of_a_base_are_not if {
	own == ["[\"sh\"]", "one", "A=b", "two", "1"] with input as building.built(lines)
		with data.portcullis.parameters as based({"x": {"layers": first}})
	own == ["A=b", "two", "1"] with input as building.built(lines)
		with data.portcullis.parameters as based({"x": {"layers": first}, "y": {"layers": second}})
}

test_a_base_that_only_looks_alike if {
	every layers in [[], "x", array.reverse(second), [building.diff_id(1)], [null]] {
		count(own) == 6 with input as building.built(lines)
			with data.portcullis.parameters as based({"x": {"layers": layers}})
	}
}

test_lines_that_belong_to_no_layer_are_nobodys if {
	steps := [object.union(step, {"layerIndex": null}) | some step in building.steps(lines)]
	document := building.judged([building.platform("linux/amd64", lines, {"config": {"history": steps}})])
	count(own) == 6 with input as document with data.portcullis.parameters as based({"x": {"layers": second}})
}

test_histories_that_cannot_be_read if {
	good := building.steps(lines)
	long := sprintf("%100001s", ["x"])
	commands := concat("", [x | some _ in numbers.range(1, 3001); x := "a;"])
	many := [good[0] | some _ in numbers.range(1, 301)]
	every steps in [
		[],
		null,
		"x",
		{"a": good[0]},
		[null],
		array.concat(good, [{}]),
		array.concat(good, [object.union(good[0], {"arguments": null})]),
		array.concat(good, [object.union(good[0], {"instruction": 7})]),
		array.concat(good, [object.union(good[0], {"createdBy": false})]),
		array.concat(good, [object.union(good[0], {"createdBy": long})]),
		array.concat(good, [object.union(good[0], {"arguments": commands})]),
		many,
	] {
		document := building.judged([building.platform("linux/amd64", lines, {"config": {"history": steps}})])
		history.readable == {} with input as document
		history.own == {} with input as document
	}
	every silent in building.silent {
		history.own == {} with input as silent
	}
}

called(arguments) := {call[0] | some call in history.calls(arguments)}

test_commands if {
	called("a && b;c |d || (e)\nf") == {"a", "b", "c", "d", "e", "f"}
	called("") == set()
	history.calls("a \\\n  --x && \\\r\n b y") == {["a", "--x"], ["b", "y"]}
	history.calls("--mount=type=cache,target=/x --network=none a") == {["a", ""]}
}

test_programs_of_a_command if {
	every command in [
		"apt-get update",
		"apt update",
		"/usr/bin/apt-get update",
		"if apt-get update",
		"A=b C='d e' apt-get update",
		"env A=b apt-get update",
		"! apt-get update",
		"{ apt-get update",
	] {
		history.calls(command) == {["apt-get", "update"]}
	}
	every command in ["echo apt-get update", "./apt-getter update", "x-apt-get update"] {
		not "apt-get" in called(command)
	}
	history.calls("python3.12 -m pip install x") == {["pip", "install x"]}
	history.calls("/opt/bin/pip3.12 install x") == {["pip", "install x"]}
	history.calls("python3 setup.py") == {["python3", "setup.py"]}
	history.calls("./gradlew build") == {["gradle", "build"]}
}

test_sudo_and_what_it_runs if {
	called("sudo -E make all") == {"sudo", "make"}
	called("a; /usr/bin/sudo make") == {"a", "sudo", "make"}
	called("apt-get install sudo") == {"apt-get"}
	called("apt-get install pseudo x") == {"apt-get"}
}

test_cache_mounts if {
	history.cache_mount("--mount=type=cache,target=/root/.cache pip")
	history.cache_mount("--network=none --mount=target=/root/.cache,type=cache pip")
	not history.cache_mount("--mount=type=secret,id=x pip")
	not history.cache_mount("pip --mount=type=cache")
}

test_targets if {
	cases := {
		"web /app": "/app",
		"web /app/": "/app",
		"web app": "/srv/app",
		". .": "/srv",
		"web ./": "/srv",
		"web //app//x/./y": "/app/x/y",
		"[\"a b\", \"/app\"]": "/app",
		"dir:0123 in /app": "/app",
		"rootfs /": "",
	}
	every arguments, target in cases {
		history.target({"arguments": arguments}, "/srv") == target
	}
	not history.target({"arguments": ""}, "/srv")
}

folders := [history.workdir(fixtures.image, 0, k) | some k in [0, 1, 2, 3]]

test_the_folder_of_a_line if {
	folders == ["", "/a", "/a", "/b"] with input as building.built(["WORKDIR /a", "COPY x .", "WORKDIR /b", "COPY x ."])
	folders == ["", "", "", ""] with input as building.built(["COPY x ."])
}

test_lines_are_shown_without_breaks_and_secrets if {
	history.line({"instruction": "RUN", "arguments": "a\n\t b"}) == "RUN a b"
	history.line({"instruction": "USER", "arguments": ""}) == "USER"
	history.line({"instruction": "RUN", "arguments": "TOKEN=hunter2 make"}) == "RUN TOKEN=… make"
}

test_folders_above if {
	history.enclosing("/a/b/c") == {"/a", "/a/b", "/a/b/c"}
	history.enclosing("") == set()
	deep := concat("", [x | some _ in numbers.range(1, 100); x := "/a"])
	count(history.enclosing(deep)) == 29
}
