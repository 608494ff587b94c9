# METADATA
# title: Times
# description: |
#   RFC 3339 times as numbers, without builtins that fail: what is no time has no number. Reports and parameters may
#   hold anything.
package portcullis.lib.times

import rego.v1

form := `^(\d{4})-(\d{2})-(\d{2})[Tt](\d{2}):(\d{2}):(\d{2})(?:\.\d{1,9})?(?:[Zz]|([+-])([01]\d|2[0-3]):([0-5]\d))$`

# Whole seconds since 1970, leap seconds left out.
seconds(value) := ((days(parts) * 86400) + clock(parts)) - offset(parts) if {
	is_string(value)
	[parts] := regex.find_all_string_submatch_n(form, value, 1)
	possible(parts)
}

# How many hours a time lies before another one.
hours_between(value, later) := (seconds(later) - seconds(value)) / 3600

possible(parts) if {
	number(parts[2]) in numbers.range(1, 12)
	number(parts[3]) >= 1
	number(parts[3]) <= month_days(number(parts[1]), number(parts[2]))
	number(parts[4]) < 24
	number(parts[5]) < 60
	number(parts[6]) <= 60
}

# Without a builtin that may fail, and with zeros in front.
number(digits) := to_number(sprintf("1%s", [digits])) - power(count(digits))

power(2) := 100

power(4) := 10000

month_days(_, month) := 31 if month in {1, 3, 5, 7, 8, 10, 12}

month_days(_, month) := 30 if month in {4, 6, 9, 11}

month_days(year, 2) := 29 if leap(year)

month_days(year, 2) := 28 if not leap(year)

leap(year) if {
	year % 4 == 0
	year % 100 != 0
}

leap(year) if year % 400 == 0

# Days from 1970-01-01, in years that begin in March, so that the leap day is their last.
days(parts) := (((365 * year) + leap_days(year)) + (floor(((153 * month) + 2) / 5) + number(parts[3]))) - 719469 if {
	month := (number(parts[2]) + 9) % 12
	year := number(parts[1]) - floor(month / 10)
}

leap_days(year) := (floor(year / 4) - floor(year / 100)) + floor(year / 400)

clock(parts) := ((number(parts[4]) * 3600) + (number(parts[5]) * 60)) + number(parts[6])

offset(parts) := 0 if parts[7] == ""

offset(parts) := sign(parts[7]) * ((number(parts[8]) * 3600) + (number(parts[9]) * 60)) if parts[7] != ""

sign("+") := 1

sign("-") := -1
