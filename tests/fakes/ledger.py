"""A Ledger over records in memory, which counts by looking at every one of them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from portcullis.errors import CursorInvalid, RecordsError
from portcullis.model.record import (
    AuditRecord,
    ChainPlace,
    Counted,
    Extent,
    ImagePage,
    ImageUse,
    PolicyBucket,
    PolicyTally,
    RecordFilter,
    RecordPage,
    Span,
    VerdictBucket,
    Visible,
    WorkloadUse,
)


class InMemoryLedger:
    def __init__(self, records: Sequence[AuditRecord]) -> None:
        self.records = [replace(record, sequence=number) for number, record in enumerate(records, 1)]
        self.failing = False

    def _seen(self, visible: Visible) -> list[AuditRecord]:
        if self.failing:
            raise RecordsError("the database does not answer")
        return [one for one in reversed(self.records) if visible is None or one.namespace in visible]

    async def page(self, query: RecordFilter) -> RecordPage:
        found = [one for one in self._seen(query.visible) if query.before is None or one.sequence < query.before]
        for name in ("namespace", "kind", "name", "username"):
            found = [one for one in found if getattr(query, name) in ("", getattr(one, name))]
        page = tuple(replace(one, decision=replace(one.decision, document=b"")) for one in found[: query.limit])
        return RecordPage(page, page[-1].sequence if len(found) > query.limit else None)

    async def newer(self, query: RecordFilter, after: int) -> int:
        return len([one for one in self._seen(query.visible) if one.sequence > after])

    async def get(self, decision_id: str, visible: Visible = None) -> AuditRecord | None:
        return next((one for one in self._seen(visible) if one.decision.id == decision_id), None)

    async def place(self, sequence: int) -> ChainPlace | None:
        return ChainPlace("chain-1", "replica-1", sequence, "ab" * 32)

    async def previous(self, record: AuditRecord, visible: Visible = None) -> AuditRecord | None:
        what = (record.kind, record.namespace, record.name)
        return next(
            (
                one
                for one in self._seen(visible)
                if one.sequence < record.sequence and (one.kind, one.namespace, one.name) == what
            ),
            None,
        )

    async def verdicts(self, span: Span, visible: Visible = None, namespace: str = "") -> Sequence[VerdictBucket]:
        found = self._seen(visible)
        return [VerdictBucket(span.since, refused=len([one for one in found if one.decision.code == 403]))]

    async def namespaces(self, span: Span, visible: Visible = None) -> Sequence[Counted]:
        found = [one.namespace for one in self._seen(visible) if one.decision.code == 403]
        return [Counted(namespace, found.count(namespace)) for namespace in sorted(set(found))]

    async def policies(self, span: Span, visible: Visible = None) -> Sequence[PolicyTally]:
        named = [violation.policy for one in self._seen(visible) for violation in one.decision.violations]
        return [PolicyTally(name, "deny", named.count(name)) for name in sorted(set(named))]

    async def policy(self, name: str, span: Span, visible: Visible = None) -> Sequence[PolicyBucket]:
        return [PolicyBucket(span.since, sum(one.violations for one in await self.policies(span, visible)))]

    async def policy_namespaces(self, name: str, span: Span, visible: Visible = None) -> Sequence[Counted]:
        found = [one.namespace for one in self._seen(visible)]
        return [Counted(namespace, found.count(namespace)) for namespace in sorted(set(found))]

    async def policy_images(self, name: str, span: Span, visible: Visible = None) -> Sequence[Counted]:
        found = [image.digest for one in self._seen(visible) for image in one.decision.images]
        return [Counted(digest, found.count(digest)) for digest in sorted(set(found))]

    async def images(
        self, visible: Visible = None, *, written: str = "", after: str = "", limit: int = 50
    ) -> ImagePage:
        if after:
            raise CursorInvalid("that is no place in the list of images")
        digests = {image.digest for one in self._seen(visible) for image in one.decision.images}
        uses = [use for digest in sorted(digests) if (use := await self.image(digest, visible)) is not None]
        return ImagePage(tuple(use for use in uses if use.written.startswith(written)))

    async def image(self, digest: str, visible: Visible = None) -> ImageUse | None:
        found = [one for one in self._seen(visible) if digest in {image.digest for image in one.decision.images}]
        if not found:
            return None
        times: list[datetime] = sorted(one.decision.decided_at for one in found)
        written = next(image.written for image in found[0].decision.images if image.digest == digest)
        return ImageUse(digest, written, times[0], times[-1], len(found), 0, len({one.namespace for one in found}))

    async def workloads(self, digest: str, visible: Visible = None) -> Sequence[WorkloadUse]:
        return [
            WorkloadUse(
                one.namespace, one.kind, one.name, image.written, one.decision.id, one.decision.decided_at,
                one.decision.verdict.value,
            )
            for one in self._seen(visible)
            for image in one.decision.images
            if image.digest == digest
        ]  # fmt: skip

    async def documents(self, digest: str, visible: Visible = None, limit: int = 20) -> Sequence[AuditRecord]:
        return [one for one in self._seen(visible) if digest in {image.digest for image in one.decision.images}]

    async def extent(self, visible: Visible = None) -> Extent:
        found = self._seen(visible)
        times = sorted(one.decision.decided_at for one in found)
        return Extent(len(found), times[0] if times else None, times[-1] if times else None)
