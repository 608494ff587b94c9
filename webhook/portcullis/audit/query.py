"""RecordFilter as SQL: what a decision must meet, and the indexes along which it can be found.

Every value is a bound parameter. Nothing here decides which index is used; :mod:`portcullis.audit.searching` does.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Select, exists, literal_column, select, union_all

from portcullis.audit.fulltext import TEXTS, Holding, HoldingItself, words
from portcullis.audit.tables import (
    DRY_RUN,
    EXCEPTED,
    NOT_ADMITTED,
    NOT_JUDGED,
    UNVERIFIED,
    decisions,
    images,
    key,
    reasons,
    violations,
)
from portcullis.errors import RecordsError
from portcullis.limits import Limits
from portcullis.model.decision import Because, Verdict
from portcullis.model.record import RecordFilter
from portcullis.model.request import Caller

BRANCHES = 16
"""Namespaces of a reader who sees few whose indexes are read side by side; more are looked at row by row."""

Sequenced = ColumnElement[int]


@dataclass(frozen=True, slots=True)
class Way:
    """An index that holds sequences in order.

    ``branches`` are conditions each of which selects one run of the index; ``meets`` names the conditions of the filter
    that all of what is found along it meets.
    """

    sequence: Sequenced
    branches: tuple[tuple[ColumnElement[bool], ...], ...]
    meets: frozenset[str] = field(default_factory=frozenset)

    def newest(self, low: int, high: int, rows: int, skip: int = 0) -> Select[Any]:
        """The newest ``rows`` sequences from ``low`` on, below ``high``, newest first."""
        runs = [self._run(branch, low, high) for branch in self.branches]
        if len(runs) == 1:
            return runs[0].limit(rows).offset(skip)
        cut = [select(run.limit(rows + skip).subquery()) for run in runs]
        merged = union_all(*cut).subquery()
        return select(merged.c.sequence).order_by(merged.c.sequence.desc()).limit(rows).offset(skip)

    def _run(self, branch: Sequence[ColumnElement[bool]], low: int, high: int) -> Select[Any]:
        source = self.sequence
        return select(source.label("sequence")).where(*branch, source >= low, source < high).order_by(source.desc())


def check(query: RecordFilter, limits: Limits) -> None:
    """Raises RecordsError where more is asked for than one answer or one search may have."""
    if not 1 <= query.limit <= limits.search_rows:
        raise RecordsError(
            f"{query.limit} rows asked for; one answer has 1 to {limits.search_rows} (limits.searchRows)"
        )
    if len(words(query.text)) > limits.search_words:
        raise RecordsError(f"a search has at most {limits.search_words} words (limits.searchWords)")


def is_empty(query: RecordFilter) -> bool:
    """Whether nothing can meet the query, whatever there is: the reader sees nothing of it, or it asks for words and
    names none."""
    unseen = query.visible is not None and (
        not query.visible or (bool(query.namespace) and query.namespace not in query.visible)
    )
    return unseen or (bool(query.text) and not words(query.text))


# -- what a decision must meet -------------------------------------------------------------------------------------


def meeting(query: RecordFilter, sequence: Sequenced, met: frozenset[str]) -> list[ColumnElement[bool]]:
    """Conditions on the decision of that sequence; those in ``met`` hold already.

    ``since`` is included, ``until`` is not. ``image`` is the reference as written, or one without tag and digest:
    then any tag and digest of it. ``policy`` finds violations and undecided policies.
    """
    conditions: list[ColumnElement[bool]] = []
    own = [condition for name, condition in _own(query) if name not in met]
    if own:
        conditions.append(exists().where(decisions.c.sequence == sequence, *own))
    for name, decision, others in (
        ("image", images.c.decision, _image(query)),
        ("violation", violations.c.decision, _violation(query)),
        ("reason", reasons.c.decision, _reason(query)),
        ("text", TEXTS.c.rowid, [HoldingItself(words(query.text))] if query.text else []),
    ):
        if others and name not in met:
            conditions.append(exists().where(decision == sequence, *others))
    return conditions


def _own(query: RecordFilter) -> Iterator[tuple[str, ColumnElement[bool]]]:
    """Conditions on the row of a decision itself."""
    for name, source, wanted in (
        ("namespace", decisions.c.namespace, query.namespace),
        ("kind", decisions.c.kind, query.kind),
        ("name", decisions.c.name, query.name),
        ("username", decisions.c.username, query.username),
        ("verdict", decisions.c.verdict, query.verdict),
        ("because", decisions.c.because, query.because),
        ("caller", decisions.c.caller, query.caller),
    ):
        if wanted:
            yield name, source == key(wanted)
    if query.dry_run is not None:
        yield "dry_run", decisions.c.dry_run == query.dry_run
    if query.since is not None:
        yield "since", decisions.c.decided_at >= query.since
    if query.until is not None:
        yield "until", decisions.c.decided_at < query.until
    if query.visible is not None and not query.namespace:
        yield "visible", decisions.c.namespace.in_(sorted(map(key, query.visible)))


def _image(query: RecordFilter) -> list[ColumnElement[bool]]:
    conditions = [images.c.digest == key(query.digest)] if query.digest else []
    return [*conditions, _named(query.image)] if query.image else conditions


def _named(written: str) -> ColumnElement[bool]:
    name = written.rpartition("/")[2]
    source = images.c.written if ":" in name or "@" in name else images.c.repository
    return source == key(written)


def _violation(query: RecordFilter) -> list[ColumnElement[bool]]:
    pairs = (
        (violations.c.policy, query.policy),
        (violations.c.mode, query.mode),
        (violations.c.exception, query.exception),
    )
    return [source == key(wanted) for source, wanted in pairs if wanted]


def _reason(query: RecordFilter) -> list[ColumnElement[bool]]:
    return [reasons.c.reason == key(query.reason)] if query.reason else []


# -- where it can be found -----------------------------------------------------------------------------------------


def ways(query: RecordFilter) -> tuple[Way, ...]:
    """The indexes along which all that meets the query can be found; the whole log where there is none."""
    found = (*_own_ways(query), *_ways_beside(query))
    return found or (EVERYTHING,)


def _own_ways(query: RecordFilter) -> Iterator[Way]:
    own = dict(_own(query))
    workload = frozenset(("namespace", "kind", "name"))
    if workload <= own.keys():
        yield _way(decisions.c.sequence, *(own[name] for name in sorted(workload)), meets=workload)
    else:
        for name in ("namespace", "kind", "name"):
            if name in own:
                yield _way(decisions.c.sequence, own[name], meets=(name,))
    if "username" in own:
        yield _way(decisions.c.sequence, own["username"], meets=("username",))
    for name, rare, only in (
        ("verdict", query.verdict != Verdict.ADMITTED, NOT_ADMITTED),
        ("because", query.because != Because.JUDGED, NOT_JUDGED),
        ("caller", query.caller == Caller.UNVERIFIED, UNVERIFIED),
        ("dry_run", query.dry_run, DRY_RUN),
    ):
        if name in own and rare:
            yield _way(decisions.c.sequence, own[name], literal_column(only), meets=(name,))
    if "visible" in own and len(query.visible or ()) <= BRANCHES:
        branches = tuple((decisions.c.namespace == key(one),) for one in sorted(query.visible or ()))
        yield Way(decisions.c.sequence, branches, frozenset(("visible",)))


def _ways_beside(query: RecordFilter) -> Iterator[Way]:
    """Those of the tables beside. Where two conditions are on one row of theirs, no index holds both."""
    image, violation = _image(query), _violation(query)
    for condition in image:
        yield _way(images.c.decision, condition, meets=("image",) if len(image) == 1 else ())
    for source, wanted, only in (
        (violations.c.policy, query.policy, ()),
        (violations.c.exception, query.exception, (literal_column(EXCEPTED),)),
    ):
        if wanted:
            alone = len(violation) == 1
            yield _way(violations.c.decision, source == key(wanted), *only, meets=("violation",) if alone else ())
    if query.reason:
        yield _way(reasons.c.decision, *_reason(query), meets=("reason",))
    if query.text:
        yield _way(TEXTS.c.rowid, Holding(words(query.text)), meets=("text",))


def _way(sequence: Sequenced, *conditions: ColumnElement[bool], meets: Iterable[str]) -> Way:
    return Way(sequence, (conditions,), frozenset(meets))


EVERYTHING = Way(decisions.c.sequence, ((),))
"""All decisions, in order."""
