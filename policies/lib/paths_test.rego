package portcullis.lib.paths_test

import rego.v1

import data.portcullis.lib.paths

matching := {
	["/bin/sh", "/bin/sh"],
	["/bin/*", "/bin/sh"],
	["/**", "/bin/sh"],
	["/**/sh", "/sh"],
	["/**/sh", "/usr/bin/sh"],
	["/opt/tool/**", "/opt/tool"],
	["/opt/tool/**", "/opt/tool/lib/x/y"],
	["/opt/*/bin/**", "/opt/tool/bin/sh"],
	["/usr/lib/**/*.a", "/usr/lib/x86_64-linux-gnu/libc.a"],
	["/usr/lib/python3.*/**", "/usr/lib/python3.13/test"],
	["/usr/bin/g++*", "/usr/bin/g++-14"],
	["/a[b](c)|{d}^$?", "/a[b](c)|{d}^$?"],
	[`/a\x80`, `/a\x80`],
	["/é/*", "/é/b c"],
	["/*", "/a\nb"],
	["/**", "/"],
}

different := {
	["/bin/sh", "/usr/bin/sh"],
	["/bin/sh", "/bin/sh/x"],
	["/bin/sh", "/bin/SH"],
	["/bin/*", "/bin"],
	["/bin/*", "/bin/a/b"],
	["/opt/tool/**", "/opt/tool-evil"],
	["/opt/tool/**", "/opt"],
	["/opt/tool/**", "/srv/opt/tool/x"],
	["/usr/lib/*.a", "/usr/lib/x/libc.a"],
	["/usr/lib/*.a", "/usr/lib/libc.ab"],
	["/usr/lib/*.a", "/usr/lib/libca"],
	["/**", ""],
	["/*", "/"],
	["/**", "bin/sh"],
	["/bin/sh", "/bin/sh\n"],
	["/bin/sh", "/x\n/bin/sh"],
}

faulty := {"", "bin/sh", "*", "/", "/bin/", "/bin//sh", "/bin/./sh", "/bin/../sh", "/bin/**sh", "/bin/a**b"}

test_matching if {
	every pair in matching {
		paths.matches(pair[0], pair[1])
		not paths.faulty(pair[0])
	}
}

test_different if {
	every pair in different {
		not paths.matches(pair[0], pair[1])
		not paths.faulty(pair[0])
	}
}

test_what_is_no_path_matches_nothing if {
	every path in [null, 7, [], {}, true] {
		not paths.matches("/**", path)
	}
}

test_faulty_patterns_say_why_and_match_nothing if {
	every pattern in faulty {
		paths.fault(pattern) != ""
		not paths.matches(pattern, pattern)
		not paths.matches(pattern, "/bin/sh")
	}
}
