"""Issue 7: kill -9 at any moment loses no decision that was answered.

A real `portcullis serve` over TLS is asked by sixteen clients and killed, again and again, at random moments: while
it starts, while it commits, while it writes its journal because another process has locked the database, while it
replays the journal. After each, the log is compared with what the clients were told.

PORTCULLIS_KILLS=300 makes a long run of it.
"""

import asyncio
import contextlib
import itertools
import os
import random
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import pytest

from e2e.killing.reading import Log, kept_now
from e2e.killing.serving import Forker, Server, Told, forking, load
from e2e.support import portcullis

KILLS = int(os.environ.get("PORTCULLIS_KILLS", "24"))
LIMITS = {"commitRecords": 8}
"""So that a replay is many commits, and can be killed between two."""
SECONDS = 10
"""A round, on a busy machine; else two."""
WAIT_SECONDS = 60

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.opa,
    pytest.mark.usefixtures("opa_binary"),
    pytest.mark.timeout(60 + KILLS * SECONDS),
]


class Moment(StrEnum):
    """When a server is killed."""

    STARTING = "at any moment of its first second"
    COMMITTING = "under load"
    JOURNALING = "under load, while the database is locked by another process"
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


@contextlib.contextmanager
def locked(database: Path) -> Iterator[sqlite3.Connection]:
    """Nobody else can write to the file meanwhile."""
    with contextlib.closing(sqlite3.connect(database, isolation_level=None, timeout=10)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield connection


class Killer:
    """Runs one server after another and ends each at its moment. ``met`` counts those that were killed at it indeed."""

    def __init__(self, forker: Forker, chance: random.Random) -> None:
        self.forker = forker
        self.chance = chance
        self.told = Told()
        self.database = forker.folder / "audit.db"
        self.journal = forker.folder / "audit.db.journal"
        self.met: Counter[Moment] = Counter()

    async def round(self, number: int, moment: Moment) -> None:
        name = f"r{number}"
        if moment in (Moment.JOURNALING, Moment.CATCHING_UP):
            with locked(self.database) as lock:
                server = await self.forker.start(name)
                async with load(server, name, self.told):
                    await self._answers(self.chance.randrange(60, 200))
                    if moment is Moment.CATCHING_UP:
                        kept = kept_now(self.database)
                        lock.execute("ROLLBACK")
                        await self._replayed(kept)
                    await self._kill(server)
                    if self._journaled():
                        self.met[moment] += 1
            return
        kept = kept_now(self.database)
        server = await self.forker.start(name)
        if moment is Moment.STARTING:
            await asyncio.sleep(self.chance.random())
            await self._kill(server)
        elif moment is Moment.REPLAYING:
            await self._replayed(kept)
            await self._kill(server)
            if self._journaled():
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
            while kept_now(self.database) == kept:
                await asyncio.sleep(0)

    async def _kill(self, server: Server) -> None:
        """SIGKILL, a moment later: to its group, and its OPA goes with it."""
        await asyncio.sleep(self.chance.random() / 200)
        children = server.children()
        server.signal(signal.SIGKILL)
        assert await self.forker.ended() == -signal.SIGKILL
        for child in children:
            await _gone(child)

    def _journaled(self) -> bool:
        """The journal is emptied at the end of a replay, so that it is not empty in the middle of one."""
        return self.journal.stat().st_size > 0


async def _gone(pid: int) -> None:
    """Waits until the process has ended; init may take its time to reap it."""
    async with asyncio.timeout(10):
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


async def test_killed_at_any_moment_no_answer_is_lost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = Log(f"sqlite:///{tmp_path}/audit.db")
    began = time.monotonic()
    async with forking(tmp_path, limits=LIMITS) as forker:
        killer = Killer(forker, random.Random(20261127))
        await caught_up(killer, "first")
        moments = list(itertools.islice(itertools.cycle(CYCLE), KILLS))
        for number, moment in enumerate(moments):
            await killer.round(number, moment)
            if moment is Moment.STOPPING:
                await log.read()
                log.compare(killer.told)
        await caught_up(killer, "last")

    await log.read()
    log.compare(killer.told)
    codes = Counter(answer.code for answer in killer.told.answers.values())
    replays = killer.met[Moment.REPLAYING] + killer.met[Moment.CATCHING_UP]
    with capsys.disabled():
        print(
            f"\n{KILLS} servers ended in {time.monotonic() - began:.0f} s: {len(killer.told.answers)} answers "
            f"({dict(codes)}), {len(log.records)} records; killed {killer.met[Moment.JOURNALING]} times "
            f"while journaling, {replays} times in a replay"
        )
    assert set(codes) == {200, 403}
    assert {Moment.JOURNALING, Moment.REPLAYING, Moment.CATCHING_UP} <= set(killer.met)
    assert not (tmp_path / "audit.db.journal.refused").exists()
    with contextlib.closing(sqlite3.connect(tmp_path / "audit.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    listed = portcullis("audit", "list", "--config", str(tmp_path / "portcullis.yaml"), "--limit", "1", "-o", "json")
    assert log.records[-1].decision.id in listed.stdout
