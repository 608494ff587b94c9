"""The audit log as people ask it: a Ledger over the store."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Connection, Select, select

from portcullis.audit import codec, imagelog, statistics
from portcullis.audit.asking import ask
from portcullis.audit.query import check
from portcullis.audit.searching import Found, bodies, search
from portcullis.audit.sql import SqlRecords, inflate
from portcullis.audit.tables import chains, decisions, inputs, key
from portcullis.limits import DEFAULT_LIMITS, Limits
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

T = TypeVar("T")

NEWER = 1000
"""What :meth:`SqlLedger.newer` counts up to."""


class SqlLedger:
    """A Ledger: every answer within ``limits.read_seconds``, of nothing that the reader may not see.

    Args:
        records: the store, started by whoever made it.
        limits: bounds of questions and of the time for answers.
    """

    def __init__(self, *, records: SqlRecords, limits: Limits = DEFAULT_LIMITS) -> None:
        self._records = records
        self._limits = limits

    async def page(self, query: RecordFilter) -> RecordPage:
        """A row that is no record is in ``damaged`` of the page."""
        check(query, self._limits)

        def read(connection: Connection, until: float) -> RecordPage:
            found = search(connection, query, until=until)
            records: list[AuditRecord] = []
            damaged: list[int] = []
            for row in bodies(connection, found.sequences):
                try:
                    records.append(codec.decode_body(row.body, sequence=row.sequence))
                except codec.CodecError:
                    damaged.append(row.sequence)
            return RecordPage(tuple(records), found.next, _searched_to(connection, found), tuple(damaged))

        return await self._ask(read)

    async def newer(self, query: RecordFilter, after: int) -> int:
        wanted = replace(query, before=None, limit=NEWER)
        check(replace(query, limit=1), self._limits)
        return await self._ask(
            lambda connection, until: len(search(connection, wanted, until=until, above=after).sequences)
        )

    async def get(self, decision_id: str, visible: Visible = None) -> AuditRecord | None:
        found = await self._whole(_WHOLE.where(decisions.c.id == key(decision_id)), visible)
        return found[0] if found else None

    async def place(self, sequence: int) -> ChainPlace | None:
        statement = (
            select(chains.c.id, chains.c.replica, decisions.c.position, decisions.c.hash)
            .join_from(decisions, chains, decisions.c.chain == chains.c.number)
            .where(decisions.c.sequence == sequence)
        )
        row = await self._read(lambda connection: connection.execute(statement).one_or_none())
        return None if row is None else ChainPlace(row.id, row.replica, row.position, row.hash.hex())

    async def previous(self, record: AuditRecord, visible: Visible = None) -> AuditRecord | None:
        if not record.name:  # its name was not made yet: any object of that kind would do
            return None
        statement = (
            _WHOLE.where(
                decisions.c.namespace == key(record.namespace),
                decisions.c.kind == key(record.kind),
                decisions.c.name == key(record.name),
                decisions.c.sequence < record.sequence,
                decisions.c.dry_run.is_(False),
            )
            .order_by(decisions.c.sequence.desc())
            .limit(1)
        )
        found = await self._whole(statement, visible)
        return found[0] if found else None

    async def verdicts(self, span: Span, visible: Visible = None, namespace: str = "") -> Sequence[VerdictBucket]:
        return await self._read(
            lambda connection: statistics.verdicts(connection, span, visible, namespace, self._limits)
        )

    async def namespaces(self, span: Span, visible: Visible = None) -> Sequence[Counted]:
        return await self._read(lambda connection: statistics.namespaces(connection, span, visible, self._limits))

    async def policies(self, span: Span, visible: Visible = None) -> Sequence[PolicyTally]:
        return await self._read(lambda connection: statistics.policies(connection, span, visible, self._limits))

    async def policy(self, name: str, span: Span, visible: Visible = None) -> Sequence[PolicyBucket]:
        return await self._read(lambda connection: statistics.policy(connection, name, span, visible, self._limits))

    async def policy_namespaces(self, name: str, span: Span, visible: Visible = None) -> Sequence[Counted]:
        return await self._read(
            lambda connection: statistics.policy_namespaces(connection, name, span, visible, self._limits)
        )

    async def policy_images(self, name: str, span: Span, visible: Visible = None) -> Sequence[Counted]:
        return await self._ask(
            lambda connection, until: statistics.policy_images(connection, name, span, visible, until)
        )

    async def images(
        self, visible: Visible = None, *, written: str = "", after: str = "", limit: int = 50
    ) -> ImagePage:
        return await self._read(
            lambda connection: imagelog.page(
                connection, visible, written=written, after=after, limit=limit, limits=self._limits
            )
        )

    async def image(self, digest: str, visible: Visible = None) -> ImageUse | None:
        return await self._read(lambda connection: imagelog.image(connection, digest, visible))

    async def workloads(self, digest: str, visible: Visible = None) -> Sequence[WorkloadUse]:
        return await self._ask(lambda connection, until: imagelog.workloads(connection, digest, visible, until))

    async def documents(self, digest: str, visible: Visible = None, limit: int = 20) -> Sequence[AuditRecord]:
        sequences = await self._ask(
            lambda connection, until: imagelog.documented(connection, digest, visible, until, limit)
        )
        statement = _WHOLE.where(decisions.c.sequence.in_(sequences)).order_by(decisions.c.sequence.desc())
        return await self._whole(statement, visible) if sequences else ()

    async def extent(self, visible: Visible = None) -> Extent:
        return await self._ask(lambda connection, until: statistics.extent(connection, visible, until))

    async def _whole(self, statement: Select[Any], visible: Visible) -> Sequence[AuditRecord]:
        """Records with their documents."""

        def read(connection: Connection) -> Sequence[AuditRecord]:
            rows = connection.execute(statement.where(statistics.seen(decisions.c.namespace, visible))).all()
            return tuple(_record(row, self._limits) for row in rows)

        return await self._read(read)

    async def _read(self, read: Callable[[Connection], T]) -> T:
        return await self._ask(lambda connection, _: read(connection))

    async def _ask(self, read: Callable[[Connection, float], T]) -> T:
        return await ask(self._records, self._limits, read)


_WHOLE = select(decisions.c.sequence, decisions.c.body, decisions.c.input_hash, inputs.c.content).join_from(
    decisions, inputs, isouter=True
)


def _record(row: Any, limits: Limits) -> AuditRecord:
    document = b"" if row.content is None else inflate(row.content, limits.document_bytes)
    if codec.input_hash(document) != (row.input_hash or ""):
        raise codec.CodecError(f"the input of record {row.sequence} is not the one that was judged")
    return codec.decode_body(row.body, document=document, sequence=row.sequence)


def _searched_to(connection: Connection, found: Found) -> datetime | None:
    """When the oldest decision that was looked at was made, where not all were."""
    if not found.late or found.next is None:
        return None
    statement = (
        select(decisions.c.decided_at).where(decisions.c.sequence >= found.next).order_by(decisions.c.sequence).limit(1)
    )
    return connection.execute(statement).scalar_one_or_none()
