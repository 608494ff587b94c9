"""The webhook program: the application, and its life from start to graceful stop."""

import asyncio
import contextlib
import functools
import gc
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

import structlog
import uvloop
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from portcullis import __version__
from portcullis.errors import ConfigError, PortcullisError
from portcullis.model.decision import Decision
from portcullis.model.request import AdmissionRequest
from portcullis.reference.parse import parse_reference
from portcullis.server.callers import Callers, callers_of
from portcullis.server.checks import checks, observe
from portcullis.server.clock import SystemClock
from portcullis.server.compose import Parts, compose
from portcullis.server.events import Refusals, told
from portcullis.server.health import create_health_app, examine
from portcullis.server.http import Receive, Scope, Send, failure
from portcullis.server.lifecycle import address_of, background, bound, on_hangup, on_stop_signal, running, server
from portcullis.server.live.mapgate import PolicyMapHandler
from portcullis.server.mutate import PinHandler
from portcullis.server.rechecked import rechecked
from portcullis.server.recording import Recorder
from portcullis.server.registrar import Registrar, registered
from portcullis.server.review.serving import Pages
from portcullis.server.sampling import Sampling
from portcullis.server.sections import Server as ServerSection
from portcullis.server.settings import Settings
from portcullis.server.sharing import sharing_of, tls_of
from portcullis.server.sinks import Sinks, open_sinks
from portcullis.server.telemetry import Metrics, configure_logging
from portcullis.server.tracing import Tracing, open_tracing
from portcullis.server.validate import ReviewHandler
from portcullis.standing import Standing
from portcullis.text import clean

if TYPE_CHECKING:
    from portcullis.server.breakglass import BreakGlassHandler

log = structlog.get_logger(__name__)


class Webhook:
    """The application of the webhook port: reviews go straight to their handler, all else to FastAPI."""

    def __init__(
        self,
        *,
        reviews: ReviewHandler,
        maps: PolicyMapHandler | None,
        grants: "BreakGlassHandler | None" = None,
        pins: PinHandler | None = None,
        standing: Callable[[], Standing],
    ) -> None:
        self.reviews = reviews
        self.pins = pins
        self.beside = [handler for handler in (maps, grants, pins) if handler is not None]
        """What is asked on other paths about objects that are no workloads."""
        self.api = FastAPI(title="Portcullis", docs_url=None, redoc_url=None, openapi_url=None)

        @self.api.get("/version")
        async def version() -> dict[str, str]:
            return {"version": __version__, "policyRevision": standing().compiled.revision}

        @self.api.exception_handler(HTTPException)
        async def not_found(_: Request, error: HTTPException) -> Response:
            reason = "method-not-allowed" if error.status_code == 405 else "not-found"
            answer = failure(error.status_code, reason, "there is nothing here; reviews go to /validate")
            return Response(answer.body, answer.status, media_type=JSONResponse.media_type)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            if self.reviews.serves(scope["path"]):
                return await self.reviews(scope, receive, send)
            for handler in self.beside:
                if handler.serves(scope["path"]):
                    return await handler(scope, receive, send)
        return await self.api(scope, receive, send)


def create_app(
    parts: Parts, metrics: Metrics, sinks: Sinks, callers: Callers, refusals: Refusals, tracing: Tracing
) -> Webhook:
    """The webhook over composed parts, which must record."""
    recorder = functools.partial(_recorder, parts, metrics, sinks, callers)
    reviews = ReviewHandler(
        gate=parts.gate,
        recorder=recorder(refusals.offer),
        clock=parts.clock,
        limits=parts.limits,
        metrics=metrics,
        callers=callers,
        tracing=tracing,
    )
    pins = _pin_handler(parts, callers, lambda: reviews.draining)
    if pins is not None:
        pins.observe(metrics)
    return Webhook(
        reviews=reviews,
        maps=_map_handler(parts, callers),
        grants=_grant_handler(parts, callers, recorder(lambda *_: None)),
        pins=pins,
        standing=parts.current,
    )


def _recorder(
    parts: Parts,
    metrics: Metrics,
    sinks: Sinks,
    callers: Callers,
    answered: Callable[[AdmissionRequest, Decision], None],
) -> Recorder:
    """``answered`` is told of what the API server gets as an answer."""
    assert parts.records is not None
    return Recorder(
        records=parts.records,
        clock=parts.clock,
        metrics=metrics,
        standing=parts.current,
        text=parts.redactor.text,
        sampling=Sampling(
            verifying=callers.told_apart,
            per_minute=parts.settings.audit.unverified_per_minute,
            clock=parts.clock,
            metrics=metrics,
        ),
        also=sinks.offer,
        answered=answered,
    )


def _map_handler(parts: Parts, callers: Callers) -> PolicyMapHandler | None:
    """What checks ConfigMaps with policies; None where none are watched."""
    maps, reloader = parts.watched.maps, parts.live.reloader
    if maps is None:
        return None
    return PolicyMapHandler(
        recipe=parts.live.recipe,
        engine=parts.engine,
        standing=lambda: reloader.stands,
        namespaces=maps.namespaces,
        limits=parts.limits,
        callers=callers,
    )


def _grant_handler(parts: Parts, callers: Callers, recorder: Recorder) -> "BreakGlassHandler | None":
    """What looks at grants when they are made; None where none count."""
    if not parts.settings.cluster.break_glass:
        return None
    from portcullis.server.breakglass import BreakGlassHandler

    return BreakGlassHandler(
        recorder=recorder,
        standing=parts.current,
        clock=parts.clock,
        text=parts.redactor.text,
        limits=parts.limits,
        callers=callers,
    )


def _pin_handler(parts: Parts, callers: Callers, draining: Callable[[], bool]) -> PinHandler | None:
    """What pins tags; None where the configuration asks for no such thing."""
    mutation = parts.settings.cluster.mutation
    if mutation is None:
        return None
    default = parts.settings.registries.default
    return PinHandler(
        reader=parts.reader,
        parse=functools.partial(parse_reference, default_registry=default, limits=parts.limits),
        registry=parts.registry,
        clock=parts.clock,
        limits=parts.limits,
        callers=callers,
        owners=mutation.owners,
        draining=draining,
    )


def traced(parts: Parts, callers: Callers, metrics: Metrics) -> AbstractAsyncContextManager[Tracing]:
    """What traces reviews, as the configuration says."""
    return open_tracing(
        parts.settings.telemetry,
        is_stranger=callers.is_stranger,
        text=parts.redactor.text,
        metrics=metrics,
        limits=parts.limits,
    )


def serve(settings: Settings) -> None:
    """Runs the webhook until SIGTERM or SIGINT, then stops gracefully and returns.

    Raises:
        SystemExit: 1, if it cannot start; one line on stderr says why.
    """
    configure_logging()
    try:
        uvloop.run(_run(settings))
    except asyncio.CancelledError:
        log.info("stopped before it was ready")
    except PortcullisError as error:
        sys.stderr.write(f"portcullis: {clean(error.message, 4000)}\n")
        sys.exit(1)


async def _run(settings: Settings) -> None:
    section = settings.server
    metrics = Metrics()
    starting = asyncio.current_task()
    assert starting is not None
    on_stop_signal(starting.cancel)
    with bound(section.address, section.port) as port, bound(section.health_address, section.health_port) as health:
        clock = SystemClock()
        sharing = sharing_of(settings, clock)
        tls = tls_of(settings, sharing, clock)
        callers = callers_of(settings, sharing.segments, tls, clock)
        async with (
            compose(settings, with_audit=True) as parts,
            open_sinks(settings.audit.sinks, parts.limits) as sinks,
            registered(settings, sharing, parts.clock) as registrar,
            told(settings, parts.clock, parts.limits) as refusals,
            traced(parts, callers, metrics) as tracing,
            rechecked(parts) as recheck,
        ):
            webhook = create_app(parts, metrics, sinks, callers, refusals, tracing)
            sinks.observe(metrics)
            refusals.observe(metrics)
            recheck.defer_to(lambda: webhook.reviews.in_flight)
            recheck.observe(metrics)
            if sinks.have_files:
                # They notice by themselves that theirs is gone; what the signal would do is to end the program.
                on_hangup(lambda: log.info("moved files are made anew"))
            pages = Pages(settings.audit.pages)
            looked_at = [
                *checks(parts, tls, webhook.reviews, registrar),
                *callers.checks(),
                *refusals.checks(),
                *recheck.checks(),
                *pages.checks(),
            ]
            observe(parts, tls, registrar, metrics)
            pages.observe(metrics)
            callers.observe(metrics)
            main = server(webhook, tls.context, drain_seconds=section.drain_seconds, limits=parts.limits)
            health_app = create_health_app(checks=looked_at, metrics=metrics, when_ready=registrar.reported)
            side = server(health_app, None, drain_seconds=1, limits=parts.limits)
            watching = registrar.watch(functools.partial(examine, looked_at))
            async with (
                background(tls.watch()),
                background(callers.watch()),
                background(watching),
                running(side, health),
                running(main, port) as ended,
                background(pages.serve(parts, looked_at, tls)),
                background(recheck.run()),
            ):
                webhook.reviews.listening = True
                stop: asyncio.Queue[signal.Signals] = asyncio.Queue()
                on_stop_signal(stop.put_nowait)
                log.info(
                    "serving",
                    version=__version__,
                    address=address_of(port),
                    health=address_of(health),
                    policies=len(parts.compiled.policies),
                    policy_revision=parts.compiled.revision,
                    config_revision=parts.settings.revision,
                )
                gc.collect()
                gc.freeze()
                await _until_stopped(webhook, registrar, section, stop, ended)
    log.info("stopped")


async def _until_stopped(
    webhook: Webhook,
    registrar: Registrar,
    section: ServerSection,
    stop: "asyncio.Queue[signal.Signals]",
    ended: asyncio.Task[None],
) -> None:
    """Waits for a signal; then readiness goes off, and after a while the caller may close the port."""
    signalled = asyncio.create_task(stop.get())
    await asyncio.wait({signalled, ended}, return_when=asyncio.FIRST_COMPLETED)
    webhook.reviews.draining = True
    if not signalled.done():
        signalled.cancel()
        raise ConfigError("the webhook's port was closed from outside")
    delay = section.stop_delay_seconds if signalled.result() is signal.SIGTERM else 0.0
    log.info("stopping", signal=signalled.result().name, delay=delay, in_flight=webhook.reviews.in_flight)
    async with asyncio.TaskGroup() as group:
        group.create_task(registrar.stop())
        with contextlib.suppress(TimeoutError):
            # A second signal ends the wait.
            await asyncio.wait_for(stop.get(), delay)
