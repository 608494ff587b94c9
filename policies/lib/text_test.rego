package portcullis.lib.text_test

import rego.v1

import data.portcullis.lib.text

long := concat("", [x | some _ in numbers.range(1, 100); x := "a"])

test_quoted_escapes_and_cuts if {
	text.quoted("a\nb") == "\"a\\nb\""
	count(text.quoted(long)) == 67
	text.quoted(7) == "\"\""
}

test_short if {
	text.short("abc", 3) == "abc"
	text.short("abcd", 3) == "ab…"
	text.short(null, 3) == ""
}

test_listed if {
	text.listed(["a", "b"], 2) == "a, b"
	text.listed(["a", "b", "c"], 2) == "a, b and 1 more"
}

test_counted if {
	text.counted(1, "day", "days") == "1 day"
	text.counted(0, "day", "days") == "0 days"
}

test_span if {
	text.span(1.5) == "1 hour"
	text.span(47.9) == "47 hours"
	text.span(49) == "2 days"
}
