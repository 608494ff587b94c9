"""Survivors that may stay, each with a reason: ``justified.toml``.

[[survivors]]
policy = "image-user"
rule = "place"                     # the rule that it was dropped from
dropped = "count(blamed) > 0"      # as `make mutate` shows it
count = 2                          # how many of these survive; 1 if it is left out
reason = "…"
"""

import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FIELDS = {"policy", "rule", "dropped", "count", "reason"}


@dataclass(frozen=True, slots=True)
class Key:
    """What tells survivors apart, though lines move."""

    policy: str
    rule: str
    dropped: str


def read_justified(path: Path) -> Mapping[Key, int]:
    """How many survivors of each kind may stay.

    Raises:
        ValueError: an entry has a field too many or too few, no reason, or stands twice.
    """
    entries = tomllib.loads(path.read_text("utf-8")).get("survivors", [])
    justified: dict[Key, int] = {}
    for number, entry in enumerate(entries, 1):
        key, count = _read(entry, f"{path.name}, entry {number}")
        if key in justified:
            raise ValueError(f"{path.name}, entry {number}: stands twice; use count")
        justified[key] = count
    return justified


def _read(entry: Mapping[str, Any], place: str) -> tuple[Key, int]:
    fields = {"count": 1, **entry}
    if set(fields) != FIELDS:
        raise ValueError(f"{place}: has {sorted(fields)}, not {sorted(FIELDS)}")
    texts = [fields[name] for name in ("policy", "rule", "dropped", "reason")]
    if not all(isinstance(text, str) and text.strip() for text in texts):
        raise ValueError(f"{place}: policy, rule, dropped and reason are texts")
    if type(fields["count"]) is not int or fields["count"] < 1:
        raise ValueError(f"{place}: count is a number from 1")
    return Key(fields["policy"], fields["rule"], fields["dropped"]), fields["count"]


def unjustified(survivors: Iterable[Key], justified: Mapping[Key, int]) -> set[Key]:
    """The kinds of survivors of which there are more than may stay."""
    counts = Counter(survivors)
    return {key for key, count in counts.items() if count > justified.get(key, 0)}


def outdated(survivors: Iterable[Key], justified: Mapping[Key, int], policies: Iterable[str]) -> list[str]:
    """Entries for what no longer survives, or is justified more often than it does, of the policies that ran."""
    counts = Counter(survivors)
    ran = set(policies)
    return [
        f"{key.policy}: {key.dropped!r} in {key.rule} is justified {count} times, survives {counts[key]} times"
        for key, count in justified.items()
        if key.policy in ran and counts[key] < count
    ]
