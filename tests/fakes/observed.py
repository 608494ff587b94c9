"""The page of /metrics of a gate that has everything: composed of real parts, asked for some decisions, and what only a
cluster would bring put beside it."""

import asyncio
import functools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, cast

from fakes.leases import MemoryLease
from fakes.records import a_decision
from fakes.reviews import pod, request
from fakes.rounds import Judging, Running, group
from portcullis.cluster.breakglass import WatchedGrants
from portcullis.cluster.reports import PolicyReports
from portcullis.cluster.resources import Resource
from portcullis.cluster.watch import Bounds, Watch
from portcullis.cluster.watching import Watched
from portcullis.errors import Throttled
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.decision import Verdict
from portcullis.model.request import Caller
from portcullis.server.callers import callers_of
from portcullis.server.checks import observe
from portcullis.server.compose import Parts, compose
from portcullis.server.events import Refusals
from portcullis.server.following import Follower
from portcullis.server.lifecycle import background
from portcullis.server.mutate import PinHandler
from portcullis.server.pacing import Pace
from portcullis.server.pagesections import PagesSection
from portcullis.server.recheck import Recheck
from portcullis.server.registrar import Registrar
from portcullis.server.reporting import Reporting
from portcullis.server.review.serving import Pages
from portcullis.server.runningsections import RecheckSection
from portcullis.server.settings import load_settings
from portcullis.server.sharing import sharing_of
from portcullis.server.sinks import open_sinks
from portcullis.server.telemetry import Metrics
from portcullis.server.tls import ServerTls, pair_source
from portcullis.server.tracing import open_tracing

CONFIGURATION = """
server: {tls: {selfManaged: {directory: tls}}}
registries: {hosts: {registry.example: {private: true}}}
trust:
  signers: {ci: {keyless: {issuer: "https://issuer.example", identity: "x"}}}
  rules: [{images: ["**"], accept: [{predicates: [sbom], signers: [ci]}]}]
exceptions:
  - {id: EX-1, policies: [image-user], match: {namespaces: [shop]}, reason: r, owner: o, expires: 2126-01-31T00:00:00Z}
audit:
  database: "sqlite:///audit.db"
  sinks: [{file: {path: decisions.jsonl}}]
telemetry: {traces: {endpoint: "http://127.0.0.1:9/v1/traces", ratio: 0}}
"""


@asynccontextmanager
async def observed(folder: Path) -> AsyncIterator[Metrics]:
    """The metrics, until the end of the block. Needs OPA on PATH."""
    path = folder / "portcullis.yaml"
    path.write_text(CONFIGURATION)
    settings = load_settings(path, {})
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        parts = await stack.enter_async_context(compose(settings, with_audit=True))
        sinks = await stack.enter_async_context(open_sinks(settings.audit.sinks, parts.limits))
        tls = ServerTls(source=pair_source(settings.server), clock=parts.clock)
        sharing = sharing_of(settings, parts.clock)
        callers = callers_of(settings, sharing.segments, tls, parts.clock)
        tracing = open_tracing(settings.telemetry, is_stranger=bool, text=str, metrics=metrics, limits=parts.limits)
        await stack.enter_async_context(tracing)
        registrar = Registrar(
            configurations=cast(Any, object()),
            sharing=sharing,
            store=None,
            release=None,
            stand_down=False,
            settle_seconds=0,
            clock=parts.clock,
            pinning=Follower(cast(Any, object())),
        )
        watch = Watch(client=cast(Any, None), resource=Resource("", "v1", "namespaces"), bounds=Bounds(1, 1))
        grants = WatchedGrants(client=cast(Any, None), limits=DEFAULT_LIMITS)
        parts.watched.attach(Watched(None, None, (), (watch, grants.watch), grants=grants))
        observe(parts, tls, registrar, metrics)
        sinks.observe(metrics)
        callers.observe(metrics)
        pages = Pages(PagesSection())
        pages.observe(metrics)
        pins = PinHandler(
            reader=parts.reader,
            parse=cast(Any, None),
            registry=parts.registry,
            clock=parts.clock,
            limits=DEFAULT_LIMITS,
            callers=callers,
            owners=False,
        )
        pins.observe(metrics)
        Refusals(writer=cast(Any, object()), clock=parts.clock, limits=DEFAULT_LIMITS).observe(metrics)
        await stack.enter_async_context(_rechecking(parts, metrics))
        deadline = functools.partial(lambda clock: clock.monotonic() + 20, parts.clock)
        metrics.decided(await parts.gate.decide(request(pod("not//an image")), deadline()))
        _some(metrics)
        _ask(parts.traffic)
        yield metrics


@asynccontextmanager
async def _rechecking(parts: Parts, metrics: Metrics) -> AsyncIterator[None]:
    """A replica that leads, after its first round."""
    assert parts.findings is not None
    reports = PolicyReports(client=cast(Any, None), limits=parts.limits)
    reports.served = reports.kinds
    recheck = Recheck(
        section=RecheckSection.model_validate({"lease": "recheck", "everyMinutes": 0.05, "leaseSeconds": 5}),
        lease=MemoryLease(),
        workloads=Running([group("web")]),
        judge=Judging(),
        images=Pace(1, slowest_seconds=1, clock=parts.clock),
        findings=parts.findings,
        reporter=None,
        reporting=functools.partial(Reporting, reports),
        replica="gate-0",
        clock=parts.clock,
        limits=parts.limits,
    )
    recheck.observe(metrics)
    async with background(recheck.run()):
        async with asyncio.timeout(30):
            while not recheck.rounds.outcomes["ended"]:
                await asyncio.sleep(0.01)
        yield


def _some(metrics: Metrics) -> None:
    """Series that only come with what happens."""
    for caller in Caller:
        metrics.reviewed(caller, Verdict.ADMITTED)
    excepted = a_decision(verdict=Verdict.REFUSED, code=403, denied=["image-user"], undecided=["image-age"])
    metrics.decided(excepted)
    metrics.answered(200, 0.1, 10.0)


def _ask(traffic: Any) -> None:
    with traffic.request("registry.example") as begun:
        begun()
    try:
        with traffic.request("registry.example"):
            raise Throttled("m")
    except Throttled:
        pass
