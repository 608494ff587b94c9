"""The health port."""

import asyncio

import pytest

from fakes.asgi import Answered, call
from portcullis.server import health
from portcullis.server.health import Check, create_health_app
from portcullis.server.telemetry import Metrics

pytestmark = pytest.mark.anyio


def said(text: str) -> "health.Check":
    async def probe() -> str:
        return text

    return Check("thing", probe)


async def get(checks: list[Check], path: str, query: bytes = b"") -> Answered:
    app = create_health_app(checks=checks, metrics=Metrics())
    return await call(app, path, method="GET", query=query)


async def test_alive_whatever_the_checks_say() -> None:
    assert (await get([said("broken")], "/livez")).status == 200


async def test_ready_says_little_unless_asked() -> None:
    assert (await get([said("")], "/readyz")).body == b"ok\n"
    assert (await get([said("")], "/readyz", b"verbose")).body == b"[+]thing ok\nreadyz check passed\n"


async def test_not_ready_says_why() -> None:
    answered = await get([said(""), said("it is\nbroken\x1b")], "/readyz")
    assert answered.status == 503
    assert answered.body.decode() == "[+]thing ok\n[-]thing failed: it is broken\ufffd\nreadyz check failed\n"


async def test_what_all_replicas_share_is_shown_only() -> None:
    async def down() -> str:
        return "the store is down"

    answered = await get([Check("audit", down, decisive=False)], "/readyz", b"verbose")
    assert answered.status == 200
    assert b"[!]audit degraded: the store is down\n" in answered.body


@pytest.mark.parametrize(
    ("needed", "status", "line"), [(True, 503, b"[-]opa failed"), (False, 200, b"[!]opa degraded")]
)
async def test_what_is_not_needed_just_now_is_shown_only(needed: bool, status: int, line: bytes) -> None:
    async def down() -> str:
        return "it is down"

    answered = await get([Check("opa", down, needed=lambda: needed)], "/readyz", b"verbose")
    assert answered.status == status
    assert line + b": it is down\n" in answered.body


async def test_a_check_that_fails_or_hangs_is_a_problem() -> None:
    async def raises() -> str:
        raise RuntimeError("s3cret")

    async def hangs() -> str:
        await asyncio.Event().wait()
        return ""

    answered = await get([Check("a", raises), Check("b", hangs)], "/readyz")
    assert answered.status == 503
    assert b"[-]a failed: the check itself failed" in answered.body
    assert b"s3cret" not in answered.body
    assert b"[-]b failed: did not answer within" in answered.body


async def test_metrics_are_prometheus_text() -> None:
    answered = await get([], "/metrics")
    assert answered.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert b"portcullis_build_info" in answered.body


async def test_nothing_else_is_there() -> None:
    assert (await get([], "/")).status == 404
