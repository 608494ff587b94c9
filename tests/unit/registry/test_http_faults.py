"""A registry that is down, slow, lying or hostile: each fault is its own error, and nothing else leaves."""

import json
import ssl
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import trustme

from fakes.faulty import Answer, Asked, FaultyServer, serve_faulty
from fakes.oci import config_bytes, image_routes, index_bytes, listed, manifest_answer, manifest_bytes
from fakes.registry import AMD64, ARM64, CONFIG, INDEX, LAYER, MANIFEST, sha256
from portcullis.errors import (
    Denied,
    DigestMismatch,
    Malformed,
    NotAllowed,
    NotFound,
    RegistryError,
    Throttled,
    TooLarge,
    Unreachable,
)
from portcullis.limits import Limits
from portcullis.model.image import Access, Credential, ImageReference, Repository, ResolvedImage
from portcullis.registry.hosts import HostRules
from portcullis.registry.http import HttpRegistry
from portcullis.registry.keychain import StaticKeychain

pytestmark = pytest.mark.anyio

NOBODY = Access()
PASSWORD = "correct-horse"
LIMITS = Limits(
    flight_seconds=5.0,
    connect_seconds=2.0,
    backoff_seconds=0.001,
    manifest_bytes=20_000,
    config_bytes=20_000,
    token_bytes=5_000,
)
MANIFEST_PATH = "/v2/acme/web/manifests/1"


async def resolve(
    server: FaultyServer,
    *,
    limits: Limits = LIMITS,
    host: str = "",
    rules: HostRules | None = None,
    credential: Credential | None = None,
) -> ResolvedImage:
    """acme/web:1 of that server."""
    registry_host = host or server.host
    listed_hosts = frozenset({server.host, server.name})
    credentials = {registry_host: credential} if credential else {}
    registry = HttpRegistry(
        keychain=StaticKeychain(credentials=credentials),
        hosts=rules or HostRules(insecure=listed_hosts, private=listed_hosts),
        platforms=(AMD64, ARM64),
        limits=limits,
    )
    try:
        return await registry.resolve(ImageReference(Repository(registry_host, "acme/web"), "1", None), NOBODY)
    finally:
        await registry.aclose()


async def failure(server: FaultyServer, **options: object) -> RegistryError:
    with pytest.raises(RegistryError) as caught:
        await resolve(server, **options)  # type: ignore[arg-type]
    assert PASSWORD not in caught.value.message
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 1000
    return caught.value


@dataclass(frozen=True)
class Fault:
    """``answer`` in place of the manifest; ``limits`` where a limit must be small to be met at once."""

    name: str
    answer: Answer | Callable[[Asked], Answer]
    error: type[RegistryError]
    says: str = ""
    limits: Limits = LIMITS


GOOD = manifest_bytes(config_bytes())
DEEP = b'{"schemaVersion":2,"mediaType":"' + MANIFEST.encode() + b'","config":' + b"[" * 10_000 + b"]" * 10_000 + b"}"
SCHEMA_1 = json.dumps({"schemaVersion": 1, "name": "acme/web", "fsLayers": [{"blobSum": sha256(b"")}]}).encode()
HTML = Answer(200, {"Content-Type": "text/html"}, b"<html>Please log in</html>")

FAULTS = [
    Fault("server error", Answer(500, body=b"oops"), Unreachable, "HTTP 500"),
    Fault("bad gateway", Answer(502), Unreachable, "HTTP 502"),
    Fault("too many requests", Answer(429, {"Retry-After": "3600"}), Throttled, "HTTP 429"),
    Fault("forbidden", Answer(403), Denied, "HTTP 403"),
    Fault("legal reasons", Answer(451), Denied, "HTTP 451"),
    Fault("not found", Answer(404), NotFound, "acme/web:1"),
    Fault("a status of no use", Answer(400), Malformed, "HTTP 400"),
    Fault("nothing, with 204", Answer(204), Malformed),
    Fault(
        "never answers",
        Answer(silent=True),
        Unreachable,
        "did not answer in time, within the limit answerSeconds of 0.3, asked for",
        Limits(answer_seconds=0.3),
    ),
    Fault(
        "goes silent in the midst",
        Answer(200, {"Content-Type": MANIFEST}, GOOD[:10], declared=len(GOOD), stalls=True),
        Unreachable,
        "did not answer in time",
        Limits(answer_seconds=0.3),
    ),
    Fault(
        "takes longer than the flight",
        Answer(silent=True),
        Unreachable,
        "within the limit flightSeconds of 0.3",
        Limits(flight_seconds=0.3),
    ),
    Fault("hangs up", Answer(200, {"Content-Type": MANIFEST}, GOOD, declared=len(GOOD) + 10), Malformed, "early"),
    Fault("endless", Answer(200, {"Content-Type": MANIFEST}, b" " * 4096, endless=True), TooLarge, "manifestBytes"),
    Fault("says it is huge", Answer(200, {"Content-Type": MANIFEST}, declared=2**40), TooLarge, "manifestBytes"),
    Fault("is huge", manifest_answer(b"{" + b" " * 20_000 + b"}"), TooLarge, "manifestBytes"),
    Fault("a login page", HTML, Malformed, "JSON"),
    Fault("no JSON", manifest_answer(b"{,}"), Malformed, "JSON"),
    Fault("JSON in UTF-16", manifest_answer(GOOD.decode().encode("utf-16")), Malformed, "JSON"),
    Fault("a list", manifest_answer(b"[]"), Malformed, "no JSON object"),
    Fault("deep JSON", manifest_answer(DEEP, MANIFEST), TooLarge, "jsonDepth", Limits()),
    Fault(
        "another digest than named", manifest_answer(GOOD, **{"Docker-Content-Digest": sha256(b"x")}), DigestMismatch
    ),
    Fault("a digest that is none", manifest_answer(GOOD, **{"Docker-Content-Digest": "sha256:short"}), Malformed),
    Fault("compressed", manifest_answer(GOOD, **{"Content-Encoding": "gzip"}), Malformed, "compressed"),
    Fault(
        "Docker schema 1",
        manifest_answer(SCHEMA_1, "application/vnd.docker.distribution.manifest.v1+prettyjws"),
        Malformed,
        "schema 1",
    ),
    Fault("sent as another type", manifest_answer(GOOD, INDEX), Malformed, "sent as"),
    Fault(
        "both manifest and index", manifest_answer(manifest_bytes(config_bytes(), manifests=[])), Malformed, "at once"
    ),
    Fault("no TLS but a redirect", Answer(307, {"Location": "http://example.com/"}), NotAllowed, "without TLS"),
    Fault("redirect to nowhere", Answer(307), Malformed, "no address"),
    Fault("redirect to a file", Answer(307, {"Location": "file:///etc/passwd"}), Malformed, "no address"),
    Fault("redirect with a password", Answer(302, {"Location": "https://a:b@example.com/"}), Malformed, "no address"),
    Fault(
        "redirect for ever",
        Answer(302, {"Location": MANIFEST_PATH}),
        TooLarge,
        "redirects of 3",
        Limits(redirects=3),
    ),
    Fault("header of 100 kB", Answer(200, {"X-Long": "x" * 100_000}), Malformed, "no HTTP"),
    Fault("unknown authentication", Answer(401, {"WWW-Authenticate": "Negotiate"}), Denied, "negotiate"),
    Fault("401 without a challenge", Answer(401), Denied),
    Fault("broken challenge", Answer(401, {"WWW-Authenticate": 'Bearer realm="'}), Malformed, "RFC 9110"),
    Fault("basic, none configured", Answer(401, {"WWW-Authenticate": "Basic realm=x"}), Denied, "none is configured"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_fault_in_place_of_the_manifest(fault: Fault) -> None:
    async with serve_faulty({**image_routes(), MANIFEST_PATH: fault.answer}) as server:
        error = await failure(server, limits=fault.limits)
    assert type(error) is fault.error
    assert fault.says in error.message
    assert "127.0.0.1" in error.message


async def test_the_routes_that_the_faults_spoil_are_good() -> None:
    async with serve_faulty(image_routes()) as server:
        image = await resolve(server)
    assert (image.digest, image.platforms[0].config.user) == (sha256(GOOD), "10001")


async def test_nothing_listens() -> None:
    async with serve_faulty() as server:
        pass
    error = await failure(server)
    assert type(error) is Unreachable
    assert error.message == f"no connection to {server.host}: Connection refused"


async def test_a_name_that_does_not_resolve() -> None:
    async with serve_faulty() as server:
        error = await failure(server, host="registry.invalid")
    assert type(error) is Unreachable
    assert "registry.invalid" in error.message


@pytest.mark.parametrize("host", [f"{'a' * 70}.example", "127.1:80", "0x7f.1:80"])
async def test_a_host_that_is_none_is_never_asked(host: str) -> None:
    async with serve_faulty() as server:
        error = await failure(server, host=host)
    assert isinstance(error, NotAllowed | Unreachable)


async def test_a_certificate_of_a_stranger() -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    async with serve_faulty(image_routes(), tls=context) as strange:
        rules = HostRules(private=frozenset({strange.name}))
        error = await failure(strange, host=strange.name, rules=rules)
    assert type(error) is Unreachable
    assert "not trusted: unable to get local issuer certificate" in error.message
    assert strange.asked == []


async def test_plain_http_where_tls_is_due() -> None:
    async with serve_faulty(image_routes()) as server:
        rules = HostRules(private=frozenset({server.host}))
        error = await failure(server, rules=rules, limits=Limits(connect_seconds=0.3))
    assert type(error) is Unreachable
    assert server.asked == []


@pytest.mark.parametrize("host", ["host", "name"])
@pytest.mark.parametrize("private", [(), ("localhost.example", "127.0.0.2", "127.0.0.1:1", "localhost:1")])
async def test_an_address_that_is_not_listed_is_not_connected_to(host: str, private: tuple[str, ...]) -> None:
    """A literal address and a name that resolves to it alike."""
    async with serve_faulty(image_routes()) as server:
        asked = str(getattr(server, host))
        error = await failure(server, host=asked, rules=HostRules((), frozenset({asked}), frozenset(private)))
    assert type(error) is NotAllowed
    assert "not public" in error.message
    assert server.connections == 0


@pytest.mark.parametrize("private", [("127.0.0.1", "localhost"), ()])
async def test_a_closed_list_of_registries(private: tuple[str, ...]) -> None:
    async with serve_faulty(image_routes()) as server:
        rules = HostRules(("registry.example",), frozenset({server.host}), frozenset(private))
        error = await failure(server, rules=rules)
    assert type(error) is NotAllowed
    assert "registries.allowed" in error.message
    assert server.connections == 0


@pytest.mark.parametrize("allowed", ["127.0.0.1", "host"])
async def test_a_closed_list_that_holds_the_registry(allowed: str) -> None:
    async with serve_faulty(image_routes()) as server:
        entry = server.host if allowed == "host" else allowed
        rules = HostRules((entry, "docker.io"), frozenset({server.host}), frozenset({server.host}))
        await resolve(server, rules=rules)


async def test_a_redirect_to_a_private_address_is_not_followed() -> None:
    """The registry is listed as private; where it sends to is not."""
    async with serve_faulty(image_routes()) as inner, serve_faulty() as server:
        for target in (inner.host, inner.name):
            server.routes[MANIFEST_PATH] = Answer(307, {"Location": f"http://{target}{MANIFEST_PATH}"})
            hosts = frozenset({server.host})
            error = await failure(server, rules=HostRules((), hosts | {inner.host, inner.name}, hosts))
            assert type(error) is NotAllowed
            assert "not public" in error.message
    assert inner.connections == 0


async def test_a_redirect_leaves_the_credential_behind() -> None:
    """For good: not even a way back carries it again."""
    credential = Credential("ci", PASSWORD)
    challenge = Answer(401, {"WWW-Authenticate": 'Basic realm="registry"'})
    config = f"/v2/acme/web/blobs/{sha256(config_bytes())}"

    def guarded(answer: Answer) -> Callable[[Asked], Answer]:
        return lambda asked: answer if "authorization" in asked.headers else challenge

    async with serve_faulty() as other, serve_faulty(image_routes()) as server:
        server.routes[MANIFEST_PATH] = guarded(Answer(307, {"Location": f"/moved{MANIFEST_PATH}"}))
        server.routes[f"/moved{MANIFEST_PATH}"] = manifest_answer(GOOD)
        server.routes[config] = guarded(Answer(307, {"Location": f"http://{other.name}/away"}))
        other.routes["/away"] = Answer(302, {"Location": f"http://{server.host}/back"})
        server.routes["/back"] = Answer(body=config_bytes())
        hosts = frozenset({server.host, other.name})
        image = await resolve(server, rules=HostRules((), hosts, hosts), credential=credential)
    assert image.platforms[0].config.user == "10001"
    assert [bool(one) for one in server.authorizations(f"/moved{MANIFEST_PATH}")] == [True]
    assert other.authorizations("/away") == [None]
    assert server.authorizations("/back") == [None]


async def test_a_kept_connection_that_was_closed_is_opened_again() -> None:
    routes = image_routes()
    manifest = manifest_answer(GOOD)
    routes[MANIFEST_PATH] = Answer(200, manifest.headers, manifest.body, hang_up=True)
    async with serve_faulty(routes) as server:
        assert (await resolve(server)).digest == sha256(GOOD)
    assert server.connections == 2


async def test_a_connection_reset_is_an_outage() -> None:
    async with serve_faulty({MANIFEST_PATH: Answer(200, declared=100, reset=True)}) as server:
        error = await failure(server)
    assert isinstance(error, Unreachable | Malformed)


async def test_lying_configurations_and_children() -> None:
    config = config_bytes()
    path = f"/v2/acme/web/blobs/{sha256(config)}"
    bad: list[tuple[Answer, type[RegistryError]]] = [
        (Answer(body=config.replace(b"10001", b"00000")), DigestMismatch),
        (Answer(body=config + b" "), DigestMismatch),
        (Answer(body=b" " * 4096, endless=True), TooLarge),
        (Answer(404), NotFound),
        (Answer(body=config[:10], declared=len(config)), Malformed),
    ]
    for answer, expected in bad:
        async with serve_faulty({**image_routes(), path: answer}) as server:
            assert type(await failure(server)) is expected


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"config": {"mediaType": CONFIG, "digest": sha256(config_bytes()), "size": 1}}, Malformed),
        ({"config": {"mediaType": CONFIG, "digest": sha256(config_bytes()), "size": 10**9}}, TooLarge),
        (
            {"config": {"mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": sha256(b""), "size": 1}},
            Malformed,
        ),
        ({"layers": [{"mediaType": LAYER, "digest": sha256(b"x"), "size": 1}] * 501}, TooLarge),
        ({"layers": [{"mediaType": LAYER, "digest": "sha256:zz", "size": 1}]}, Malformed),
        ({"layers": [{"mediaType": LAYER, "digest": sha256(b"x"), "size": -1}]}, Malformed),
        ({"layers": None}, Malformed),
        ({"schemaVersion": 3}, Malformed),
    ],
)
async def test_manifests_that_lie(change: dict[str, object], error: type[RegistryError]) -> None:
    manifest = manifest_bytes(config_bytes(), **change)
    async with serve_faulty({**image_routes(), MANIFEST_PATH: manifest_answer(manifest)}) as server:
        limits = Limits(manifest_bytes=10**6, config_bytes=20_000)
        assert type(await failure(server, limits=limits)) is error


async def test_a_child_that_is_not_what_its_index_says() -> None:
    child = manifest_bytes(config_bytes())
    path = f"/v2/acme/web/manifests/{sha256(child)}"
    good = listed(child, AMD64)
    cases: list[tuple[dict[str, object], Answer, type[RegistryError]]] = [
        (good, manifest_answer(child + b" "), DigestMismatch),
        (good | {"size": 1}, manifest_answer(child), Malformed),
        (good, manifest_answer(child, INDEX), Malformed),
        (good, Answer(404), NotFound),
        (good, Answer(500), Unreachable),
        (good | {"mediaType": INDEX}, manifest_answer(child), Malformed),
        (good | {"mediaType": "application/wasm"}, manifest_answer(child), Malformed),
    ]
    for entry, answer, expected in cases:
        index = manifest_answer(index_bytes([entry]), INDEX)
        async with serve_faulty({**image_routes(), MANIFEST_PATH: index, path: answer}) as server:
            assert type(await failure(server)) is expected


async def test_an_index_with_too_many_children() -> None:
    index = index_bytes([listed(GOOD, AMD64)] * 4)
    async with serve_faulty({MANIFEST_PATH: manifest_answer(index, INDEX)}) as server:
        error = await failure(server, limits=Limits(index_children=3))
    assert type(error) is TooLarge
    assert "indexChildren" in error.message


async def test_an_image_with_too_many_layers() -> None:
    layer = {"mediaType": LAYER, "digest": sha256(b"x"), "size": 1}
    manifest = manifest_answer(manifest_bytes(config_bytes(), layers=[layer] * 4))
    async with serve_faulty({**image_routes(), MANIFEST_PATH: manifest}) as server:
        assert len((await resolve(server, limits=Limits(image_layers=4))).platforms[0].layers) == 4
        error = await failure(server, limits=Limits(image_layers=3))
    assert type(error) is TooLarge
    assert "imageLayers is 3" in error.message
