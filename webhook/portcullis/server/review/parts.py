"""What the audit pages are made of."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from starlette.requests import HTTPConnection

from portcullis.limits import Limits
from portcullis.model.decision import Decision
from portcullis.model.grant import Grant
from portcullis.model.record import AuditRecord
from portcullis.ports import Bundles, Clock, Findings, Ledger
from portcullis.rejudging import Inexact
from portcullis.server.health import Report
from portcullis.server.review.installation import Installation, Installed
from portcullis.standing import Standing

JudgeAgain = Callable[[AuditRecord], Awaitable[Decision | Inexact]]
"""Judges a record by what stands now. Raises only PortcullisError: too much is being judged, or no time is left."""


@dataclass(frozen=True, slots=True)
class ReviewParts:
    """What the routes get, as ``request.app.state.parts``.

    Args:
        current: what the gate judges by now.
        bundles: policy sets and configurations by the revisions that records name.
        health: runs the checks of the health port.
        installed: what this replica says of itself.
        grants: those in force, as far as they are known.
        round_every: how often what runs is judged again; None where it is not.
    """

    ledger: Ledger
    findings: Findings
    bundles: Bundles
    current: Callable[[], Standing]
    judge_again: JudgeAgain
    health: Callable[[], Awaitable[Report]]
    clock: Clock
    limits: Limits
    installed: Installed = Installation
    grants: Callable[[], Sequence[Grant]] = tuple
    round_every: timedelta | None = None


def parts_of(connection: HTTPConnection) -> ReviewParts:
    """The parts of the application that answers."""
    parts = connection.app.state.parts
    assert isinstance(parts, ReviewParts)
    return parts
