"""Evidence of an image, from what is attached to it in a registry."""
# ruff: noqa: E501  (tables: one case, one line)

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from fakes.registry import ARM64, EMPTY, INDEX, MANIFEST, MemoryRegistry, image_config, sha256
from portcullis.errors import Denied, Malformed, NotFound, RegistryError, TooLarge, Unreachable
from portcullis.evidence.attest import attest
from portcullis.evidence.gather import EvidenceGatherer
from portcullis.evidence.trust import Trust
from portcullis.evidence.verifier import KeyVerifier
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.model.evidence import Attestation, CarrierKind, Evidence, PredicateClass
from portcullis.model.image import Access, Descriptor, Digest, Platform, ResolvedImage
from portcullis.tasks import INLINE_BYTES
from vectors import attestations as made
from vectors.reports import finding, trivy, vuln

pytestmark = pytest.mark.anyio

AMD64 = Platform("linux", "amd64")
NAME = "registry.example/acme/web"
PROVENANCE = "https://slsa.dev/provenance/v1"
ACCESS = Access(namespace="shop")


async def gather(
    registry: MemoryRegistry, image: ResolvedImage, trust: Trust | None = None, limits: Limits = DEFAULT_LIMITS
) -> Evidence:
    trust = trust or made.trust()
    verifier = KeyVerifier(trust=trust, limits=limits)
    return await EvidenceGatherer(registry=registry, verifier=verifier, trust=trust, limits=limits).gather(
        image, ACCESS
    )


def report_of(digest: str, *findings: dict[str, Any], **fields: Any) -> dict[str, Any]:
    metadata = {
        "OS": {"Family": "debian"},
        "RepoDigests": [f"{NAME}@{digest}"],
        "ImageConfig": {"os": "linux", "architecture": "amd64"},
    }
    return vuln(trivy(*findings, **{"Metadata": metadata, **fields}))


def scan(subject: Digest, predicate: Mapping[str, Any] | None = None, key: Any = made.CI, kind: str = "vuln") -> bytes:
    return attest(
        predicate=report_of(subject) if predicate is None else predicate,
        predicate_type=kind,
        subject=subject,
        name=NAME,
        key=key,
    )


def tampered(bundle: bytes) -> bytes:
    document = json.loads(bundle)
    changed = made.compact(made.statement(predicate={"scanner": {"uri": "changed"}}))
    document["dsseEnvelope"]["payload"] = made.base64.b64encode(changed).decode()
    return made.compact(document)


def attach(registry: MemoryRegistry, image: ResolvedImage, content: bytes, media_type: str = made.BUNDLE) -> Descriptor:
    return registry.add_referrer(image, media_type, media_type, content)


def attach_manifest(registry: MemoryRegistry, image: ResolvedImage, document: object) -> None:
    """A referrer whose manifest is ``document``, whatever that is; a registry may list anything."""
    place = image.reference.repository
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    manifest = registry._put_manifest(place, MANIFEST, content)
    listed = Descriptor(MANIFEST, manifest.digest, len(content), EMPTY)
    registry._referrers.setdefault((place, image.digest), []).append(listed)


def layer(
    registry: MemoryRegistry, image: ResolvedImage, content: bytes, media_type: str = made.BUNDLE
) -> dict[str, Any]:
    digest = registry._put_blob(image.reference.repository, content)
    return {"mediaType": media_type, "digest": digest, "size": len(content)}


def only(evidence: Evidence) -> Attestation:
    (attestation,) = evidence.attestations
    return attestation


async def test_an_image_without_attestations() -> None:
    registry = MemoryRegistry()
    assert await gather(registry, registry.add_image(NAME)) == Evidence()


@pytest.mark.parametrize("carrier", CarrierKind)
async def test_a_signed_scan(carrier: CarrierKind) -> None:
    registry = MemoryRegistry(carrier=carrier)
    image = registry.add_image(NAME)
    content = scan(image.digest, report_of(image.digest, finding(severity="CRITICAL")))
    attach(registry, image, content)

    evidence = await gather(registry, image)

    attestation = only(evidence)
    assert (attestation.verified, attestation.reason, attestation.message) == (True, "", "")
    assert (attestation.predicate_type, attestation.predicate_class) == (made.VULN, PredicateClass.VULNERABILITY)
    assert attestation.signer is not None
    assert (attestation.signer.name, attestation.signer.kind) == ("ci", "key")
    assert (attestation.carrier, attestation.digest) == (carrier, sha256(content))
    assert (attestation.subject, attestation.platform, attestation.signed_at) == (image.digest, AMD64, None)
    (attested,) = evidence.scans
    assert attested.attestation == attestation
    assert attested.report.counts()["critical"] == 1


async def test_each_kind_of_bad_evidence_says_what_is_wrong_with_it() -> None:
    registry = MemoryRegistry()
    image = registry.add_image(NAME)
    other = registry.add_image("registry.example/acme/other", user="0")
    assert other.digest != image.digest
    good = scan(image.digest)
    provenance = scan(image.digest, {}, made.RELEASE, PROVENANCE)
    plain = made.compact(made.statement())
    cases: list[tuple[bytes, str, str, str, str, str | None]] = [
        # content, media type, verdict, words of the message, class, who signed
        (good, made.BUNDLE, "", "", "vulnerability", "ci"),
        (tampered(good), made.BUNDLE, "attestation-invalid", "signature does not match", "vulnerability", None),
        (scan(other.digest), made.BUNDLE, "attestation-subject-mismatch", "other artifacts", "vulnerability", "ci"),
        (scan(image.digest, key=made.STRANGER), made.BUNDLE, "attestation-untrusted", "no configured key", "vulnerability", None),
        (provenance, made.BUNDLE, "", "", "provenance", "release"),
        (scan(image.digest, key=made.RELEASE), made.BUNDLE, "attestation-untrusted", 'signer "release" is not trusted for vulnerability', "vulnerability", "release"),
        (scan(image.digest, report_of(other.digest)), made.BUNDLE, "report-subject-mismatch", other.digest, "vulnerability", "ci"),
        (scan(image.digest, vuln(trivy(Metadata=None))), made.BUNDLE, "report-subject-mismatch", "does not say", "vulnerability", "ci"),
        (scan(image.digest, {"scanner": "trivy"}), made.BUNDLE, "attestation-invalid", "scanner is a string", "vulnerability", "ci"),
        (scan(image.digest, vuln({"matches": []})), made.BUNDLE, "attestation-unsupported", "known scanner", "vulnerability", "ci"),
        (scan(image.digest, {}, kind="https://in-toto.io/attestation/vulns/v0.2"), made.BUNDLE, "attestation-unsupported", "vulns/v0.2", "vulnerability", "ci"),
        (plain, made.IN_TOTO, "attestation-unsigned", "not signed", "other", None),
        (b"{}", "application/spdx+json", "attestation-unsupported", '"application/spdx+json"', "other", None),
        (b"{}", made.BUNDLE, "attestation-invalid", "mediaType", "other", None),
    ]  # fmt: skip
    for content, media_type, *_ in cases:
        attach(registry, image, content, media_type)

    evidence = await gather(registry, image)

    assert len(evidence.attestations) == len(cases)
    for attestation, (_, _, reason, words, about, signer) in zip(evidence.attestations, cases, strict=True):
        assert (attestation.verified, attestation.reason) == (not reason, reason), attestation
        assert words in attestation.message, attestation
        assert attestation.predicate_class == about, attestation
        assert (attestation.signer.name if attestation.signer else None) == signer, attestation
    # Only the first is a scan, and whatever stands beside it takes nothing from it.
    assert [attested.attestation for attested in evidence.scans] == [evidence.attestations[0]]


async def test_a_key_is_believed_only_about_the_images_of_its_rule() -> None:
    registry = MemoryRegistry()
    image = registry.add_image("registry.example/acme-evil/web")
    attach(registry, image, scan(image.digest))

    attestation = only(await gather(registry, image))

    assert attestation.reason == "attestation-untrusted"
    assert 'no trust rule covers "registry.example/acme-evil/web"' in attestation.message
    assert attestation.signer is not None


async def test_of_several_signers_the_one_who_may_speak_is_named() -> None:
    registry = MemoryRegistry()
    image = registry.add_image(NAME)
    subject = [{"name": NAME, "digest": {"sha256": image.digest.hex}}]
    statement = made.compact(made.statement(subject=subject, predicate_type=PROVENANCE))
    attach(registry, image, made.compact(made.envelope(statement, made.CI, made.RELEASE)), made.DSSE)

    attestation = only(await gather(registry, image))

    assert attestation.verified
    assert attestation.signer is not None
    assert attestation.signer.name == "release"


@pytest.mark.parametrize("where", ["image", "referrer", "layer"])
@pytest.mark.parametrize("error", [Unreachable("down"), Denied("no"), TooLarge("much"), Malformed("odd")])
async def test_what_cannot_be_read_fails_the_whole(where: str, error: RegistryError) -> None:
    registry = MemoryRegistry()
    image = registry.add_image(NAME)
    attach(registry, image, scan(image.digest))
    content = scan(image.digest, report_of(image.digest, finding(severity="CRITICAL")))
    referrer = attach(registry, image, content)
    registry.fail({"image": image.digest, "referrer": referrer.digest, "layer": sha256(content)}[where], error)

    with pytest.raises(type(error)) as raised:
        await gather(registry, image)
    assert raised.value is error


@pytest.mark.parametrize("where", ["referrer", "layer"])
async def test_a_missing_attestation_is_not_called_a_missing_image(where: str) -> None:
    registry = MemoryRegistry()
    image = registry.add_image(NAME)
    content = scan(image.digest)
    missing = {"referrer": attach(registry, image, content).digest, "layer": sha256(content)}[where]
    registry.fail(missing, NotFound("nothing there"))

    with pytest.raises(Malformed, match="does not have it") as raised:
        await gather(registry, image)
    assert missing in raised.value.message


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        ({"referrers": 2}, "limit referrers is 2"),
        ({"attestation_bytes": 1000}, "limit attestationBytes is 1000"),
        ({"attestations_bytes": 4000}, "limit attestationsBytes is 4000"),
    ],
)
async def test_too_much_is_refused_and_not_cut(limits: dict[str, int], says: str) -> None:
    registry = MemoryRegistry()
    image = registry.add_image(NAME)
    for _ in range(3):
        attach(registry, image, scan(image.digest))

    assert len((await gather(registry, image)).scans) == 3
    registry.calls.clear()
    with pytest.raises(TooLarge, match=says):
        await gather(registry, image, limits=replace(DEFAULT_LIMITS, **limits))
    assert not [call for call in registry.calls if call.startswith("blob")], "known to be too much before it is read"


async def test_layers_count_as_referrers_do() -> None:
    registry = MemoryRegistry()
    image = registry.add_image(NAME)
    layers = [layer(registry, image, scan(image.digest)) for _ in range(3)]
    attach_manifest(registry, image, {"layers": layers, "subject": {"digest": image.digest}})

    assert len((await gather(registry, image)).scans) == 3
    with pytest.raises(TooLarge, match="limit referrers is 2"):
        await gather(registry, image, limits=replace(DEFAULT_LIMITS, referrers=2))


@pytest.mark.parametrize(
    ("document", "reason", "says"),
    [
        (b"\xff", "attestation-invalid", "not UTF-8"),
        ([], "attestation-invalid", "not an object"),
        ({"layers": "x"}, "attestation-invalid", "layers is a string"),
        ({"layers": [{"mediaType": "a", "digest": "sha256:12", "size": 1}]}, "attestation-invalid", "malformed"),
        ({"layers": [{"mediaType": "a", "digest": "sha256:" + "1" * 64}]}, "attestation-invalid", "no size"),
        ({"layers": [{"mediaType": "a", "digest": "sha256:" + "1" * 64, "size": -1}]}, "attestation-invalid", "no size"),
        ({"layers": [], "subject": "x"}, "attestation-invalid", "subject is a string"),
        ({"layers": []}, "attestation-subject-mismatch", "refers to another image"),
        ({"layers": [], "subject": {"digest": made.OTHER}}, "attestation-subject-mismatch", "another image"),
    ],
)  # fmt: skip
async def test_manifests_that_carry_nothing(document: object, reason: str, says: str) -> None:
    registry = MemoryRegistry()
    image = registry.add_image(NAME)
    attach_manifest(registry, image, document)
    attach(registry, image, scan(image.digest))

    evidence = await gather(registry, image)

    bad, good = evidence.attestations
    assert (bad.verified, bad.reason) == (False, reason)
    assert says in bad.message
    assert good.verified


async def test_an_attestation_is_not_taken_from_a_manifest_of_another_image() -> None:
    registry = MemoryRegistry()
    image = registry.add_image(NAME)
    moved = {"layers": [layer(registry, image, scan(image.digest))], "subject": {"digest": made.OTHER}}
    attach_manifest(registry, image, moved)

    evidence = await gather(registry, image)

    assert only(evidence).reason == "attestation-subject-mismatch"
    assert evidence.scans == ()


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        ({"artifactType": "application/vnd.cncf.notary.signature"}, "application/vnd.cncf.notary.signature"),
        ({"config": {"mediaType": "application/vnd.cncf.helm.config.v1+json"}}, "application/vnd.cncf.helm.config.v1+json"),
        ({"mediaType": INDEX, "manifests": []}, EMPTY),
    ],
)  # fmt: skip
async def test_other_artifacts_are_listed_by_what_they_are(document: dict[str, Any], kind: str) -> None:
    registry = MemoryRegistry()
    image = registry.add_image(NAME)
    attach_manifest(registry, image, {**document, "subject": {"digest": image.digest}})

    attestation = only(await gather(registry, image))

    assert (attestation.reason, attestation.predicate_type) == ("attestation-unsupported", "")
    assert f'"{kind}"' in attestation.message


async def test_what_nobody_signed_does_not_say_what_an_attestation_is() -> None:
    """cosign repeats the predicate type in an annotation; only the signed one counts."""
    registry = MemoryRegistry()
    image = registry.add_image(NAME)
    provenance = scan(image.digest, {}, made.RELEASE, PROVENANCE)
    registry.add_referrer(image, made.BUNDLE, made.BUNDLE, provenance, {"dev.sigstore.bundle.predicateType": made.VULN})
    assert only(await gather(registry, image)).predicate_class is PredicateClass.PROVENANCE


async def test_a_report_may_be_of_the_index_or_of_one_of_its_platforms() -> None:
    registry = MemoryRegistry()
    image = registry.add_image(NAME, configs={AMD64: image_config("1"), ARM64: image_config("2")})
    amd64, arm64 = image.platforms
    archived = {"RepoDigests": None, "ImageID": arm64.config_digest}
    stranger = {"RepoDigests": None, "ImageID": "sha256:" + "9" * 64}
    for predicate in (
        report_of(image.digest),
        report_of(amd64.digest),
        report_of(arm64.digest),
        vuln(trivy(Metadata=archived)),
        vuln(trivy(Metadata=stranger)),
        vuln(trivy(Metadata={**archived, "RepoDigests": [f"x@{made.OTHER}"]})),
    ):
        attach(registry, image, scan(image.digest, predicate))

    evidence = await gather(registry, image)

    assert [attestation.verified for attestation in evidence.attestations] == [True, True, True, True, False, False]
    assert {attestation.reason for attestation in evidence.attestations[4:]} == {"report-subject-mismatch"}
    assert "9" * 64 in evidence.attestations[4].message
    assert {attestation.platform for attestation in evidence.attestations} == {None}


async def test_a_large_report() -> None:
    registry = MemoryRegistry()
    image = registry.add_image(NAME)
    rows = [finding(cve=f"CVE-2026-{number:05}") for number in range(2000)]
    content = scan(image.digest, report_of(image.digest, *rows))
    assert len(content) > INLINE_BYTES
    attach(registry, image, content)

    (attested,) = (await gather(registry, image)).scans

    assert len(attested.report.vulnerabilities) == 2000


async def test_too_many_findings_reject_the_attestation() -> None:
    registry = MemoryRegistry()
    image = registry.add_image(NAME)
    attach(registry, image, scan(image.digest, report_of(image.digest, finding(cve="CVE-1"), finding(cve="CVE-2"))))

    attestation = only(await gather(registry, image, limits=replace(DEFAULT_LIMITS, findings=1)))

    assert (attestation.verified, attestation.reason) == (False, "too-large")
