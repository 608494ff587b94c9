"""``portcullis health``: whether the webhook that runs under a configuration can decide."""

import http.client
import ipaddress
import os
import queue
import re
import threading
from dataclasses import dataclass
from typing import Final

import typer
from rich.text import Text

from portcullis.cli.output import (
    API_VERSION,
    ConfigOption,
    Format,
    FormatOption,
    print_error,
    print_json,
    reported,
    stdout,
)
from portcullis.errors import ConfigError
from portcullis.text import clean

EXIT_NOT_READY: Final = 1
ANSWER_SECONDS: Final = 3.0
"""For the whole exchange; a check gets one second there (server/health.py)."""
ANSWER_BYTES: Final = 64 * 1024
LINE_CHARS: Final = 600

PATH: Final = "/readyz?verbose"
# What server/health.py writes.
_CHECK = re.compile(r"\[[-+!]\](?P<name>\S{1,100}) (?P<state>ok|failed|degraded)(?:: (?P<message>.*))?")
_VERDICTS = {200: "readyz check passed", 503: "readyz check failed"}


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    state: str
    message: str

    @property
    def problem(self) -> str:
        return f"{self.name} {self.state}: {self.message}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the health port says. ``problem`` is why the webhook is not ready, or why that is not known."""

    ready: bool = False
    lines: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()
    problem: str = ""


@reported
def health(
    config: ConfigOption = None,
    output: FormatOption = Format.TABLE,
) -> None:
    """Ask the running webhook whether it can decide. Exit code 0: ready; 1: not ready, or no answer."""
    from portcullis.server.settings import load_settings

    server = load_settings(config, os.environ).server
    host, port = reachable(server.health_address, server.health_port)
    where = f"{f'[{host}]' if ':' in host else host}:{port}"
    answer = ask(host, port)
    if output is Format.JSON:
        checks = [{"name": one.name, "state": one.state, "message": one.message} for one in answer.checks]
        result = {"address": where, "ready": answer.ready, "problem": answer.problem, "checks": checks}
        print_json({"apiVersion": API_VERSION, "kind": "Health", **result})
    else:
        for line in answer.lines:
            stdout().print(Text(line), soft_wrap=True)
    if not answer.ready:
        print_error(f"{where}: {answer.problem}", "")
        raise typer.Exit(EXIT_NOT_READY)


def reachable(address: str, port: int) -> tuple[str, int]:
    """Where a health port that listens there is reached from this host: one that listens everywhere, on loopback.

    Raises:
        ConfigError: the configuration does not say which port it is.
    """
    if port == 0:
        raise ConfigError("server.healthPort is 0, which is any free port: only the webhook's log says which one")
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address, port  # a name
    if parsed.is_unspecified:
        return ("127.0.0.1" if parsed.version == 4 else "::1"), port
    return address, port


def ask(host: str, port: int, seconds: float = ANSWER_SECONDS) -> Answer:
    """Asks once, and has an answer within ``seconds``: a time-out of the connection would be that of each read, and
    none of looking up a name."""
    told: queue.SimpleQueue[Answer] = queue.SimpleQueue()
    threading.Thread(target=lambda: told.put(_exchange(host, port, seconds)), daemon=True).start()
    try:
        return told.get(timeout=seconds)
    except queue.Empty:
        return Answer(problem=f"no answer within {seconds:g} s")


def _exchange(host: str, port: int, seconds: float) -> Answer:
    """Follows no redirect, and goes through no proxy."""
    connection = http.client.HTTPConnection(host, port, timeout=seconds)
    try:
        connection.request("GET", PATH, headers={"Connection": "close"})
        answer = connection.getresponse()
        return read_answer(answer.status, answer.read(ANSWER_BYTES + 1))
    except TimeoutError:
        return Answer(problem=f"no answer within {seconds:g} s")
    except OSError as error:
        return Answer(problem=f"no answer: {error.strerror or error}")
    except (http.client.HTTPException, ValueError) as error:
        return Answer(problem=f"what answers there does not speak HTTP: {error or type(error).__name__}")
    finally:
        connection.close()


def read_answer(status: int, body: bytes) -> Answer:
    """What a report says. Whatever else listens on that port, and is content with any path, is not ready."""
    if len(body) > ANSWER_BYTES:
        return Answer(problem=f"answered more than {ANSWER_BYTES} bytes")
    lines = tuple(clean(line, LINE_CHARS) for line in body.decode("utf-8", "replace").splitlines())
    if not lines or lines[-1] != _VERDICTS.get(status):
        return Answer(problem=f"answered {status} without a report: that is not the health port of Portcullis")
    found = (_CHECK.fullmatch(line) for line in lines[:-1])
    checks = tuple(Check(one["name"], one["state"], one["message"] or "") for one in found if one is not None)
    failed = "; ".join(check.problem for check in checks if check.state == "failed")
    ready = status == 200
    return Answer(ready, lines, checks, "" if ready else f"not ready: {failed or 'it does not say why'}")
