package portcullis.lib.times_test

import rego.v1

import data.portcullis.lib.times

test_times_are_those_of_the_builtin if {
	samples := {
		"1970-01-01T00:00:00Z",
		"1970-03-01T00:00:00Z",
		"2000-02-29T23:59:59Z",
		"2023-12-31T12:30:15.123456Z",
		"2024-02-29T00:00:00Z",
		"2024-03-01T00:00:00+05:30",
		"2026-11-24T12:00:00.000000Z",
		"2026-11-24T12:00:00-08:00",
		"2100-02-28T01:02:03Z",
		"2100-03-01T01:02:03z",
	}
	every sample in samples {
		times.seconds(sample) == floor(time.parse_rfc3339_ns(upper(sample)) / 1000000000)
	}
}

test_what_is_no_time_has_no_number if {
	odd := [
		"",
		"2026-11-24",
		"2026-11-24T12:00:00",
		"2026-13-01T00:00:00Z",
		"2026-00-01T00:00:00Z",
		"2026-01-00T00:00:00Z",
		"2026-02-29T00:00:00Z",
		"2100-02-29T00:00:00Z",
		"2026-04-31T00:00:00Z",
		"2026-01-32T00:00:00Z",
		"2026-01-01T24:00:00Z",
		"2026-01-01T00:60:00Z",
		"2026-01-01T00:00:61Z",
		"2026-01-01T00:00:00Z\n",
		"2026-01-01T00:00:00+24:00",
		" 2026-01-01T00:00:00Z",
		null,
		7,
		[],
		{},
	]
	every value in odd {
		not times.seconds(value)
	}
}

test_hours_between if {
	times.hours_between("2026-11-24T12:00:00Z", "2026-11-25T00:30:00Z") == 12.5
	times.hours_between("2026-11-24T12:00:00Z", "2026-11-24T11:00:00Z") == -1
	not times.hours_between(null, "2026-11-24T11:00:00Z")
}
