package portcullis.policies.image_exec_form_test

import rego.v1

import data.portcullis.lib.fixtures_test as fixtures
import data.portcullis.policies.image_exec_form

starting(entrypoint, cmd) := fixtures.platform("linux/amd64", {"config": {"entrypoint": entrypoint, "cmd": cmd}})

judged(spec, platforms) := fixtures.judged({"spec": spec}, {"isIndex": count(platforms) > 1, "platforms": platforms})

reasons(spec, platforms) := fixtures.reasons(violations) if {
	violations := image_exec_form.deny with input as judged(spec, platforms)
}

shell(text) := ["/bin/sh", "-c", text]

list := ["python", "-m", "app"]

test_lists_pass if {
	every platform in [
		starting(list, []),
		starting([], list),
		starting(list, ["--port", "80"]),
		starting(["/bin/sh", "/entrypoint.sh"], []),
		starting(["tini", "--", "sh", "-c", "x"], []),
		starting([], shell("exec python -m app")),
		starting(["sh"], ["-c", "x"]),
		starting(["python", "-c", "x"], []),
		starting(["/bin/sh", "-e", "run.sh"], []),
	] {
		reasons({}, [platform]) == set()
	}
}

test_shell_form_is_told if {
	every first in ["/bin/sh", "sh", "/bin/bash", "/usr/bin/dash", "/bin/ash"] {
		reasons({}, [starting([first, "-c", "python -m app"], [])]) == {"shell-form"}
		reasons({}, [starting([], [first, "-c", "executable"])]) == {"shell-form"}
	}
	image_exec_form.deny == {{
		"container": "web",
		"image": fixtures.image,
		"msg": "starts its program below a shell, which keeps signals from it: CMD is no list",
		"fix": "write CMD as a list: CMD [\"python\", \"-m\", \"app\"]",
		"details": {"reason": "shell-form", "instruction": "CMD"},
	}} with input as judged({}, [starting([], shell("python -m app"))])
	{violation.details.instruction | some violation in image_exec_form.deny} == {"ENTRYPOINT"} with input as judged(
		{},
		[starting(shell("x"), shell("y"))],
	)
}

test_what_is_not_known_is_told if {
	every platforms in [[], [{}], [null], [starting([], [])], [starting(null, list)], [starting(list, null)], [starting("x", list)], [starting([7], list)], [starting(list, [null])], [starting([null, "-c", "x"], [])], [starting(["sh", "-c", null], [])]] {
		reasons({}, platforms) == {"command-unknown"}
	}
	violations := image_exec_form.deny with input as fixtures.document([fixtures.container({})], {})
	{violation.msg | some violation in violations} == {"does not say what it starts"}
}

test_the_pod_replaces_what_the_image_says if {
	bad := starting(shell("x"), shell("y"))
	reasons({"command": ["python"]}, [bad]) == set()
	every odd in [[], null, "x", 7] {
		reasons({"command": odd, "args": odd}, [bad]) == {"shell-form"}
	}
	reasons({"args": ["x"]}, [bad]) == {"shell-form"}
	reasons({"args": ["x"]}, [starting(list, shell("y"))]) == set()
	reasons({"args": []}, [starting(list, shell("y"))]) == {"shell-form"}
	reasons({"args": ["sh", "-c", "x"]}, [starting([], list)]) == {"shell-form"}
	reasons({"args": ["x"]}, [starting([], [])]) == set()
}

test_the_platform_to_blame_is_named if {
	good := starting(list, [])
	bad := object.union(starting([], shell("x")), {"platform": "linux/arm64"})
	{violation.platform | some violation in image_exec_form.deny} == {"linux/arm64"} with input as judged({}, [good, bad])
}

test_containers_are_judged_by_their_own_images if {
	containers := [
		fixtures.container({"name": "good"}),
		fixtures.container({"name": "bad", "kind": "init", "image": "bad"}),
		fixtures.container({"name": "files", "kind": "volume", "image": "bad"}),
		fixtures.container({"name": "commanded", "image": "bad", "spec": {"command": ["x"]}}),
	]
	images := {
		fixtures.image: fixtures.facts({"platforms": [starting(list, [])]}),
		"bad": fixtures.facts({"platforms": [starting([], shell("x"))]}),
	}
	names := {violation.container | some violation in image_exec_form.deny} with input as fixtures.document(containers, images)
	names == {"bad"}
}

test_one_container_does_not_speak_for_another if {
	containers := [
		fixtures.container({"name": "a", "spec": {"args": ["x"]}}),
		fixtures.container({"name": "b"}),
	]
	images := {fixtures.image: fixtures.facts({"platforms": [starting(list, shell("x"))]})}
	names := {violation.container | some violation in image_exec_form.deny} with input as fixtures.document(containers, images)
	names == {"b"}
}

test_images_can_be_exempt if {
	document := judged({}, [starting([], shell("x"))])
	image_exec_form.deny == set() with input as document
		with data.portcullis.parameters as {"image-exec-form": {"exempt": [{"images": ["registry.example/**"]}]}}
	count(image_exec_form.deny) == 1 with input as document
		with data.portcullis.parameters as {"image-exec-form": {"exempt": [{"images": ["other.example/**"]}]}}
}

test_wrong_parameters_are_a_violation if {
	every one in [{"exempt": 7}, {"exempt": [{"image": "x"}]}, {"x": 1}] {
		violations := image_exec_form.deny with data.portcullis.parameters as {"image-exec-form": one}
			with input as judged({}, [starting(list, [])])
		fixtures.reasons(violations) == {"parameter-invalid"}
	}
}
