"""Turns outcomes into audit records and makes them durable before they are answered; says so where it cannot."""

import asyncio
import uuid
from collections.abc import Callable, Mapping

import structlog

from portcullis import __version__
from portcullis.errors import RecordsError
from portcullis.model.decision import Because, Decision, Problem, Stage, Verdict
from portcullis.model.record import AuditRecord
from portcullis.model.request import AdmissionRequest, Caller
from portcullis.ports import Clock, Records
from portcullis.server.telemetry import Metrics
from portcullis.standing import Standing
from portcullis.text import clean

NAME_CHARS = 260
"""A Kubernetes name has at most 253."""
_GROUPS = 100
_GROUP_CHARS = 512

log = structlog.get_logger(__name__)


class Recorder:
    """Keeps outcomes.

    Args:
        records: the audit log.
        standing: what is in force, in records of what never came to a decision.
    """

    def __init__(
        self,
        *,
        records: Records,
        clock: Clock,
        metrics: Metrics,
        standing: Callable[[], Standing],
    ) -> None:
        self._records = records
        self._clock = clock
        self._metrics = metrics
        self._standing = standing

    async def keep(self, request: AdmissionRequest, decision: Decision, deadline: float) -> None:
        """Returns once the decision is durable, and logs it.

        Raises:
            RecordsError: it is not, or not by ``deadline``.
        """
        await self._append(_record(request, decision), deadline)
        log.info("decision", **_line(request, decision))

    async def keep_refusal(
        self, *, uid: str, code: int, reason: str, message: str, caller: Caller, deadline: float
    ) -> None:
        """Records a review that could not be read. Such a thing is refused whether or not it can be recorded."""
        decision = self._refusal(code, reason, message)
        self._metrics.decided(decision)
        record = _empty_record(uid, caller, decision)
        try:
            await self._append(record, deadline)
        except RecordsError as error:
            self._metrics.unrecorded(answered=True)
            log.error("decision not recorded", problem=error.message, decision=decision.id, reason=reason)
        log.warning("no review", decision=decision.id, code=code, reason=reason, problem=message, caller=str(caller))

    def lost(self, request: AdmissionRequest, decision: Decision, error: RecordsError, *, answered: bool) -> None:
        """Writes the whole decision to the log, which is then the only place that has it."""
        self._metrics.unrecorded(answered=answered)
        images = [clean(f"{image.written} {image.digest}", NAME_CHARS * 2) for image in decision.images[:20]]
        log.error(
            "decision not recorded",
            problem=error.message,
            answered="as-decided" if answered else "audit-unavailable",
            images=images,
            dry_run=request.dry_run,
            policy_revision=decision.policy_revision,
            **_line(request, decision),
        )

    async def _append(self, record: AuditRecord, deadline: float) -> None:
        try:
            async with asyncio.timeout_at(deadline):
                await self._records.append(record)
        except TimeoutError:
            raise RecordsError("the audit log did not answer in time") from None

    def _refusal(self, code: int, reason: str, message: str) -> Decision:
        retryable, standing = code not in (400, 413), self._standing()
        return Decision(
            id=str(uuid.uuid4()),
            verdict=Verdict.UNDECIDED if retryable else Verdict.REFUSED,
            code=code,
            because=Because.JUDGED,
            message=f"[{reason}] {message}",
            warnings=(),
            retry_after_seconds=None,
            violations=(),
            undecided=(),
            problems=(Problem(Stage.ADMISSION, reason, retryable=retryable, msg=message),),
            images=(),
            policy_revision=standing.compiled.revision,
            config_revision=standing.config_revision,
            decided_at=self._clock.now(),
            elapsed_ms=0.0,
            timings={},
            document=b"",
        )


def _record(request: AdmissionRequest, decision: Decision) -> AuditRecord:
    """Names come from outside: they are stored as they are as long as they are bounded and can be stored."""
    return AuditRecord(
        uid=request.uid,
        username=_stored(request.user.username, _GROUP_CHARS),
        groups=tuple(_stored(group, _GROUP_CHARS) for group in request.user.groups[:_GROUPS]),
        operation=str(request.operation),
        kind=_stored(request.kind.kind),
        api_version=_stored(request.kind.api_version),
        resource=_stored(request.resource.resource),
        sub_resource=_stored(request.sub_resource),
        namespace=_stored(request.namespace),
        name=_stored(request.name),
        dry_run=request.dry_run,
        caller=request.caller,
        webhook_version=__version__,
        decision=decision,
    )


def _empty_record(uid: str, caller: Caller, decision: Decision) -> AuditRecord:
    return AuditRecord(
        uid=uid,
        username="",
        groups=(),
        operation="",
        kind="",
        api_version="",
        resource="",
        sub_resource="",
        namespace="",
        name="",
        dry_run=False,
        caller=caller,
        webhook_version=__version__,
        decision=decision,
    )


def _stored(text: str, limit: int = NAME_CHARS) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _line(request: AdmissionRequest, decision: Decision) -> Mapping[str, object]:
    """What a log line says of a decision."""
    return {
        "decision": decision.id,
        "verdict": str(decision.verdict),
        "code": decision.code,
        "because": str(decision.because),
        "operation": str(request.operation),
        "kind": clean(request.kind.kind, NAME_CHARS),
        "namespace": clean(request.namespace, NAME_CHARS),
        "name": clean(request.name, NAME_CHARS),
        "user": clean(request.user.username, NAME_CHARS),
        "caller": str(request.caller),
        "policies": sorted({violation.policy for violation in decision.violations})[:20],
        "problems": sorted({problem.reason for problem in decision.problems})[:20],
        "ms": round(decision.elapsed_ms, 2),
    }
