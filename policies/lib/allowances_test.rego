package portcullis.lib.allowances_test

import rego.v1

import data.portcullis.lib.allowances
import data.portcullis.lib.fixtures_test as fixtures

now := "2026-11-24T12:00:00.000000Z"

exception(more) := object.union({"id": "CVE-2026-0004", "expires": "2026-12-01T00:00:00Z", "reason": "in review"}, more)

finding := object.union(fixtures.finding("CVE-2026-0004", "critical"), {
	"aliases": ["GHSA-aaaa-bbbb-cccc"],
	"purl": "pkg:deb/debian/openssl@3.0.1",
})

allowed(one) if {
	allowances.covers(allowances.indexed([one]), fixtures.image, finding, now) with input as fixtures.judged({}, {})
}

test_what_an_exception_covers if {
	every more in [
		{},
		{"id": "cve-2026-0004"},
		{"id": "GHSA-aaaa-bbbb-cccc"},
		{"packages": ["openssl"]},
		{"packages": ["x", "pkg:deb/debian/openssl"]},
		{"images": ["registry.example/acme/**"]},
		{"images": ["registry.example/acme/web"], "packages": ["openssl"]},
		{"expires": "2026-11-24T13:00:01+01:00"},
	] {
		allowed(exception(more))
	}
}

test_what_it_does_not if {
	every more in [
		{"id": "CVE-2026-0005"},
		{"packages": ["libssl"]},
		{"packages": ["pkg:deb/debian/open"]},
		{"images": ["registry.example/other/**"]},
		{"images": ["registry.example/acme/web"], "packages": ["zlib"]},
		{"expires": "2026-11-24T12:00:00Z"},
		{"expires": "2026-11-01T00:00:00Z"},
	] {
		not allowed(exception(more))
	}
}

test_faulty_ones_allow_nothing_and_are_told if {
	every more, problem in {
		{"id": ""}: "an element of \"allow\" must say \"id\"",
		{"id": 7}: "an element of \"allow\" must say \"id\"",
		{"reason": " "}: "an element of \"allow\" must say \"reason\"",
		{"expires": null}: "an element of \"allow\" must say \"expires\"",
		{"expires": "soon"}: "\"expires\" in \"allow\" must be a time such as 2027-01-31T00:00:00Z, which \"soon\" is not",
		{"expires": "2027-01-31"}: "\"expires\" in \"allow\" must be a time such as 2027-01-31T00:00:00Z, which \"2027-01-31\" is not",
		{"packages": "openssl"}: "\"packages\" in \"allow\" must be a list of strings",
		{"packages": []}: "\"packages\" in \"allow\" must be a list of strings",
		{"images": [7]}: "\"images\" in \"allow\" must be a list of strings",
		{"images": ["acme/web"]}: "\"acme/web\" in \"allow\" is no pattern of images: it must begin with a registry (docker.io for Docker Hub), * or **",
		{"image": ["**"]}: "an element of \"allow\" has the field \"image\", not one of id, expires, reason, packages, images",
	} {
		not allowed(exception(more))
		allowances.faults([exception({}), exception(more)]) == {problem}
	}
	every field in ["id", "reason", "expires"] {
		one := fixtures.without(exception({}), [field])
		not allowed(one)
		allowances.faults([one]) == {sprintf("an element of \"allow\" must say %q", [field])}
	}
	allowances.faults([exception({})]) == set()
}

test_one_of_several_is_enough if {
	index := allowances.indexed([exception({"expires": "2026-01-01T00:00:00Z"}), exception({})])
	allowances.covers(index, fixtures.image, finding, now) with input as fixtures.judged({}, {})
	ended := allowances.ended(index, fixtures.image, finding, now) with input as fixtures.judged({}, {})
	ended == {"CVE-2026-0004 until 2026-01-01T00:00:00Z"}
}

test_odd_findings_and_times if {
	index := allowances.indexed([exception({})])
	every odd in [{}, {"id": 7, "aliases": "x"}, {"id": null, "aliases": [7, null]}] {
		not allowances.covers(index, fixtures.image, odd, now) with input as fixtures.judged({}, {})
	}
	every instant in [null, 7, "", "soon"] {
		not allowances.covers(index, fixtures.image, finding, instant) with input as fixtures.judged({}, {})
	}
	not allowances.covers({}, fixtures.image, finding, now) with input as fixtures.judged({}, {})
}
