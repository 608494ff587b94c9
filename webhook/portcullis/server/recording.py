"""Turns outcomes into audit records and makes them durable before they are answered; says so where it cannot."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace

import structlog

from portcullis import __version__
from portcullis.errors import RecordsError
from portcullis.model.decision import Decision, Problem, Stage, Verdict, unjudged
from portcullis.model.record import AuditRecord
from portcullis.model.request import AdmissionRequest, Caller
from portcullis.ports import Clock, Records
from portcullis.server.sampling import Sampling, sketch
from portcullis.server.telemetry import Metrics
from portcullis.standing import Standing
from portcullis.text import clean

NAME_CHARS = 260
"""A Kubernetes name has at most 253."""
_GROUPS = 100
_GROUP_CHARS = 512
_READ_CHARS = 4096
"""How much of a name is looked at for secrets before it is cut."""

log = structlog.get_logger(__name__)


class Recorder:
    """Keeps outcomes.

    Args:
        records: the audit log.
        standing: what is in force, in records of what never came to a decision.
        text: takes secrets out of a name or a message that is kept beside the document.
        sampling: says what is recorded of reviews that anybody may have sent.
        also: is told of every record that is kept, or lost.
        answered: is told of every decision as the API server gets it; of none that anybody else may have asked for.
    """

    def __init__(
        self,
        *,
        records: Records,
        clock: Clock,
        metrics: Metrics,
        standing: Callable[[], Standing],
        text: Callable[[str], str],
        sampling: Sampling,
        also: Callable[[AuditRecord], None],
        answered: Callable[[AdmissionRequest, Decision], None] = lambda *_: None,
    ) -> None:
        self._records = records
        self._clock = clock
        self._metrics = metrics
        self._standing = standing
        self._text = text
        self._sampling = sampling
        self._also = also
        self._answered = answered

    async def keep(self, request: AdmissionRequest, decision: Decision, deadline: float) -> None:
        """Returns once the decision is durable, and logs it.

        Raises:
            RecordsError: it is not, or not by ``deadline``.
        """
        record = _record(request, decision, self._text)
        sketched = self._sampling.is_sketched(request.caller)
        if sketched:
            if not self._sampling.takes():
                return
            record = sketch(record)
        await self._append(record, deadline)
        self._also(record)
        if not sketched:
            self._answered(request, decision)
        log.info("decision", **_line(record))

    async def keep_refusal(
        self, *, uid: str, code: int, reason: str, message: str, caller: Caller, deadline: float
    ) -> None:
        """Records a review that could not be read. Such a thing is refused whether or not it can be recorded."""
        message = self._text(message)
        decision = self._refusal(code, reason, message)
        self._metrics.reviewed(caller, decision.verdict)
        record = _empty_record(uid, caller, decision)
        if self._sampling.is_sketched(caller):
            if not self._sampling.takes():
                return
            record = sketch(record)
        else:
            self._metrics.decided(decision)
        try:
            await self._append(record, deadline)
        except RecordsError as error:
            self._metrics.unrecorded(answered=True)
            log.error("decision not recorded", problem=error.message, decision=decision.id, reason=reason)
        self._also(record)
        log.warning("no review", decision=decision.id, code=code, reason=reason, problem=message, caller=str(caller))

    def lost(self, request: AdmissionRequest, decision: Decision, error: RecordsError, *, answered: bool) -> None:
        """Writes the whole decision to the log, which is then the only place that has it."""
        self._metrics.unrecorded(answered=answered)
        record = _record(request, decision, self._text)
        if self._sampling.is_sketched(request.caller):
            record = sketch(record)
        else:
            self._answered(request, decision if answered else _withheld(decision, error))
        self._also(record)
        images = [clean(f"{image.written} {image.digest}", NAME_CHARS * 2) for image in record.decision.images[:20]]
        log.error(
            "decision not recorded",
            problem=error.message,
            answered="as-decided" if answered else "audit-unavailable",
            images=images,
            policy_revision=decision.policy_revision,
            **_line(record),
        )

    async def _append(self, record: AuditRecord, deadline: float) -> None:
        try:
            async with asyncio.timeout_at(deadline):
                await self._records.append(record)
        except TimeoutError:
            raise RecordsError("the audit log did not answer in time") from None

    def _refusal(self, code: int, reason: str, message: str) -> Decision:
        retryable, standing = code not in (400, 413), self._standing()
        return unjudged(
            verdict=Verdict.UNDECIDED if retryable else Verdict.REFUSED,
            code=code,
            message=f"[{reason}] {message}",
            problems=(Problem(Stage.ADMISSION, reason, retryable=retryable, msg=message),),
            policy_revision=standing.compiled.revision,
            config_revision=standing.config_revision,
            decided_at=self._clock.now(),
        )


def _withheld(decision: Decision, error: RecordsError) -> Decision:
    """What is answered in the place of a decision that could not be recorded."""
    problem = Problem(Stage.AUDIT, error.reason, retryable=True, msg=error.message)
    said = f"[{error.reason}] the decision could not be recorded, so it is not given: {error.message}"
    return replace(
        decision,
        verdict=Verdict.UNDECIDED,
        code=503,
        message=f"{said}\nDecision {decision.id}",
        violations=(),
        undecided=(),
        problems=(problem,),
    )


def _record(request: AdmissionRequest, decision: Decision, text: Callable[[str], str]) -> AuditRecord:
    """Names come from outside: they are stored as they are as long as they are bounded, can be stored, and hold no
    secret."""

    def stored(name: str, limit: int = NAME_CHARS) -> str:
        return _stored(text(name[:_READ_CHARS]), limit)

    return AuditRecord(
        uid=request.uid,
        username=stored(request.user.username, _GROUP_CHARS),
        groups=tuple(stored(group, _GROUP_CHARS) for group in request.user.groups[:_GROUPS]),
        operation=str(request.operation),
        kind=stored(request.kind.kind),
        api_version=stored(request.kind.api_version),
        resource=stored(request.resource.resource),
        sub_resource=stored(request.sub_resource),
        namespace=stored(request.namespace),
        name=stored(request.name),
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


def _line(record: AuditRecord) -> Mapping[str, object]:
    """What a log line says of a decision."""
    decision = record.decision
    return {
        "decision": decision.id,
        "verdict": str(decision.verdict),
        "code": decision.code,
        "because": str(decision.because),
        "operation": record.operation,
        "kind": clean(record.kind, NAME_CHARS),
        "namespace": clean(record.namespace, NAME_CHARS),
        "name": clean(record.name, NAME_CHARS),
        "user": clean(record.username, NAME_CHARS),
        "caller": str(record.caller),
        "dry_run": record.dry_run,
        "policies": sorted({violation.policy for violation in decision.violations})[:20],
        "problems": sorted({problem.reason for problem in decision.problems})[:20],
        "ms": round(decision.elapsed_ms, 2),
    }
