"""The audit pages over parts of a test."""

import re
from dataclasses import dataclass
from html import unescape
from typing import Any

from fakes.asgi import Answered, call
from fakes.clock import StandingClock
from fakes.records import InMemoryBundles
from fakes.running import NoFindings
from portcullis.audit.findings import SqlFindings
from portcullis.audit.ledger import SqlLedger
from portcullis.audit.sql import SqlRecords
from portcullis.errors import EngineUnavailable
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.decision import Decision
from portcullis.model.record import AuditRecord
from portcullis.model.ruling import CompiledBundle
from portcullis.ports import Clock
from portcullis.rejudging import Inexact
from portcullis.server.health import Report
from portcullis.server.pagesections import PagesSection
from portcullis.server.review.access import Guard, guard
from portcullis.server.review.accessopening import access_of
from portcullis.server.review.parts import ReviewParts
from portcullis.server.review.reader import LOOPBACK, Reader
from portcullis.standing import Standing


async def no_engine(record: AuditRecord) -> Decision | Inexact:
    raise EngineUnavailable("no policy engine runs in this test")


async def healthy() -> Report:
    return Report(True, ("[+]policies ok",))


def review_parts(ledger: Any, **fields: Any) -> ReviewParts:
    """Parts over the ledger, and what its store has of what runs, by which no policy stands."""
    values: dict[str, Any] = {
        "ledger": ledger,
        "findings": SqlFindings(records=ledger._records) if isinstance(ledger, SqlLedger) else NoFindings(),
        "bundles": InMemoryBundles(),
        "current": lambda: Standing(CompiledBundle("sha256:none", ())),
        "judge_again": no_engine,
        "health": healthy,
        "clock": StandingClock(),
        "limits": DEFAULT_LIMITS,
    }
    return ReviewParts(**(values | fields))


def guarded(app: Any, clock: Clock | None = None) -> Guard:
    """The application as it is served on loopback, where whoever reaches it reads everything."""
    access = access_of(
        PagesSection(), reviews=None, namespaces=tuple, clock=clock or StandingClock(), limits=DEFAULT_LIMITS
    )
    return guard(app, access)


def read_by(app: Any, reader: Reader) -> Any:
    """The application as the guard hands it the requests of that reader."""

    async def reading(scope: Any, receive: Any, send: Any) -> None:
        scope["state"] = {"reader": reader, "csrf": "a code"}
        await app(scope, receive, send)

    return reading


async def get(app: Any, address: str, *, part: bool = False, reader: Reader | None = None) -> Answered:
    """A page by its address, through the guard, or as ``reader`` sees it; ``part`` is as htmx asks."""
    path, _, query = address.partition("?")
    headers = {"host": "127.0.0.1:8082"} | ({"hx-request": "true"} if part else {})
    asked = guarded(app) if reader is None else read_by(app, reader)
    return await call(asked, path, method="GET", query=query.encode(), headers=headers)


async def post(app: Any, address: str, *, part: bool = False) -> Answered:
    """A form without fields, as the guard lets it through."""
    headers = {"host": "127.0.0.1:8082"} | ({"hx-request": "true"} if part else {})
    return await call(read_by(app, LOOPBACK), address, method="POST", headers=headers)


@dataclass
class Pages:
    """The application over a log. Without ``reader`` it is asked through the guard."""

    app: Any
    store: SqlRecords
    reader: Reader | None = None

    async def get(self, address: str, *, part: bool = False) -> Answered:
        return await get(self.app, address, part=part, reader=self.reader)

    async def page(self, address: str) -> str:
        answered = await self.get(address)
        assert answered.status == 200, answered.body
        return answered.body.decode()

    async def names(self, address: str) -> list[str]:
        """Of the workloads on a page of the list."""
        found = re.findall(r'<a href="/decisions/[^"]+">(?:<bdi>)?(.*?)</', await self.page(address))
        return [unescape(name) for name in found]


def text_of(page: str) -> str:
    """What can be read of a page, blocks apart from one another."""
    blocks = re.sub(r"</?(?:p|d[dlt]|div|h\d|li|t[dhr]|section|article|header|summary|title)\b[^>]*>", " ", page)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", "", blocks)))
