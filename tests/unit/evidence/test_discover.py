"""Where attestations are found, and where too much of them, or something else than was listed, fails the whole."""
# ruff: noqa: E501  (tables: one case, one line)

import json
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

import pytest

from fakes import attached
from fakes.registry import INDEX, MANIFEST, MemoryRegistry, image_config, sha256
from portcullis.errors import (
    ConfigError,
    Denied,
    DigestMismatch,
    Malformed,
    NotFound,
    RegistryError,
    TooLarge,
    Unreachable,
)
from portcullis.evidence.discover import AttestationSource
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.model.evidence import CarrierKind, Evidence
from portcullis.model.image import Access, Digest, Repository, ResolvedImage
from vectors import attestations as made
from vectors.gathering import (
    ACCESS,
    AMD64,
    ARM64,
    NAME,
    SARIF,
    attach,
    gather,
    gatherer,
    only,
    signature,
    signed,
    statement,
    trust,
    verdicts,
)

pytestmark = pytest.mark.anyio

PLACE = Repository("registry.example", "acme/web")
ELSEWHERE = Repository("evidence.example", "attestations")
GOOD = ("vulnerability", "")


def index_image(registry: MemoryRegistry) -> ResolvedImage:
    return registry.add_image(NAME, configs={AMD64: image_config("1"), ARM64: image_config("2")})


def under_tag(
    registry: MemoryRegistry, subject: Digest, ending: str, *contents: bytes, place: Repository = PLACE
) -> Digest:
    layers = [attached.layer(registry, place, content, made.DSSE) for content in contents]
    return attached.tag_attached(registry, place, subject, ending, layers)


def envelope(subject: Digest) -> bytes:
    return made.compact(made.envelope(statement(subject)))


async def test_an_image_without_attestations() -> None:
    registry = MemoryRegistry()
    image = registry.add_image(NAME)
    assert await gather(registry, image) == Evidence()
    tag = f"sha256-{image.digest.hex}"
    assert sorted(registry.calls) == [f"referrers {image.digest}", f"tagged {tag}.att", f"tagged {tag}.sig"]


def _referrer(registry: MemoryRegistry, image: ResolvedImage, subject: Digest) -> bytes:
    attached.attach_to(registry, PLACE, subject, content := signed(subject), made.BUNDLE)
    return content


def _att_tag(registry: MemoryRegistry, image: ResolvedImage, subject: Digest) -> bytes:
    under_tag(registry, subject, "att", content := envelope(subject))
    return content


def _sig_tag(registry: MemoryRegistry, image: ResolvedImage, subject: Digest) -> bytes:
    """Nobody says that attestations may not lie there."""
    under_tag(registry, subject, "sig", content := envelope(subject))
    return content


@pytest.mark.parametrize("listed", [CarrierKind.REFERRER, CarrierKind.FALLBACK_TAG])
@pytest.mark.parametrize("which", ["index", "first platform", "second platform"])
@pytest.mark.parametrize("put", [_referrer, _att_tag, _sig_tag])
async def test_each_carrier_at_each_subject(put: Callable[..., bytes], which: str, listed: CarrierKind) -> None:
    registry = MemoryRegistry(carrier=listed)
    image = index_image(registry)
    subjects = {
        "index": image.digest,
        "first platform": image.platforms[0].digest,
        "second platform": image.platforms[1].digest,
    }
    content = put(registry, image, subjects[which])

    attestation = only(await gather(registry, image))

    assert attestation.verified, attestation
    assert (attestation.digest, attestation.subject) == (sha256(content), subjects[which])
    assert attestation.carrier is (listed if put is _referrer else CarrierKind.COSIGN_TAG)
    platform = {"index": None, "first platform": AMD64, "second platform": ARM64}[which]
    assert (attestation.platform, attestation.repository) == (platform, "")


async def test_a_platform_that_a_pod_names_is_not_cleared_by_its_index() -> None:
    registry = MemoryRegistry()
    image = index_image(registry)
    attach(registry, image, signed(image.digest))
    single = await registry.resolve(replace(image.reference, tag=None, digest=image.platforms[0].digest), ACCESS)
    assert await gather(registry, single) == Evidence()


async def test_each_layer_of_a_tag_is_one_attestation() -> None:
    registry = MemoryRegistry()
    image = registry.add_image(NAME)
    under_tag(
        registry,
        image.digest,
        "att",
        *(
            made.compact(made.envelope(statement(image.digest, {"vulnerability": [{"ids": [str(number)]}]})))
            for number in range(3)
        ),
    )
    evidence = await gather(registry, image)
    assert verdicts(evidence) == [GOOD] * 3
    assert [scan.report.vulnerabilities[0].id for scan in evidence.scans] == ["0", "1", "2"]


async def test_what_is_under_a_tag_is_bound_by_what_is_signed() -> None:
    """Anybody who may push can put another image's attestation under this one's tag."""
    registry = MemoryRegistry()
    image = registry.add_image(NAME)
    under_tag(registry, image.digest, "att", envelope(made.OTHER))
    assert verdicts(await gather(registry, image)) == [("vulnerability", "attestation-subject-mismatch")]


async def test_annotations_of_a_layer_reach_the_verifier() -> None:
    """cosign's old formats keep signature and certificate there; they are part of what is remembered."""
    registry = MemoryRegistry()
    image = registry.add_image(NAME)
    content = envelope(image.digest)
    layers = [attached.layer(registry, PLACE, content, made.DSSE, {"a": value}) for value in ("1", "2", "2")]
    attached.tag_attached(registry, PLACE, image.digest, "att", layers)
    judging = gatherer(registry)
    assert len((await judging.gather(image, ACCESS)).attestations) == 3
    assert (judging.verdicts.counters.misses, judging.verdicts.counters.hits) == (2, 1)


@pytest.mark.parametrize("subject", ["", "another"])
async def test_an_image_with_a_digest_that_fits_no_tag(subject: str) -> None:
    """sha512 and an ending are longer than a tag may be; cosign knows sha256 alone."""
    registry = MemoryRegistry()
    image = replace(registry.add_image(NAME), digest=made.SUBJECT_512, platforms=())
    assert await gather(registry, image) == Evidence()
    assert registry.calls == [f"referrers {made.SUBJECT_512}"]


@pytest.mark.parametrize(
    ("media_type", "verified"),
    [
        (made.DSSE, True),
        ("application/vnd.in-toto.provenance+dsse", True),
        ("application/vnd.in-toto.spdx+dsse", True),
        ("application/vnd.in-toto+dsse", True),
        ("application/vnd.in-toto.a.b+dsse", False),
        ("application/vnd.in-toto-evil+dsse", False),
        ("xapplication/vnd.in-toto+dsse", False),
        ("application/json", False),
    ],
)
async def test_media_types_of_an_envelope(media_type: str, verified: bool) -> None:
    registry = MemoryRegistry()
    image = registry.add_image(NAME)
    attach(registry, image, envelope(image.digest), media_type)
    assert only(await gather(registry, image)).verified is verified


@pytest.mark.parametrize("listed", [CarrierKind.REFERRER, CarrierKind.FALLBACK_TAG])
async def test_a_forgery_is_found_out_on_every_path(listed: CarrierKind) -> None:
    """Each with a good one beside it, of which one byte was changed."""
    registry = MemoryRegistry(carrier=listed)
    image = built(registry)
    good = envelope(image.digest)
    document = json.loads(good)
    document["payload"] = made.envelope(statement(image.digest, {"vulnerability": []}))["payload"]
    forged = made.compact(document)
    for place in (PLACE, ELSEWHERE):
        for subject in (image.digest, image.platforms[0].digest):
            attached.attach_to(registry, place, subject, forged, made.DSSE)
            under_tag(registry, subject, "att", forged, place=place)
            under_tag(registry, subject, "sig", forged, place=place)
    report = attach_report(registry, image)
    attached.attach_to(registry, PLACE, report, forged, made.DSSE)
    attached.attach_to(registry, PLACE, image.digest, good, made.DSSE)

    evidence = await gather(registry, image, repositories=[elsewhere()])

    assert len(evidence.attestations) == 12 + 1 + 1 + 2
    assert [one.digest for one in evidence.attestations if one.verified] == [sha256(good)]


# -- BuildKit ---------------------------------------------------------------------------------------------------


def built(registry: MemoryRegistry, **settings: Any) -> ResolvedImage:
    return attached.add_built_image(
        registry,
        NAME,
        [AMD64, ARM64],
        lambda digest: [statement(digest, {"provenance": [{"builder": digest}]}, "https://slsa.dev/provenance/v1")],
        **settings,
    )


@pytest.mark.parametrize("with_subject", [False, True])
async def test_what_a_builder_says_counts_where_the_index_is_signed(with_subject: bool) -> None:
    registry = MemoryRegistry()
    image = built(registry, with_subject=with_subject)
    unsigned = await gather(registry, image)
    assert verdicts(unsigned) == [("provenance", "attestation-unsigned")] * 2
    assert {one.carrier for one in unsigned.attestations} == {CarrierKind.INDEX}
    assert str(image.digest) in unsigned.attestations[0].message

    attach(registry, image, signature(image.digest))
    evidence = await gather(registry, image)

    assert verdicts(evidence) == [("signature", ""), ("provenance", ""), ("provenance", "")]
    assert [one.platform for one in evidence.attestations[1:]] == [AMD64, ARM64]
    assert [one.subject for one in evidence.attestations[1:]] == [one.digest for one in image.platforms]
    assert [one.fact.builder for one in evidence.provenance] == [one.digest for one in image.platforms]
    assert {one.attestation.signer.name for one in evidence.provenance if one.attestation.signer} == {"release"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (lambda image: signature(image.digest, made.STRANGER), "attestation-unsigned"),
        (lambda image: signature(made.OTHER), "attestation-unsigned"),
        (lambda image: signature(image.platforms[0].digest), "attestation-unsigned"),
        (lambda image: signature(image.digest, made.CI), "attestation-untrusted"),  # may not speak of provenance
        (lambda image: signed(image.digest, {"sbom": [{}]}, "https://cyclonedx.org/bom", made.RELEASE), "attestation-unsigned"),
    ],
    ids=["by a stranger", "of another image", "of a platform", "wrong role", "no signature but a bill"],
)  # fmt: skip
async def test_what_is_no_signature_of_the_index(content: Callable[[ResolvedImage], bytes], reason: str) -> None:
    registry = MemoryRegistry()
    image = built(registry)
    attach(registry, image, content(image))
    evidence = await gather(registry, image)
    assert {one.reason for one in evidence.attestations if one.carrier is CarrierKind.INDEX} == {reason}
    assert evidence.provenance == ()


async def test_a_builder_speaks_of_the_platform_that_the_index_names() -> None:
    registry = MemoryRegistry()
    image = attached.add_built_image(
        registry,
        NAME,
        [AMD64],
        lambda _: [statement(made.OTHER, {}, "https://slsa.dev/provenance/v1"), b"{}", b"\xff\xfe"],
    )
    attach(registry, image, signature(image.digest))
    evidence = await gather(registry, image)
    assert [one.reason for one in evidence.attestations[1:]] == [
        "attestation-subject-mismatch",
        "attestation-invalid",
        "attestation-invalid",
    ]


async def test_a_builder_of_an_inner_index_is_heard() -> None:
    registry = MemoryRegistry()
    inner = built(registry)
    outer = attached.add_index_of(registry, PLACE, "outer", [registry._listed(PLACE, inner.digest)], inner)
    attach(registry, outer, signature(outer.digest))
    assert [reason for _, reason in verdicts(await gather(registry, outer))] == ["", "", ""]


async def test_what_says_that_it_is_attached_elsewhere_is_not_of_this_image() -> None:
    registry = MemoryRegistry()
    image = built(registry)
    child = registry._put_manifest(
        PLACE, MANIFEST, json.dumps({"layers": [], "subject": {"digest": made.OTHER}}).encode()
    )
    platform = image.platforms[0]
    noted = {
        **registry._listed(PLACE, child.digest),
        "annotations": {
            "vnd.docker.reference.type": "attestation-manifest",
            "vnd.docker.reference.digest": platform.digest,
        },
    }
    stranger = {
        **noted,
        "annotations": {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": made.OTHER},
    }
    other = {
        **noted,
        "annotations": {"vnd.docker.reference.type": "something", "vnd.docker.reference.digest": platform.digest},
    }
    again = attached.add_index_of(
        registry, PLACE, "again", [registry._listed(PLACE, platform.digest), noted, stranger, other], image
    )
    assert only(await gather(registry, again)).reason == "attestation-subject-mismatch"


async def test_an_index_that_is_none_fails_the_whole() -> None:
    registry = MemoryRegistry()
    image = index_image(registry)
    manifest = registry._put_manifest(PLACE, INDEX, b'{"manifests": 1}')
    with pytest.raises(Malformed, match="manifests is a number"):
        await gather(registry, replace(image, digest=manifest.digest))


@pytest.mark.parametrize(("limit", "says"), [({"index_manifests": 3}, "indexManifests is 3"), ({"index_depth": 0}, "")])
async def test_an_index_is_bounded(limit: dict[str, int], says: str) -> None:
    registry = MemoryRegistry()
    image = built(registry)
    limits = replace(DEFAULT_LIMITS, **limit)
    if says:
        with pytest.raises(TooLarge, match=says):
            await gather(registry, image, limits=limits)
    else:
        assert await gather(registry, image, limits=limits) == Evidence()


# -- reports that are attached as they are --------------------------------------------------------------------------

REPORT = made.compact({"vulnerability": [{"ids": ["CVE-1"]}]})


def attach_report(
    registry: MemoryRegistry,
    image: ResolvedImage,
    content: bytes = REPORT,
    media_type: str = SARIF,
    kind: str | None = None,
) -> Digest:
    return attached.attach_to(registry, PLACE, image.digest, content, media_type, artifact_type=kind)


async def test_a_report_counts_where_its_manifest_is_signed() -> None:
    registry = MemoryRegistry()
    image = registry.add_image(NAME)
    manifest = attach_report(registry, image)
    before = only(await gather(registry, image))
    assert (before.reason, before.predicate_type) == ("attestation-unsigned", SARIF)
    assert str(manifest) in before.message

    attached.attach_to(registry, PLACE, manifest, signature(manifest, made.CI), made.BUNDLE)
    evidence = await gather(registry, image)

    attestation = only(evidence)
    assert attestation.verified, attestation
    assert (attestation.digest, attestation.subject) == (sha256(REPORT), image.digest)
    assert attestation.signer is not None
    assert attestation.signer.name == "ci"
    assert [one.id for one in evidence.scans[0].report.vulnerabilities] == ["CVE-1"]


async def test_a_signature_under_a_tag_of_the_manifest_will_do() -> None:
    registry = MemoryRegistry()
    image = registry.add_image(NAME)
    manifest = attach_report(registry, image)
    seal = made.compact(made.envelope(statement(manifest, {}, "https://sigstore.dev/cosign/sign/v1")))
    under_tag(registry, manifest, "sig", seal)
    assert only(await gather(registry, image)).verified


@pytest.mark.parametrize(
    ("content", "reason", "says"),
    [
        (lambda report, image: signature(report, made.STRANGER), "attestation-unsigned", "no configured key signed it"),
        (lambda report, image: signature(image, made.CI), "attestation-unsigned", "other artifacts"),
        (lambda report, image: signed(report), "attestation-unsigned", "no signature of its manifest"),
        (lambda report, image: signature(report, made.RELEASE), "attestation-untrusted", '"release" is not trusted'),
    ],
    ids=["by a stranger", "of the image alone", "a scan of the report", "wrong role"],
)
async def test_what_does_not_sign_a_report(content: Callable[[Digest, Digest], bytes], reason: str, says: str) -> None:
    registry = MemoryRegistry()
    image = registry.add_image(NAME)
    manifest = attach_report(registry, image)
    attached.attach_to(registry, PLACE, manifest, content(manifest, image.digest), made.BUNDLE)
    attestation = only(await gather(registry, image))
    assert attestation.reason == reason
    assert says in attestation.message


async def test_a_signed_report_of_another_image_is_not_moved_here() -> None:
    registry = MemoryRegistry()
    image, other = registry.add_image(NAME), registry.add_image(NAME, "other", user="0")
    manifest = attach_report(registry, other)
    attached.attach_to(registry, PLACE, manifest, signature(manifest, made.CI), made.BUNDLE)
    attached.refer(registry, PLACE, image.digest, registry._manifests[PLACE, manifest].content)
    assert only(await gather(registry, image)).reason == "attestation-subject-mismatch"
    assert only(await gather(registry, other)).verified


@pytest.mark.parametrize(
    ("media_type", "kind", "expected"),
    [
        (SARIF, None, ("vulnerability", "")),
        ("application/sarif+json; charset=utf-8", "x/y", ("vulnerability", "")),
        ("application/json", SARIF, ("vulnerability", "")),
        ("application/json", "application/vnd.cyclonedx+json", ("vulnerability", "")),
        ("application/json", "application/json", ("other", "attestation-unsupported")),
        ("application/sarif+json-evil", "application/json", ("other", "attestation-unsupported")),
        (attached.IN_TOTO, SARIF, ("vulnerability", "")),
    ],
)
async def test_what_is_read_as_a_report(media_type: str, kind: str | None, expected: tuple[str, str]) -> None:
    registry = MemoryRegistry()
    image = registry.add_image(NAME)
    content = statement(image.digest) if media_type == attached.IN_TOTO else REPORT
    manifest = attach_report(registry, image, content, media_type, kind)
    attached.attach_to(registry, PLACE, manifest, signature(manifest, made.CI), made.BUNDLE)
    assert verdicts(await gather(registry, image)) == [expected]


@pytest.mark.parametrize("content", [b"\xff\xfe{\x00}\x00", b'{"a": NaN}', b'{"a": 1, "a": 2}', b"{"])
async def test_a_report_that_can_be_read_in_two_ways(content: bytes) -> None:
    registry = MemoryRegistry()
    image = registry.add_image(NAME)
    manifest = attach_report(registry, image, content)
    attached.attach_to(registry, PLACE, manifest, signature(manifest, made.CI), made.BUNDLE)
    assert only(await gather(registry, image)).reason == "attestation-invalid"


async def test_a_bare_statement_under_a_tag_stays_unsigned() -> None:
    """Nothing of cosign's tags is signed but what brings its own signature."""
    registry = MemoryRegistry()
    image = registry.add_image(NAME)
    bare = attached.layer(registry, PLACE, statement(image.digest), attached.IN_TOTO)
    tagged = attached.tag_attached(registry, PLACE, image.digest, "att", [bare])
    attached.attach_to(registry, PLACE, tagged, signature(tagged, made.CI), made.BUNDLE)
    assert only(await gather(registry, image)).reason == "attestation-unsigned"


async def test_signatures_are_followed_one_level_deep() -> None:
    registry = MemoryRegistry()
    image = registry.add_image(NAME)
    report = attach_report(registry, image)
    second = attached.attach_to(registry, PLACE, report, REPORT, SARIF)
    attached.attach_to(registry, PLACE, second, signature(second, made.CI), made.BUNDLE)
    assert only(await gather(registry, image)).reason == "attestation-unsigned"
    assert f"referrers {second}" not in registry.calls


# -- other repositories, and which carriers count ----------------------------------------------------------------


def elsewhere(*images: str) -> AttestationSource:
    return AttestationSource(images or ("registry.example/acme/**",), str(ELSEWHERE))


async def test_attestations_in_another_repository() -> None:
    registry = MemoryRegistry()
    image = index_image(registry)
    platform = image.platforms[1]
    attached.attach_to(registry, ELSEWHERE, image.digest, signed(image.digest), made.BUNDLE)
    under_tag(registry, platform.digest, "att", envelope(platform.digest), place=ELSEWHERE)
    attach(registry, image, signed(image.digest, {"lint": [{}]}, "https://portcullis.dev/attestation/lint/v1"))

    assert verdicts(await gather(registry, image)) == [("lint", "")]
    evidence = await gather(registry, image, repositories=[elsewhere("other.example/**"), elsewhere()])

    assert verdicts(evidence) == [("lint", ""), GOOD, GOOD]
    assert [one.repository for one in evidence.attestations] == ["", str(ELSEWHERE), str(ELSEWHERE)]
    assert [one.platform for one in evidence.attestations] == [None, None, ARM64]


async def test_whose_image_it_is_the_trust_rules_ask_and_not_where_it_lies() -> None:
    registry = MemoryRegistry()
    image = registry.add_image("registry.example/acme/web")
    attached.attach_to(registry, ELSEWHERE, image.digest, signed(image.digest), made.BUNDLE)
    trusted = trust(images="evidence.example/**")
    evidence = await gather(registry, image, trusted=trusted, repositories=[elsewhere()])
    assert only(evidence).reason == "attestation-untrusted"


async def test_a_repository_is_asked_once_however_often_it_is_named() -> None:
    registry = MemoryRegistry()
    image = registry.add_image(NAME)
    await gather(registry, image, repositories=[elsewhere(), elsewhere(), AttestationSource(("**",), NAME)])
    assert registry.calls.count(f"referrers {image.digest}") == 2


@pytest.mark.parametrize("error", [Unreachable("down"), Denied("no")])
async def test_another_repository_that_cannot_be_asked_fails_the_whole(error: RegistryError) -> None:
    registry = MemoryRegistry()
    image = registry.add_image(NAME)
    registry.fail(str(ELSEWHERE), error)
    with pytest.raises(type(error)):
        await gather(registry, image, repositories=[elsewhere()])


@pytest.mark.parametrize("repository", ["evidence.example", "/x", ""])
def test_a_repository_that_is_none(repository: str) -> None:
    with pytest.raises(ConfigError, match="is not registry/repository"):
        gatherer(MemoryRegistry(), repositories=[AttestationSource(("**",), repository)])


def test_a_pattern_that_is_none() -> None:
    with pytest.raises(ConfigError, match="whole segments"):
        gatherer(MemoryRegistry(), repositories=[AttestationSource(("a.test/b*",), "c.test/d")])


EACH: dict[CarrierKind, int] = {
    CarrierKind.REFERRER: 1,
    CarrierKind.COSIGN_TAG: 1,
    CarrierKind.INDEX: 2,
    CarrierKind.FALLBACK_TAG: 0,
}


@pytest.mark.parametrize(
    "carriers", [*({kind} for kind in CarrierKind), set(CarrierKind)], ids=lambda one: "+".join(sorted(one))
)
async def test_only_the_carriers_that_the_operator_allows_count(carriers: Collection[CarrierKind]) -> None:
    """Whoever strips a bundle and leaves an old attestation under a tag must not have that one believed."""
    registry = MemoryRegistry()
    image = built(registry)
    attach(registry, image, signed(image.digest))
    under_tag(registry, image.digest, "att", envelope(image.digest))

    evidence = await gather(registry, image, carriers=carriers)

    assert len(evidence.attestations) == sum(EACH[kind] for kind in carriers)
    assert {one.carrier for one in evidence.attestations} <= set(carriers)
    asked = {call.partition(" ")[0] for call in registry.calls}
    assert ("tagged" in asked) == (CarrierKind.COSIGN_TAG in carriers)
    assert ("referrers" in asked) == bool({CarrierKind.REFERRER, CarrierKind.FALLBACK_TAG} & set(carriers))


async def test_a_list_from_the_tag_is_none_where_only_the_api_counts() -> None:
    registry = MemoryRegistry(carrier=CarrierKind.FALLBACK_TAG)
    image = registry.add_image(NAME)
    attach(registry, image, signed(image.digest))
    assert await gather(registry, image, carriers={CarrierKind.REFERRER}) == Evidence()
    assert only(await gather(registry, image, carriers={CarrierKind.FALLBACK_TAG})).verified


# -- what fails the whole ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["image", "platform", "tag", "platform's tag", "manifest", "layer"])
@pytest.mark.parametrize(
    "error",
    [Unreachable("down"), Denied("no"), TooLarge("much"), Malformed("odd"), DigestMismatch("lies")],
    ids=lambda one: type(one).__name__,
)
async def test_what_cannot_be_read_fails_the_whole(where: str, error: RegistryError) -> None:
    registry = MemoryRegistry()
    image = index_image(registry)
    attach(registry, image, signed(image.digest))
    manifest = attach(registry, image, content := signed(image.digest, {"vulnerability": [{"ids": ["CVE-1"]}]}))
    platform = image.platforms[1].digest
    registry.fail(
        {
            "image": f"{NAME}@{image.digest}",
            "platform": f"{NAME}@{platform}",
            "tag": f"{NAME}:sha256-{image.digest.hex}.att",
            "platform's tag": f"{NAME}:sha256-{platform.hex}.sig",
            "manifest": manifest,
            "layer": sha256(content),
        }[where],
        error,
    )
    with pytest.raises(type(error)) as raised:
        await gather(registry, image)
    assert raised.value is error


@pytest.mark.parametrize("where", ["manifest", "layer"])
async def test_a_missing_attestation_is_not_called_a_missing_image(where: str) -> None:
    registry = MemoryRegistry()
    image = registry.add_image(NAME)
    content = signed(image.digest)
    missing = {"manifest": attach(registry, image, content), "layer": sha256(content)}[where]
    registry.fail(missing, NotFound("nothing there"))
    with pytest.raises(Malformed, match="does not have it") as raised:
        await gather(registry, image)
    assert missing in raised.value.message


async def test_the_signature_of_a_report_that_cannot_be_read_fails_the_whole() -> None:
    registry = MemoryRegistry()
    image = registry.add_image(NAME)
    manifest = attach_report(registry, image)
    registry.fail(f"{NAME}:sha256-{manifest.hex}.sig", Unreachable("down"))
    with pytest.raises(Unreachable):
        await gather(registry, image)


BOUNDS: list[tuple[dict[str, int], str]] = [
    ({"referrers": 2}, "limit referrers is 2"),
    ({"attestation_bytes": 500}, "limit attestationBytes is 500"),
    ({"attestations_bytes": 1500}, "limit attestationsBytes is 1500"),
]


@pytest.mark.parametrize("put", [_referrer, _att_tag, "mixed", "layers"])
@pytest.mark.parametrize(("limits", "says"), BOUNDS)
async def test_too_much_is_refused_and_not_cut(limits: dict[str, int], says: str, put: Any) -> None:
    registry = MemoryRegistry()
    image = registry.add_image(NAME)
    contents = [made.compact(made.envelope(statement(image.digest))) for _ in range(3)]
    if put is _referrer:
        for content in contents:
            attach(registry, image, content, made.DSSE)
    elif put is _att_tag:
        under_tag(registry, image.digest, "att", *contents)
    elif put == "mixed":
        attach(registry, image, contents[0], made.DSSE)
        under_tag(registry, image.digest, "att", contents[1])
        under_tag(registry, image.digest, "sig", contents[2])
    else:
        layers = [attached.layer(registry, PLACE, content, made.DSSE) for content in contents]
        attached.refer(registry, PLACE, image.digest, {"layers": layers, "subject": {"digest": image.digest}})

    assert verdicts(await gather(registry, image)) == [GOOD] * 3
    registry.calls.clear()
    with pytest.raises(TooLarge, match=says):
        await gather(registry, image, limits=replace(DEFAULT_LIMITS, **limits))
    assert not [call for call in registry.calls if call.startswith("blob")], "known to be too much before it is read"


async def test_referrers_of_all_repositories_are_counted_together() -> None:
    registry = MemoryRegistry()
    image = registry.add_image(NAME)
    for place in (PLACE, ELSEWHERE):
        attached.attach_to(registry, place, image.digest, signed(image.digest), made.BUNDLE)
    limits = replace(DEFAULT_LIMITS, referrers=1)
    assert len((await gather(registry, image, limits=limits)).attestations) == 1
    with pytest.raises(TooLarge, match="limit referrers is 1"):
        await gather(registry, image, limits=limits, repositories=[elsewhere()])


async def test_signatures_of_a_report_are_bounded_as_well() -> None:
    registry = MemoryRegistry()
    image = registry.add_image(NAME)
    manifest = attach_report(registry, image)
    for _ in range(3):
        attached.attach_to(registry, PLACE, manifest, signature(manifest, made.CI), made.BUNDLE)
    assert only(await gather(registry, image)).verified
    for limits, says in (({"referrers": 2}, "limit referrers is 2"), BOUNDS[1], BOUNDS[2]):
        with pytest.raises(TooLarge, match=says):
            await gather(registry, image, limits=replace(DEFAULT_LIMITS, **limits))


async def test_places_are_bounded() -> None:
    registry = MemoryRegistry()
    image = index_image(registry)
    limits = replace(DEFAULT_LIMITS, attestation_places=3)
    assert await gather(registry, image, limits=limits) == Evidence()
    registry.calls.clear()
    with pytest.raises(TooLarge, match="at 6 places; the limit attestationPlaces is 3"):
        await gather(registry, image, limits=limits, repositories=[elsewhere()])
    assert registry.calls == []
    attach_report(registry, image)
    with pytest.raises(TooLarge, match="at 4 places; the limit attestationPlaces is 3"):
        await gather(registry, image, limits=limits)


async def test_ten_thousand_referrers_are_refused_before_one_is_fetched() -> None:
    registry = MemoryRegistry(limits=Limits(referrers=20_000))
    image = registry.add_image(NAME)
    descriptor = registry.add_referrer(image, made.BUNDLE, made.BUNDLE, b"{}")
    registry._referrers[PLACE, image.digest] = [descriptor] * 10_000
    registry.calls.clear()
    with pytest.raises(TooLarge, match="10000 attestations are attached"):
        await gather(registry, image)
    assert not [call for call in registry.calls if call.startswith(("manifest", "blob"))]


async def test_half_a_gigabyte_is_refused_by_its_stated_size() -> None:
    registry = MemoryRegistry()
    image = registry.add_image(NAME)
    huge = {**attached.layer(registry, PLACE, b"{}", made.BUNDLE), "size": 500 * 1024 * 1024}
    attached.refer(registry, PLACE, image.digest, {"layers": [huge], "subject": {"digest": image.digest}})
    with pytest.raises(TooLarge, match="has 524288000 bytes; the limit attestationBytes"):
        await gather(registry, image)
    assert not [call for call in registry.calls if call.startswith("blob")]


async def test_no_more_is_read_than_was_stated() -> None:
    registry = MemoryRegistry()
    image = registry.add_image(NAME)
    content = signed(image.digest)
    small = {**attached.layer(registry, PLACE, content, made.BUNDLE), "size": 10}
    attached.refer(registry, PLACE, image.digest, {"layers": [small], "subject": {"digest": image.digest}})
    with pytest.raises(TooLarge, match="more than 10 bytes"):
        await gather(registry, image)


@pytest.mark.parametrize(
    ("document", "reason", "says"),
    [
        (b"\xff", "attestation-invalid", "not UTF-8"),
        ([], "attestation-invalid", "not an object"),
        ({"layers": "x"}, "attestation-invalid", "layers is a string"),
        ({"layers": [{"mediaType": "a", "digest": "sha256:12", "size": 1}]}, "attestation-invalid", "malformed"),
        ({"layers": [{"mediaType": "a", "digest": "sha256:" + "1" * 64}]}, "attestation-invalid", "no size"),
        ({"layers": [{"mediaType": "a", "digest": "sha256:" + "1" * 64, "size": -1}]}, "attestation-invalid", "no size"),
        ({"layers": [{"mediaType": "a", "digest": "sha256:" + "1" * 64, "size": 1, "annotations": {"a": 1}}]}, "attestation-invalid", "annotation of a layer is a number"),
        ({"layers": [], "subject": "x"}, "attestation-invalid", "subject is a string"),
        ({"layers": []}, "attestation-subject-mismatch", "refers to another image"),
        ({"layers": [], "subject": {"digest": made.OTHER}}, "attestation-subject-mismatch", "another image"),
        (b"[" * 100_000, "too-large", "nested"),
    ],
)  # fmt: skip
async def test_manifests_that_carry_nothing(document: object, reason: str, says: str) -> None:
    registry = MemoryRegistry()
    image = registry.add_image(NAME)
    attached.refer(registry, PLACE, image.digest, document)
    attach(registry, image, signed(image.digest))
    evidence = await gather(registry, image)
    bad, good = evidence.attestations
    assert (bad.verified, bad.reason) == (False, reason)
    assert says in bad.message
    assert good.verified


@pytest.mark.parametrize("document", [b"\xff", b"{}", b'{"layers": []}', b'{"manifests": []}'])
async def test_a_tag_that_carries_nothing(document: bytes) -> None:
    registry = MemoryRegistry()
    image = registry.add_image(NAME)
    registry.add_tag(PLACE, f"sha256-{image.digest.hex}.att", MANIFEST, document)
    attestation = only(await gather(registry, image))
    assert (attestation.verified, attestation.carrier) == (False, CarrierKind.COSIGN_TAG)


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        ({"artifactType": "application/vnd.acme.thing"}, "application/vnd.acme.thing"),
        ({"config": {"mediaType": "application/vnd.cncf.helm.config.v1+json"}}, "application/vnd.cncf.helm.config.v1+json"),
        ({"mediaType": INDEX, "manifests": []}, "application/vnd.oci.empty.v1+json"),
    ],
)  # fmt: skip
async def test_other_artifacts_are_listed_by_what_they_are(document: dict[str, Any], kind: str) -> None:
    registry = MemoryRegistry()
    image = registry.add_image(NAME)
    attached.refer(registry, PLACE, image.digest, {**document, "subject": {"digest": image.digest}})
    attestation = only(await gather(registry, image))
    assert (attestation.reason, attestation.predicate_type) == ("attestation-unsupported", "")
    assert f'"{kind}"' in attestation.message


async def test_everything_is_asked_on_behalf_of_who_asks() -> None:
    asked: list[Access] = []

    class Noting(MemoryRegistry):
        async def tagged(self, repository: Repository, tag: str, access: Access) -> Any:
            asked.append(access)
            return await super().tagged(repository, tag, access)

        async def referrers(self, image: ResolvedImage, artifact_type: str | None, access: Access) -> Any:
            asked.append(access)
            return await super().referrers(image, artifact_type, access)

        async def manifest(self, repository: Repository, digest: Digest, access: Access) -> Any:
            asked.append(access)
            return await super().manifest(repository, digest, access)

        def blob(self, repository: Repository, digest: Digest, limit: int, access: Access) -> Any:
            asked.append(access)
            return super().blob(repository, digest, limit, access)

    registry = Noting()
    image = built(registry)
    attach(registry, image, signed(image.digest))
    await gather(registry, image, repositories=[elsewhere()])
    assert len(asked) > 10
    assert set(asked) == {ACCESS}
