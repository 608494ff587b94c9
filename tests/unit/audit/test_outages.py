"""A real PostgreSQL server that dies, hangs, forgets and is cut off under appends: no answered record is lost."""

import asyncio
import itertools
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import trustme

from fakes.between import between
from fakes.postgres import OWNER, PASSWORD, PostgresServer, server_processes
from fakes.records import a_decision, a_record
from portcullis.audit.journal import Journal
from portcullis.audit.sql import SqlRecords, open_records
from portcullis.audit.writer import CLOSE_SECONDS, AuditLog, Health
from portcullis.errors import RecordsError
from portcullis.limits import Limits
from portcullis.server.clock import SystemClock

pytestmark = pytest.mark.anyio

LIMITS = Limits(append_seconds=0.3, store_seconds=1.0)
CLIENTS = 6
A_LITTLE = 1.5
"""What a busy machine may add to append_seconds."""


@pytest.fixture
def name(postgres: PostgresServer) -> Iterator[str]:
    with postgres.database() as name:
        yield name


@dataclass
class Clients:
    """Some who append without pause, each one record after the other."""

    log: AuditLog
    answered: list[str] = field(default_factory=list)
    longest: float = 0.0
    ended: bool = False
    begun: int = 0

    async def one(self) -> None:
        while not self.ended:
            decision = a_decision(f"d-{self.begun:06}", images=[("web", "sha256:aa")])
            self.begun += 1
            since = time.monotonic()
            await self.log.append(a_record(decision))
            self.longest = max(self.longest, time.monotonic() - since)
            self.answered.append(decision.id)
            await asyncio.sleep(0.02)

    async def more(self, number: int) -> None:
        """Returns when that many have been answered since."""
        until = len(self.answered) + number
        async with asyncio.timeout(30):
            while len(self.answered) < until:
                await asyncio.sleep(0.005)


@asynccontextmanager
async def logging_to(url: str, journal: Path, limits: Limits = LIMITS) -> AsyncIterator[AuditLog]:
    store = SqlRecords(url=url, limits=limits)
    log = AuditLog(store=store, journal=Journal(path=journal, limits=limits), limits=limits, clock=SystemClock())
    await log.start()
    try:
        yield log
    finally:
        await log.aclose()


@asynccontextmanager
async def appending(log: AuditLog) -> AsyncIterator[Clients]:
    clients = Clients(log)
    async with asyncio.TaskGroup() as group:
        for _ in range(CLIENTS):
            group.create_task(clients.one())
        yield clients
        clients.ended = True
    await caught_up(log)


async def caught_up(log: AuditLog) -> None:
    async with asyncio.timeout(60):
        while log.health is not Health.OK:
            await asyncio.sleep(0.02)


def kept(postgres: PostgresServer, name: str) -> Sequence[str]:
    """All ids in the order in which they were stored. The chain has them in the same, and the tallies each once."""
    rows = postgres.execute("SELECT id, position FROM decisions ORDER BY sequence", database=name)
    assert [position for _, position in rows] == [*range(1, len(rows) + 1)]
    assert postgres.execute("SELECT sum(count) FROM tallies WHERE width = 3600", database=name) == [(len(rows),)]
    assert postgres.execute("SELECT sum(decisions) FROM image_uses", database=name) == [(len(rows),)]
    return [one for one, _ in rows]


def check(clients: Clients, found: Sequence[str]) -> None:
    """Those who append are several: what is appended at once has no order."""
    assert set(clients.answered) <= set(found), "none is lost"
    assert len(found) == len(set(found)), "none is there twice"
    numbers = [int(one.removeprefix("d-")) for one in found]
    assert all(later > earlier - CLIENTS for earlier, later in itertools.pairwise(numbers)), "in order"


async def test_killed_and_started_again(postgres: PostgresServer, name: str, tmp_path: Path) -> None:
    with postgres.durable():
        async with logging_to(postgres.url(name), tmp_path / "journal") as log, appending(log) as clients:
            for _ in range(2):
                await clients.more(40)
                postgres.kill()
                await clients.more(40)
                assert log.health is Health.JOURNALING
                await asyncio.to_thread(postgres.start)
        assert log.counters.journaled > 0
        assert log.counters.failed == log.counters.set_aside == 0
        check(clients, kept(postgres, name))


async def test_a_server_that_hangs_holds_no_answer_up(postgres: PostgresServer, name: str, tmp_path: Path) -> None:
    """Its connections stay open, TCP answers, and it says nothing."""
    async with logging_to(postgres.url(name), tmp_path / "journal") as log, appending(log) as clients:
        await clients.more(40)
        postgres.pause()
        try:
            await clients.more(100)
            assert log.health is Health.JOURNALING
            await asyncio.sleep(2 * LIMITS.store_seconds)  # the connection is given up, and new ones are not answered
            await clients.more(40)
        finally:
            postgres.resume()
    assert clients.longest < LIMITS.append_seconds + A_LITTLE
    check(clients, kept(postgres, name))


async def test_a_server_that_hangs_holds_no_reader_and_no_end_up(
    postgres: PostgresServer, name: str, tmp_path: Path
) -> None:
    limits = replace(LIMITS, read_seconds=0.5)
    async with logging_to(postgres.url(name), tmp_path / "journal", limits) as log:
        await log.append(a_record(a_decision("d-000000", images=[("web", "sha256:aa")])))
        assert await log.get("d-000000") is not None
        postgres.pause()
        try:
            since = time.monotonic()
            with pytest.raises(RecordsError, match="cannot read"):
                await log.get("d-000000")
            assert time.monotonic() - since < limits.read_seconds + limits.store_seconds + A_LITTLE
            await log.append(a_record(a_decision("d-000001", images=[("web", "sha256:aa")])))
            since = time.monotonic()
            await log.aclose()
            assert time.monotonic() - since < limits.append_seconds + CLOSE_SECONDS + A_LITTLE
        finally:
            postgres.resume()
    async with logging_to(postgres.url(name), tmp_path / "journal") as log:
        await caught_up(log)
    assert {*kept_since(postgres, name)} == {"d-000000", "d-000001"}


@pytest.mark.parametrize("losing", ["answer", "silence", "commit"])
async def test_a_commit_of_which_nobody_knows(postgres: PostgresServer, name: str, tmp_path: Path, losing: str) -> None:
    """Stored or not, the record is there once in the end."""
    async with between(postgres.port) as network:
        url = postgres.url(name).replace(f":{postgres.port}/", f":{network.port}/")
        async with logging_to(url, tmp_path / "journal") as log:
            await log.append(a_record(a_decision("d-000000", images=[("web", "sha256:aa")])))
            network.losing = losing
            for number in range(1, 6):
                await log.append(a_record(a_decision(f"d-{number:06}", images=[("web", "sha256:aa")])))
            assert network.lost == [losing]
            assert log.counters.journaled > 0
            await caught_up(log)
            await log.append(a_record(a_decision("d-000006", images=[("web", "sha256:aa")])))
    assert kept(postgres, name) == [f"d-{number:06}" for number in range(7)]


async def test_the_server_is_down_at_the_start(postgres: PostgresServer, name: str, tmp_path: Path) -> None:
    async with between(postgres.port) as network:
        network.closed = True
        url = postgres.url(name).replace(f":{postgres.port}/", f":{network.port}/")
        async with logging_to(url, tmp_path / "journal") as log, appending(log) as clients:
            assert log.health is Health.JOURNALING
            await clients.more(20)
            network.closed = False
    check(clients, kept(postgres, name))


async def test_nobody_listens_at_the_start(tmp_path: Path) -> None:
    async with logging_to(f"postgresql://{OWNER}@127.0.0.1:1/audit", tmp_path / "journal") as log:
        assert log.health is Health.JOURNALING
        assert "audit at 127.0.0.1:1: cannot open" in log.problem
        await log.append(a_record())
        assert log.journal_records == 1


async def test_a_password_that_is_changed(postgres: PostgresServer, name: str, tmp_path: Path) -> None:
    user, file = f"writer_{name}", tmp_path / "password"
    postgres.execute(f"CREATE ROLE {user} LOGIN PASSWORD 'first' IN ROLE {OWNER}")
    file.write_text("first")
    url = postgres.url(name, user=user, password="", query=f"passwordFile={file}")
    try:
        async with logging_to(url, tmp_path / "journal") as log, appending(log) as clients:
            await clients.more(20)
            postgres.execute(f"ALTER ROLE {user} PASSWORD 'second'")
            postgres.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", user)
            await clients.more(20)
            async with asyncio.timeout(10):
                while "password authentication failed" not in log.problem:
                    await asyncio.sleep(0.02)
            file.write_text("second")
        check(clients, kept(postgres, name))
    finally:
        postgres.drop(name)
        postgres.execute(f"DROP ROLE {user}")


async def test_a_database_that_is_dropped(postgres: PostgresServer, name: str, tmp_path: Path) -> None:
    """What was in it is gone; what came since waits for the next, which gets its tables by itself."""
    async with logging_to(postgres.url(name), tmp_path / "journal") as log, appending(log) as clients:
        await clients.more(20)
        postgres.drop(name)
        await clients.more(20)
        async with asyncio.timeout(10):
            while "does not exist" not in log.problem:
                await asyncio.sleep(0.02)
        since = len(clients.answered)
        postgres.execute(f"CREATE DATABASE {name} OWNER {OWNER} TEMPLATE template0")
    found = kept_since(postgres, name)
    assert set(clients.answered[since:]) <= set(found)
    assert len(found) == len(set(found))


def kept_since(postgres: PostgresServer, name: str) -> Sequence[str]:
    return [one for (one,) in postgres.execute("SELECT id FROM decisions ORDER BY sequence", database=name)]


# -- TLS ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "host", "trusted", "told"),
    [
        ("verify-full", "localhost", True, ""),
        ("verify-full", "127.0.0.1", True, "does not match host name"),
        ("verify-ca", "127.0.0.1", True, ""),
        ("verify-full", "localhost", False, "certificate verify failed"),
        ("verify-ca", "localhost", False, "certificate verify failed"),
        ("require", "127.0.0.1", None, ""),
        ("disable", "127.0.0.1", None, "cannot open"),
    ],
)
async def test_a_server_is_known_by_its_certificate(
    postgres: PostgresServer, name: str, tmp_path: Path, mode: str, host: str, trusted: bool | None, told: str
) -> None:
    authority, other = trustme.CA(), trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    (authority if trusted else other).cert_pem.write_to_path(tmp_path / "ca.crt")
    query = f"sslmode={mode}" + (f"&sslrootcert={tmp_path}/ca.crt" if trusted is not None else "")
    async with between(postgres.port, tls=context) as network:
        url = postgres.url(name, query=query).replace(f"127.0.0.1:{postgres.port}/", f"{host}:{network.port}/")
        if told:
            with pytest.raises(RecordsError, match=told) as raised:
                async with open_records(url):
                    pytest.fail("opened")
            assert PASSWORD not in raised.value.message
        else:
            async with open_records(url) as records:
                assert await records.complete("x") == ()


async def test_a_server_without_tls_is_not_spoken_to(postgres: PostgresServer, name: str) -> None:
    with pytest.raises(RecordsError, match="does not support SSL"):
        async with open_records(postgres.url(name, query="sslmode=require")):
            pytest.fail("opened")


# -- the server of the tests -------------------------------------------------------------------------------------


def test_the_server_ends_with_tests_that_are_killed() -> None:
    """It and its folder, though nobody is left who would stop it."""
    program = (
        "import os, signal\n"
        "from fakes.postgres import PostgresServer\n"
        "server = PostgresServer()\n"
        "server.start()\n"
        "print(server.folder, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL
    folder = Path(done.stdout.strip())
    until = time.monotonic() + 30
    while folder.exists():
        assert time.monotonic() < until, server_processes(folder)
        time.sleep(0.05)
