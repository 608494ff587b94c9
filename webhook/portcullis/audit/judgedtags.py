"""What the log knows of how objects of the cluster were let in: which digests were judged, and by which grant."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Select, select

from portcullis.audit import codec
from portcullis.audit.sql import SqlRecords
from portcullis.audit.tables import decisions, key
from portcullis.model.decision import Because, Decision, Verdict
from portcullis.model.grant import is_grant
from portcullis.model.image import DIGEST, Digest
from portcullis.model.request import Caller
from portcullis.model.running import Admitted, ObjectRef

LOOKED_AT: Final = 5
"""Decisions on one object: the newest may have looked at no image, since its update changed none."""


class SqlAdmissions:
    """Implements the port Admissions over the audit store.

    Args:
        records: the store, started by whoever made it.
        verified_only: whether a review counts for nothing whose sender was not told from others (design rule 13):
            anybody could say by one what was judged.
    """

    def __init__(self, *, records: SqlRecords, verified_only: bool) -> None:
        self._records = records
        self._verified_only = verified_only

    async def admitted(self, objects: Sequence[ObjectRef]) -> Sequence[Admitted]:
        """See :class:`portcullis.ports.Admissions`. Each object costs one look-up in an index."""

        def read(connection: Connection) -> Sequence[Admitted]:
            found = [(one, connection.execute(self._admissions(one)).all()) for one in objects]
            return tuple(_admitted(one, rows) for one, rows in found if rows)

        return await self._records.read(read)

    def _admissions(self, wanted: ObjectRef) -> Select[tuple[int, str]]:
        """The newest that let the object in. An update that changed nothing says nothing of what runs."""
        own = decisions.c
        statement = (
            select(own.sequence, own.body)
            .where(
                own.namespace == key(wanted.namespace),
                own.kind == key(wanted.kind),
                own.name == key(wanted.name),
                own.verdict == Verdict.ADMITTED.value,
                own.because != Because.UNCHANGED.value,
                own.dry_run.is_(False),
            )
            .order_by(own.sequence.desc())
            .limit(LOOKED_AT)
        )
        return statement.where(own.caller != Caller.UNVERIFIED.value) if self._verified_only else statement


def _admitted(wanted: ObjectRef, rows: Sequence[Any]) -> Admitted:
    """What the newest one says; the digests are those of the newest that looked at the images."""
    found = [codec.decode_body(row.body, sequence=row.sequence).decision for row in rows]
    newest, looked = found[0], next((one for one in found if _digests(one)), found[0])
    broken = newest.because is Because.BREAK_GLASS
    grants = (one.exception for one in newest.covered if is_grant(one.exception))
    return Admitted(wanted, looked.id, _digests(looked), next(grants, "") if broken else "")


def _digests(decision: Decision) -> Mapping[str, Digest]:
    return {image.written: Digest(image.digest) for image in decision.images if DIGEST.fullmatch(image.digest)}
