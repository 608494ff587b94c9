"""Tallies of decisions, kept up in the same transaction as their records.

A batch is counted in memory first, so that its rows are few. Every row belongs to one chain: replicas that share a
PostgreSQL never wait for each other's rows. What all namespaces have together is counted as well: a reader who sees all
of a large cluster would otherwise wait for the sum of some hundred thousand rows.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Table

from portcullis.audit.inserting import Rows
from portcullis.audit.tables import hours, image_uses, key, policy_tallies, tallies
from portcullis.model.decision import Verdict
from portcullis.model.record import AuditRecord

HOUR = 3600
DAY = 86_400
WIDTHS = (HOUR, DAY)

_ADDED = ("decisions", "refused")
_REPLACED = ("written", "last_at", "last_sequence")

_Key = tuple[Any, ...]


class Counts:
    """What some records of one chain add to the tallies."""

    def __init__(self, chain: int) -> None:
        self._chain = chain
        self._verdicts: Counter[_Key] = Counter()
        self._policies: Counter[_Key] = Counter()
        self._images: dict[tuple[str, str], dict[str, Any]] = {}
        self._hours: dict[int, dict[str, int]] = {}

    def add(self, record: AuditRecord, sequence: int) -> None:
        """Counts a record that was given ``sequence``. What is a sample of what anybody sent counts for nothing: the
        figures are those of what the API server asked."""
        decision = record.decision
        self._add_hour(decision.decided_at, sequence)
        if record.sampled:
            return
        namespace = key(record.namespace)
        outcomes = () if record.dry_run else {(key(policy), *rest) for policy, *rest in _outcomes(record)}
        verdict = (decision.verdict.value, decision.code, decision.because.value, record.dry_run)
        for span in spans_of(decision.decided_at, namespace):
            self._verdicts[(*span, *verdict)] += 1
            for outcome in outcomes:
                self._policies[(*span, *outcome)] += 1
        if not record.dry_run:
            self._add_images(record, namespace, sequence)

    def _add_hour(self, decided_at: datetime, sequence: int) -> None:
        hour = start_of(decided_at, HOUR)
        known = self._hours.setdefault(
            hour, {"start": hour, "chain": self._chain, "first_sequence": sequence, "last_sequence": sequence}
        )
        known["last_sequence"] = max(known["last_sequence"], sequence)

    def rows(self) -> Sequence[Rows]:
        """What is to be added to the counts that are stored. In one order everywhere, so that no two transactions wait
        for each other's rows in a circle."""
        return (
            self._counted(tallies, self._verdicts),
            self._counted(policy_tallies, self._policies),
            # The sequences of one chain rise: what is there stays the first.
            Rows(hours, [self._hours[one] for one in sorted(self._hours)], replaced=("last_sequence",)),
            Rows(image_uses, [self._images[one] for one in sorted(self._images)], _ADDED, _REPLACED),
        )

    def _counted(self, table: Table, counted: Counter[_Key]) -> Rows:
        names = [column.name for column in table.primary_key.columns if column.name != "chain"]
        rows = [
            {**dict(zip(names, found, strict=True)), "chain": self._chain, "count": counted[found]}
            for found in sorted(counted)
        ]
        return Rows(table, rows, added=("count",))

    def _add_images(self, record: AuditRecord, namespace: str, sequence: int) -> None:
        decision = record.decision
        moment = round(decision.decided_at.timestamp() * 1000)
        written = {key(image.digest): key(image.written) for image in decision.images if image.digest}
        for digest, text in written.items():
            use = self._images.setdefault(
                (digest, namespace),
                {
                    "digest": digest,
                    "namespace": namespace,
                    "chain": self._chain,
                    "first_at": moment,
                    "last_at": moment,
                    "decisions": 0,
                    "refused": 0,
                },
            )
            use["written"], use["last_sequence"] = text, sequence
            use["first_at"] = min(use["first_at"], moment)
            use["last_at"] = max(use["last_at"], moment)
            use["decisions"] += 1
            use["refused"] += decision.verdict is Verdict.REFUSED


def spans_of(moment: datetime, namespace: str) -> Iterator[tuple[int, int, str]]:
    """Width, start and namespace of the rows in which a decision counts: by hour and by day, of its namespace, and of
    all together. The latter have a negative width, which no name of a namespace can feign."""
    for width in WIDTHS:
        start = start_of(moment, width)
        yield width, start, namespace
        yield -width, start, ""


def start_of(moment: datetime, width: int) -> int:
    """Of the hour or day that a moment lies in, in seconds since 1970."""
    return int(moment.timestamp()) // width * width


def _outcomes(record: AuditRecord) -> Iterator[tuple[str, str, str]]:
    """Policy, mode and outcome of all that policies had to say."""
    for violation in record.decision.violations:
        yield violation.policy, violation.mode.value, "excepted" if violation.exception else "violation"
    for undecided in record.decision.undecided:
        yield undecided.policy, undecided.mode.value, "undecided"
