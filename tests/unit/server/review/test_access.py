"""Who is let in at the audit pages, and who is not."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import Response
from starlette.responses import StreamingResponse
from structlog.testing import capture_logs

from fakes.clock import StandingClock
from fakes.readers import HOST, MemoryReviews, send
from fakes.sites import FORM, SECRET, Site, encoded, proxied
from portcullis.errors import ClusterError, ConfigError
from portcullis.limits import Limits
from portcullis.model.subject import Subject
from portcullis.server.pagesections import PagesSection
from portcullis.server.review.accessopening import access_of
from portcullis.server.review.assets import address_of_asset

pytestmark = pytest.mark.anyio

# -- loopback ----------------------------------------------------------------------------------------------------------


async def test_on_loopback_whoever_reaches_the_port_reads_everything(tmp_path: Path) -> None:
    answered = await Site(tmp_path).who()
    assert answered.status == 200
    assert answered.body.decode().startswith("loopback  all ")


HOSTS = {
    "localhost": 200,
    "localhost:9999": 200,
    "LOCALHOST:1": 200,
    "127.0.0.1": 200,
    "127.0.0.1:8082": 200,
    "[::1]:8082": 200,
    "audit.example.com": 200,
    "audit.example.com:8443": 200,
    "fixed.example.com:8443": 200,
    "fixed.example.com:8444": 421,
    "fixed.example.com": 421,
    "evil.example.com": 421,
    "localhost.evil.example.com": 421,
    "127.0.0.1.evil.example.com": 421,
    "evil.example.com:8082": 421,
    "127.0.0.2": 421,
    "[::1": 421,
    "": 421,
    "localhost:8082@evil.example.com": 421,
    "localhost:http": 421,
    "localhost,evil.example.com": 421,
}


@pytest.mark.parametrize(("host", "status"), HOSTS.items())
async def test_only_names_of_ours_are_answered(tmp_path: Path, host: str, status: int) -> None:
    site = Site(tmp_path, allowedHosts=("audit.example.com", "fixed.example.com:8443"))
    for address in ("/who", "/api/who", address_of_asset("style.css"), "/nothing"):
        answered = await send(site.app, address, headers={"host": host})
        assert (answered.status == 421) == (status == 421), address
    assert (len(site.seen) == 2) == (status == 200)


async def test_a_host_that_is_missing_or_stands_twice_is_none(tmp_path: Path) -> None:
    site = Site(tmp_path)
    assert (await site.who(raw=(("host", HOST),))).status == 421
    exchange = await send(site.app, "/who", headers={"host": ""})
    assert exchange.status == 421


LINK = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
SOURCES: dict[str, tuple[dict[str, str], int]] = {
    "typed": ({"sec-fetch-site": "none", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}, 200),
    "ours": ({"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors", "sec-fetch-dest": "empty"}, 200),
    "a link": (LINK, 200),
    "a frame": ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}, 403),
    "a script": ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "script"}, 403),
    "fetch": ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "cors", "sec-fetch-dest": "empty"}, 403),
    "a neighbour": ({"sec-fetch-site": "same-site", "sec-fetch-mode": "cors", "sec-fetch-dest": "empty"}, 403),
    "nonsense": ({"sec-fetch-site": "x"}, 403),
    "a foreign origin": ({"origin": "http://evil.example.com"}, 403),
    "another port": ({"origin": "http://127.0.0.1:3000"}, 403),
    "null": ({"origin": "null"}, 403),
    "our origin": ({"origin": f"http://{HOST}"}, 200),
    "a program": ({}, 200),
}


@pytest.mark.parametrize("name", SOURCES)
async def test_pages_of_others_may_link_and_nothing_else(tmp_path: Path, name: str) -> None:
    headers, status = SOURCES[name]
    site = Site(tmp_path)
    assert (await site.who(headers=headers)).status == status
    assert len(site.seen) == (1 if status == 200 else 0)


async def test_fetch_metadata_that_stands_twice_is_of_no_browser(tmp_path: Path) -> None:
    raw = (("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site"))
    assert (await Site(tmp_path).who(raw=raw)).status == 403


# -- forms -------------------------------------------------------------------------------------------------------------


async def test_a_form_from_a_page_of_ours_is_taken(tmp_path: Path) -> None:
    site = Site(tmp_path)
    code = (await site.who()).body.decode().split()[-1]
    body = encoded({"csrf": code, "x": "ä"})
    answered = await site.who(method="POST", headers={"origin": f"http://{HOST}", **FORM}, body=body)
    assert answered.status == 200
    assert site.seen[-1] == body


ORIGINS = {
    "none": ({}, 403),
    "foreign": ({"origin": "http://evil.example.com"}, 403),
    "null": ({"origin": "null"}, 403),
    "another port": ({"origin": "http://127.0.0.1:3000"}, 403),
    "another scheme's port": ({"origin": "http://127.0.0.1"}, 403),
    "another name of ours": ({"origin": "http://localhost:8082"}, 403),
    "not http": ({"origin": f"file://{HOST}"}, 403),
    "cross-site": ({"origin": f"http://{HOST}", "sec-fetch-site": "cross-site"}, 403),
    "same-site": ({"origin": f"http://{HOST}", "sec-fetch-site": "same-site"}, 403),
    "a link": ({"origin": f"http://{HOST}", **LINK}, 403),
    "ours by TLS in front": ({"origin": f"https://{HOST}"}, 200),
}  # fmt: skip


@pytest.mark.parametrize("name", ORIGINS)
async def test_a_form_says_that_it_comes_from_our_origin(tmp_path: Path, name: str) -> None:
    headers, status = ORIGINS[name]
    site = Site(tmp_path)
    body = encoded({"csrf": (await site.who()).body.decode().split()[-1]})
    assert (await site.who(method="POST", headers={**headers, **FORM}, body=body)).status == status


@pytest.mark.parametrize(
    "code",
    [
        "",
        "x",
        "1.x",
        "9" * 11 + ".x",
        "-1.x",
        "\u0661.x",
        "{hour}." + "0" * 64,
        "{good}x",
        "{other}",
        "{old}",
        "{later}",
    ],
)
async def test_a_form_without_the_code_of_the_page_is_refused(tmp_path: Path, code: str) -> None:
    site = Site(tmp_path, address="127.0.0.1", proxy={"readers": "all"})
    site.clock.seconds = 40 * 3600.0
    old = (await site.who(headers=proxied())).body.decode().split()[-1]
    site.clock.seconds = 60 * 3600.0
    later = (await site.who(headers=proxied())).body.decode().split()[-1]
    site.clock.seconds = 52 * 3600.0
    good = (await site.who(headers=proxied())).body.decode().split()[-1]
    other = (await site.who(headers=proxied("mallory"))).body.decode().split()[-1]
    form = {"csrf": code.format(hour=52, good=good, other=other, old=old, later=later)}
    headers = {"origin": f"http://{HOST}", **FORM, **proxied()}
    assert (await site.who(method="POST", headers=headers, body=encoded(form))).status == 403
    assert (await site.who(method="POST", headers=headers, body=encoded({"csrf": good}))).status == 200


BODIES: dict[str, tuple[bytes, dict[str, str], int]] = {
    "json": (b"{}", {"content-type": "application/json"}, 415),
    "plain": (b"csrf=1", {"content-type": "text/plain"}, 415),
    "no type": (b"csrf=1", {}, 415),
    "large": (b"csrf={code}&x=" + b"x" * 2000, FORM, 413),
    "twice": (b"csrf={code}&csrf=x", FORM, 400),
    "many": (b"csrf={code}" + b"&a=1" * 30, FORM, 400),
    "not UTF-8": (b"csrf=%ff", FORM, 400),
    "bytes": (b"csrf=\xff", FORM, 400),
}


@pytest.mark.parametrize("name", BODIES)
async def test_a_form_that_cannot_be_read_reaches_no_page(tmp_path: Path, name: str) -> None:
    body, headers, status = BODIES[name]
    site = Site(tmp_path, limits={"form_bytes": 2000})
    code = (await site.who()).body.decode().split()[-1]
    before = len(site.seen)
    answered = await site.who(
        method="POST", headers={"origin": f"http://{HOST}", **headers}, body=body.replace(b"{code}", code.encode())
    )
    assert (answered.status, len(site.seen)) == (status, before)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "GET ", "get"])
async def test_other_methods_are_answered_before_anything_else(tmp_path: Path, method: str) -> None:
    answered = await Site(tmp_path).who(method=method, headers={"host": "evil.example.com"})
    assert (answered.status, answered.headers["allow"]) == (405, "GET, HEAD, POST")


# -- a proxy -----------------------------------------------------------------------------------------------------------


async def test_a_proxy_with_its_secret_says_who_reads(tmp_path: Path) -> None:
    site = Site(tmp_path, proxy={})
    site.reviews.allowed_in = {"jane": {"shop"}, "root": {""}}
    assert (await site.who(headers=proxied())).body.decode().startswith("proxy jane shop ")
    assert (await site.who(headers=proxied("root", groups=None))).body.decode().startswith("proxy root all ")


async def test_the_api_server_is_asked_about_name_and_groups_with_their_prefixes(tmp_path: Path) -> None:
    site = Site(
        tmp_path, proxy={"userPrefix": "oidc:", "groupsPrefix": "g:", "userHeader": "X-U", "groupsHeader": "X-G"}
    )
    asked: list[Subject] = []

    async def allowed(subject: Subject, **_: Any) -> bool:
        asked.append(subject)
        return True

    site.reviews.allowed = allowed  # type: ignore[method-assign, assignment]
    await site.who(headers={"x-portcullis-proxy-secret": SECRET, "x-u": "jane", "x-g": "a, b,a"})
    assert asked == [Subject("oidc:jane", groups=("g:a", "g:b", "system:authenticated"))]


FORGED: dict[str, tuple[dict[str, str], tuple[tuple[str, str], ...]]] = {
    "no headers": ({}, ()),
    "no secret": ({"x-forwarded-user": "jane"}, ()),
    "groups alone": ({"x-forwarded-groups": "team"}, ()),
    "wrong secret": (proxied(secret="a-secret-of-the-proxy!"), ()),
    "empty secret": (proxied(secret=""), ()),
    "the beginning of it": (proxied(secret=SECRET[:-1]), ()),
    "two secrets": (proxied(), (("x-portcullis-proxy-secret", SECRET),)),
    "two users": (proxied(), (("x-forwarded-user", "root"),)),
    "two groups": (proxied(), (("x-forwarded-groups", "team"),)),
    "no user": ({"x-portcullis-proxy-secret": SECRET}, ()),
    "empty user": (proxied(""), ()),
    "blank user": (proxied("  "), ()),
    "a name of Kubernetes": (proxied("system:admin"), ()),
    "a group of Kubernetes": (proxied(groups="team,system:masters"), ()),
    "an empty group": (proxied(groups="a,,b"), ()),
    "an unprintable name": (proxied("ja\x00ne"), ()),
    "a long name": (proxied("j" * 513), ()),
    "many groups": (proxied(groups=",".join(map(str, range(501)))), ()),
}


@pytest.mark.parametrize("name", FORGED)
async def test_what_the_proxy_does_not_vouch_for_is_nobody(tmp_path: Path, name: str) -> None:
    headers, raw = FORGED[name]
    site = Site(tmp_path, proxy={"readers": "all"})
    for address in ("/who", "/api/who"):
        answered = await send(site.app, address, headers=headers, raw=raw)
        assert answered.status == 401
    assert site.seen == []


async def test_the_proxys_secret_may_change_while_the_gate_runs(tmp_path: Path) -> None:
    site = Site(tmp_path, proxy={"readers": "all"})
    assert (await site.who(headers=proxied())).status == 200
    site.secret_file.write_text(f"{SECRET}\nthe-next-one-of-the-proxy\n")
    assert (await site.who(headers=proxied())).status == 200
    assert (await site.who(headers=proxied(secret="the-next-one-of-the-proxy"))).status == 200
    site.secret_file.write_text("the-next-one-of-the-proxy")
    assert (await site.who(headers=proxied())).status == 401
    site.secret_file.write_text("short")
    assert (await site.who(headers=proxied(secret="short"))).status == 503
    site.secret_file.unlink()
    assert (await site.who(headers=proxied(secret="the-next-one-of-the-proxy"))).status == 503


@pytest.mark.parametrize("content", ["", "\n", "short", "x" * 16 + "\nshort", "\n".join(["x" * 16] * 5)])
def test_a_secret_that_protects_nothing_does_not_start(tmp_path: Path, content: str) -> None:
    file = tmp_path / "given"
    file.write_text(content)
    section = PagesSection.model_validate_json(json.dumps({"proxy": {"secretFile": str(file)}}))
    with pytest.raises(ConfigError, match=r"audit\.pages\.proxy\.secretFile"):
        access_of(section, reviews=MemoryReviews(), namespaces=tuple, clock=StandingClock(), limits=Limits())


async def test_a_form_by_the_proxy_may_name_the_host_that_readers_use(tmp_path: Path) -> None:
    site = Site(tmp_path, proxy={"readers": "all"}, allowedHosts=("audit.example.com",))
    body = encoded({"csrf": (await site.who(headers=proxied())).body.decode().split()[-1]})
    headers = {"origin": "https://audit.example.com", **FORM, **proxied()}
    assert (await site.who(method="POST", headers=headers, body=body)).status == 200
    headers["origin"] = "https://evil.example.com"
    assert (await site.who(method="POST", headers=headers, body=body)).status == 403


# -- what they may see -------------------------------------------------------------------------------------------------


async def test_who_may_see_nothing_is_told_so(tmp_path: Path) -> None:
    site = Site(tmp_path, proxy={})
    answered = await site.who(headers=proxied())
    assert answered.status == 403
    assert "portcullis-audit-reader" in answered.body.decode()
    assert site.seen == []
    assert (await send(site.app, "/api/who", headers=proxied())).json["reason"] == "reader-without-namespaces"


async def test_a_silent_api_server_is_no_permission(tmp_path: Path) -> None:
    site = Site(tmp_path, proxy={})
    site.reviews.allowed_in = {"jane": {""}}
    site.reviews.silent = True
    assert (await site.who(headers=proxied())).status == 503
    site.reviews.silent = False
    assert (await site.who(headers=proxied())).status == 200
    site.reviews.silent = True
    assert (await site.who(headers=proxied())).status == 200
    site.clock.seconds += 60
    assert (await site.who(headers=proxied())).status == 503
    assert (await send(site.app, "/api/who", headers=proxied())).json["reason"] == "cluster-unavailable"


async def test_rights_are_asked_for_once_a_minute(tmp_path: Path) -> None:
    site = Site(tmp_path, proxy={}, limits={"reader_seconds": 60.0})
    site.reviews.allowed_in = {"jane": {"shop"}}
    for _ in range(3):
        await site.who(headers=proxied())
    assert sorted(site.reviews.asked) == [("jane", ""), ("jane", "bank"), ("jane", "shop")]
    site.reviews.allowed_in = {"jane": {"bank"}}
    site.clock.seconds += 59.9
    assert " shop " in (await site.who(headers=proxied())).body.decode()
    site.clock.seconds += 0.1
    assert " bank " in (await site.who(headers=proxied())).body.decode()


async def test_so_many_readers_are_remembered_and_no_more(tmp_path: Path) -> None:
    site = Site(tmp_path, proxy={}, limits={"page_readers": 2})
    site.reviews.allowed_in = {name: {""} for name in ("ann", "bob", "cid")}
    for name in ("ann", "bob", "ann", "cid", "ann", "bob"):
        assert (await site.who(headers=proxied(name))).status == 200
    assert [user for user, _ in site.reviews.asked] == ["ann", "bob", "cid", "bob"]


async def test_many_requests_of_a_reader_are_one_question(tmp_path: Path) -> None:
    site = Site(tmp_path, proxy={})
    site.reviews.allowed_in = {"root": {""}}
    allowed = site.reviews.allowed

    async def slow(*what: Any, **how: Any) -> bool:
        await asyncio.sleep(0.01)
        return await allowed(*what, **how)

    site.reviews.allowed = slow  # type: ignore[method-assign]
    answers = await asyncio.gather(*(site.who(headers=proxied("root")) for _ in range(10)))
    assert [answered.status for answered in answers] == [200] * 10
    assert site.reviews.asked == [("root", "")]


async def test_namespaces_that_are_not_known_or_too_many_are_no_permission(tmp_path: Path) -> None:
    site = Site(tmp_path, proxy={}, limits={"reviewed_namespaces": 1})
    site.reviews.allowed_in = {"jane": {"shop"}, "root": {""}}
    assert (await site.who(headers=proxied())).status == 503
    assert (await site.who(headers=proxied("root"))).status == 200

    def unknown() -> tuple[str, ...]:
        raise ClusterError("the namespaces are not known: not listed yet")

    site.namespaces = unknown
    assert "not listed yet" in (await site.who(headers=proxied())).body.decode()


async def test_an_api_server_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    site = Site(tmp_path, proxy={}, limits={"reader_review_seconds": 0.02})

    async def slow(*_: Any, **__: Any) -> bool:
        await asyncio.sleep(5)
        return True

    site.reviews.allowed = slow  # type: ignore[method-assign, assignment]
    answered = await site.who(headers=proxied())
    assert answered.status == 503
    assert "limits.readerReviewSeconds" in answered.body.decode()


# -- all answers -------------------------------------------------------------------------------------------------------


async def test_every_answer_has_the_headers(tmp_path: Path) -> None:
    site = Site(tmp_path, proxy={})
    asked: list[tuple[str, dict[str, str]]] = [
        ("/who", {}),
        ("/who", {"host": "evil.example.com"}),
        ("/who", proxied()),
        ("/nothing", {}),
        ("/api/who", {}),
        (address_of_asset("style.css"), {}),
        ("/static/x/y", {}),
    ]
    for address, headers in asked:
        answered = await send(site.app, address, headers=headers)
        assert "default-src 'none'" in answered.headers["content-security-policy"]
        assert answered.headers["x-content-type-options"] == "nosniff"
        assert answered.headers["referrer-policy"] == "same-origin"
        assert answered.headers["cross-origin-opener-policy"] == "same-origin"
        assert answered.headers["cross-origin-resource-policy"] == "same-origin"
        assert "camera=()" in answered.headers["permissions-policy"]
        lasting = address == address_of_asset("style.css")
        assert answered.headers["cache-control"] == ("public, max-age=31536000, immutable" if lasting else "no-store")
        names = [name for name, _ in answered.pairs]
        assert len(names) == len(set(names))


async def test_so_many_read_at_once_and_no_more(tmp_path: Path) -> None:
    site = Site(tmp_path, limits={"page_requests": 2})
    going = asyncio.Event()

    async def slow() -> Response:
        await going.wait()
        return Response("done")

    site.app._app.add_api_route("/slow", slow)  # type: ignore[attr-defined]
    first = [asyncio.create_task(send(site.app, "/slow")) for _ in range(2)]
    while site.app.answering < 2:
        await asyncio.sleep(0)
    refused = await site.who()
    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    assert "limits.pageRequests" in refused.body.decode()
    assert (await send(site.app, address_of_asset("style.css"))).status == 200
    going.set()
    assert [(await task).status for task in first] == [200, 200]
    assert (await site.who()).status == 200


async def test_a_slow_form_is_given_up(tmp_path: Path) -> None:
    site = Site(tmp_path, limits={"body_seconds": 0.02})
    messages: list[Any] = []

    async def never() -> dict[str, Any]:
        await asyncio.sleep(5)
        return {}

    async def keep(message: Any) -> None:
        messages.append(message)

    pairs = {"host": HOST, "origin": f"http://{HOST}", **FORM}
    headers = [(name.encode(), value.encode()) for name, value in pairs.items()]
    scope = {"type": "http", "method": "POST", "path": "/who", "query_string": b"", "headers": headers, "state": {}}
    await site.app({**scope, "root_path": "", "scheme": "http", "server": ("127.0.0.1", 1)}, never, keep)
    assert messages[0]["status"] == 408


async def test_a_reader_who_takes_nothing_is_given_up(tmp_path: Path) -> None:
    site = Site(tmp_path, limits={"page_stall_seconds": 0.02})

    async def endless() -> StreamingResponse:
        async def pieces() -> AsyncIterator[bytes]:
            while True:
                yield b"x"

        return StreamingResponse(pieces())

    site.app._app.add_api_route("/endless", endless)
    sent: list[Any] = []

    async def take(message: Any) -> None:
        sent.append(message)
        if len(sent) == 5:
            await asyncio.sleep(5)

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/endless",
        "query_string": b"",
        "headers": [(b"host", HOST.encode())],
    }
    with capture_logs() as logged:
        await asyncio.wait_for(site.app({**scope, "root_path": "", "scheme": "http"}, receive, take), 3)
    assert [(one["event"], one["path"]) for one in logged] == [("a reader takes nothing", "/endless")]
    assert (site.app.answering, len(sent)) == (0, 5)
