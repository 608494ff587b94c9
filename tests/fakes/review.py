"""The audit pages over parts of a test."""

from typing import Any

from fakes.asgi import Answered, call
from fakes.clock import StandingClock
from fakes.records import InMemoryBundles
from portcullis.errors import EngineUnavailable
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.decision import Decision
from portcullis.model.record import AuditRecord
from portcullis.model.ruling import CompiledBundle
from portcullis.rejudging import Inexact
from portcullis.server.health import Report
from portcullis.server.review.parts import ReviewParts
from portcullis.standing import Standing


async def no_engine(record: AuditRecord) -> Decision | Inexact:
    raise EngineUnavailable("no policy engine runs in this test")


async def healthy() -> Report:
    return Report(True, ("[+]policies ok",))


def review_parts(ledger: Any, **fields: Any) -> ReviewParts:
    """Parts over the ledger, by which no policy stands."""
    values: dict[str, Any] = {
        "ledger": ledger,
        "bundles": InMemoryBundles(),
        "current": lambda: Standing(CompiledBundle("sha256:none", ())),
        "judge_again": no_engine,
        "health": healthy,
        "clock": StandingClock(),
        "limits": DEFAULT_LIMITS,
    }
    return ReviewParts(**(values | fields))


async def get(app: Any, address: str, *, part: bool = False) -> Answered:
    """A page by its address; ``part`` is as htmx asks."""
    path, _, query = address.partition("?")
    headers = {"host": "127.0.0.1:8082"} | ({"hx-request": "true"} if part else {})
    return await call(app, path, method="GET", query=query.encode(), headers=headers)
