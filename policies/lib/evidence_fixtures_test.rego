# Signed facts for the tests of policies, shaped as portcullis makes them.
package portcullis.lib.evidence_fixtures_test

import rego.v1

import data.portcullis.lib.fixtures_test as fixtures

now := "2026-11-24T12:00:00.000000Z"

by(name) := {"name": name, "kind": "key", "issuer": "", "identity": ""}

types := {
	"lint": "https://portcullis.dev/attestation/lint/v1",
	"sbom": "https://spdx.dev/Document",
	"provenance": "https://slsa.dev/provenance/v1",
	"signature": "https://sigstore.dev/cosign/sign/v1",
	"vex": "https://openvex.dev/ns",
}

digest(class) := concat("", ["sha256:", crypto.sha256(class)])

# The verified attestation of a class.
attested(class, more) := fixtures.attestation(object.union(
	{"predicateClass": class, "predicateType": types[class], "digest": digest(class)},
	more,
))

rejected(class, reason) := attested(
	class,
	{"verified": false, "reason": reason, "message": "it is so", "signer": null},
)

lint(more) := object.union(
	{
		"tool": {"name": "hadolint", "version": "2.15.1"},
		"lintedAt": "2026-11-23T12:00:00.000000Z",
		"ageHours": 24,
		"platform": null,
		"signer": by("ci"),
		"attestation": digest("lint"),
		"dockerfile": "",
		"suppressed": 0,
		"complete": true,
		"incompleteBecause": "",
		"counts": {"error": 0, "warning": 0, "info": 0, "style": 0},
		"findings": [],
	},
	more,
)

linted(rule, level) := {"rule": rule, "level": level, "file": "Dockerfile", "line": 3, "message": "do better"}

sbom(more) := object.union(
	{
		"format": "cyclonedx",
		"specVersion": "1.6",
		"createdAt": "2026-11-23T12:00:00.000000Z",
		"ageHours": 24,
		"tools": ["syft 1.30.0"],
		"platform": null,
		"signer": by("ci"),
		"attestation": digest("sbom"),
		"componentCount": 2,
		"components": [component("openssl", {}), component("web", {"purl": "", "licenses": []})],
	},
	more,
)

component(name, more) := object.union(
	{
		"name": name,
		"version": "3.0.1",
		"purl": sprintf("pkg:deb/debian/%s@3.0.1", [name]),
		"type": "library",
		"licenses": ["Apache-2.0"],
	},
	more,
)

provenance(more) := object.union(
	{
		"version": "1",
		"buildType": "https://actions.github.io/buildtypes/workflow/v1",
		"builder": "https://github.com/actions/runner/github-hosted",
		"source": "https://git.example/acme/web",
		"sourceRef": "refs/tags/v1.4",
		"sourceDigest": "gitCommit:5f1d0a5ad2e1c1f3c2b0b3a8d3b2c6a5d7e8f901",
		"entryPoint": ".github/workflows/release.yml",
		"invocation": "https://git.example/acme/web/actions/runs/42",
		"startedAt": "2026-11-23T11:00:00.000000Z",
		"finishedAt": "2026-11-23T12:00:00.000000Z",
		"ageHours": 24,
		"complete": null,
		"platform": null,
		"signer": by("release"),
		"attestation": digest("provenance"),
		"materials": [],
	},
	more,
)

# A finding with a favourable VEX statement that has not ended.
set_aside(id, severity, more) := object.union(fixtures.finding(id, severity), {"vex": mark(more)})

mark(more) := object.union(
	{
		"status": "not_affected",
		"justification": "vulnerable_code_not_present",
		"impact": "",
		"signer": by("release"),
		"attestation": digest("vex"),
		"issuedAt": "2026-11-21T12:00:00.000000Z",
		"ageHours": 72,
		"expiresAt": "2026-12-21T12:00:00.000000Z",
		"expired": false,
	},
	more,
)

# One container of an image with these scans, judged at "now".
scanned(scans) := at(fixtures.judged({}, {"scans": scans}))

at(document) := object.union(document, {"time": {"now": now}})

two(more) := at(fixtures.judged({}, object.union(more, {
	"isIndex": true,
	"platforms": [fixtures.platform("linux/amd64", {}), fixtures.platform("linux/arm64", {})],
})))

# One container of an image with facts under a field, and the verified attestation of their class.
holding(class, field, facts) := fixtures.judged({}, {field: facts, "attestations": [attested(class, {})]})

holding_on_two(class, field, facts) := two({field: facts, "attestations": [attested(class, {})]})

# Documents in which a list of facts is absent or no list, or its facts are carried by no verified attestation.
unfounded(class, field, fact) := array.concat(
	[
	fixtures.judged({}, object.union({"attestations": [attested(class, {})]}, {field: odd})) |
		some odd in [[], {}, null, "junk", 7, [null], [{}], [[]]]
	],
	[
	fixtures.judged({}, {"attestations": carriers, field: [fact]}) |
		some carriers in [
			[],
			null,
			[null],
			[rejected(class, "attestation-untrusted")],
			[attested(class, {"digest": "sha256:other"})],
			[attested(class, {"predicateClass": "other"})],
			[attested(class, {"verified": "true"})],
			[fixtures.without(attested(class, {}), ["verified"])],
		]
	],
)

no_images := [fixtures.document([fixtures.container({})], images) |
	some images in [{}, {fixtures.image: {}}, {fixtures.image: null}, {fixtures.image: {"platforms": []}}]
]
