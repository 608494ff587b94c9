"""OPA as a child process: bounds of time and output, and errors of starting."""

import os
from pathlib import Path

import pytest

from portcullis.errors import EngineMalformed, EngineUnavailable
from portcullis.policy.process import OpaServer, run_opa

pytestmark = pytest.mark.anyio


def program(folder: Path, script: str) -> Path:
    path = folder / "opa"
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


async def test_a_command(tmp_path: Path) -> None:
    opa = program(tmp_path, 'echo "$@"; echo wrong >&2; exit 3')
    done = await run_opa(opa, ("check", "a b"), seconds=30, output_bytes=1000)
    assert (done.code, done.stdout, done.stderr) == (3, b"check a b\n", b"wrong\n")


async def test_children_know_nothing_of_our_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    opa = program(tmp_path, "/usr/bin/env")
    done = await run_opa(opa, ("check",), seconds=30, output_bytes=10_000)
    names = {line.partition("=")[0] for line in done.stdout.decode().splitlines()}
    assert names - {"PWD", "SHLVL", "_"} == {"TZ"}, "but for what the shell adds itself"


async def test_endless_output(tmp_path: Path) -> None:
    opa = program(tmp_path, "while :; do echo aaaaaaaaaaaaaaaaaaaaaaaaaaaaa; done")
    with pytest.raises(EngineMalformed, match="more than 1000 bytes"):
        await run_opa(opa, ("check",), seconds=30, output_bytes=1000)


async def test_a_command_that_does_not_end_takes_its_children_along(tmp_path: Path) -> None:
    opa = program(tmp_path, f"sleep 60 & echo $! > {tmp_path}/pid; wait")
    with pytest.raises(EngineUnavailable, match="did not end"):
        await run_opa(opa, ("check",), seconds=1, output_bytes=1000)
    child = int((tmp_path / "pid").read_text(encoding="utf-8"))
    stat = Path(f"/proc/{child}/stat")
    assert not stat.exists() or stat.read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z"


def server(binary: Path, socket: Path) -> OpaServer:
    return OpaServer(binary=binary, bundle=socket.parent, socket=socket, memory_bytes=0)


async def test_a_server_that_ends_at_once_says_why(tmp_path: Path) -> None:
    binary = program(tmp_path, "echo 'no \033[31mluck' >&2; exit 4")
    with pytest.raises(EngineUnavailable, match=r"status 4: no .*luck") as caught:
        await server(binary, Path("s")).start(30)
    assert "\033" not in caught.value.message


async def test_a_server_that_never_answers(tmp_path: Path) -> None:
    binary = program(tmp_path, "trap '' TERM; sleep 60")
    one = server(binary, Path("s"))
    with pytest.raises(EngineUnavailable, match="did not answer"):
        await one.start(0.5)
    with pytest.raises(ProcessLookupError):
        os.kill(one.pid, 0)


async def test_a_socket_with_a_long_path(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match="too long"):
        await server(program(tmp_path, "exit 1"), tmp_path / ("x" * 100)).start(30)
