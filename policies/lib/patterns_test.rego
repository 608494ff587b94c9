package portcullis.lib.patterns_test

import rego.v1

import data.portcullis.lib.patterns

test_matches if {
	every pair in [
		["refs/tags/v1", "refs/tags/v1"],
		["refs/tags/*", "refs/tags/v1.4"],
		["refs/**", "refs/heads/feature/x@2"],
		["**", ""],
		["https://github.com/acme/**", "https://github.com/acme/web/.github/workflows/release.yml@refs/tags/v1"],
		["https://ci.example/*/build", "https://ci.example/acme/build"],
		["AGPL-*", "AGPL-3.0-only"],
		["a+b", "a+b"],
		["**@refs/tags/*", "https://x/y@refs/tags/v1"],
	] {
		patterns.matches(pair[0], pair[1])
	}
}

test_does_not_match if {
	every pair in [
		["", ""],
		["refs/tags/v1", "refs/tags/v1.4"],
		["refs/tags/v1", "xrefs/tags/v1"],
		["refs/tags/*", "refs/tags/a/b"],
		["https://github.com/acme/**", "https://github.com/acme-evil/web"],
		["https://github.com/acme/**", "https://evil.example/https://github.com/acme/web"],
		["https://*.example/build", "https://evil.test/x.example/build"],
		["https://*.example/build", "https://evil.test?.example/build"],
		["a.c", "abc"],
		["a+", "aa"],
		["v1", "V1"],
		["v1", "v1\nx"],
	] {
		not patterns.matches(pair[0], pair[1])
	}
}

test_any if {
	patterns.any(["x", "a*"], "abc")
	not patterns.any(["x", "a*"], "bc")
	not patterns.any([], "abc")
	not patterns.any(["**"], 7)
	not patterns.any(["**"], null)
}

test_faults if {
	patterns.faults("refs", ["", "a"]) == {"the parameter \"refs\" holds an empty pattern"}
	patterns.faults("refs", [" "]) == {"the parameter \"refs\" holds an empty pattern"}
	patterns.faults("refs", ["a"]) == set()
}
