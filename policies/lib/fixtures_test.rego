# Documents for the tests of policies, shaped as portcullis makes them.
package portcullis.lib.fixtures_test

import rego.v1

image := "registry.example/acme/web:1.4"

digest := concat("", ["sha256:", "1111111111111111111111111111111111111111111111111111111111111111"])

evidence := concat("", ["sha256:", "2222222222222222222222222222222222222222222222222222222222222222"])

# The fields of a container beside name and kind.
container(more) := object.union(
	{
		"name": "web",
		"kind": "container",
		"path": "spec.containers[0]",
		"image": image,
		"digest": digest,
		"pinned": false,
		"user": {"uid": 10001, "gid": 0, "name": "", "source": "image", "root": false, "runAsNonRoot": null},
		"spec": {"name": "web", "image": image},
	},
	more,
)

without(object_with, keys) := json.remove(object_with, keys)

platform(name, more) := object.union(
	{
		"platform": name,
		"digest": concat("", ["sha256:", crypto.sha256(name)]),
		"created": "2026-11-01T00:00:00.000000Z",
		"ageHours": 500,
		"user": {"raw": "10001", "uid": 10001, "gid": 0, "name": "", "source": "numeric", "root": false},
	},
	more,
)

facts(more) := object.union(
	{
		"reference": image,
		"registry": "registry.example",
		"repository": "acme/web",
		"tag": "1.4",
		"digest": digest,
		"isIndex": false,
		"platforms": [platform("linux/amd64", {})],
		"attestations": [attestation({})],
		"scans": [scan({})],
		"problems": [],
	},
	more,
)

attestation(more) := object.union(
	{
		"verified": true,
		"reason": "",
		"message": "",
		"predicateType": "https://cosign.sigstore.dev/attestation/vuln/v1",
		"predicateClass": "vulnerability",
		"signer": {"name": "ci", "kind": "key", "issuer": "", "identity": ""},
		"carrier": "referrer",
		"digest": evidence,
		"subject": digest,
		"platform": null,
		"signedAt": null,
	},
	more,
)

rejected(reason, message) := attestation({"verified": false, "reason": reason, "message": message, "signer": null})

scan(more) := object.union(
	{
		"scanner": {"name": "trivy", "version": "0.60.0", "dbBuiltAt": null},
		"scannedAt": "2026-11-23T00:00:00.000000Z",
		"ageHours": 24,
		"dbAgeHours": null,
		"platform": null,
		"attestation": evidence,
		"suppressed": 0,
		"complete": true,
		"incompleteBecause": "",
		"vulnerabilities": [],
	},
	more,
)

finding(id, severity) := {
	"id": id,
	"package": "openssl",
	"installed": "3.0.1",
	"fixed": "3.0.9",
	"severity": severity,
}

document(containers, images) := {
	"containers": containers,
	"images": images,
	"workload": {"podSpec": {}, "podMetadata": {}},
}

# One container of one image.
judged(container_more, facts_more) := document([container(container_more)], {image: facts(facts_more)})

pod(spec, container_spec) := {
	"containers": [container({"spec": container_spec})],
	"images": {},
	"workload": {"podSpec": spec, "podMetadata": {}},
}

reasons(violations) := {violation.details.reason | some violation in violations}
