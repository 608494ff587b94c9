"""Many findings side by side, told as one of their folder."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

WIDTH: Final = 20
"""A folder with more than so many findings in it is told instead of them."""

_NEVER: Final = frozenset(
    {b"", b"usr", b"usr/lib", b"usr/local", b"usr/local/lib", b"var", b"var/lib", b"opt", b"home", b"root", b"etc"}
)
"""Folders that say nothing of what is in them."""


@dataclass(frozen=True, slots=True)
class Heap:
    """``count`` files of ``size`` bytes in all: a file at ``path``, or a folder of them."""

    path: bytes
    count: int
    size: int


def fold(heaps: Iterable[Heap], *, width: int = WIDTH) -> list[Heap]:
    """Heaps, those of the lowest folder that has more than ``width`` below it told as one, and so on upwards. The
    counts stay: they add up to what was given."""
    by_depth: defaultdict[int, defaultdict[bytes, list[Heap]]] = defaultdict(lambda: defaultdict(list))
    done: list[Heap] = []
    for heap in heaps:
        _hand_up(heap, heap.path, by_depth, done)
    for depth in range(max(by_depth, default=-1), -1, -1):
        for folder, below in by_depth.pop(depth, {}).items():
            told = [_sum(folder, below)] if folder not in _NEVER and len(below) > width else below
            for heap in told:
                _hand_up(heap, folder, by_depth, done)
    return sorted(done, key=lambda heap: heap.path)


def _sum(folder: bytes, heaps: list[Heap]) -> Heap:
    return Heap(folder, sum(heap.count for heap in heaps), sum(heap.size for heap in heaps))


def _hand_up(
    heap: Heap, place: bytes, by_depth: defaultdict[int, defaultdict[bytes, list[Heap]]], done: list[Heap]
) -> None:
    """Gives a heap to the folder above ``place``."""
    parent, slash, _ = place.rpartition(b"/")
    if slash:
        by_depth[place.count(b"/") - 1][parent].append(heap)
    else:
        done.append(heap)
