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
		"signer": {"name": "ci", "kind": "key", "issuer": "", "identity": ""},
		"attestation": evidence,
		"system": {"family": "debian", "version": "13", "endOfLife": false},
		"packages": 87,
		"newerSeen": null,
		"markKnown": true,
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

# -- what lies in layers ---------------------------------------------------------------------------------------------

diff_id(index) := concat("", ["sha256:", crypto.sha256(sprintf("tar %d", [index]))])

layer(index) := {
	"digest": concat("", ["sha256:", crypto.sha256(sprintf("blob %d", [index]))]),
	"diffId": diff_id(index),
	"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
	"compressedBytes": 1000000,
	"createdBy": "COPY web /web # buildkit",
}

layer_list := [layer(0), layer(1), layer(2)]

layers_inside := [inside_one |
	some one in layer_list
	inside_one := {"digest": one.digest, "bytes": 10000000, "files": 100}
]

# One finding, of the lowest of three layers.
found(path, more) := object.union(
	{
		"path": path,
		"what": "thing",
		"rule": "thing",
		"layer": layer(0).digest,
		"layerIndex": 0,
		"createdBy": "",
		"deleted": false,
		"mode": "0755",
		"uid": 0,
		"gid": 0,
		"size": 1000,
		"count": 1,
	},
	more,
)

contents(more) := object.union(
	{
		"status": "complete",
		"files": 300,
		"bytes": 30000000,
		"os": {
			"id": "debian",
			"versionId": "13",
			"idLike": [],
			"name": "Debian GNU/Linux 13 (trixie)",
			"distroless": true,
			"libc": "glibc",
		},
		"layers": layers_inside,
		"shells": [],
		"buildTools": [],
		"packageManagers": [],
		"interpreters": [],
		"downloadTools": [],
		"setuid": [],
		"worldWritable": [],
		"secrets": [],
		"vcs": [],
		"caches": [],
		"tests": [],
		"libcMismatches": [],
		"application": {
			"roots": ["/web"],
			"files": 10,
			"ownedByRoot": 10,
			"ownedByUser": 0,
			"ownedByOthers": 0,
			"writable": [],
			"foreign": [],
			"rewrittenBytes": 0,
		},
		"packages": null,
	},
	more,
)

# A platform of three layers that was looked into.
looked_into(name, more) := platform(name, object.union(
	{
		"compressedBytes": 3000000,
		"layers": 3,
		"layerList": layer_list,
		"contents": contents({}),
	},
	more,
))

# One container of one image of one such platform.
inside(more) := judged({}, {"platforms": [looked_into("linux/amd64", more)]})

# The same with these lists of findings.
holding(lists) := inside({"contents": lists})

# An image of two platforms, with these lists of findings each.
on_two(amd64, arm64) := judged({}, {"isIndex": true, "platforms": [
	looked_into("linux/amd64", {"contents": amd64}),
	looked_into("linux/arm64", {"contents": arm64}),
]})

# A document of many containers, each of an image of its own whose list of that name is not known.
unknown_contents(name) := many(unknown_images(name))

# A document of many containers, each of an image of its own that holds one of the odd findings.
odd_contents(name) := many([facts({"platforms": [looked_into("linux/amd64", {"contents": {name: [finding]}})]}) |
	some finding in odd_findings
])

many(images) := document(
	[container({"name": sprintf("c%d", [n]), "image": numbered(n)}) | some n, _ in images],
	{numbered(n): known | some n, known in images},
)

numbered(n) := sprintf("%s%d", [image, n])

unknown_images(name) := array.concat(
	[null, {}, [], facts({"platforms": null}), facts({"platforms": []}), facts({"platforms": {}})],
	[facts({"platforms": platforms}) |
		good := looked_into("linux/amd64", {})
		some odd in array.concat(
			[
				null,
				{},
				without(good, ["contents"]),
				without(good, ["contents/status"]),
				without(good, [sprintf("contents/%s", [name])]),
				object.union(good, {"contents": null}),
				object.union(good, {"contents": []}),
			],
			[object.union(good, {"contents": {field: value}}) |
				some field, values in {
					"status": ["pending", "unavailable", "skipped", "", null, true, "Complete"],
					name: [null, {}, "junk", 7, true],
				}
				some value in values
			],
		)
		some platforms in [[odd], [good, odd]]
	],
)

# Findings that lack something, or have it of another type. They are found all the same.
odd_findings := array.concat(
	[null, {}, [], "junk", object.union(odd, {"layerIndex": -1}), object.union(odd, {"deleted": "true"})],
	[finding_without |
		some field in ["path", "what", "rule", "layerIndex", "createdBy", "deleted", "count"]
		some finding_without in [without(odd, [field]), object.union(odd, {field: null})]
	],
)

odd := found("/odd", {"layerIndex": 1})

# Parameters that pardon what lies in the lowest layer, and all but the findings above.
nearly_pardoned(policy) := on_base(policy, 1, {"allowInBase": true, "exempt": [
	{"images": ["docker.io/**"]},
	{"paths": ["/opt/**"]},
	{"paths": ["/odd/*", "/od"], "rules": ["thing"]},
	{"images": ["registry.example/**"], "rules": ["other"]},
]})

# The parameters of a policy, with a base that accounts for the lowest layers of the image above.
on_base(policy, layers, more) := {
	"image-base": {"bases": {"debian": {"layers": array.slice([one.diffId | some one in layer_list], 0, layers)}}},
	policy: more,
}

reasons(violations) := {violation.details.reason | some violation in violations}

# Two such documents as one: the container and image of the second are called "neighbour".
beside(first, second) := object.union(first, {
	"containers": array.concat(first.containers, [object.union(second.containers[0], {"name": "neighbour", "image": "neighbour"})]),
	"images": object.union(first.images, {"neighbour": second.images[image]}),
})

told(violations) := {violation.container | some violation in violations}
