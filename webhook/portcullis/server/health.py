"""The health port: plain HTTP for the kubelet and Prometheus, apart from the webhook.

``/livez`` says that the process answers. ``/readyz`` says that this replica can decide (design rule 14): what all
replicas share, the audit store, is shown and does not take the replica out. ``/metrics`` is Prometheus' text format.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from portcullis.server.telemetry import Metrics
from portcullis.text import clean

PROBE_SECONDS = 1.0
_CHARS = 500

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that is looked at.

    Args:
        probe: gives "" where all is well, else one sentence.
        decisive: whether the replica is not ready without it; otherwise it is only shown as degraded.
        needed: whether a decisive one is so just now.
        remark: what is said of it where all is well.
    """

    name: str
    probe: Callable[[], Awaitable[str]]
    decisive: bool = True
    remark: Callable[[], str] = lambda: ""
    needed: Callable[[], bool] = lambda: True


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of one check. ``words`` are its problem, "" where all is well, else what is said of it then."""

    name: str
    well: bool
    decisive: bool
    words: str


@dataclass(frozen=True, slots=True)
class Report:
    """What the checks say; ``lines`` as Kubernetes' own ``/readyz?verbose`` prints them."""

    ready: bool
    lines: tuple[str, ...]
    checked: tuple[Checked, ...] = ()

    def text(self) -> str:
        verdict = "readyz check passed" if self.ready else "readyz check failed"
        return "\n".join([*self.lines, verdict, ""])


async def examine(checks: Sequence[Check]) -> Report:
    """Runs all checks at once."""
    problems = await asyncio.gather(*(_probe(check) for check in checks))
    checked = tuple(
        Checked(check.name, not problem, check.decisive and check.needed(), clean(problem or check.remark(), _CHARS))
        for check, problem in zip(checks, problems, strict=True)
    )
    ready = all(one.well for one in checked if one.decisive)
    return Report(ready, tuple(_line(one) for one in checked), checked)


def _line(one: Checked) -> str:
    if one.well:
        return f"[+]{one.name} ok{f': {one.words}' if one.words else ''}"
    state = "failed" if one.decisive else "degraded"
    return f"[{'-' if one.decisive else '!'}]{one.name} {state}: {one.words}"


async def _probe(check: Check) -> str:
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            return await check.probe()
    except TimeoutError:
        return f"did not answer within {PROBE_SECONDS:g} s"
    except Exception:
        log.exception("health check failed", check=check.name)
        return "the check itself failed; the log tells more"


def create_health_app(
    *, checks: Sequence[Check], metrics: Metrics, when_ready: Callable[[], None] = lambda: None
) -> Starlette:
    """The ASGI application of the health port.

    Args:
        when_ready: is called whenever somebody is told that this replica is ready.
    """

    async def livez(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(request: Request) -> Response:
        report = await examine(checks)
        if report.ready:
            when_ready()
        brief = report.ready and "verbose" not in request.query_params
        return PlainTextResponse("ok\n" if brief else report.text(), 200 if report.ready else 503)

    async def page(_: Request) -> Response:
        return Response(metrics.page(), media_type="text/plain; version=0.0.4")

    return Starlette(routes=[Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", page)])
