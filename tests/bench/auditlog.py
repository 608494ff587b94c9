"""Fills an audit store with records as a cluster makes them, for figures and for looking at plans.

    python tests/bench/auditlog.py DATABASE [--records N] [--seed N]

The rows are those of the program's own row builder, made once for each of some thousand kinds of decision and then
stamped with id, time and place in the chain: five million in minutes. The same seed makes the same records.
"""

import argparse
import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from auditbulk import Bulk, bulk_of
from auditkinds import END, ID, SUFFIX, TIME, UID, records_of_each_kind  # beside this file

from portcullis.audit import codec
from portcullis.audit.chain import Head
from portcullis.audit.counting import WIDTHS, Counts
from portcullis.audit.fulltext import words_of
from portcullis.audit.rows import _decision_row, _image_rows, _violation_rows, reasons_of
from portcullis.audit.tables import metadata
from portcullis.model.record import AuditRecord

DAYS = 30
CHAINS = 3
PIECE = 20_000
SUFFIXES = "bcdfghjklmnpqrstvwxz2456789"


@dataclass(slots=True)
class Kind:
    """What all decisions of one kind have in common, as rows."""

    decision: dict[str, Any]
    images: list[tuple[Any, ...]]
    violations: list[tuple[Any, ...]]
    reasons: list[str]
    words: str
    verdict: tuple[Any, ...]
    policies: list[tuple[Any, ...]]
    uses: list[tuple[str, str, str]]
    refused: bool
    generated: bool

    @classmethod
    def of(cls, record: AuditRecord) -> "Kind":
        counted = Counts(0)
        counted.add(record, 0)
        width = WIDTHS[0]
        uses = [(*one, use["written"]) for one, use in counted._images.items()]
        return cls(
            decision=_decision_row(record, record.decision.id, codec.input_hash(record.decision.document)),
            images=_numbered("images", _image_rows(record)),
            violations=_numbered("violations", _violation_rows(record)),
            reasons=list(reasons_of(record)),
            words=words_of(record),
            verdict=next(one[2:] for one in counted._verdicts if one[0] == width),
            policies=[one[2:] for one in counted._policies if one[0] == width],
            uses=uses,
            refused=record.decision.verdict == "refused",
            generated=SUFFIX in record.name,
        )


def _numbered(table: str, rows: Iterable[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    """The rows without the decision that they belong to, which stands in front of them."""
    names = [column.name for column in metadata.tables[table].columns]
    assert names[:2] == ["decision", "position"]
    return [(position, *(row[name] for name in names[2:])) for position, row in enumerate(rows)]


@dataclass(slots=True)
class Totals:
    """What the tables of tallies hold in the end."""

    verdicts: Counter[tuple[Any, ...]] = field(default_factory=Counter)
    policies: Counter[tuple[Any, ...]] = field(default_factory=Counter)
    uses: dict[tuple[str, str, int], list[Any]] = field(default_factory=dict)
    hours: dict[tuple[int, int], list[int]] = field(default_factory=dict)

    def add(self, kind: Kind, chain: int, sequence: int, seconds: float) -> None:
        hour = int(seconds) // 3600 * 3600
        self.verdicts[(hour, chain, kind.verdict)] += 1
        for policy in kind.policies:
            self.policies[(hour, chain, policy)] += 1
        span = self.hours.setdefault((hour, chain), [sequence, sequence])
        span[1] = sequence
        moment = round(seconds * 1000)
        for digest, namespace, written in kind.uses:
            use = self.uses.setdefault((digest, namespace, chain), [written, moment, moment, sequence, 0, 0])
            use[0], use[2], use[3] = written, max(use[2], moment), sequence
            use[4] += 1
            use[5] += kind.refused

    def rows(self) -> Iterator[tuple[str, Iterator[tuple[Any, ...]]]]:
        for name, counted in (("tallies", self.verdicts), ("policy_tallies", self.policies)):
            yield name, self._by_width(counted)
        yield "hours", ((*place, *span) for place, span in self.hours.items())
        yield "image_uses", ((*place, *use) for place, use in self.uses.items())

    def _by_width(self, counted: Counter[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
        for width in WIDTHS:
            total: Counter[tuple[Any, ...]] = Counter()
            for (hour, chain, rest), count in counted.items():
                total[(hour // width * width, chain, rest)] += count
            together: Counter[tuple[Any, ...]] = Counter()
            for (start, chain, (namespace, *rest)), count in total.items():
                yield (width, start, chain, namespace, *rest, count)
                together[(start, chain, *rest)] += count
            for (start, chain, *rest), count in together.items():
                yield (-width, start, chain, "", *rest, count)


def fill(url: str, records: int, *, seed: int = 1, say: Callable[[str], None] = lambda _: None) -> None:
    """Makes the store, which must not be there yet, and ``records`` in it; the newest at END."""
    chance = random.Random(seed)
    number = min(20_000, max(500, records // 20))
    kinds = [(Kind.of(record), record) for record in records_of_each_kind(chance, number)]
    with asyncio.run(bulk_of(url, CHAINS)) as bulk:
        inputs = {kind.decision["input_hash"]: record.decision.document for kind, record in kinds}
        bulk.insert_inputs(inputs)
        heads = list(bulk.heads)
        totals = Totals()
        began = time.monotonic()
        for start in range(1, records + 1, PIECE):
            piece = _Piece(bulk)
            for sequence in range(start, min(start + PIECE, records + 1)):
                kind = kinds[int(chance.random() * len(kinds))][0]
                seconds = END.timestamp() - (records - sequence + chance.random()) * DAYS * 86_400 / records
                number = sequence % CHAINS
                heads[number] = piece.add(kind, chance, sequence, seconds, heads[number])
                totals.add(kind, heads[number].number, sequence, seconds)
            piece.write()
            done = piece.last
            rate = done / (time.monotonic() - began)
            say(f"{done:,} of {records:,} records, {rate:,.0f} a second, {(records - done) / rate:,.0f} s left")
        for table, rows in totals.rows():
            bulk.insert(table, rows)
        say("making indexes")
        bulk.finish(records)
    say(f"{records:,} records in {time.monotonic() - began:,.0f} s")


class _Piece:
    """Some thousand records on their way."""

    def __init__(self, bulk: Bulk) -> None:
        self._bulk = bulk
        self._rows: dict[str, list[tuple[Any, ...]]] = {
            name: [] for name in ("decisions", "images", "violations", "reasons", "texts")
        }
        self.last = 0

    def add(self, kind: Kind, chance: random.Random, sequence: int, seconds: float, head: Head) -> Head:
        moment = datetime.fromtimestamp(seconds, UTC)
        decision_id, uid = _uuid(chance), _uuid(chance)
        suffix = "".join(chance.choices(SUFFIXES, k=len(SUFFIX))) if kind.generated else SUFFIX
        body = kind.decision["body"].replace(ID, decision_id).replace(UID, uid)
        body = body.replace(TIME, moment.isoformat(timespec="microseconds").replace("+00:00", "Z"))
        if kind.generated:
            body = body.replace(SUFFIX, suffix)
        head = head.after(body.encode("ascii"))
        stamps: Mapping[str, Any] = {
            "sequence": sequence,
            "id": decision_id,
            "uid": uid,
            "decided_at": moment,
            "name": kind.decision["name"].replace(SUFFIX, suffix),
            "body": body,
            "chain": head.number,
            "position": head.position,
            "hash": head.hash,
        }
        rows = self._rows
        rows["decisions"].append(self._bulk.decision({**kind.decision, **stamps}))
        rows["images"] += [(sequence, *row) for row in kind.images]
        rows["violations"] += [(sequence, *row) for row in kind.violations]
        for reason in kind.reasons:
            rows["reasons"].append((sequence, reason))
        if kind.words:
            rows["texts"].append((sequence, kind.words))
        self.last = sequence
        return head

    def write(self) -> None:
        for name, rows in self._rows.items():
            self._bulk.insert(name, rows)


def _uuid(chance: random.Random) -> str:
    number = f"{chance.getrandbits(128):032x}"
    return f"{number[:8]}-{number[8:12]}-4{number[13:16]}-8{number[17:20]}-{number[20:]}"


def main() -> None:
    arguments = argparse.ArgumentParser(description="fills an audit store for figures")
    arguments.add_argument("database", help="sqlite:////path or postgresql://…; a file that is not there yet")
    arguments.add_argument("--records", type=int, default=200_000)
    arguments.add_argument("--seed", type=int, default=1)
    chosen = arguments.parse_args()
    fill(chosen.database, chosen.records, seed=chosen.seed, say=lambda words: print(words, file=sys.stderr, flush=True))


if __name__ == "__main__":
    main()
