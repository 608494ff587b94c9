"""Proof of the checkpoints of one chain; :mod:`portcullis.audit.verifying` numbers its steps."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from portcullis.audit.chain import heads_in
from portcullis.audit.chainreading import ChainRow, CheckpointRow
from portcullis.audit.checkpoints import Checkpoint, CheckpointError, Place, Signed, body_hash, holds, key_id, read_body
from portcullis.audit.verification import Finding, Wrong
from portcullis.times import rfc3339


@dataclass(frozen=True, slots=True)
class Said:
    """Somebody says that this hash, in hexadecimal, stands at a position."""

    place: Place
    who: str


@dataclass(slots=True)
class Checkpoints:
    """What the checkpoints of a chain say. ``signed`` is the highest position that a given key signed, -1 for none;
    ``unknown`` are hints at keys that were not given."""

    said: list[Said] = field(default_factory=list)
    count: int = 0
    signed: int = -1
    signatures: int = 0
    unknown: set[str] = field(default_factory=set)
    findings: list[Finding] = field(default_factory=list)


class Keys:
    """The public keys that were given."""

    def __init__(self, keys: Iterable[Ed25519PublicKey]) -> None:
        self._keys = {key_id(key): key for key in keys}

    def __bool__(self) -> bool:
        return bool(self._keys)

    def signed(self, signed: Signed) -> bool:
        """Whether one of them signed it, whatever the checkpoint says of its key."""
        return any(holds(key, signed) for key in self._keys.values())

    def known(self, hint: str) -> bool:
        return hint in self._keys


def prove_checkpoints(chain: ChainRow, rows: Sequence[CheckpointRow], keys: Keys) -> Checkpoints:
    """Steps 2 to 4."""
    proven = Checkpoints(count=len(rows))

    def wrong(what: Wrong, message: str, position: int) -> Checkpoints:
        proven.findings.append(Finding(what, message, chain.id, chain.replica, position))
        return proven

    previous: CheckpointRow | None = None
    last: Checkpoint | None = None
    for row in rows:
        try:
            checkpoint = read_body(row.body)
        except CheckpointError as error:
            return wrong(Wrong.CHECKPOINT, f"checkpoint {row.number} was changed: {error}", row.position)
        when = f"checkpoint {row.number} of {rfc3339(checkpoint.at, 'seconds')}"
        if problem := _misfit(chain, row, checkpoint) or _unlinked(chain, previous, last, checkpoint):  # (2)
            return wrong(Wrong.CHECKPOINT, f"{when}: {problem}", row.position)
        if problem := _signature(proven, previous, row, Signed(checkpoint, row.signature, row.key), keys):  # (3)
            return wrong(Wrong.CHECKPOINT, f"{when}: {problem}", row.position)
        proven.said.append(Said(checkpoint.head, when))
        previous, last = row, checkpoint
    if chain.pruned and (last is None or last.pruned.position < chain.pruned):  # (4)
        return wrong(Wrong.PRUNED, f"records up to {chain.pruned} are gone, and no checkpoint says so", chain.pruned)
    if last is not None and last.pruned.position:
        proven.said.append(Said(last.pruned, f"what checkpoint {rows[-1].number} says of pruning"))
    return proven


def _misfit(chain: ChainRow, row: CheckpointRow, checkpoint: Checkpoint) -> str:
    """What is wrong between a checkpoint's body, its columns and its chain; "" for nothing."""
    if checkpoint.chain != chain.id or checkpoint.replica != chain.replica:
        return "it is one of another chain"
    if checkpoint.head.position != row.position or checkpoint.at != row.made_at:
        return "its columns are not what its body says"
    return "it allows to remove more than there was" if checkpoint.pruned.position > checkpoint.head.position else ""


def _unlinked(chain: ChainRow, before: CheckpointRow | None, last: Checkpoint | None, checkpoint: Checkpoint) -> str:
    """Checkpoints are removed with the records up to them, from the first: then nobody knows what the first that is
    left should name."""
    if before is None or last is None:
        return "" if chain.pruned or not checkpoint.previous else "the one before it was removed"
    if checkpoint.previous != body_hash(before.body):
        return "the one before it was removed, inserted or changed"
    if checkpoint.head.position < last.head.position or checkpoint.pruned.position < last.pruned.position:
        return "it goes back behind the one before it"
    return ""


def _signature(
    proven: Checkpoints, before: CheckpointRow | None, row: CheckpointRow, signed: Signed, keys: Keys
) -> str:
    if not row.signature:
        return "it is not signed, and the one before it is" if before is not None and before.signature else ""
    proven.signatures += 1
    if not keys:
        return ""
    if keys.signed(signed):
        proven.signed = max(proven.signed, row.position)
        return ""
    if keys.known(row.key):
        return "its signature is not one of its key"
    proven.unknown.add(row.key)
    return ""


def covered(chains: Sequence[ChainRow], signed: Mapping[str, int]) -> Mapping[str, int]:
    """Up to where signatures cover each chain, -1 where they do not: a signature covers its chain up to its position,
    and so the genesis, and so the heads that the genesis names, each of which covers its chain in the same way.

    Args:
        chains: whose genesis is whole.
        signed: positions that were signed, by the chain's id.
    """
    geneses = {chain.id: chain.genesis for chain in chains}
    reached = {chain.id: signed.get(chain.id, -1) for chain in chains}
    waiting = [one for one, position in reached.items() if position >= 0]
    while waiting:
        for head in heads_in(geneses[waiting.pop()]):
            if head.chain in reached and reached[head.chain] < head.position:
                if reached[head.chain] < 0:
                    waiting.append(head.chain)
                reached[head.chain] = head.position
    return reached
