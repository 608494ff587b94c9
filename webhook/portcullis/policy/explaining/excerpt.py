"""The smallest part of a policy input that shows why a policy fires.

First what the policy does not read is left out, by the walk through its rules (linting/flow.py). Then elements of lists
and maps are taken away one by one, as long as the policy says the same. Fields of records stay: a policy that refuses
what is absent would say the same without the very field that decided.
"""

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from typing import Any

from portcullis.policy.linting.places import Place, input_place

TRIES = 200
"""Evaluations for one excerpt; each takes some milliseconds."""

Path = tuple[str | int, ...]
Same = Callable[[Mapping[str, Any]], Awaitable[bool]]


def project(document: Mapping[str, Any], read: Collection[str]) -> dict[str, Any]:
    """The parts of the document at the paths that are read, and all below the deepest of them."""
    prefixes = {path[:end] for path in read for end in _ends(path)}
    deepest = {path for path in read if path not in prefixes}
    kept = _project(document, input_place(), deepest, prefixes)
    return kept if isinstance(kept, dict) else {}


def _ends(path: str) -> Iterator[int]:
    """Where the paths above end: before each ``.`` and each ``[``."""
    return (number for number, sign in enumerate(path) if sign in ".[")


def _project(value: Any, place: Place, deepest: Collection[str], prefixes: Collection[str]) -> Any:
    if place.path in deepest:
        return value
    if isinstance(value, Mapping):
        kept: dict[str, Any] = {}
        for key, inner in value.items():
            for below in place.field(key) or ():
                if below.path in deepest or below.path in prefixes:
                    kept[key] = _project(inner, below, deepest, prefixes)
        return kept
    if isinstance(value, list):
        each = next((one for one in place.elements() or () if one.path in deepest or one.path in prefixes), None)
        return [_project(inner, each, deepest, prefixes) if each is not None else {} for inner in value]
    return value


async def shrink(document: dict[str, Any], same: Same) -> tuple[dict[str, Any], bool]:
    """The document without elements of lists and maps that nothing hangs on, and whether all could be tried.

    Args:
        document: changed in place.
        same: whether the policy says of a document what it says of the whole.
    """
    tries = 0
    for path in sorted(_elements(document), key=lambda path: (len(path), path_order(path))):
        tries += 1
        if tries > TRIES:
            return document, False
        holder = _at(document, path[:-1])
        key = path[-1]
        if holder is None or (isinstance(holder, dict) and key not in holder):
            continue
        if isinstance(holder, list):
            assert isinstance(key, int)
            if key >= len(holder):
                continue
            taken = holder.pop(key)
            if not await same(document):
                holder.insert(key, taken)
        else:
            before = dict(holder)
            del holder[key]
            if not await same(document):
                holder.clear()
                holder.update(before)
    return document, True


def path_order(path: Path) -> tuple[tuple[int, str], ...]:
    """Later elements of a list come first, so that the numbers of the others stay."""
    return tuple((-part, "") if isinstance(part, int) else (0, part) for part in path)


def _elements(document: Mapping[str, Any]) -> Iterator[Path]:
    """Paths of list elements and of what stands under keys that are data."""
    waiting: list[tuple[Any, Place | None, Path]] = [(document, input_place(), ())]
    while waiting:
        value, place, path = waiting.pop()
        if isinstance(value, list):
            below = next(iter(place.elements() or ()), None) if place is not None else None
            for number, inner in enumerate(value):
                yield (*path, number)
                waiting.append((inner, below, (*path, number)))
        elif isinstance(value, Mapping):
            known = set(place.names) if place is not None else set()
            for key, inner in value.items():
                if key not in known:
                    yield (*path, key)
                found = place.field(key) if place is not None else None
                waiting.append((inner, next(iter(found or ()), None), (*path, key)))


def _at(document: Any, path: Path) -> Any:
    for part in path:
        try:
            document = document[part]
        except (KeyError, IndexError, TypeError):
            return None
    return document


def leaves(value: Any, path: str = "input") -> Iterator[tuple[str, Any]]:
    """Every scalar and every empty collection, with its path."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            plain = key.isidentifier()
            yield from leaves(inner, f"{path}.{key}" if plain else f'{path}["{key}"]')
    elif isinstance(value, list) and value:
        for number, inner in enumerate(value):
            yield from leaves(inner, f"{path}[{number}]")
    else:
        yield path, value
