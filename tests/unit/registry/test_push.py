"""Pushing: what registries answer, and where the credential goes."""

import base64
import json

import pytest

from fakes.faulty import Answer, Asked, FaultyServer, serve_faulty
from fakes.oci import config_bytes, index_bytes, manifest_answer, manifest_bytes
from fakes.registry import EMPTY, INDEX, MANIFEST, sha256
from portcullis.cli.demo.registry import serve_registry
from portcullis.errors import Denied, Malformed, NotAllowed, RegistryError, TooLarge, Unreachable
from portcullis.limits import Limits
from portcullis.model.evidence import CarrierKind
from portcullis.model.image import Access, Credential, Descriptor, ImageReference, Repository, ResolvedImage
from portcullis.registry.hosts import HostRules
from portcullis.registry.http import HttpRegistry
from portcullis.registry.keychain import StaticKeychain
from portcullis.registry.push import Pusher

pytestmark = pytest.mark.anyio

BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
SUBJECT = Descriptor(MANIFEST, sha256(b"subject"), 7)
CI = Credential("ci", "correct-horse")
UPLOAD = "/v2/acme/web/blobs/uploads/"


def pusher(
    host: str, credential: Credential | None = None, limits: Limits | None = None, private: bool = True
) -> Pusher:
    return Pusher(
        keychain=StaticKeychain(credentials={host: credential} if credential else {}),
        hosts=HostRules((), frozenset({host}), frozenset({host} if private else ())),
        limits=limits or Limits(flight_seconds=5.0),
    )


async def attach(push: Pusher, host: str, content: bytes = b"bundle") -> Descriptor:
    return await push.attach(
        Repository(host, "acme/web"),
        SUBJECT,
        artifact_type=BUNDLE,
        layer_media_type=BUNDLE,
        content=content,
        annotations={"a": "b"},
    )


async def test_an_attestation_is_found_again() -> None:
    """Twice the same is once; two are two, in order, with and without the Referrers API."""
    for api, kind in ((True, CarrierKind.REFERRER), (False, CarrierKind.FALLBACK_TAG)):
        async with serve_registry(referrers_api=api) as host:
            push = pusher(host)
            pushed = [await attach(push, host, content) for content in (b"one", b"two", b"one")]
            await push.aclose()
            hosts = frozenset({host})
            registry = HttpRegistry(
                keychain=StaticKeychain(credentials={}),
                hosts=HostRules((), hosts, hosts),
                platforms=(),
                limits=Limits(),
            )
            place = Repository(host, "acme/web")
            image = ResolvedImage(ImageReference(place, "1", None), SUBJECT.digest, MANIFEST, False, ())
            assert await registry.referrers(image, None, Access()) == (kind, (pushed[0], pushed[1]))
            manifest = json.loads((await registry.manifest(place, pushed[0].digest, Access())).content)
            await registry.aclose()
            assert pushed[0] == pushed[2]
            assert manifest["subject"] == {"mediaType": MANIFEST, "digest": SUBJECT.digest, "size": 7}
            assert (manifest["artifactType"], manifest["config"]["mediaType"]) == (BUNDLE, EMPTY)
            assert manifest["annotations"] == {"a": "b"}


def registry_routes(server: FaultyServer, demand: Answer | None = None, accepted: str = "") -> None:
    """A registry that takes everything, behind ``demand`` if given."""

    def behind(answer: Answer) -> object:
        def route(asked: Asked) -> Answer:
            if demand is not None and asked.headers.get("authorization") != accepted:
                return demand
            return Answer(404) if asked.method in {"HEAD", "GET"} else answer

        return route

    created = Answer(201)
    server.routes[UPLOAD] = behind(Answer(202, {"Location": "/upload/1?state=x"}))  # type: ignore[assignment]
    server.routes["/upload/1"] = behind(created)  # type: ignore[assignment]
    for content in (b"bundle", b"{}"):
        server.routes[f"/v2/acme/web/blobs/{sha256(content)}"] = behind(created)  # type: ignore[assignment]


async def test_the_way_of_a_blob() -> None:
    async with serve_faulty() as server:
        registry_routes(server)
        push = pusher(server.host)
        assert await push.blob(Repository(server.host, "acme/web"), b"bundle") == sha256(b"bundle")
        await push.aclose()
        finish = server.asked[-1]
        assert [asked.method for asked in server.asked] == ["HEAD", "POST", "PUT"]
        assert (finish.path, finish.body) == ("/upload/1", b"bundle")
        assert finish.query in {
            f"state=x&digest={sha256(b'bundle')}",
            f"state=x&digest=sha256%3A{sha256(b'bundle').hex}",
        }


async def test_a_blob_that_is_there_is_not_sent() -> None:
    async with serve_faulty({f"/v2/acme/web/blobs/{sha256(b'bundle')}": Answer()}) as server:
        push = pusher(server.host)
        await push.blob(Repository(server.host, "acme/web"), b"bundle")
        await push.aclose()
        assert [asked.method for asked in server.asked] == ["HEAD"]


async def test_pushing_asks_for_the_right_to_push() -> None:
    async with serve_faulty() as server:
        realm = f'Bearer realm="http://{server.host}/token",service="r"'
        registry_routes(server, Answer(401, {"WWW-Authenticate": realm}), "Bearer t")
        server.routes["/token"] = Answer(body=b'{"token":"t"}')
        push = pusher(server.host, CI)
        await push.blob(Repository(server.host, "acme/web"), b"bundle")
        await push.aclose()
        (asked,) = [asked for asked in server.asked if asked.path == "/token"]
        assert "scope=repository:acme/web:pull,push" in asked.query.replace("%2C", ",")
        assert asked.headers["authorization"] == "Basic " + base64.b64encode(b"ci:correct-horse").decode()


@pytest.mark.parametrize(
    "location",
    [
        "http://localhost:1/upload",
        "https://attacker.example/upload",
        "//attacker.example/x",
        "",
        "http://u:p@127.0.0.1/",
    ],
)
async def test_an_upload_that_is_sent_elsewhere_stops(location: str) -> None:
    async with serve_faulty({UPLOAD: Answer(202, {"Location": location})}) as server:
        push = pusher(server.host, CI)
        with pytest.raises(Malformed, match="another host"):
            await push.blob(Repository(server.host, "acme/web"), b"bundle")
        await push.aclose()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(401), Denied),
        (Answer(403), Denied),
        (Answer(500), Unreachable),
        (Answer(307, {"Location": "/elsewhere"}), Malformed),
        (Answer(400), Malformed),
    ],
)
async def test_registries_that_refuse(answer: Answer, error: type[RegistryError]) -> None:
    async with serve_faulty({UPLOAD: answer}) as server:
        push = pusher(server.host)
        with pytest.raises(error):
            await push.blob(Repository(server.host, "acme/web"), b"bundle")
        await push.aclose()


async def test_private_addresses_must_be_listed_for_pushing_too() -> None:
    async with serve_faulty() as server:
        push = pusher(server.host, private=False)
        with pytest.raises(NotAllowed):
            await push.blob(Repository(server.host, "acme/web"), b"bundle")
        await push.aclose()
        assert server.connections == 0


async def test_a_manifest_that_was_kept_as_another_is_an_error() -> None:
    async with serve_faulty(
        {"/v2/acme/web/manifests/1": Answer(201, {"Docker-Content-Digest": sha256(b"x")})}
    ) as server:
        push = pusher(server.host)
        with pytest.raises(Malformed):
            await push.manifest(Repository(server.host, "acme/web"), "1", MANIFEST, b"{}")
        await push.aclose()


FALLBACK = f"/v2/acme/web/manifests/sha256-{SUBJECT.digest.hex}"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (manifest_answer(manifest_bytes(config_bytes())), Malformed),
        (manifest_answer(b"nonsense", INDEX), Malformed),
        (Answer(500), Unreachable),
        (manifest_answer(index_bytes([], annotations={"x": "x" * 5000}), INDEX), TooLarge),
    ],
)
async def test_a_fallback_tag_that_is_none_of_ours_is_left_alone(answer: Answer, error: type[RegistryError]) -> None:
    async with serve_faulty() as server:
        registry_routes(server)
        for content in (b"bundle", b"{}"):
            server.routes[f"/v2/acme/web/blobs/{sha256(content)}"] = Answer()
        written: list[Asked] = []

        def fallback(asked: Asked) -> Answer:
            if asked.method == "PUT":
                written.append(asked)
            return answer

        server.routes[FALLBACK] = fallback
        push = pusher(server.host, limits=Limits(flight_seconds=5.0, manifest_bytes=2000))
        server.default = lambda asked: Answer(201 if asked.method == "PUT" else 404)
        with pytest.raises(error):
            await attach(push, server.host)
        await push.aclose()
        assert written == []


async def test_entries_of_others_stay_as_they_are() -> None:
    """Even fields that nobody here knows."""
    theirs = {"mediaType": MANIFEST, "digest": sha256(b"theirs"), "size": 6, "x-new": [1]}
    async with serve_faulty() as server:
        registry_routes(server)
        server.default = lambda asked: Answer(201 if asked.method == "PUT" else 404)
        server.routes[FALLBACK] = lambda asked: (
            manifest_answer(index_bytes([theirs]), INDEX) if asked.method == "GET" else Answer(201)
        )
        push = pusher(server.host)
        ours = await attach(push, server.host)
        await push.aclose()
        (put,) = [asked for asked in server.asked if asked.path == FALLBACK and asked.method == "PUT"]
        written = json.loads(put.body)
        assert written["manifests"][0] == theirs
        assert [one["digest"] for one in written["manifests"]] == [theirs["digest"], ours.digest]
        assert put.headers["content-type"] == INDEX
