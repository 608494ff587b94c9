"""What the client makes of answers that are good: types, referrers, pages, tags."""

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fakes.faulty import Answer, FaultyServer, Route, serve_faulty
from fakes.oci import (
    DOCKER_CONFIG,
    DOCKER_MANIFEST,
    blob_route,
    config_bytes,
    descriptor,
    image_routes,
    index_bytes,
    listed,
    manifest_answer,
    manifest_bytes,
    manifest_route,
)
from fakes.registry import AMD64, ARM64, EMPTY, INDEX, MANIFEST, sha256
from portcullis.errors import Denied, Malformed, RegistryError, Throttled, TooLarge, Unreachable
from portcullis.limits import Limits
from portcullis.model.evidence import CarrierKind
from portcullis.model.image import Access, Digest, ImageReference, Platform, Repository, ResolvedImage
from portcullis.registry.hosts import HostRules
from portcullis.registry.http import HttpRegistry, fallback_tag
from portcullis.registry.keychain import StaticKeychain

pytestmark = pytest.mark.anyio

NOBODY = Access()
CONFIG = config_bytes()
GOOD = manifest_bytes(CONFIG)
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
REFERRERS = f"/v2/acme/web/referrers/{sha256(GOOD)}"
FALLBACK = f"/v2/acme/web/manifests/sha256-{sha256(GOOD).hex}"


@contextlib.asynccontextmanager
async def client(server: FaultyServer, **limits: Any) -> AsyncIterator[HttpRegistry]:
    hosts = frozenset({server.host})
    registry = HttpRegistry(
        keychain=StaticKeychain(credentials={}),
        hosts=HostRules((), hosts, hosts),
        platforms=(AMD64, ARM64),
        limits=Limits(**{"flight_seconds": 5.0, **limits}),
    )
    try:
        yield registry
    finally:
        await registry.aclose()


async def resolve(routes: dict[str, Route], digest: Digest | None = None) -> ResolvedImage:
    async with serve_faulty(routes) as server, client(server) as registry:
        return await registry.resolve(ImageReference(Repository(server.host, "acme/web"), "1", digest), NOBODY)


async def test_docker_schema_2() -> None:
    manifest = manifest_bytes(CONFIG, mediaType=DOCKER_MANIFEST, config=descriptor(DOCKER_CONFIG, CONFIG))
    routes = manifest_route("acme/web", "1", manifest, DOCKER_MANIFEST) | blob_route("acme/web", CONFIG)
    assert (await resolve(routes)).media_type == DOCKER_MANIFEST


@pytest.mark.parametrize("content_type", [MANIFEST, f"{MANIFEST}; charset=utf-8", MANIFEST.upper()])
async def test_a_manifest_without_media_type_is_what_it_was_sent_as(content_type: str) -> None:
    manifest = manifest_bytes(CONFIG, mediaType=None)
    routes = manifest_route("acme/web", "1", manifest, content_type) | blob_route("acme/web", CONFIG)
    assert (await resolve(routes)).digest == sha256(manifest)


async def test_a_digest_of_sha512() -> None:
    digest = Digest(f"sha512:{hashlib.sha512(GOOD).hexdigest()}")
    routes = manifest_route("acme/web", digest, GOOD) | blob_route("acme/web", CONFIG)
    assert (await resolve(routes, digest)).digest == digest


async def test_a_tag_whose_registry_names_a_sha512_is_known_by_its_sha256() -> None:
    named = f"sha512:{hashlib.sha512(GOOD).hexdigest()}"
    routes = blob_route("acme/web", CONFIG)
    routes["/v2/acme/web/manifests/1"] = manifest_answer(GOOD, **{"Docker-Content-Digest": named})
    assert (await resolve(routes)).digest == sha256(GOOD)


async def test_children_without_a_platform_are_judged_where_one_is_missing() -> None:
    """The platform is then that of the configuration."""
    bare_config = config_bytes("0", Platform("linux", "arm64"))
    bare = manifest_bytes(bare_config)
    index = index_bytes([listed(GOOD, AMD64), listed(bare)])
    routes = image_routes() | manifest_route("acme/web", sha256(bare), bare) | blob_route("acme/web", bare_config)
    routes |= manifest_route("acme/web", "1", index, INDEX)
    image = await resolve(routes)
    assert [(one.platform, one.config.user) for one in image.platforms] == [(AMD64, "10001"), (ARM64, "0")]


async def test_attestations_in_an_index_are_not_fetched() -> None:
    hidden = listed(b"attestation", Platform("unknown", "unknown"))
    index = index_bytes([listed(GOOD, AMD64), hidden])
    image = await resolve(image_routes() | manifest_route("acme/web", "1", index, INDEX))
    assert [one.digest for one in image.platforms] == [sha256(GOOD)]


async def test_a_slow_child_ends_with_the_flight() -> None:
    index = index_bytes([listed(GOOD, AMD64)])
    routes = manifest_route("acme/web", "1", index, INDEX)
    routes[f"/v2/acme/web/manifests/{sha256(GOOD)}"] = Answer(silent=True)
    async with serve_faulty(routes) as server, client(server, flight_seconds=0.3) as registry:
        with pytest.raises(Unreachable):
            await registry.resolve(ImageReference(Repository(server.host, "acme/web"), "1", None), NOBODY)


async def test_cancelling_stops_the_request() -> None:
    async with serve_faulty({"/v2/acme/web/manifests/1": Answer(silent=True)}) as server, client(server) as registry:
        reference = ImageReference(Repository(server.host, "acme/web"), "1", None)
        asking = asyncio.create_task(registry.resolve(reference, NOBODY))
        while not server.asked:
            await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking


def referrer(name: str, artifact_type: str = BUNDLE) -> dict[str, Any]:
    return descriptor(MANIFEST, name.encode(), artifactType=artifact_type, annotations={"name": name})


def page(*referrers: dict[str, Any], **headers: str) -> Answer:
    return Answer(200, {"Content-Type": INDEX, **headers}, index_bytes(referrers))


async def referrers(
    routes: dict[str, Route], artifact_type: str | None = None, **limits: Any
) -> tuple[CarrierKind, list[str]]:
    """Kind, and names of those found."""
    async with serve_faulty(routes) as server, client(server, **limits) as registry:
        image = ResolvedImage(
            ImageReference(Repository(server.host, "acme/web"), "1", None), sha256(GOOD), MANIFEST, False, ()
        )
        for path, route in server.routes.items():
            if isinstance(route, Answer) and "Link" in route.headers:
                headers = {**route.headers, "Link": route.headers["Link"].replace("SELF", f"http://{server.host}")}
                server.routes[path] = Answer(route.status, headers, route.body)
        kind, found = await registry.referrers(image, artifact_type, NOBODY)
        return kind, [one.annotations["name"] for one in found]


FOUND_BY_API = (CarrierKind.REFERRER, ["a", "b"])
FOUND_BY_TAG = (CarrierKind.FALLBACK_TAG, ["a"])


async def test_referrers_in_the_order_of_the_registry() -> None:
    assert await referrers({REFERRERS: page(referrer("b"), referrer("a"))}) == (CarrierKind.REFERRER, ["b", "a"])


async def test_the_registry_is_not_asked_to_filter_and_the_empty_type_is_kept() -> None:
    """cosign writes the empty type where the true one belongs."""
    answer = page(referrer("a"), referrer("other", "application/sarif+json"), referrer("b", EMPTY))
    assert await referrers({REFERRERS: answer}, BUNDLE) == FOUND_BY_API


@pytest.mark.parametrize("status", [404, 405])
async def test_the_fallback_tag_where_there_is_no_api(status: int) -> None:
    routes: dict[str, Route] = {REFERRERS: Answer(status, body=b"page not found"), FALLBACK: page(referrer("a"))}
    assert await referrers(routes) == FOUND_BY_TAG


async def test_the_fallback_tag_where_the_api_is_empty() -> None:
    assert await referrers({REFERRERS: page(), FALLBACK: page(referrer("a"))}) == FOUND_BY_TAG
    assert await referrers({REFERRERS: page()}) == (CarrierKind.REFERRER, [])


async def test_the_fallback_tag_is_not_asked_for_where_the_api_has_some() -> None:
    routes: dict[str, Route] = {REFERRERS: page(referrer("a"), referrer("b")), FALLBACK: Answer(500)}
    assert await referrers(routes) == FOUND_BY_API


async def test_nothing_anywhere() -> None:
    assert await referrers({}) == (CarrierKind.FALLBACK_TAG, [])


@pytest.mark.parametrize(
    "link", ['<SELF/next>; rel="next"', "</next>; rel=next", '<x>; rel="prev", <../../../../next>; rel="next"']
)
async def test_pages(link: str) -> None:
    routes: dict[str, Route] = {REFERRERS: page(referrer("a"), Link=link), "/next": page(referrer("b"))}
    assert await referrers(routes) == FOUND_BY_API


PAGES = "limit referrersPages of 3"


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        (Answer(500), Unreachable, "500"),
        (Answer(403), Denied, "403"),
        (Answer(429), Throttled, "429"),
        (Answer(200, {"Content-Type": "text/html"}, b"<html>"), Malformed, "text/html"),
        (Answer(200, {"Content-Type": INDEX}, b"[]"), Malformed, "no JSON object"),
        (Answer(200, {"Content-Type": "application/json"}, index_bytes([])), Malformed, "OCI index"),
        (Answer(200, {"Content-Type": INDEX}, index_bytes([{"digest": "x"}])), Malformed, "no size"),
        (page(*[referrer(str(number)) for number in range(6)]), TooLarge, "limit referrers is 5"),
        (page(Link=f"<{REFERRERS}?page=1>; rel=next"), TooLarge, PAGES),
        (page(Link="<http://localhost/next>; rel=next"), Malformed, "another host"),
        (page(Link="<https://attacker.example/next>; rel=next"), Malformed, "another host"),
        (page(referrer("a"), Link="</missing>; rel=next"), Malformed, "not there"),
    ],
)
async def test_referrers_that_fail(answer: Answer, error: type[RegistryError], says: str) -> None:
    with pytest.raises(error, match=says):
        await referrers({REFERRERS: answer}, referrers=5, referrers_pages=3)


async def test_too_many_over_pages() -> None:
    three = [referrer(str(number)) for number in range(3)]
    routes: dict[str, Route] = {REFERRERS: page(*three, Link="</next>; rel=next"), "/next": page(*three)}
    with pytest.raises(TooLarge):
        await referrers(routes, referrers=5)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (manifest_answer(GOOD), Malformed),
        (Answer(500), Unreachable),
        (Answer(401), Denied),
        (page(*[referrer(str(number)) for number in range(6)]), TooLarge),
    ],
)
async def test_fallback_tags_that_fail(answer: Answer, error: type[RegistryError]) -> None:
    with pytest.raises(error):
        await referrers({FALLBACK: answer}, referrers=5)


def test_the_fallback_tag_of_each_algorithm() -> None:
    assert fallback_tag(sha256(b"")) == f"sha256-{sha256(b'').hex}"
    assert fallback_tag(Digest("sha512:" + "ab" * 64)) == "sha512-" + "ab" * 32


async def test_blobs_come_in_pieces_and_are_checked_at_their_end() -> None:
    content = bytes(300_000)
    path = f"/v2/acme/web/blobs/{sha256(content)}"
    async with serve_faulty({path: Answer(body=content)}) as server, client(server) as registry:
        place = Repository(server.host, "acme/web")
        pieces = [piece async for piece in registry.blob(place, sha256(content), len(content), NOBODY)]
        assert b"".join(pieces) == content
        assert len(pieces) > 1
        server.routes[path] = Answer(body=content[:-1] + b"x")
        with pytest.raises(Malformed):
            async for _ in registry.blob(place, sha256(content), len(content), NOBODY):
                pass
        server.routes[path] = Answer(200, {}, b"x" * 1000, endless=True)
        with pytest.raises(TooLarge):
            async for _ in registry.blob(place, sha256(content), len(content), NOBODY):
                pass


async def test_a_blob_that_is_left_early_can_be_left() -> None:
    content = bytes(3_000_000)
    path = f"/v2/acme/web/blobs/{sha256(content)}"
    async with serve_faulty({path: Answer(body=content)}) as server, client(server) as registry:
        stream = registry.blob(Repository(server.host, "acme/web"), sha256(content), len(content), NOBODY)
        async for _ in stream:
            break
        assert hasattr(stream, "aclose")
        await stream.aclose()


async def test_what_a_request_says() -> None:
    async with serve_faulty(image_routes()) as server, client(server) as registry:
        await registry.resolve(ImageReference(Repository(server.host, "acme/web"), "1", None), NOBODY)
        headers = server.asked[0].headers
        assert {MANIFEST, INDEX} <= set(headers["accept"].split(", "))
        assert headers["accept-encoding"] == "identity"
        assert headers["user-agent"].startswith("portcullis/")
        assert "cookie" not in headers


async def test_cookies_are_not_kept() -> None:
    routes = image_routes()
    routes["/v2/acme/web/manifests/1"] = manifest_answer(GOOD, **{"Set-Cookie": "session=1; Path=/"})
    async with serve_faulty(routes) as server, client(server) as registry:
        await registry.resolve(ImageReference(Repository(server.host, "acme/web"), "1", None), NOBODY)
        assert len(server.asked) == 2
        assert all("cookie" not in asked.headers for asked in server.asked)


async def test_large_documents_are_read_like_small_ones() -> None:
    """They are read in a thread; errors come back from there, too."""
    config = json.loads(CONFIG)
    config["history"] = [{"created_by": f"RUN {number}", "comment": "x" * 200} for number in range(1000)]
    large = json.dumps(config).encode()
    annotations = {f"key-{number}": "x" * 100 for number in range(2000)}
    manifest = manifest_bytes(large, annotations=annotations)
    routes = manifest_route("acme/web", "1", manifest) | blob_route("acme/web", large)
    image = await resolve(routes)
    assert len(image.platforms[0].config.history) == 1000
    for broken in (large.replace(b"RUN 999", b"RUN \xff"), large.replace(b"created_by", b"CREATED_BY")):
        manifest = manifest_bytes(broken, annotations=annotations)
        with pytest.raises(Malformed):
            await resolve(manifest_route("acme/web", "1", manifest) | blob_route("acme/web", broken))
