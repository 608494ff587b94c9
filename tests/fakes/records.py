"""The audit log in memory, and records to fill a log with. The contract suites hold the fakes to the ports."""

import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from portcullis.audit.fulltext import words, words_of
from portcullis.errors import RecordsError
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.model.decision import (
    Because,
    Decision,
    JudgedImage,
    Problem,
    Stage,
    UndecidedPolicy,
    Verdict,
    Violation,
)
from portcullis.model.record import AuditRecord, RecordFilter
from portcullis.model.request import Caller
from portcullis.model.ruling import Mode
from portcullis.server.clock import SystemClock  # noqa: F401  (tests of the log take theirs from here)

NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


def a_decision(
    decision_id: str = "",
    *,
    verdict: Verdict = Verdict.ADMITTED,
    code: int = 200,
    images: Sequence[tuple[str, str]] = (),
    denied: Sequence[str] = (),
    undecided: Sequence[str] = (),
    decided_at: datetime = NOON,
    document: bytes = b'{"time":{"now":"2026-03-01T12:00:00Z"}}',
) -> Decision:
    """A decision; ``images`` are pairs of text and digest, ``denied`` and ``undecided`` names of policies."""
    problem = Problem(Stage.REGISTRY, "registry-unreachable", retryable=True, msg="no route to host")
    return Decision(
        id=decision_id or str(uuid.uuid4()),
        verdict=verdict,
        code=code,
        because=Because.JUDGED,
        message="1 policy refuses Deployment shop/checkout" if denied else "",
        warnings=("[image-age] old",),
        retry_after_seconds=None,
        violations=tuple(
            Violation(policy=name, mode=Mode.DENY, severity="high", msg="runs as root", container="web", image="web:1")
            for name in denied
        ),
        undecided=tuple(UndecidedPolicy(policy=name, mode=Mode.WARN, problems=(problem,)) for name in undecided),
        problems=(problem,) if undecided else (),
        images=tuple(JudgedImage(written, digest) for written, digest in images),
        policy_revision="sha256:policies",
        config_revision="sha256:configuration",
        decided_at=decided_at,
        elapsed_ms=12.5,
        timings={"registry": 10.25, "gate": 12.5},
        document=document,
    )


def a_record(
    decision: Decision | None = None,
    *,
    namespace: str = "shop",
    kind: str = "Deployment",
    name: str = "checkout",
    username: str = "jane@example.com",
    dry_run: bool = False,
) -> AuditRecord:
    """A record of ``decision``, or of one that admitted."""
    return AuditRecord(
        uid=str(uuid.uuid4()),
        username=username,
        groups=("developers", "system:authenticated"),
        operation="CREATE",
        kind=kind,
        api_version="apps/v1",
        resource="deployments",
        sub_resource="",
        namespace=namespace,
        name=name,
        dry_run=dry_run,
        caller=Caller.CERTIFICATE,
        webhook_version="0.1.0",
        decision=decision if decision is not None else a_decision(),
    )


class InMemoryRecords:
    """A Records. ``failing`` makes every call raise RecordsError, as a log does that can keep nothing."""

    def __init__(self, *, limits: Limits = DEFAULT_LIMITS) -> None:
        self.records: list[AuditRecord] = []
        self.failing = False
        self._limits = limits

    async def append(self, record: AuditRecord) -> None:
        self._check()
        if all(record.decision.id != kept.decision.id for kept in self.records):
            self.records.append(replace(record, sequence=len(self.records) + 1))

    async def get(self, decision_id: str) -> AuditRecord | None:
        self._check()
        return next((record for record in self.records if record.decision.id == decision_id), None)

    async def search(self, query: RecordFilter) -> Sequence[AuditRecord]:
        self._check()
        if not 1 <= query.limit <= self._limits.search_rows:
            raise RecordsError(f"limit {query.limit}")
        if len(words(query.text)) > self._limits.search_words:
            raise RecordsError("too many words (limits.searchWords)")
        found = [record for record in reversed(self.records) if _matches(record, query)]
        return tuple(
            replace(record, decision=replace(record.decision, document=b"")) for record in found[: query.limit]
        )

    def _check(self) -> None:
        if self.failing:
            raise RecordsError("the audit log cannot keep the record")


class InMemoryBundles:
    """A Bundles."""

    def __init__(self) -> None:
        self._contents: dict[str, bytes] = {}

    async def put(self, revision: str, kind: str, content: bytes) -> None:
        self._contents.setdefault(revision, content)

    async def get(self, revision: str) -> bytes | None:
        return self._contents.get(revision)


def _matches(record: AuditRecord, query: RecordFilter) -> bool:
    decision = record.decision
    problems = [*decision.problems, *(problem for one in decision.undecided for problem in one.problems)]
    return (
        (query.before is None or record.sequence < query.before)
        and (query.since is None or decision.decided_at >= query.since)
        and (query.until is None or decision.decided_at < query.until)
        and query.namespace in ("", record.namespace)
        and query.kind in ("", record.kind)
        and query.name in ("", record.name)
        and query.username in ("", record.username)
        and query.verdict in ("", decision.verdict)
        and query.because in ("", decision.because)
        and query.caller in ("", record.caller)
        and query.dry_run in (None, record.dry_run)
        and (query.visible is None or record.namespace in query.visible)
        and (not query.reason or any(problem.reason == query.reason for problem in problems))
        and (not query.text or _says(record, query.text))
        and _violation_matches(record, query)
        and (
            not (query.image or query.digest)
            or any(
                query.digest in ("", image.digest) and _image_matches(query.image, image.written)
                for image in decision.images
            )
        )
    )


def _violation_matches(record: AuditRecord, query: RecordFilter) -> bool:
    if not (query.policy or query.mode or query.exception):
        return True
    decision = record.decision
    found = [(one.policy, one.mode, one.exception) for one in (*decision.violations, *decision.undecided)]
    return any(
        query.policy in ("", policy) and query.mode in ("", mode) and query.exception in ("", exception)
        for policy, mode, exception in found
    )


def _says(record: AuditRecord, text: str) -> bool:
    wanted = words(text)
    return bool(wanted) and set(wanted) <= set(words_of(record).split())


def _image_matches(wanted: str, written: str) -> bool:
    if not wanted or wanted == written:
        return True
    name = wanted.rpartition("/")[2]
    if ":" in name or "@" in name:
        return False
    return written.startswith((f"{wanted}:", f"{wanted}@"))
