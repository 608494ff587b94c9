"""Issue 7: the audit log under faults of its surroundings, with the real server under load."""

import asyncio
import contextlib
import hashlib
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from e2e.killing.reading import Log
from e2e.killing.serving import Server, Told, forking, load
from e2e.support import portcullis

pytestmark = [pytest.mark.anyio, pytest.mark.opa, pytest.mark.usefixtures("opa_binary")]

KIB = 1024
SECONDS = 60


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


class Disk:
    """Where database and journal lie, each in a folder of its own, and how they are filled up."""

    def __init__(self, folder: Path) -> None:
        self.database = folder / "database" / "audit.db"
        self.journal = folder / "journal" / "audit.journal"
        self.database.parent.mkdir()
        self.journal.parent.mkdir()

    def fill(self, server: Server) -> None:
        """Leaves no room for the database; some for the journal, and soon none."""
        raise NotImplementedError

    def empty(self, server: Server) -> None:
        raise NotImplementedError


class Quota(Disk):
    """No file of the server may grow beyond what the write-ahead log is now (EFBIG)."""

    def fill(self, server: Server) -> None:
        size = self.database.with_name("audit.db-wal").stat().st_size
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def empty(self, server: Server) -> None:
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


class Full(Disk):
    """File systems in memory, of some megabytes, that somebody else fills (ENOSPC)."""

    BYTES = 16 * KIB * KIB
    JOURNAL_ROOM = 512 * KIB

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        for place in (self.database.parent, self.journal.parent):
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={self.BYTES}", "tmpfs", str(place)], check=True)

    def fill(self, server: Server) -> None:
        for place, room in ((self.database.parent, 0), (self.journal.parent, self.JOURNAL_ROOM)):
            ballast = place / "ballast"
            with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4 * KIB))
            if room:
                with ballast.open("r+b") as file:
                    file.truncate(ballast.stat().st_size - room)

    def empty(self, server: Server) -> None:
        for place in (self.database.parent, self.journal.parent):
            (place / "ballast").unlink()

    def unmount(self) -> None:
        for place in (self.database.parent, self.journal.parent):
            subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture(params=["quota", "file system"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    if request.param == "quota":
        yield Quota(tmp_path)
        return
    try:
        full = Full(tmp_path)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a file system needs root; the other disk of this test does not")
    yield full
    full.unmount()


async def test_a_full_disk_refuses_only_when_the_journal_is_full_too_and_heals(tmp_path: Path, disk: Disk) -> None:
    audit = {"database": f"sqlite:///{disk.database}", "journal": str(disk.journal)}
    told, log = Told(), Log(audit["database"])
    async with forking(tmp_path, audit=audit) as forker:
        server = await forker.start("r0")
        async with load(server, "r0", told):
            await until(lambda: len(told.answers) > 200)
            assert not told.refused
            disk.fill(server)
            await until(lambda: disk.journal.stat().st_size > 0)
            assert not told.refused, "the journal had room"
            answered = len(told.answers)
            await until(lambda: len(told.refused) > 50)
            assert len(told.answers) > answered, "the journal took over"
            disk.empty(server)
            answered = len(told.answers)
            await until(lambda: len(told.answers) > answered + 200 and disk.journal.stat().st_size == 0)
            refused = set(told.refused)
            answered = len(told.answers)
            await until(lambda: len(told.answers) > answered + 50)
            assert told.refused == refused, "it is well again"
        await until(lambda: disk.journal.stat().st_size == 0)
        server.signal(signal.SIGTERM)
        assert await forker.ended() == 0
    await log.read()
    log.compare(told)
    assert not {record.uid for record in log.records} & told.refused


async def test_two_replicas_of_one_name_on_one_store(tmp_path: Path) -> None:
    """Each writes a chain of its own; one of them is killed and comes back while the other goes on."""
    audit = {"database": f"sqlite:///{tmp_path}/audit.db", "replica": "portcullis-0"}
    folders = [tmp_path / name for name in ("left", "right")]
    for folder in folders:
        folder.mkdir()
    left, right = Told(), Told()
    async with (
        forking(folders[0], audit={**audit, "journal": str(folders[0] / "journal")}) as one,
        forking(folders[1], audit={**audit, "journal": str(folders[1] / "journal")}) as two,
    ):
        first, second = await asyncio.gather(one.start("r0"), two.start("r0"))
        async with load(second, "r0-right", right):
            async with load(first, "r0-left", left):
                await until(lambda: len(left.answers) > 100 and len(right.answers) > 100)
                first.signal(signal.SIGKILL)
                assert await one.ended() == -signal.SIGKILL
            first = await one.start("r0-again")
            async with load(first, "r0-back", left):
                answered = len(left.answers), len(right.answers)
                await until(lambda: len(left.answers) > answered[0] + 100 and len(right.answers) > answered[1] + 100)
        for server, forker in ((first, one), (second, two)):
            await until(lambda: not any((folder / "journal").stat().st_size for folder in folders))
            server.signal(signal.SIGTERM)
            assert await forker.ended() == 0
    log = Log(audit["database"])
    await log.read()
    log.compare(left, right)
    with closing(sqlite3.connect(tmp_path / "audit.db")) as database:
        chains = database.execute(
            "SELECT replica, min(position), max(position), count(*) FROM chains JOIN decisions ON chain = number"
            " GROUP BY number"
        ).fetchall()
    assert len(chains) == 3
    assert {(replica, first, last - count) for replica, first, last, count in chains} == {("portcullis-0", 1, 0)}


def serve(folder: Path) -> "subprocess.CompletedProcess[str]":
    """Until it refuses to start."""
    command = [sys.executable, "-m", "portcullis", "serve", "--config", str(folder / "portcullis.yaml")]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)


async def test_a_second_server_with_the_same_journal_does_not_start(tmp_path: Path) -> None:
    async with forking(tmp_path) as forker:
        server = await forker.start("r0")
        await server.address()
        refused = serve(tmp_path)
        assert refused.returncode == 1
        assert (
            refused.stderr.strip()
            == f"portcullis: audit.journal: {tmp_path}/audit.db.journal is in use by another process"
        )


async def test_a_database_of_a_newer_version_is_left_as_it_is(tmp_path: Path) -> None:
    async with filled(tmp_path) as database:
        with closing(sqlite3.connect(database)) as connection, connection:
            connection.execute("UPDATE alembic_version SET version_num = '9999'")
        before = hashlib.sha256(database.read_bytes()).hexdigest()
        refused = serve(tmp_path)
        assert refused.returncode == 1
        assert len(refused.stderr.splitlines()) == 1
        assert "newer version of Portcullis" in refused.stderr
        listed = portcullis("audit", "list", "--config", str(tmp_path / "portcullis.yaml"))
        assert listed.returncode == 2
        assert "newer version of Portcullis" in listed.stderr
        assert hashlib.sha256(database.read_bytes()).hexdigest() == before


@contextlib.asynccontextmanager
async def filled(folder: Path) -> AsyncIterator[Path]:
    """A database with some records, and no server any more."""
    told = Told()
    async with forking(folder) as forker:
        server = await forker.start("r0")
        async with load(server, "r0", told):
            await until(lambda: len(told.answers) > 20)
        server.signal(signal.SIGTERM)
        assert await forker.ended() == 0
    yield folder / "audit.db"
