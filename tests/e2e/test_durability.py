"""Issue 7: kill -9 at any moment loses no decision that was answered.

A real `portcullis serve` over TLS is asked by sixteen clients and killed, again and again, at random moments: while
it starts, while it commits, while it writes its journal because somebody else has locked the store, while it
replays the journal. After each, the log is compared with what the clients were told.

PORTCULLIS_KILLS=300 makes a long run of it.
"""

import asyncio
import contextlib
import itertools
import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import pytest

from e2e.killing.reading import Log
from e2e.killing.serving import Forker, Server, Told, forking, load
from e2e.killing.stores import PostgresStore, SqliteStore, Store
from e2e.support import portcullis
from fakes.patience import PATIENCE_SECONDS
from fakes.postgres import PostgresServer

KILLS = int(os.environ.get("PORTCULLIS_KILLS", "24"))
LIMITS = {"commitRecords": 8}
"""So that a replay is many commits, and can be killed between two."""
SECONDS = 20
"""A round at most, on a busy machine; else it takes two."""
WAIT_SECONDS = 60

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.opa,
    pytest.mark.usefixtures("opa_binary"),
    pytest.mark.timeout(300 + KILLS * SECONDS),
]


class Moment(StrEnum):
    """When a server is killed."""

    STARTING = "at any moment of its first second"
    COMMITTING = "under load"
    JOURNALING = "under load, while somebody else has locked the store"
    REPLAYING = "as soon as it has replayed the first records of a journal"
    CATCHING_UP = "under load, while it replays"
    STOPPING = "SIGTERM under load"


CYCLE = (
    Moment.STARTING,
    Moment.COMMITTING,
    Moment.JOURNALING,
    Moment.REPLAYING,
    Moment.COMMITTING,
    Moment.CATCHING_UP,
    Moment.COMMITTING,
    Moment.STOPPING,
)


class Killer:
    """Runs one server after another and ends each at its moment. ``met`` counts those that were killed at it indeed."""

    def __init__(self, forker: Forker, store: Store, chance: random.Random) -> None:
        self.forker = forker
        self.store = store
        self.chance = chance
        self.told = Told()
        self.journal = forker.folder / "journal"
        self.met: Counter[Moment] = Counter()

    async def round(self, number: int, moment: Moment) -> None:
        name = f"r{number}"
        if moment in (Moment.JOURNALING, Moment.CATCHING_UP):
            with self.store.locked() as lock:
                server = await self.forker.start(name)
                async with load(server, name, self.told):
                    await self._answers(self.chance.randrange(60, 200))
                    if moment is Moment.CATCHING_UP:
                        kept = self.store.kept()
                        lock.release()
                        await self._replayed(kept)
                    await self._kill(server)
                    if self.journaled():
                        self.met[moment] += 1
            return
        kept = self.store.kept()
        server = await self.forker.start(name)
        if moment is Moment.STARTING:
            await asyncio.sleep(self.chance.random())
            await self._kill(server)
        elif moment is Moment.REPLAYING:
            await self._replayed(kept)
            await self._kill(server)
            if self.journaled():
                self.met[moment] += 1
        else:
            async with load(server, name, self.told):
                await self._answers(self.chance.randrange(1, 200))
                if moment is Moment.STOPPING:
                    server.signal(signal.SIGTERM)
                    assert await self.forker.ended() == 0
                else:
                    await self._kill(server)

    async def _answers(self, more: int) -> None:
        """Waits until clients have received so many."""
        wanted = len(self.told.answers) + more
        async with asyncio.timeout(WAIT_SECONDS):
            while len(self.told.answers) < wanted:
                await asyncio.sleep(0.001)

    async def _replayed(self, kept: int) -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            while self.store.kept() == kept:
                await asyncio.sleep(0)

    async def _kill(self, server: Server) -> None:
        """SIGKILL, a moment later: to its group, and its OPA goes with it."""
        await asyncio.sleep(self.chance.random() / 200)
        children = server.children()
        server.signal(signal.SIGKILL)
        assert await self.forker.ended() == -signal.SIGKILL
        for child in children:
            await _gone(child)

    def journaled(self) -> bool:
        """The journal is emptied at the end of a replay, so that it is not empty in the middle of one."""
        return self.journal.stat().st_size > 0


async def _gone(pid: int) -> None:
    """Waits until the process has ended; init may take its time to reap it."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                await asyncio.sleep(0.001)


async def caught_up(killer: Killer, name: str) -> None:
    """One more server, which is left alone until the journal is in the database, and stopped."""
    server = await killer.forker.start(name)
    await server.address()
    async with asyncio.timeout(WAIT_SECONDS):
        while killer.journal.stat().st_size:
            await asyncio.sleep(0.01)
    server.signal(signal.SIGTERM)
    assert await killer.forker.ended() == 0


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "sqlite":
        yield SqliteStore(tmp_path / "audit.db")
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    with server.durable(), server.database() as database:
        yield PostgresStore(server, database)


async def test_killed_at_any_moment_no_answer_is_lost(
    tmp_path: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    log = Log(store.url)
    began = time.monotonic()
    audit = {"database": store.url, "journal": "journal"}
    kills = KILLS if isinstance(store, SqliteStore) else max(KILLS // 3, len(CYCLE))
    async with forking(tmp_path, audit=audit, limits=LIMITS) as forker:
        killer = Killer(forker, store, random.Random(20261127))
        await caught_up(killer, "first")
        for number, moment in enumerate(itertools.islice(itertools.cycle(CYCLE), kills)):
            await killer.round(number, moment)
            if moment is Moment.STOPPING and not killer.journaled():
                await log.read()
                log.compare(killer.told)
        await caught_up(killer, "last")

    await log.read()
    log.compare(killer.told)
    codes = Counter(answer.code for answer in killer.told.answers.values())
    replays = killer.met[Moment.REPLAYING] + killer.met[Moment.CATCHING_UP]
    with capsys.disabled():
        print(
            f"\n{kills} servers ended in {time.monotonic() - began:.0f} s: {len(killer.told.answers)} answers "
            f"({dict(codes)}), {len(log.records)} records; killed {killer.met[Moment.JOURNALING]} times "
            f"while journaling, {replays} times in a replay"
        )
    assert set(codes) == {200, 403}
    assert {Moment.JOURNALING, Moment.REPLAYING, Moment.CATCHING_UP} <= set(killer.met)
    assert not (tmp_path / "journal.refused").exists()
    assert verified(tmp_path) == len(log.records)


def verified(folder: Path) -> int:
    """How many records `audit verify` proves, by what all servers have published of their chains, too."""
    published = folder / "published.log"
    published.write_text("".join(log.read_text() for log in sorted(folder.glob("*.log")) if log != published))
    config = str(folder / "portcullis.yaml")
    done = portcullis("audit", "verify", "--config", config, "--checkpoints", str(published), "-o", "json")
    assert done.returncode == 0, done.stdout + done.stderr
    return int(json.loads(done.stdout)["records"])
