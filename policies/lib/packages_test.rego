package portcullis.lib.packages_test

import rego.v1

import data.portcullis.lib.packages

purl := "pkg:deb/Debian/openssl@3.0.1?arch=amd64"

test_names if {
	every wanted in [
		"openssl",
		"OpenSSL",
		"pkg:deb",
		"pkg:deb/",
		"pkg:deb/debian",
		"pkg:deb/debian/openssl",
		"pkg:deb/debian/openssl@3.0.1",
		purl,
	] {
		packages.is(wanted, "openssl", purl)
	}
	packages.any(["x", "openssl"], "openssl", null)
}

test_other_names if {
	every wanted in ["", "open", "openssl3", "pkg:de", "pkg:deb/debian/open", "pkg:deb/debian/openssl@3.0", "deb/debian"] {
		not packages.is(wanted, "openssl", purl)
	}
	not packages.any([], "openssl", purl)
	not packages.any(["openssl"], null, 7)
	not packages.any(["pkg:deb"], 7, null)
}
