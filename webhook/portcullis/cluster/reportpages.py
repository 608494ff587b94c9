"""Divides the results of a namespace into pages, none of which is too large for one object, so that a change of one
workload changes few pages.

1. A result that stands on a page already stays there.
2. One that says something new of what an old result was about takes that one's place.
3. One of a workload that is on a page goes there, if there is room.
4. Any other goes to the first page with room, or begins a new one.
5. Two pages that together fill no more than half a page become one; so there are never more than about four times as
   many pages as it takes, and a page that is half empty is not moved about for nothing.

Where the results need more pages than there may be, the worst ones are kept, and one result says how many are not.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from portcullis.cluster.reportresults import Result, Traits, left_out
from portcullis.limits import Limits

ENVELOPE_BYTES: Final = 4096
"""What an object has beside its results."""


@dataclass(frozen=True, slots=True)
class Division:
    """``pages`` by their numbers, from 1; each has a result, in the order of all. ``left_out`` have no room."""

    pages: Mapping[int, tuple[Result, ...]]
    left_out: int = 0


def divide(
    results: Sequence[Result],
    old: Mapping[int, Sequence[Traits]],
    *,
    namespace: str,
    limits: Limits,
    taken: Collection[int] = (),
) -> Division:
    """The pages of a namespace.

    Args:
        results: all of them, the worst first.
        old: what stands on which page now.
        taken: numbers that somebody else's objects have.
    """
    pages = _Pages(limits, taken)
    if _keep_places(pages, results, old):
        pages.merge()
        return Division(pages.in_order(results))
    return _worst(results, _Pages(limits, taken), namespace)


def _keep_places(pages: "_Pages", results: Sequence[Result], old: Mapping[int, Sequence[Traits]]) -> bool:
    """Steps 1 to 4; whether all have room."""
    places = [(number, traits) for number, found in sorted(old.items()) for traits in found]
    rest = list(range(len(results)))
    for what in (_fingerprint, _slot):
        free: defaultdict[bytes, list[int]] = defaultdict(list)
        for number, traits in reversed(places):
            free[what(traits)].append(number)
        rest = _placed(pages, results, rest, free, what)
        gone = {results[at].traits.fingerprint for numbers in pages.numbers() for at in numbers}
        places = [(number, traits) for number, traits in places if traits.fingerprint not in gone]
    homes = pages.homes(results)
    for at in rest:
        one = results[at]
        home = homes.get(one.traits.owner)
        if home is None or not pages.put(home, at, one.size):
            home = pages.anywhere(at, one.size)
            if home is None:
                return False
            homes.setdefault(one.traits.owner, home)
    return True


def _placed(
    pages: "_Pages",
    results: Sequence[Result],
    rest: Iterable[int],
    free: Mapping[bytes, list[int]],
    what: Callable[[Traits], bytes],
) -> list[int]:
    """Puts results where an old one like them stands; those of the ``rest`` that find no place."""
    homeless = []
    for at in rest:
        one = results[at]
        numbers = free.get(what(one.traits), [])
        if not numbers or not pages.put(numbers.pop(), at, one.size):
            homeless.append(at)
    return homeless


def _worst(results: Sequence[Result], pages: "_Pages", namespace: str) -> Division:
    """From the beginning, as many as have room, and what is said of the others."""
    note = left_out(len(results), namespace)
    pages.anywhere(len(results), note.size)
    kept = 0
    while kept < len(results) and pages.anywhere(kept, results[kept].size) is not None:
        kept += 1
    away = len(results) - kept
    return Division(pages.in_order([*results, left_out(away, namespace)]), away)


def _fingerprint(traits: Traits) -> bytes:
    return traits.fingerprint


def _slot(traits: Traits) -> bytes:
    return traits.slot


@dataclass(slots=True)
class _Page:
    """Places in the sequence of all results."""

    places: list[int] = field(default_factory=list)
    size: int = ENVELOPE_BYTES


class _Pages:
    def __init__(self, limits: Limits, taken: Collection[int]) -> None:
        self._limits = limits
        self._taken = frozenset(taken)
        self._pages: dict[int, _Page] = {}

    def put(self, number: int, at: int, size: int) -> bool:
        """False where that page has no room, or there may be no such page."""
        if number not in self._pages and (len(self._pages) >= self._limits.report_pages or number in self._taken):
            return False
        page = self._pages.get(number) or _Page()
        full = len(page.places) >= self._limits.report_page_results
        if full or page.size + size > self._limits.report_page_bytes:
            return False
        self._pages[number] = page
        page.places.append(at)
        page.size += size
        return True

    def anywhere(self, at: int, size: int) -> int | None:
        """On the first page that has room, or a new one; None where there is none."""
        for number in sorted(self._pages):
            if self.put(number, at, size):
                return number
        unused = 1
        while unused in self._pages or unused in self._taken:
            unused += 1
        return unused if self.put(unused, at, size) else None

    def merge(self) -> None:
        """Step 5."""
        while len(self._pages) > 1:
            small = sorted(self._pages, key=lambda number: (len(self._pages[number].places), number))[:2]
            kept, gone = sorted(small)
            one, two = self._pages[kept], self._pages[gone]
            count, size = len(one.places) + len(two.places), one.size + two.size - ENVELOPE_BYTES
            if 2 * count > self._limits.report_page_results or 2 * size > self._limits.report_page_bytes:
                return
            one.places += two.places
            one.size = size
            del self._pages[gone]

    def numbers(self) -> Iterable[Sequence[int]]:
        return [page.places for page in self._pages.values()]

    def homes(self, results: Sequence[Result]) -> dict[bytes, int]:
        """The first page of each workload."""
        found: dict[bytes, int] = {}
        for number, page in sorted(self._pages.items()):
            for at in page.places:
                found.setdefault(results[at].traits.owner, number)
        return found

    def in_order(self, results: Sequence[Result]) -> dict[int, tuple[Result, ...]]:
        return {
            number: tuple(results[at] for at in sorted(page.places)) for number, page in sorted(self._pages.items())
        }
