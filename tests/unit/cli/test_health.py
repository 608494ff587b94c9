"""``portcullis health`` over real servers on loopback."""

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

import pytest
from typer.testing import CliRunner, Result

from portcullis.cli.health import ANSWER_BYTES, ask, reachable
from portcullis.cli.main import app
from portcullis.errors import ConfigError
from portcullis.server.health import Report

CHECKS = ("[+]serving ok", "[+]certificate ok: until 2027-01-01", "[!]audit degraded: the disk is full")
READY = Report(True, CHECKS).text()
NOT_READY = Report(False, (*CHECKS, "[-]opa failed: OPA is down and being started again")).text()


class Handler(BaseHTTPRequestHandler):
    answer: tuple[int, str] = (200, "")
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        status, text = self.answer
        self.send_response(status)
        if status in (301, 307):
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        pass


class Serving:
    """A health port that answers so. ``asked`` are the paths that were asked for."""

    def __init__(self, status: int, text: str) -> None:
        self.asked: list[str] = []
        handler = type("H", (Handler,), {"answer": (status, text), "asked": self.asked})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.port: int = self.server.server_address[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


def run(folder: Path, *arguments: str, **server: object) -> Result:
    config = folder / "portcullis.yaml"
    config.write_text(json.dumps({"server": server}))
    return CliRunner().invoke(app, ("health", "--config", str(config), *arguments), env={"COLUMNS": "80"})


@contextlib.contextmanager
def raw(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """The port of a listener whose first connection is handed to ``serve``."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def once() -> None:
            with contextlib.suppress(OSError), listener.accept()[0] as connection:
                serve(connection)

        thread = threading.Thread(target=once)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def test_ready_prints_the_checks(tmp_path: Path) -> None:
    with Serving(200, READY) as serving:
        result = run(tmp_path, healthPort=serving.port)
    assert (result.exit_code, result.stdout, result.stderr) == (0, READY, "")
    assert serving.asked == ["/readyz?verbose"]


def test_not_ready_says_which_address_and_why_on_one_line(tmp_path: Path) -> None:
    with Serving(503, NOT_READY) as serving:
        result = run(tmp_path, healthPort=serving.port)
    assert (result.exit_code, result.stdout) == (1, NOT_READY)
    why = "not ready: opa failed: OPA is down and being started again"
    assert result.stderr == f"error: 127.0.0.1:{serving.port}: {why}\n"


@pytest.mark.parametrize(("status", "text", "code"), [(200, READY, 0), (503, NOT_READY, 1)])
def test_as_json(tmp_path: Path, status: int, text: str, code: int) -> None:
    with Serving(status, text) as serving:
        result = run(tmp_path, "-o", "json", healthPort=serving.port)
    assert result.exit_code == code
    tree = json.loads(result.stdout)
    assert (tree["apiVersion"], tree["kind"], tree["ready"]) == ("portcullis.dev/v1", "Health", code == 0)
    assert tree["address"] == f"127.0.0.1:{serving.port}"
    assert tree["checks"][1:3] == [
        {"name": "certificate", "state": "ok", "message": "until 2027-01-01"},
        {"name": "audit", "state": "degraded", "message": "the disk is full"},
    ]
    assert [one["name"] for one in tree["checks"] if one["state"] == "failed"] == ["opa"][:code]
    assert bool(tree["problem"]) is bool(code)


@pytest.mark.parametrize(
    ("status", "text", "says"),
    [
        (200, "ok\n", "answered 200 without a report"),
        (200, "", "answered 200 without a report"),
        (200, NOT_READY, "answered 200 without a report"),
        (503, READY, "answered 503 without a report"),
        (307, READY, "answered 307 without a report"),
        (404, "nothing here", "answered 404 without a report"),
        (200, "x" * (ANSWER_BYTES + 1), "more than 65536 bytes"),
    ],
)
def test_what_else_answers_there_is_not_ready(tmp_path: Path, status: int, text: str, says: str) -> None:
    with Serving(status, text) as serving:
        result = run(tmp_path, healthPort=serving.port)
    assert (result.exit_code, result.stdout) == (1, "")
    assert says in result.stderr
    assert len(serving.asked) == 1, "a redirect was followed"


def test_hostile_text_is_cleaned(tmp_path: Path) -> None:
    with Serving(503, "[-]opa failed: \x1b[2J[red]\x9b\nreadyz check failed\n") as serving:
        result = run(tmp_path, healthPort=serving.port)
    for shown in (result.stdout, result.stderr):
        assert "[red]" in shown
        assert not {"\x1b", "\x9b"} & set(shown)


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    result = run(tmp_path, "-o", "json", healthPort=port)
    assert result.exit_code == 1
    assert result.stderr == f"error: 127.0.0.1:{port}: no answer: Connection refused\n"
    assert json.loads(result.stdout)["checks"] == []


def drip(connection: socket.socket) -> None:
    """Each read of the client gets something, and none the end."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    for _ in range(25):
        connection.sendall(b"x\n")
        threading.Event().wait(0.02)


def silent(connection: socket.socket) -> None:
    while connection.recv(1000):
        pass


def nonsense(connection: socket.socket) -> None:
    connection.recv(1000)
    connection.sendall(b"SSH-2.0-x\r\n")


def hung_up(connection: socket.socket) -> None:
    connection.recv(1000)


@pytest.mark.parametrize(
    ("serve", "says"),
    [
        (drip, "no answer within 0.2 s"),
        (silent, "no answer within 0.2 s"),
        (nonsense, "does not speak HTTP"),
        (hung_up, "no answer: Remote end closed connection without response"),
    ],
)
def test_bad_servers_are_not_waited_for(serve: Callable[[socket.socket], None], says: str) -> None:
    with raw(serve) as port:
        answer = ask("127.0.0.1", port, 0.2)
    assert not answer.ready
    assert says in answer.problem


@pytest.mark.parametrize(
    ("address", "asked"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("::", "::1"),
        ("::0", "::1"),
        ("10.1.2.3", "10.1.2.3"),
        ("localhost", "localhost"),
    ],
)
def test_who_listens_everywhere_is_asked_on_loopback(address: str, asked: str) -> None:
    assert reachable(address, 1) == (asked, 1)


def test_a_port_that_the_configuration_does_not_know(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        reachable("127.0.0.1", 0)
    result = run(tmp_path, healthPort=0)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "any free port" in result.stderr


def test_a_wrong_configuration_is_no_answer_of_the_webhook(tmp_path: Path) -> None:
    result = run(tmp_path, helthPort=1)
    assert result.exit_code == 2
    assert "did you mean healthPort?" in result.stderr


def test_the_environment_counts_as_it_does_for_serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Serving(200, READY) as serving:
        monkeypatch.setenv("PORTCULLIS_SERVER__HEALTHPORT", str(serving.port))
        assert run(tmp_path, healthPort=1).exit_code == 0


def test_help_is_a_whole_sentence() -> None:
    result = CliRunner().invoke(app, ["--help"])
    (line,) = [line for line in result.output.splitlines() if line.startswith("  health ")]
    assert line.endswith("can decide.")
