"""The audit pages beside the webhook, in the same process. Whatever becomes of them, the webhook goes on."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import structlog

from portcullis.errors import PortcullisError
from portcullis.server.auditkeeping import Keeper
from portcullis.server.compose import Parts
from portcullis.server.health import Check, examine
from portcullis.server.lifecycle import address_of, background, bound, running, server
from portcullis.server.pagesections import PagesSection
from portcullis.server.review.access import guard
from portcullis.server.review.accessopening import access_to_pages, tls_of_pages
from portcullis.server.review.app import create_review_app
from portcullis.server.review.counting import PageAnswers
from portcullis.server.review.decisionagain import Rejudge
from portcullis.server.review.installation import Checkpoint, Installation, Installed, Root
from portcullis.server.review.parts import ReviewParts
from portcullis.server.telemetry import Metrics
from portcullis.server.tls import ServerTls
from portcullis.text import clean

DRAIN_SECONDS = 1
"""For answers that are under way at the end; a reader can ask again."""

log = structlog.get_logger(__name__)


class Pages:
    """Serves them, where the configuration says so; ``problem`` is "" while it does, else one sentence."""

    def __init__(self, section: PagesSection) -> None:
        self.problem = "they are not served yet"
        self.address = ""
        self._section = section
        self._answers = PageAnswers()

    def observe(self, metrics: Metrics) -> None:
        """Binds metrics to what readers are answered."""
        if self._section.enabled:
            self._answers.observe(metrics)
            metrics.gauge("pages_up", "Whether the audit pages are served.").set_function(
                lambda: float(not self.problem)
            )

    def checks(self) -> tuple[Check, ...]:
        """For the health port: shown, and not decisive."""

        async def probe() -> str:
            return self.problem

        check = Check("pages", probe, decisive=False, remark=lambda: self.address)
        return (check,) if self._section.enabled else ()

    async def serve(self, parts: Parts, checks: Sequence[Check], tls: ServerTls) -> None:
        """Until it is cancelled. What goes wrong is logged and shown by the check; it raises nothing.

        Args:
            tls: that of the webhook, which somebody follows already.
        """
        if not self._section.enabled:
            return
        try:
            await self._serve(parts, checks, tls)
            self.problem = "their server ended"
        except PortcullisError as error:
            self.problem = clean(error.message, 500)
        except Exception:
            log.exception("the audit pages failed")
            self.problem = "they failed; the log tells more"
        self.address = ""
        log.error("the audit pages are not served", problem=self.problem)

    async def _serve(self, parts: Parts, checks: Sequence[Check], tls: ServerTls) -> None:
        section, clock, limits = self._section, parts.clock, parts.limits
        names = parts.watched.namespace_names
        with bound(section.address, section.port) as listener:
            own = tls_of_pages(section, webhook=tls, clock=clock)
            async with (
                access_to_pages(parts.settings, namespaces=names, clock=clock, limits=limits) as access,
                _followed(own if own is not tls else None),
            ):
                app = guard(create_review_app(review_parts_of(parts, checks, tls)), access, self._answers)
                context = own.context if own is not None else None
                pages = server(app, context, drain_seconds=DRAIN_SECONDS, limits=limits)
                async with running(pages, listener) as ended:
                    scheme = "https" if own is not None else "http"
                    self.address, self.problem = f"{scheme}://{address_of(listener)}", ""
                    log.info("serving audit pages", address=self.address)
                    await asyncio.wait({ended})


@asynccontextmanager
async def _followed(tls: ServerTls | None) -> AsyncIterator[None]:
    async with background(tls.watch()) if tls is not None else contextlib.nullcontext():
        yield


def review_parts_of(parts: Parts, checks: Sequence[Check], tls: ServerTls) -> ReviewParts:
    """What the pages are made of. ``parts`` must record; ``tls`` is that of the webhook."""
    assert parts.ledger is not None
    assert parts.bundles is not None
    assert parts.findings is not None
    recheck = parts.settings.cluster.recheck
    return ReviewParts(
        ledger=parts.ledger,
        findings=parts.findings,
        bundles=parts.bundles,
        current=parts.current,
        judge_again=Rejudge(
            engine=parts.engine,
            bundles=parts.bundles,
            current=parts.current,
            clock=parts.clock,
            limits=parts.limits,
        ),
        health=lambda: examine(checks),
        clock=parts.clock,
        limits=parts.limits,
        installed=installed_in(parts, tls),
        grants=parts.watched.grants_now,
        round_every=timedelta(minutes=recheck.every_minutes) if recheck is not None else None,
    )


def installed_in(parts: Parts, tls: ServerTls) -> Installed:
    """What this replica says of itself, asked anew each time."""

    def installation() -> Installation:
        keyless, now = parts.trusting.keyless, parts.clock.now()
        ages = keyless.root_ages(now) if keyless is not None else {}
        return Installation(
            certificate_until=tls.state.not_after,
            policies_since=parts.live.reloader.state.since,
            roots=tuple(Root(name, age.newest, age.current) for name, age in sorted(ages.items())),
            waiting=parts.records.journal_records if parts.records is not None else 0,
            checkpoint=_last_checkpoint(parts.keeper),
        )

    return installation


def _last_checkpoint(keeper: Keeper | None) -> Checkpoint | None:
    if keeper is None or keeper.last is None:
        return None
    last = keeper.last.checkpoint
    return Checkpoint(last.chain, last.head.position, last.at, signed=bool(keeper.last.signature))
