"""Processes by /proc: who runs below whom, and what."""

from collections.abc import Iterable
from pathlib import Path


def children(process: int) -> list[int]:
    """Those below ``process``, at any depth."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            parents.setdefault(_parent(int(entry.name)), []).append(int(entry.name))
    found: list[int] = []
    waiting = [process]
    while waiting:
        more = parents.get(waiting.pop(), [])
        found += more
        waiting += more
    return found


def named(processes: Iterable[int], program: str) -> list[int]:
    """Those of them that run ``program`` now."""
    return [process for process in processes if _program(process) == program]


def _parent(process: int) -> int:
    """-1 for one that is gone, or that is a zombie."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return -1
    return int(fields[1]) if fields[0] != "Z" else -1


def _program(process: int) -> str:
    try:
        words = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    return Path(words[0].decode(errors="replace")).name
