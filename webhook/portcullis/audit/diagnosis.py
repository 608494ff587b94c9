"""What happened at the first place where a chain does not hold.

Records that were changed do not fit behind those before them; records that were removed, inserted or moved, with their
positions made to fit, do not either. Which of these it was shows by what fits elsewhere nearby.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from portcullis.audit.chain import record_hash
from portcullis.audit.verification import Wrong


@dataclass(frozen=True, slots=True)
class Link:
    """A record as it lies in the store."""

    position: int
    hash: bytes
    body: bytes

    def follows(self, previous: bytes) -> bool:
        return record_hash(previous, self.body) == self.hash


def diagnose(
    before: bytes | None, previous: bytes, links: Sequence[Link], places: Mapping[bytes, int]
) -> tuple[Wrong, int, str]:
    """What is wrong with the first of ``links``, which does not follow ``previous``.

    Args:
        before: the hash before ``previous``; None where that is where the chain begins.
        links: that record and those behind it.
        places: positions where a hash is known to have stood.

    Returns:
        What it is, the position of the record that was changed, and a sentence.
    """
    first, rest = links[0], links[1:]
    if before is not None and first.follows(before):
        return (
            Wrong.INSERTED,
            first.position - 1,
            f"it was inserted: the record at {first.position} fits behind the one before it",
        )
    fitting = next((link for link in rest if link.follows(previous)), None)
    if fitting is not None:
        if any(first.follows(link.hash) for link in rest):
            return Wrong.REORDERED, first.position, f"the record that belongs there stands at {fitting.position}"
        return Wrong.INSERTED, first.position, f"it was inserted: the record at {fitting.position} belongs there"
    for link in links:
        true = places.get(link.hash)
        if true is not None and true > link.position:
            return Wrong.REMOVED, first.position, f"{true - link.position} records were removed, here or behind"
    if rest and not rest[0].follows(first.hash) and rest[0].follows(record_hash(previous, first.body)):
        return Wrong.CHANGED, first.position, "its hash was changed, its body was not"
    return (
        Wrong.CHANGED,
        first.position,
        "its body is not the one that was written, or what stood before it was removed",
    )
