"""Figures of the audit log: durable records a second, filtered pages of a large log, its size, its verification.

    python tests/bench/audit.py [--records N] [--stores sqlite postgresql] [--folder DIR]

The large logs are made once for each store and size, and kept in a folder outside the tree.
"""

import argparse
import asyncio
import json
import random
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import auditlog  # this and the next three beside this file
import auditserver
from auditkinds import END, TIME, World, records_of_each_kind, world
from auditverify import verify_rate
from rich.console import Console
from sqlalchemy import Engine, create_engine, event, text

from portcullis.audit.journal import Journal
from portcullis.audit.ledger import SqlLedger
from portcullis.audit.sql import SqlRecords, open_records
from portcullis.audit.writer import AuditLog
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.record import AuditRecord, RecordFilter
from portcullis.server.clock import SystemClock

FOLDER = Path(tempfile.gettempdir()) / "portcullis-bench"
RECORDS = 5_000_000
VERIFIED = 200_000
STORES = ("sqlite", "postgresql")
CONCURRENT = {1: 300, 16: 3000, 64: 6000}
"""Requests that wait for their record at a time, and records of each run."""
SINGLE = 300
PACED = 1000
PAUSE_SECONDS = 0.05
REPEATED = 20
"""How often each kind of page is asked for, each time with other values."""
PAGE = 100

SAME_TABLES = "records, one COMMIT each"

PAGE_MS = 50.0
GAIN = 5.0
"""What is aimed at: the median of a page, and the gain of group commit at 64 over single commits."""

LIMITS = replace(DEFAULT_LIMITS, append_seconds=30.0, store_seconds=60.0, read_seconds=30.0)
"""No journal takes over and no search is cut short: either would make the figures better than they are."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Values of one thing; ``most`` is what their median should not be above."""

    name: str
    unit: str
    values: Sequence[float]
    most: float | None = None


@dataclass(frozen=True, slots=True)
class Results:
    figures: Sequence[Measured]
    ratios: Mapping[str, float]

    def targets(self) -> list[dict[str, Any]]:
        """What was aimed at, and whether it was met."""
        medians = [(one.name, statistics.median(one.values), one.most) for one in self.figures if one.most is not None]
        below = [{"name": name, "value": value, "target": most, "met": value <= most} for name, value, most in medians]
        gained = {name: value for name, value in self.ratios.items() if name.endswith(SAME_TABLES)}
        return below + [
            {"name": name, "value": value, "target": GAIN, "met": value >= GAIN} for name, value in gained.items()
        ]


def figures(
    console: Console, *, records: int = RECORDS, stores: Sequence[str] = STORES, folder: Path = FOLDER
) -> Results:
    """All of it, store by store."""
    measured: list[Measured] = []
    ratios: dict[str, float] = {}
    folder.mkdir(parents=True, exist_ok=True)
    for store in stores:
        with _store(store, folder) as place:
            console.print(f"[dim]audit: {store}: records a second")
            rates, gains = _written(store, place)
            measured += rates
            ratios |= gains
            large = place.filled(records, console)
            console.print(f"[dim]audit: {store}: pages of {records:,} records")
            measured += asyncio.run(_pages(store, large))
            measured.append(Measured(f"{store}: bytes per record", "B", [place.size(large) / records]))
            console.print(f"[dim]audit: {store}: verification")
            rate = verify_rate(place.filled(min(records, VERIFIED), console))
            measured.append(Measured(f"{store}: verified", "per s", [rate]))
    return Results(measured, ratios, dict.fromkeys(ratios, GAIN))


# -- stores --------------------------------------------------------------------------------------------------------


class _Sqlite:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def fresh(self, name: str) -> str:
        for path in self._folder.glob(f"{name}.db*"):
            path.unlink()
        return f"sqlite:///{self._folder / name}.db"

    def filled(self, records: int, console: Console) -> str:
        path = self._folder / f"audit-{records}.db"
        if not path.exists():
            making = self._folder / f"making-{records}.db"
            making.unlink(missing_ok=True)
            auditlog.fill(f"sqlite:///{making}", records, say=lambda words: console.print(f"[dim]audit: {words}"))
            making.rename(path)
        return f"sqlite:///{path}"

    def size(self, url: str) -> int:
        return Path(url.removeprefix("sqlite:///")).stat().st_size

    def engine(self, url: str) -> Engine:
        """As durable as the store's own connections."""
        engine = create_engine(url)

        @event.listens_for(engine, "connect")
        def _connected(connection: object, _record: object) -> None:
            for pragma in ("journal_mode=WAL", "synchronous=FULL"):
                connection.execute(f"PRAGMA {pragma}")  # type: ignore[attr-defined]

        return engine


class _Postgres:
    def __init__(self, server: str) -> None:
        self._server = server

    def fresh(self, name: str) -> str:
        auditserver.drop_database(self._server, name)
        auditserver.create_database(self._server, name)
        return self._server + name

    def filled(self, records: int, console: Console) -> str:
        name = f"audit_{records}"
        if not auditserver.exists(self._server, name):
            url = self.fresh(f"making_{records}")
            auditlog.fill(url, records, say=lambda words: console.print(f"[dim]audit: {words}"))
            auditserver.rename_database(self._server, f"making_{records}", name)
        return self._server + name

    def size(self, url: str) -> int:
        with self.engine(url).connect() as connection:
            return int(connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one())

    def engine(self, url: str) -> Engine:
        return create_engine(url.replace("postgresql:", "postgresql+psycopg:"))


@contextmanager
def _store(kind: str, folder: Path) -> Iterator[_Sqlite | _Postgres]:
    if kind == "sqlite":
        yield _Sqlite(folder)
    else:
        with auditserver.serving(folder / "postgresql") as server:
            yield _Postgres(server)


# -- writing -------------------------------------------------------------------------------------------------------


def _written(store: str, place: _Sqlite | _Postgres) -> tuple[list[Measured], dict[str, float]]:
    """Records a second; what a record adds to a request; and how much group commit gains: over a loop that writes the
    same rows, one record and one COMMIT after the other, and over one that writes a bare row into a table without an
    index."""
    kinds = list(records_of_each_kind(random.Random(1), 500))
    single = _single_inserts(place, [len(record.decision.document) for record in kinds])
    same = asyncio.run(_one_by_one(place.fresh("bench_writing"), kinds))
    measured = [
        Measured(f"{store}: bare rows, one COMMIT each", "per s", [single]),
        Measured(f"{store}: records, one COMMIT each", "per s", [same]),
    ]
    rate = 0.0
    for concurrent, number in CONCURRENT.items():
        rate = asyncio.run(_rate(place.fresh("bench_writing"), kinds, concurrent, number))
        measured.append(Measured(f"{store}: durable records, {concurrent} at a time", "per s", [rate]))
    added = asyncio.run(_added(place.fresh("bench_writing"), kinds))
    measured.append(Measured(f"{store}: added by the record, 16 at a time", "ms", added))
    place.fresh("bench_writing")
    name = f"{store}: durable records at 64 /"
    return measured, {f"{name} {SAME_TABLES}": rate / same, f"{name} bare rows, one COMMIT each": rate / single}


def _single_inserts(place: _Sqlite | _Postgres, sizes: Sequence[int]) -> float:
    """One row of the size of a record, one COMMIT, in a table without any index: as simple as can be."""
    engine = place.engine(place.fresh("bench_writing"))
    with engine.connect() as connection:
        with connection.begin():
            connection.execute(text("CREATE TABLE reference (id INTEGER PRIMARY KEY, body TEXT)"))
        statement = text("INSERT INTO reference (id, body) VALUES (:id, :body)")
        began = time.perf_counter()
        for number in range(SINGLE):
            with connection.begin():
                connection.execute(statement, {"id": number, "body": "x" * sizes[number % len(sizes)]})
        took = time.perf_counter() - began
    engine.dispose()
    return SINGLE / took


async def _one_by_one(url: str, kinds: Sequence[AuditRecord]) -> float:
    """The rows of one record, one COMMIT, in the store's own tables, with nothing in front of it."""
    store = SqlRecords(url=url, limits=LIMITS)
    await store.start()
    records = [_fresh(kinds[place % len(kinds)]) for place in range(SINGLE)]
    began = time.perf_counter()
    for record in records:
        await store.append(record)
    took = time.perf_counter() - began
    await store.aclose()
    return SINGLE / took


async def _rate(url: str, kinds: Sequence[AuditRecord], concurrent: int, number: int) -> float:
    records = iter([_fresh(kinds[place % len(kinds)]) for place in range(number)])

    async def worker(log: AuditLog) -> None:
        for record in records:
            await log.append(record)

    async with _log(url) as log:
        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrent):
                group.create_task(worker(log))
        took = time.perf_counter() - began
        if log.counters.journaled:
            raise SystemExit("bench: the journal took over")
    return number / took


async def _added(url: str, kinds: Sequence[AuditRecord]) -> list[float]:
    """Milliseconds of each append, where 16 requests have other things to do meanwhile."""
    times: list[float] = []
    records = iter([_fresh(kinds[place % len(kinds)]) for place in range(PACED)])
    chance = random.Random(2)

    async def worker(log: AuditLog) -> None:
        for record in records:
            await asyncio.sleep(chance.random() * 2 * PAUSE_SECONDS)
            began = time.perf_counter()
            await log.append(record)
            times.append((time.perf_counter() - began) * 1000)

    async with _log(url) as log, asyncio.TaskGroup() as group:
        for _ in range(16):
            group.create_task(worker(log))
    return times


class _log:  # noqa: N801 - read as a function
    """The log as the gate has it, in front of a store."""

    def __init__(self, url: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="portcullis-bench-")
        store = SqlRecords(url=url, limits=LIMITS)
        journal = Journal(path=Path(self._folder.name) / "journal", limits=LIMITS)
        self._log = AuditLog(store=store, journal=journal, limits=LIMITS, clock=SystemClock())

    async def __aenter__(self) -> AuditLog:
        await self._log.start()
        return self._log

    async def __aexit__(self, *_: object) -> None:
        await self._log.aclose()
        self._folder.cleanup()


def _fresh(record: AuditRecord) -> AuditRecord:
    """Another decision of that kind, with another input."""
    moment, decision_id = datetime.now(UTC), str(uuid.uuid4())
    document = record.decision.document.replace(TIME.encode(), json.dumps(decision_id)[1:-1].encode())
    decision = replace(record.decision, id=decision_id, decided_at=moment, document=document)
    return replace(record, uid=decision_id, decision=decision)


# -- reading -------------------------------------------------------------------------------------------------------

Drawn = Callable[[World, random.Random], RecordFilter]


def _three(there: World, chance: random.Random) -> frozenset[str]:
    """Namespaces of a reader who sees few."""
    return frozenset(there.namespaces.any(chance) for _ in range(3))


def _month(chance: random.Random) -> datetime:
    return END - timedelta(minutes=chance.randrange(60 * 24 * 28))


FILTERS: Mapping[str, Drawn] = {
    "nothing": lambda _, __: RecordFilter(),
    "namespace": lambda there, chance: RecordFilter(namespace=there.namespaces.draw(chance)),
    "namespace, verdict": lambda there, chance: RecordFilter(
        namespace=there.namespaces.draw(chance), verdict="refused"
    ),
    "verdict": lambda _, __: RecordFilter(verdict="refused"),
    "user": lambda there, chance: RecordFilter(username=there.users.draw(chance)),
    "image, user": lambda there, chance: RecordFilter(
        image=there.images.draw(chance).written, username=there.users.draw(chance)
    ),
    "digest": lambda there, chance: RecordFilter(digest=there.images.any(chance).digest),
    "policy": lambda there, chance: RecordFilter(policy=there.policies.any(chance)),
    "policy, namespace": lambda there, chance: RecordFilter(
        policy=there.policies.draw(chance), namespace=there.namespaces.draw(chance)
    ),
    "policy, mode": lambda there, chance: RecordFilter(policy=there.policies.any(chance), mode="audit"),
    "kind, name": lambda _, chance: RecordFilter(kind="Deployment", name=f"web-{chance.randrange(40)}"),
    "words": lambda _, chance: RecordFilter(
        text=chance.choice(("runs as root", "openssl", "critical openssl", "shell"))
    ),
    "words, namespace": lambda there, chance: RecordFilter(
        text="runs as root", namespace=there.namespaces.draw(chance)
    ),
    "reason": lambda _, __: RecordFilter(reason="registry-unreachable"),
    "exception": lambda _, chance: RecordFilter(exception=f"EX-{chance.randrange(30)}"),
    "break-glass": lambda _, __: RecordFilter(because="break-glass"),
    "an hour": lambda _, chance: _from(_month(chance), timedelta(hours=1)),
    "a day, namespace, verdict": lambda there, chance: replace(
        _from(_month(chance), timedelta(days=1)), namespace=there.namespaces.draw(chance), verdict="refused"
    ),
    "3 namespaces": lambda there, chance: RecordFilter(visible=_three(there, chance)),
    "3 namespaces, verdict": lambda there, chance: RecordFilter(visible=_three(there, chance), verdict="refused"),
    "3 namespaces, policy": lambda there, chance: RecordFilter(
        visible=_three(there, chance), policy=there.policies.draw(chance)
    ),
    "3 namespaces, user": lambda there, chance: RecordFilter(
        visible=_three(there, chance), username=there.users.draw(chance)
    ),
    "3 namespaces, words": lambda there, chance: RecordFilter(visible=_three(there, chance), text="runs as root"),
}


def _from(since: datetime, length: timedelta) -> RecordFilter:
    return RecordFilter(since=since, until=since + length)


async def _pages(store: str, url: str) -> list[Measured]:
    """Milliseconds of a page of PAGE records, for each kind of filter."""
    there, chance = world(random.Random(1)), random.Random(3)
    measured: list[Measured] = []
    async with open_records(url, LIMITS) as records:
        ledger = SqlLedger(records=records, limits=LIMITS)
        await ledger.page(RecordFilter(limit=PAGE))
        for name, draw in FILTERS.items():
            times: list[float] = []
            for _ in range(REPEATED):
                query = replace(draw(there, chance), limit=PAGE)
                began = time.perf_counter()
                page = await ledger.page(query)
                times.append((time.perf_counter() - began) * 1000)
                if page.searched_to is not None:
                    raise SystemExit(f"bench: {query} was not searched to its end")
            measured.append(Measured(f"{store}: page by {name}", "ms", times, most=PAGE_MS))
    return measured


def main() -> None:
    arguments = argparse.ArgumentParser(description="figures of the audit log on this machine")
    arguments.add_argument("--records", type=int, default=RECORDS)
    arguments.add_argument("--stores", nargs="+", choices=STORES, default=STORES)
    arguments.add_argument("--folder", type=Path, default=FOLDER)
    chosen = arguments.parse_args()
    console = Console(stderr=True)
    results = figures(console, records=chosen.records, stores=chosen.stores, folder=chosen.folder)
    for one in results.figures:
        ordered = sorted(one.values)
        p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
        print(f"{one.name:60} {statistics.median(ordered):12,.2f} {p99:12,.2f} {one.unit}")
    for name, value in results.ratios.items():
        print(f"{name:60} {value:12,.2f}")


if __name__ == "__main__":
    main()
