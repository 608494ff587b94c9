"""What a program said of its chains outside of the store: in log lines, or in a ConfigMap.

Whoever changes the store cannot change these, if they are kept where he cannot write. A log line counts by its event,
OPENED or CHECKPOINT; what stands before its first brace (a time, the name of a pod) and all other lines are passed
over. In a ConfigMap each value is a checkpoint, its key the chain.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from portcullis.audit.checkpoints import CheckpointError, Place, Signed, read_signed
from portcullis.errors import ConfigError
from portcullis.strictyaml import Rules, StrictYamlError, load_documents
from portcullis.text import clean

OPENED = "audit chain opened"
CHECKPOINT = "audit checkpoint"
MEMBER = "checkpoint"
"""Of a log line."""

CONFIG_MAP_BYTES = 4 * 1024 * 1024
"""A ConfigMap has 1 MiB at most; escaped and indented it is longer."""
LINE_BYTES = 1024 * 1024
"""Of a log; lines of ours have about 800 bytes."""

_EVENTS = (f'"{OPENED}"'.encode(), f'"{CHECKPOINT}"'.encode())
_RULES = Rules(max_values=100_000, max_depth=20)
_CONFIG_MAP = re.compile(rb'(?m)(?:^|[{,])\s*"?kind"?:\s*"?ConfigMap"?')


@dataclass(frozen=True, slots=True)
class Published:
    """One of them. ``where`` says where it stood, for messages."""

    where: str
    signed: Signed

    @property
    def chain(self) -> str:
        return self.signed.checkpoint.chain

    @property
    def place(self) -> Place:
        return self.signed.checkpoint.head


def read_published(path: Path) -> Iterator[Published]:
    """What the file says, line by line for a log.

    Raises:
        ConfigError: it cannot be read, a line with one of our events is damaged, or there is none at all.
    """
    found = False
    try:
        with path.open("rb") as stream:
            for one in _entries(path, stream):
                found = True
                yield one
    except OSError as error:
        raise ConfigError(f"--checkpoints: {path} cannot be read: {error.strerror}") from None
    if not found:
        raise ConfigError(
            f"--checkpoints: {path} holds no checkpoint: give the log of the webhook, whose lines are JSON objects, "
            "or the ConfigMap as `kubectl get configmap NAME -o yaml` prints it"
        )


def _entries(path: Path, stream: IO[bytes]) -> Iterator[Published]:
    head = stream.read(CONFIG_MAP_BYTES + 1)
    if len(head) <= CONFIG_MAP_BYTES and _CONFIG_MAP.search(head) and not any(event in head for event in _EVENTS):
        yield from _config_map(path, head)
        return
    stream.seek(0)
    for number, line in enumerate(iter(lambda: stream.readline(LINE_BYTES), b""), start=1):
        if any(event in line for event in _EVENTS):
            yield from _line(f"{path}:{number}", line)


def _line(where: str, line: bytes) -> Iterator[Published]:
    try:
        tree = json.loads(line[line.index(b"{") :])
    except (ValueError, RecursionError):
        raise ConfigError(f"--checkpoints: {where} is cut off, or no JSON") from None
    if tree.get("event") in (OPENED, CHECKPOINT):
        yield _read(where, tree.get(MEMBER))


def _config_map(path: Path, content: bytes) -> Iterator[Published]:
    try:
        (document,) = load_documents(content.decode(), _RULES)
    except (StrictYamlError, ValueError) as error:
        raise ConfigError(f"--checkpoints: {path} is no ConfigMap: {clean(str(error), 160)}") from None
    data = document.value.get("data") if isinstance(document.value, dict) else None
    for chain, text in (data if isinstance(data, dict) else {}).items():
        where = f"{path}, data.{clean(str(chain), 80)}"
        try:
            one = _read(where, json.loads(text))
        except (ValueError, TypeError, RecursionError):
            raise ConfigError(f"--checkpoints: {where} is no JSON") from None
        if one.chain != chain:
            raise ConfigError(f"--checkpoints: {where} speaks of another chain")
        yield one


def _read(where: str, tree: Any) -> Published:
    try:
        return Published(where, read_signed(tree))
    except CheckpointError as error:
        raise ConfigError(f"--checkpoints: {where}: {error}") from None
