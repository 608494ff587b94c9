"""RecordFilter as SQL: every value a bound parameter, every page read along an index."""

from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, and_, or_, select

from portcullis.audit.tables import decisions, images, key, violations
from portcullis.errors import RecordsError
from portcullis.limits import Limits
from portcullis.model.record import RecordFilter


def page(query: RecordFilter, limits: Limits) -> Select[Any]:
    """Sequence and body of the newest decisions that meet all conditions, newest first.

    ``since`` is included, ``until`` is not. ``image`` is the reference as written, or one without tag and digest:
    then any tag and digest of it. ``policy`` finds violations and undecided policies.

    Raises:
        RecordsError: a limit outside 1 … ``limits.search_rows``.
    """
    if not 1 <= query.limit <= limits.search_rows:
        raise RecordsError(
            f"{query.limit} rows asked for; one answer has 1 to {limits.search_rows} (limits.searchRows)"
        )
    return (
        select(decisions.c.sequence, decisions.c.body)
        .where(decisions.c.sequence.in_(matching(query).limit(query.limit)))
        .order_by(decisions.c.sequence.desc())
    )


def matching(query: RecordFilter) -> Select[Any]:
    """The sequences of all decisions that meet the conditions, the newest first, as :func:`page` says."""
    source, sequence = _source(query)
    found = select(sequence).select_from(source).where(*_conditions(query, sequence))
    if sequence is not decisions.c.sequence:
        found = found.distinct()
    return found.order_by(sequence.desc())


def _source(query: RecordFilter) -> tuple[FromClause, ColumnElement[int]]:
    """What is read, and the sequence to page along: that of the most telling index.

    An image, a digest or a policy is rarer than a namespace or a user.
    """
    by_image, by_policy = bool(query.image or query.digest), bool(query.policy or query.exception)
    source: FromClause = decisions
    sequence: ColumnElement[int] = decisions.c.sequence
    if by_policy:
        source, sequence = source.join(violations), violations.c.decision
    if by_image:
        source, sequence = source.join(images), images.c.decision
    return source, sequence


def _conditions(query: RecordFilter, sequence: ColumnElement[int]) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if query.before is not None:
        conditions.append(sequence < query.before)
    if query.since is not None:
        conditions.append(decisions.c.decided_at >= query.since)
    if query.until is not None:
        conditions.append(decisions.c.decided_at < query.until)
    for column, wanted in (
        (decisions.c.namespace, query.namespace),
        (decisions.c.kind, query.kind),
        (decisions.c.name, query.name),
        (decisions.c.username, query.username),
        (decisions.c.verdict, query.verdict),
        (images.c.digest, query.digest),
        (violations.c.policy, query.policy),
        (violations.c.exception, query.exception),
    ):
        if wanted:
            conditions.append(column == key(wanted))
    if query.image:
        conditions.append(_image(key(query.image)))
    return conditions


def _image(written: str) -> ColumnElement[bool]:
    """The text itself, or the text with a tag or digest behind it. Ranges and not LIKE: they use the index in every
    collation, and nothing in the text is a wildcard."""
    column = images.c.written
    name = written.rpartition("/")[2]
    if ":" in name or "@" in name:
        return column == written
    tagged = and_(column >= written + ":", column < written + ";")
    by_digest = and_(column >= written + "@", column < written + "A")
    return or_(column == written, tagged, by_digest)
