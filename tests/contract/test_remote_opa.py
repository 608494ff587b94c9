"""What only an OPA that others run can do: forget, refuse, lie, be shared."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import ClientSession, web

from contract.test_engine import DOCUMENT, EXPENSIVE, NAMES, eventually, judge, messages, processor_seconds, soon
from fakes import opa
from fakes.remoteopa import OtherOpa
from portcullis.errors import ConfigError, EngineMalformed, EngineTimeout, EngineUnavailable
from portcullis.limits import DEFAULT_LIMITS
from portcullis.policy.client import Destination
from portcullis.policy.opa import OpaEngine
from portcullis.policy.publication import root_of
from portcullis.policy.remote import SEEN, RemoteOpa
from portcullis.server.clock import SystemClock
from portcullis.server.engines import serving_of
from portcullis.server.settings import Settings

pytestmark = [pytest.mark.anyio, pytest.mark.opa]

NEW = opa.policy("names", 'deny contains "new"')


@pytest.fixture
def other(opa_binary: Path) -> Iterator[OtherOpa]:
    started = OtherOpa(opa_binary)
    yield started
    started.close()


@asynccontextmanager
async def engine_over(serving: RemoteOpa) -> AsyncIterator[OpaEngine]:
    try:
        yield OpaEngine(supervisor=serving, clock=SystemClock(), limits=DEFAULT_LIMITS)
    finally:
        await serving.aclose()


async def call(other: OtherOpa, method: str, path: str, body: str = "") -> Any:
    async with ClientSession() as session, session.request(method, f"{other.base}/v1/{path}", data=body) as answer:
        text = await answer.text()
        return json.loads(text).get("result") if text else None


async def test_two_sets_in_one_OPA(other: OtherOpa) -> None:  # noqa: N802 - its name
    async with engine_over(other.serving()) as one, engine_over(other.serving()) as two:
        older = await one.compile(opa.bundle(NAMES))
        newer = await two.compile(opa.bundle(NEW))
        assert messages(await judge(one, older)) == ["web"]
        assert messages(await judge(two, newer)) == ["new"]


async def test_parameters_of_a_place(other: OtherOpa) -> None:
    source = opa.policy("a", "deny contains data.portcullis.parameters.a.word")
    async with engine_over(other.serving()) as engine:
        compiled = await engine.compile(opa.bundle(source, parameters={"a": {"word": "general"}}))
        assert messages(await judge(engine, compiled)) == ["general"]
        ruling = await engine.evaluate(compiled, ["a"], DOCUMENT, soon(), {"a": {"word": "special"}})
        assert messages(ruling) == ["special"]


async def test_an_OPA_that_started_anew_gets_the_set_within_the_request(other: OtherOpa) -> None:  # noqa: N802
    serving = other.serving()
    async with engine_over(serving) as engine:
        compiled = await engine.compile(opa.bundle(NAMES))
        other.stop()
        with pytest.raises(EngineUnavailable):
            await judge(engine, compiled)
        assert not serving.healthy
        assert other.address in serving.problem
        other.start()
        assert [messages(one) for one in await asyncio.gather(*(judge(engine, compiled) for _ in range(4)))] == [
            ["web"]
        ] * 4
        assert serving.restarts == 1


async def test_readiness_follows_without_a_request(other: OtherOpa) -> None:
    serving = other.serving(probe_seconds=0.05)
    async with engine_over(serving) as engine:
        await engine.compile(opa.bundle(NAMES))
        assert serving.healthy
        other.stop()
        await eventually(lambda: not serving.healthy)
        other.start()
        await eventually(lambda: serving.healthy)


async def test_the_deadline_stops_the_evaluation_there(other: OtherOpa) -> None:
    async with engine_over(other.serving()) as engine:
        compiled = await engine.compile(opa.bundle(EXPENSIVE))
        with pytest.raises(EngineTimeout):
            await engine.evaluate(compiled, ["expensive"], DOCUMENT, soon(0.3))
        before = processor_seconds(other.pid)
        await asyncio.sleep(1)
        assert processor_seconds(other.pid) - before < 0.5, "it goes on evaluating"


async def test_what_is_changed_there_is_put_back(other: OtherOpa) -> None:
    shared = opa.library("words", 'word := "right"')
    source = opa.policy("a", "import data.portcullis.lib.words\ndeny contains words.word")
    async with engine_over(other.serving(probe_seconds=0.05, renew_seconds=0.05)) as engine:
        compiled = await engine.compile(opa.bundle(source, shared))
        root = root_of(compiled.revision)
        await call(
            other, "PUT", f"policies/portcullis/{root}/0", f'package {root}.portcullis.lib.words\nword := "wrong"'
        )
        async with asyncio.timeout(20):
            while messages(await judge(engine, compiled)) != ["right"]:
                await asyncio.sleep(0.05)


async def test_sets_that_nobody_uses_are_removed(other: OtherOpa) -> None:
    rhythm: dict[str, Any] = {"probe_seconds": 0.05, "renew_seconds": 0.05, "forgotten_seconds": 0.4}
    await call(other, "PUT", "policies/mine", "package mine\na := 1")
    await call(other, "PUT", f"data/{SEEN}", json.dumps({"mine": {"word": "x", "modules": 3}, "portcullis_x": 1}))
    async with engine_over(other.serving()) as gone:
        left = root_of((await gone.compile(opa.bundle(NAMES, opa.library("a", "b := 1")))).revision)
    async with engine_over(other.serving(**rhythm)) as engine:
        compiled = await engine.compile(opa.bundle(NEW))
        kept = root_of(compiled.revision)
        async with asyncio.timeout(20):
            while left in await call(other, "GET", f"data/{SEEN}"):
                await asyncio.sleep(0.05)
        await asyncio.sleep(1)
        assert messages(await judge(engine, compiled)) == ["new"]
    ids = {module["id"] for module in await call(other, "GET", "policies")}
    assert {one.split("/")[1] for one in ids if one.startswith("portcullis/")} == {kept}
    assert "mine" in ids
    assert left not in await call(other, "GET", "data")


async def test_a_token_that_does_not_count(opa_binary: Path) -> None:
    other = OtherOpa(opa_binary, authorized=True)
    try:
        for token in ("", "wrong"):
            async with engine_over(other.serving(token=token)) as engine:
                with pytest.raises(EngineUnavailable, match=r"does not let us in \(401\)"):
                    await engine.compile(opa.bundle(NAMES))
    finally:
        other.close()


# -- who stands between ------------------------------------------------------------

Handler = Callable[[web.Request, bytes], Awaitable[web.StreamResponse] | None]


@asynccontextmanager
async def between(other: OtherOpa, meddle: Handler) -> AsyncIterator[RemoteOpa]:
    """What speaks to ``other`` through somebody who answers himself where ``meddle`` says so."""

    async def pass_on(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        own = meddle(request, body)
        if own is not None:
            return await own
        async with (
            ClientSession() as session,
            session.request(request.method, f"{other.base}{request.path_qs}", data=body) as answer,
        ):
            return web.Response(status=answer.status, body=await answer.read())

    application = web.Application(client_max_size=2**24)
    application.router.add_route("*", "/{path:.*}", pass_on)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    serving = RemoteOpa(
        destination=lambda: Destination(base=f"http://127.0.0.1:{port}"),
        name="between",
        binary=None,
        limits=DEFAULT_LIMITS,
    )
    try:
        yield serving
    finally:
        await serving.aclose()
        await runner.cleanup()


async def answered(status: int, body: bytes, **headers: str) -> web.StreamResponse:
    return web.Response(status=status, body=body, headers=headers)


async def without_end(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" " * 1_000_000)


MEDDLING: dict[str, tuple[Handler, type[Exception], str]] = {
    "redirect": (
        lambda request, _: answered(307, b"", Location=f"http://127.0.0.1:9{request.path}"),
        EngineUnavailable,
        "status 307",
    ),
    "busy": (lambda _, __: answered(503, b"busy"), EngineUnavailable, "status 503"),
    "another-policy": (
        lambda request, _: answered(200, b'{"result":{"raw":"package x"}}') if request.method == "GET" else None,
        EngineMalformed,
        "gives back another policy",
    ),
    "other-data": (
        lambda request, _: (
            answered(200, b'{"result":{"a":1}}') if request.method == "GET" and "/data/" in request.path else None
        ),
        EngineMalformed,
        "gives back other data",
    ),
    "takes-nothing": (
        lambda request, _: answered(400, b"no") if request.method == "PUT" and "/policies/" in request.path else None,
        EngineMalformed,
        "refuses the policies",
    ),
    "nonsense": (lambda _, __: answered(200, b"<html>"), EngineMalformed, "gives back another policy"),
    "without-end": (
        lambda request, _: without_end(request) if request.method == "PUT" else None,
        EngineMalformed,
        "more than was asked for",
    ),
}


@pytest.mark.parametrize("name", MEDDLING)
async def test_who_answers_otherwise_is_found_out_before_anything_is_judged(other: OtherOpa, name: str) -> None:
    meddle, error, words = MEDDLING[name]
    async with between(other, meddle) as serving, engine_over(serving) as engine:
        with pytest.raises(error, match=words):
            await engine.compile(opa.bundle(NAMES))
        assert not serving.healthy


@pytest.mark.parametrize("body", [b"{}", b'{"result":{"revision":"sha256:0","results":{}}}', b"<html>", b"[]"])
async def test_an_answer_from_nowhere_is_never_no_violation(other: OtherOpa, body: bytes) -> None:
    answers = lambda request, sent: answered(200, body) if b'"web"' in sent else None  # noqa: E731
    async with between(other, answers) as serving, engine_over(serving) as engine:
        compiled = await engine.compile(opa.bundle(NAMES))
        try:
            ruling = await judge(engine, compiled)
        except (EngineUnavailable, EngineMalformed):
            return
        assert ruling.judged == frozenset()
        assert {failure.reason for failure in ruling.failed} == {"policy-undefined"}


async def test_proxies_of_the_environment_are_not_used(other: OtherOpa, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with engine_over(other.serving()) as engine:
        assert messages(await judge(engine, await engine.compile(opa.bundle(NAMES)))) == ["web"]


# -- as the configuration says ------------------------------------------------------------


async def test_tls_by_the_authorities_of_the_file_and_no_others(other: OtherOpa, tmp_path: Path) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    stranger.cert_pem.write_to_path(str(tmp_path / "stranger.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    (tmp_path / "token").write_text("secret\n")
    seen: set[str] = set()

    async def pass_on(request: web.Request) -> web.Response:
        seen.add(request.headers.get("Authorization", ""))
        body = await request.read()
        async with (
            ClientSession() as session,
            session.request(request.method, f"{other.base}{request.path_qs}", data=body) as answer,
        ):
            return web.Response(status=answer.status, body=await answer.read())

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", pass_on)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    address = f"https://127.0.0.1:{runner.addresses[0][1]}"
    try:
        for file, accepted in (("ca.pem", True), ("stranger.pem", False)):
            tree = {"opa": {"address": address, "caFile": str(tmp_path / file), "tokenFile": str(tmp_path / "token")}}
            serving = serving_of(Settings.from_tree(tree), DEFAULT_LIMITS)
            engine = OpaEngine(supervisor=serving, clock=SystemClock(), limits=DEFAULT_LIMITS)
            try:
                compiled = await engine.compile(opa.bundle(NAMES))
                assert accepted
                assert messages(await judge(engine, compiled)) == ["web"]
            except EngineUnavailable:
                assert not accepted
            finally:
                await serving.aclose()
    finally:
        await runner.cleanup()
    assert seen == {"Bearer secret"}


WRONG = {
    "no address": ({"tokenFile": "x"}, "for the OPA at an address"),
    "no port": ({"address": "https://opa"}, "is expected"),
    "a path": ({"address": "https://opa:8181/v1"}, "is expected"),
    "a user": ({"address": "https://me:secret@opa:8181"}, "is expected"),
    "plain": ({"address": "http://opa:8181"}, "needs insecure"),
    "looks like loopback": ({"address": "http://127.0.0.1.example:8181"}, "needs insecure"),
    "authorities without TLS": ({"address": "http://127.0.0.1:8181", "caFile": "x"}, "caFile is for https"),
    "no such token": ({"address": "http://127.0.0.1:8181", "tokenFile": "nowhere"}, "cannot be read"),
    "an empty token": ({"address": "http://127.0.0.1:8181", "tokenFile": "empty"}, "holds no token"),
    "no certificate": ({"address": "https://127.0.0.1:8181", "caFile": "empty"}, "holds no certificate"),
}


@pytest.mark.parametrize("name", WRONG)
async def test_a_configuration_that_cannot_be_meant(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section, words = WRONG[name]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").touch()
    with pytest.raises(ConfigError, match=words):
        serving_of(Settings.from_tree({"opa": section}), DEFAULT_LIMITS)
