"""What every Registry does alike; tests/contract/registry_cases.py lists them."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from contract.registry_cases import LIMITS, NOBODY, TARGETS, Target
from fakes.registry import AMD64, ARM64, CONFIG, INDEX, MANIFEST, image_config, sha256
from portcullis.errors import NotFound, TooLarge
from portcullis.model.image import Digest, HistoryEntry, Platform, ResolvedImage

pytestmark = pytest.mark.anyio

BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
SARIF = "application/sarif+json"
EMPTY = "application/vnd.oci.empty.v1+json"


def attachment(image: ResolvedImage) -> dict[str, Any]:
    """A manifest of the image's own blobs without a subject, as cosign's are."""
    (platform,) = image.platforms
    config = {"mediaType": CONFIG, "digest": platform.config_digest, "size": 0}
    layers = [{"mediaType": BUNDLE, "digest": one.digest, "size": one.size} for one in platform.layers]
    return {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}


@pytest.fixture(params=TARGETS)
async def target(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Target]:
    async with TARGETS[request.param](tmp_path) as opened:
        yield opened


async def test_resolves_a_tag_to_its_digest_and_configuration(target: Target) -> None:
    config = image_config(
        "1000:1000",
        cmd=("--serve",),
        working_dir="/srv",
        env_names=("PATH", "TOKEN"),
        exposed_ports=("8080/tcp",),
        volumes=("/data",),
        labels={"org.opencontainers.image.source": "https://example.com"},
        healthcheck=("CMD", "/bin/true"),
        history=(HistoryEntry("COPY . /app", False), HistoryEntry("USER 1000:1000", True)),
    )
    published = await target.publish("acme/web", configs={AMD64: config})
    image = await target.registry.resolve(target.reference("acme/web"), NOBODY)
    assert image == published
    (platform,) = image.platforms
    assert platform.config == config
    assert (image.is_index, image.media_type, platform.platform) == (False, MANIFEST, AMD64)
    assert [layer.size for layer in platform.layers] == [5]


async def test_a_digest_wins_over_the_tag_beside_it(target: Target) -> None:
    old = await target.publish("acme/web", user="0")
    new = await target.publish("acme/web", user="10001")
    reference = target.reference("acme/web", "1", old.digest)
    image = await target.registry.resolve(reference, NOBODY)
    assert (image.digest, image.reference) == (old.digest, reference)
    assert image.platforms[0].config.user == "0"
    assert old.digest != new.digest


async def test_resolves_an_index_to_the_wanted_platforms(target: Target) -> None:
    configs = {
        Platform("linux", "s390x"): image_config("1"),
        ARM64: image_config("0"),
        AMD64: image_config("2"),
    }
    published = await target.publish("acme/multi", configs=configs)
    image = await target.registry.resolve(target.reference("acme/multi"), NOBODY)
    assert image == published
    assert (image.is_index, image.media_type) == (True, INDEX)
    assert [(one.platform, one.config.user) for one in image.platforms] == [(AMD64, "2"), (ARM64, "0")]


async def test_a_single_image_is_judged_whatever_its_platform_is(target: Target) -> None:
    windows = Platform("windows", "amd64")
    await target.publish("acme/win", configs={windows: image_config("ContainerUser")})
    image = await target.registry.resolve(target.reference("acme/win"), NOBODY)
    assert [one.platform for one in image.platforms] == [windows]


async def test_an_index_in_an_index_is_looked_into(target: Target) -> None:
    one = await target.publish(
        "acme/multi", "amd64", configs={AMD64: image_config("2"), Platform("a", "b"): image_config()}
    )
    other = await target.publish(
        "acme/multi", "arm64", configs={ARM64: image_config("3"), Platform("a", "c"): image_config()}
    )
    published = await target.publish_index([one, other], "all")
    image = await target.registry.resolve(target.reference("acme/multi", "all"), NOBODY)
    assert image == published
    assert [(one.platform, one.config.user) for one in image.platforms] == [(AMD64, "2"), (ARM64, "3")]


async def test_a_platform_that_a_digest_names_is_judged(target: Target) -> None:
    """Whether it is one of the wanted or not: a pod that names it runs it."""
    configs = {AMD64: image_config("2"), Platform("linux", "s390x"): image_config("0")}
    await target.publish("acme/multi", configs=configs)
    manifests = target.memory.manifests_of(target.repository("acme/multi"))
    children = [manifest for manifest in manifests if manifest.media_type == MANIFEST]
    for child, platform in zip(children, configs, strict=True):
        image = await target.registry.resolve(target.reference("acme/multi", None, child.digest), NOBODY)
        assert (image.digest, image.is_index) == (child.digest, False)
        assert [(one.platform, one.config) for one in image.platforms] == [(platform, configs[platform])]


async def test_an_index_without_a_wanted_platform_is_not_found(target: Target) -> None:
    configs = {Platform("linux", "s390x"): image_config("1"), Platform("linux", "ppc64le"): image_config("1")}
    await target.publish("acme/mainframe", configs=configs)
    with pytest.raises(NotFound):
        await target.registry.resolve(target.reference("acme/mainframe"), NOBODY)


@pytest.mark.parametrize(
    ("path", "tag", "digest"),
    [("acme/web", "9", None), ("acme/none", "1", None), ("acme/web", None, sha256(b"nothing has this"))],
)
async def test_what_is_missing_is_not_found(target: Target, path: str, tag: str | None, digest: Digest | None) -> None:
    await target.publish("acme/web")
    with pytest.raises(NotFound):
        await target.registry.resolve(target.reference(path, tag, digest), NOBODY)


async def test_a_moved_tag_is_another_image_under_another_repository(target: Target) -> None:
    """The same tag in two repositories is two images; nothing is shared by tag alone."""
    one = await target.publish("acme/one", user="1")
    two = await target.publish("acme/two", user="2")
    assert (await target.registry.resolve(target.reference("acme/one"), NOBODY)).digest == one.digest
    assert (await target.registry.resolve(target.reference("acme/two"), NOBODY)).digest == two.digest


async def test_a_manifest_comes_byte_for_byte(target: Target) -> None:
    image = await target.publish("acme/web")
    place = target.repository("acme/web")
    manifest = await target.registry.manifest(place, image.digest, NOBODY)
    assert (sha256(manifest.content), manifest.digest, manifest.media_type) == (image.digest, image.digest, MANIFEST)
    with pytest.raises(NotFound):
        await target.registry.manifest(place, sha256(b"nothing has this"), NOBODY)


async def test_what_a_tag_names_need_not_be_an_image(target: Target) -> None:
    """cosign puts signatures and attestations under tags made of the image's digest."""
    image = await target.publish("acme/web")
    place, tag = target.repository("acme/web"), f"sha256-{image.digest.hex}.att"
    with pytest.raises(NotFound):
        await target.registry.tagged(place, f"sha256-{image.digest.hex}.sig", NOBODY)
    digest = await target.tag("acme/web", tag, MANIFEST, attached := json.dumps(attachment(image)).encode())
    found = await target.registry.tagged(place, tag, NOBODY)
    assert (found.content, found.digest, found.media_type) == (attached, digest, MANIFEST)
    assert sha256(found.content) == digest
    top = await target.registry.tagged(place, "1", NOBODY)
    assert (top.digest, top.media_type) == (image.digest, image.media_type)


async def test_a_tag_of_another_repository_is_none_of_this_one(target: Target) -> None:
    await target.publish("acme/web")
    await target.publish("acme/other", "2", user="0")
    with pytest.raises(NotFound):
        await target.registry.tagged(target.repository("acme/web"), "2", NOBODY)


async def test_a_blob_comes_whole_or_not_at_all(target: Target) -> None:
    image = await target.publish("acme/web")
    place, layer = target.repository("acme/web"), image.platforms[0].layers[0]

    async def read(digest: Digest, limit: int) -> bytes:
        return b"".join([piece async for piece in target.registry.blob(place, digest, limit, NOBODY)])

    assert await read(layer.digest, 5) == b"layer"
    with pytest.raises(TooLarge):
        await read(layer.digest, 4)
    with pytest.raises(NotFound):
        await read(sha256(b"nothing has this"), 100)


async def test_an_image_without_referrers_has_none(target: Target) -> None:
    image = await target.publish("acme/web")
    assert await target.registry.referrers(image, None, NOBODY) == (target.carrier, ())


async def test_referrers_of_one_image_are_found_and_filtered(target: Target) -> None:
    image, other = await target.publish("acme/web"), await target.publish("acme/web", "2", user="0")
    bundle = await target.attach(image, BUNDLE, b"a bundle")
    sarif = await target.attach(image, SARIF, b"a report")
    await target.attach(other, BUNDLE, b"of another image")
    kind, found = await target.registry.referrers(image, None, NOBODY)
    assert kind is target.carrier
    assert {one.digest for one in found} == {bundle.digest, sarif.digest}
    assert {one.artifact_type for one in found} == ({BUNDLE, SARIF} if target.says_types else {EMPTY})
    _, filtered = await target.registry.referrers(image, BUNDLE, NOBODY)
    # What could be of any type stays: it shows when its manifest is read.
    assert {one.digest for one in filtered} == ({bundle.digest} if target.says_types else {bundle.digest, sarif.digest})
    manifest = await target.registry.manifest(target.repository("acme/web"), bundle.digest, NOBODY)
    assert image.digest.encode() in manifest.content


async def test_more_referrers_than_the_limit_are_refused(target: Target) -> None:
    image = await target.publish("acme/web")
    for number in range(LIMITS.referrers):
        await target.attach(image, BUNDLE, b"%d" % number)
    _, found = await target.registry.referrers(image, None, NOBODY)
    assert len(found) == LIMITS.referrers
    other = await target.publish("acme/more")
    for number in range(LIMITS.referrers + 1):
        await target.attach(other, BUNDLE, b"%d" % number)
    with pytest.raises(TooLarge):
        await target.registry.referrers(other, None, NOBODY)
