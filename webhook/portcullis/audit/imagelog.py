"""Images of the log: when and where each digest was judged. All of it blocks."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, exists, func, or_, select

from portcullis.audit.searching import search
from portcullis.audit.statistics import NEWEST, seen
from portcullis.audit.tables import decisions, image_uses, images, key
from portcullis.errors import CursorInvalid, RecordsError
from portcullis.limits import Limits
from portcullis.model.record import ImagePage, ImageUse, RecordFilter, Visible, WorkloadUse

_CURSOR = re.compile(r"([0-9]{1,18})/(sha256:[0-9a-f]{64}|[!-~]{1,256})")


def page(
    connection: Connection, visible: Visible, *, written: str, after: str, limit: int, limits: Limits
) -> ImagePage:
    """See :meth:`portcullis.ports.Ledger.images`.

    An image stands where its newest use stands. The index of last uses is walked; a row counts where no other row of
    the same digest is newer.
    """
    if not 1 <= limit <= limits.search_rows:
        raise RecordsError(f"{limit} rows asked for; one answer has 1 to {limits.search_rows} (limits.searchRows)")
    newer = image_uses.alias("newer")
    use, order = image_uses.c, (image_uses.c.last_sequence.desc(), image_uses.c.digest.desc())
    statement = (
        select(use.digest, use.last_sequence)
        .where(
            seen(use.namespace, visible),
            ~exists().where(
                newer.c.digest == use.digest,
                newer.c.last_sequence > use.last_sequence,
                seen(newer.c.namespace, visible),
            ),
        )
        .order_by(*order)
        .limit(limit + 1)
    )
    if written:
        statement = statement.where(func.substr(use.written, 1, len(key(written))) == key(written))
    if after:
        statement = statement.where(_behind(after))
    rows = connection.execute(statement).all()
    following = f"{rows[limit - 1].last_sequence}/{rows[limit - 1].digest}" if len(rows) > limit else ""
    digests = [row.digest for row in rows[:limit]]
    found = {use.digest: use for use in _uses(connection, visible, use.digest.in_(digests))}
    return ImagePage(tuple(found[digest] for digest in digests), following)


def image(connection: Connection, digest: str, visible: Visible) -> ImageUse | None:
    """See :meth:`portcullis.ports.Ledger.image`."""
    return next(iter(_uses(connection, visible, image_uses.c.digest == key(digest))), None)


def workloads(connection: Connection, digest: str, visible: Visible, until: float) -> Sequence[WorkloadUse]:
    """See :meth:`portcullis.ports.Ledger.workloads`."""
    query = RecordFilter(digest=digest, visible=visible, dry_run=False, limit=NEWEST)
    found = search(connection, query, until=until)
    own = decisions.c
    statement = (
        select(own.namespace, own.kind, own.name, images.c.written, own.id, own.decided_at, own.verdict, own.because)
        .join_from(decisions, images)
        .where(own.sequence.in_(found.sequences), images.c.digest == key(digest))
        .order_by(own.sequence.desc(), images.c.position)
    )
    newest: dict[tuple[str, str, str], WorkloadUse] = {}
    for row in connection.execute(statement):
        newest.setdefault((row.namespace, row.kind, row.name), WorkloadUse(*row))
    return tuple(newest.values())


def documented(connection: Connection, digest: str, visible: Visible, until: float, limit: int) -> Sequence[int]:
    """The newest decisions with that image whose documents differ, at most ``limit`` of the newest thousand."""
    found = search(connection, RecordFilter(digest=digest, visible=visible, limit=NEWEST), until=until)
    statement = (
        select(decisions.c.sequence, decisions.c.input_hash)
        .where(decisions.c.sequence.in_(found.sequences), decisions.c.input_hash.is_not(None))
        .order_by(decisions.c.sequence.desc())
    )
    newest: dict[str, int] = {}
    for row in connection.execute(statement):
        newest.setdefault(row.input_hash, row.sequence)
    return tuple(newest.values())[:limit]


def _behind(after: str) -> ColumnElement[bool]:
    place = _CURSOR.fullmatch(after)
    if place is None:
        raise CursorInvalid("the place in the list of images is none of ours: begin at its first page")
    sequence, digest = int(place[1]), place[2]
    use = image_uses.c
    return or_(use.last_sequence < sequence, (use.last_sequence == sequence) & (use.digest < digest))


def _uses(connection: Connection, visible: Visible, which: ColumnElement[bool]) -> Sequence[ImageUse]:
    use = image_uses.c
    summed: Select[Any] = (
        select(
            use.digest,
            func.min(use.first_at).label("first_at"),
            func.max(use.last_at).label("last_at"),
            func.max(use.last_sequence).label("last_sequence"),
            func.sum(use.decisions).label("decisions"),
            func.sum(use.refused).label("refused"),
            func.count(use.namespace.distinct()).label("namespaces"),
        )
        .where(which, seen(use.namespace, visible))
        .group_by(use.digest)
    )
    rows = connection.execute(summed).all()
    last = select(use.digest, use.written).where(
        use.digest.in_([row.digest for row in rows]), use.last_sequence.in_([row.last_sequence for row in rows])
    )
    written = {row.digest: row.written for row in connection.execute(last.order_by(use.last_sequence))}
    return tuple(
        ImageUse(
            row.digest,
            written[row.digest],
            _moment(row.first_at),
            _moment(row.last_at),
            int(row.decisions),
            int(row.refused),
            row.namespaces,
        )
        for row in rows
    )


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
