package portcullis.lib.globs_test

import rego.v1

import data.portcullis.lib.globs

matching := {
	["registry.example/acme/web", "registry.example/acme/web"],
	["registry.example/acme/*", "registry.example/acme/web"],
	["registry.example/acme/**", "registry.example/acme/web"],
	["registry.example/acme/**", "registry.example/acme/team/web"],
	["registry.example/acme/**", "registry.example/acme"],
	["registry.example/**/web", "registry.example/web"],
	["registry.example/**/web", "registry.example/a/b/web"],
	["registry.example/**/x/**/web", "registry.example/a/x/b/c/web"],
	["Registry.Example/acme/*", "registry.example/acme/web"],
	["registry.example:5000/*", "registry.example:5000/web"],
	["[2001:db8::1]:5000/*", "[2001:db8::1]:5000/web"],
	["docker.io/library/*", "docker.io/library/nginx"],
	["*/acme/web", "registry.example/acme/web"],
	["**", "registry.example/acme/web"],
	["localhost/**", "localhost/web"],
}

different := {
	["registry.example/acme/**", "registry.example/acme-evil"],
	["registry.example/acme/**", "registry.example/acme-evil/web"],
	["registry.example/acme/**", "registry.example.evil.com/acme/web"],
	["registry.example/acme/**", "evil.com/registry.example/acme/web"],
	["registry.example/acme/*", "registry.example/acme/team/web"],
	["registry.example/acme/*", "registry.example/acme"],
	["registry.example/acme", "registry.example/acme/web"],
	["registry.example/**", "registryxexample/acme/web"],
	["registry.example/**", "registry.example:5000/acme/web"],
	["registry.example:5000/**", "registry.example/acme/web"],
	["registry.example:500/**", "registry.example:5000/acme/web"],
	["registry.example/a.b", "registry.example/axb"],
	["docker.io/nginx", "docker.io/library/nginx"],
	["docker.io/library/**", "docker.io/libraryevil/nginx"],
}

faulty := {
	"",
	"acme/web",
	"nginx",
	"registry.example",
	"*",
	"registry.example/",
	"registry.example//web",
	"registry.example/app-*",
	"registry.*/web",
	"registry.example/web:1.4",
	"registry.example/web@sha256:11",
	"index.docker.io/library/nginx",
	"registry.example/(a|b)",
	"registry.example/a b",
	"registry.ex(ample/web",
}

test_matching if {
	every pair in matching {
		globs.matches(pair[0], pair[1])
	}
}

test_different if {
	every pair in different {
		not globs.matches(pair[0], pair[1])
	}
}

test_faulty_patterns_say_why_and_match_nothing if {
	every pattern in faulty {
		globs.fault(pattern) != ""
		not globs.matches(pattern, pattern)
	}
}

test_good_patterns_have_no_fault if {
	every pair in matching {
		not globs.faulty(pair[0])
	}
}
