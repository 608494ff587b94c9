"""Reviews that anybody may have sent (design rule 13): a few a minute are recorded, and little of each."""

import asyncio
from dataclasses import replace

import structlog

from portcullis.model.decision import Decision, JudgedImage
from portcullis.model.record import AuditRecord
from portcullis.model.request import Caller
from portcullis.ports import Clock
from portcullis.server.telemetry import Metrics

MINUTE = 60.0
_NAME_CHARS = 64
_MESSAGE_CHARS = 500
_SHOWN = 5

log = structlog.get_logger(__name__)


class Sampling:
    """Says which unverified reviews are recorded.

    Args:
        verifying: whether verified callers can be told from others at all; if not, every review is recorded.
        per_minute: how many unverified ones are.
        minute: its length in seconds; another one in tests.
    """

    def __init__(
        self, *, verifying: bool, per_minute: int, clock: Clock, metrics: Metrics, minute: float = MINUTE
    ) -> None:
        self._verifying = verifying
        self._per_minute = per_minute
        self._clock = clock
        self._metrics = metrics
        self._minute = minute
        self._since = clock.monotonic() - minute
        self._recorded = 0
        self._left_out = 0

    def is_sketched(self, caller: Caller) -> bool:
        """Whether only a sketch of such a review may be kept."""
        return self._verifying and caller is Caller.UNVERIFIED

    def takes(self) -> bool:
        """Whether one more is recorded this minute; what is not, is counted, and logged once a minute."""
        now = self._clock.monotonic()
        if now - self._since >= self._minute:
            self._since, self._recorded = now, 0
        if self._recorded < self._per_minute:
            self._recorded += 1
            return True
        self._metrics.left_out()
        if not self._left_out:
            asyncio.get_running_loop().call_later(self._minute, self._say)
        self._left_out += 1
        return False

    def _say(self) -> None:
        left_out, self._left_out = self._left_out, 0
        log.warning("unverified reviews not recorded", count=left_out, recorded_per_minute=self._per_minute)


def sketch(record: AuditRecord) -> AuditRecord:
    """What is kept of an unverified review: who says to have asked for what, and what was answered; no input, and of
    every list and text the beginning."""
    decision = record.decision
    return replace(
        record,
        username=_short(record.username),
        groups=tuple(map(_short, record.groups[:_SHOWN])),
        kind=_short(record.kind),
        api_version=_short(record.api_version),
        resource=_short(record.resource),
        sub_resource=_short(record.sub_resource),
        namespace=_short(record.namespace),
        name=_short(record.name),
        decision=_sketched(decision),
        sampled=True,
    )


def _sketched(decision: Decision) -> Decision:
    return replace(
        decision,
        message=_short(decision.message, _MESSAGE_CHARS),
        warnings=(),
        violations=tuple(
            replace(
                violation,
                msg=_short(violation.msg),
                fix="",
                field=_short(violation.field),
                container=_short(violation.container),
                image=_short(violation.image),
                digest="",
                details={},
            )
            for violation in decision.violations[:_SHOWN]
        ),
        undecided=tuple(replace(policy, problems=()) for policy in decision.undecided[:_SHOWN]),
        problems=tuple(
            replace(problem, msg=_short(problem.msg), image=_short(problem.image))
            for problem in decision.problems[:_SHOWN]
        ),
        # Without digests: which image was seen where is told by what the API server asked.
        images=tuple(JudgedImage(_short(image.written), "") for image in decision.images[:_SHOWN]),
        document=b"",
        masked=(),
        masked_places=0,
    )


def _short(text: str, limit: int = _NAME_CHARS) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
