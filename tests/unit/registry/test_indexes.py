"""Indexes in indexes, what is kept apart in them, and what is never followed."""

from typing import Any

import pytest

from fakes.faulty import Answer, Route, serve_faulty
from fakes.oci import (
    blob_route,
    config_bytes,
    descriptor,
    index_bytes,
    listed,
    manifest_answer,
    manifest_bytes,
    manifest_route,
)
from fakes.registry import AMD64, ARM64, CONFIG, INDEX, LAYER, sha256
from portcullis.errors import Malformed, NotFound, RegistryError, TooLarge
from portcullis.model.image import Platform, ResolvedImage
from unit.registry.clients import client

pytestmark = pytest.mark.anyio

S390X = Platform("linux", "s390x")
BUILDKIT = {
    "vnd.docker.reference.type": "attestation-manifest",
    "vnd.docker.reference.digest": sha256(b"some image"),
}


class Images:
    """Routes of acme/web, to which images and indexes are added."""

    def __init__(self) -> None:
        self.routes: dict[str, Route] = {}

    def image(self, user: str, platform: Platform = AMD64) -> bytes:
        config = config_bytes(user, platform)
        manifest = manifest_bytes(config)
        self.routes |= manifest_route("acme/web", sha256(manifest), manifest) | blob_route("acme/web", config)
        return manifest

    def index(self, *children: dict[str, Any]) -> bytes:
        content = index_bytes(children)
        self.routes |= manifest_route("acme/web", sha256(content), content, INDEX)
        return content

    async def resolve(self, index: bytes, **limits: Any) -> ResolvedImage:
        routes = self.routes | manifest_route("acme/web", "1", index, INDEX)
        async with serve_faulty(routes) as server, client(server, **limits) as asking:
            image = await asking.resolve()
            self.asked = server.paths()
            return image

    async def users(self, index: bytes, **limits: Any) -> list[tuple[str, str]]:
        return [(str(one.platform), one.config.user) for one in (await self.resolve(index, **limits)).platforms]


def nested(content: bytes, platform: Platform | None = None) -> dict[str, Any]:
    return listed(content, platform, INDEX)


async def test_an_index_in_an_index_is_looked_into() -> None:
    images = Images()
    inner = images.index(listed(images.image("2"), AMD64), listed(images.image("3", ARM64), ARM64))
    innermost = images.index(nested(inner))
    image = await images.resolve(innermost)
    assert (image.digest, image.is_index) == (sha256(innermost), True)
    assert [(one.platform, one.config.user) for one in image.platforms] == [(AMD64, "2"), (ARM64, "3")]


async def test_the_platform_of_an_index_is_that_of_what_is_in_it() -> None:
    """A node of amd64 goes by the inner index's platform, and then runs what is in it."""
    images = Images()
    hidden = images.index(listed(images.image("0", Platform("unknown", "unknown"))))
    shown = listed(images.image("10001"), AMD64)
    assert await images.users(images.index(shown, nested(hidden, AMD64))) == [
        ("linux/amd64", "10001"),
        ("linux/amd64", "0"),
    ]


async def test_an_index_for_another_platform_is_not_asked_for() -> None:
    images = Images()
    other = images.index(listed(images.image("0", S390X), S390X))
    outer = images.index(listed(images.image("1"), AMD64), nested(other, S390X))
    assert await images.users(outer) == [("linux/amd64", "1")]
    assert f"/v2/acme/web/manifests/{sha256(other)}" not in images.asked


async def test_attestations_of_a_builder_are_no_platforms() -> None:
    """In a nested index likewise; they are not even fetched."""
    images = Images()
    attestation = images.image("0", Platform("unknown", "unknown"))
    entry = listed(attestation, Platform("unknown", "unknown")) | {"annotations": BUILDKIT}
    inner = images.index(listed(images.image("1"), AMD64), entry)
    assert await images.users(images.index(nested(inner), entry)) == [("linux/amd64", "1")]
    assert f"/v2/acme/web/manifests/{sha256(attestation)}" not in images.asked


async def test_depth_is_bounded() -> None:
    images = Images()
    content = images.index(listed(images.image("1"), AMD64))
    for depth in (2, 3):
        content = images.index(nested(content))
        assert await images.users(content, index_depth=depth) == [("linux/amd64", "1")]
        with pytest.raises(TooLarge, match=f"indexDepth of {depth - 1}"):
            await images.resolve(content, index_depth=depth - 1)


async def test_manifests_of_all_indexes_are_bounded() -> None:
    """One index listed twice counts twice: what multiplies is not followed."""
    images = Images()
    inner = images.index(*[listed(images.image(str(number)), AMD64) for number in range(3)])
    outer = images.index(nested(inner), nested(inner), listed(images.image("9"), AMD64))
    assert len((await images.resolve(outer, index_manifests=7)).platforms) == 7
    with pytest.raises(TooLarge, match="indexManifests is 6"):
        await images.resolve(outer, index_manifests=6)


@pytest.mark.parametrize(
    ("change", "answer", "error"),
    [
        ({"size": 1}, None, Malformed),
        ({}, Answer(404), NotFound),
        ({}, manifest_answer(b"{}", INDEX), Malformed),  # other bytes
        ({"digest": sha256(manifest_bytes(config_bytes("1"))), "size": 490}, None, Malformed),  # an image
    ],
)
async def test_an_inner_index_that_is_none(
    change: dict[str, Any], answer: Answer | None, error: type[RegistryError]
) -> None:
    images = Images()
    inner = images.index(listed(images.image("1"), AMD64))
    if answer is not None:
        images.routes[f"/v2/acme/web/manifests/{sha256(inner)}"] = answer
    with pytest.raises(error):
        await images.resolve(images.index(nested(inner) | change))


async def test_a_platform_that_a_digest_names_is_judged_whatever_it_is() -> None:
    images = Images()
    child = images.image("0", S390X)
    images.index(listed(images.image("1"), AMD64), listed(child, S390X))
    async with serve_faulty(images.routes) as server, client(server) as asking:
        image = await asking.resolve(sha256(child))
    assert (image.digest, image.is_index) == (sha256(child), False)
    assert [(one.platform, one.config.user) for one in image.platforms] == [(S390X, "0")]


async def test_urls_of_a_descriptor_are_never_followed() -> None:
    """Whatever the registry lacks: somebody else's address is no place to have it from (CVE-2020-15157)."""
    config = config_bytes("1")
    async with serve_faulty() as elsewhere, serve_faulty() as server, client(server) as asking:
        elsewhere.default = Answer(body=config)
        urls = [f"http://{elsewhere.host}/config"]
        manifest = manifest_bytes(
            config,
            config=descriptor(CONFIG, config, urls=urls),
            layers=[descriptor(LAYER, b"layer", urls=urls)],
        )
        server.routes |= manifest_route("acme/web", "1", manifest)
        assert type(await asking.failure()) is NotFound
        server.routes |= manifest_route("acme/web", "1", index_bytes([listed(manifest, AMD64) | {"urls": urls}]), INDEX)
        assert type(await asking.failure()) is NotFound
    assert elsewhere.connections == 0
