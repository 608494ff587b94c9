"""Checkpoints in the store: each names the one before it in its chain."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from portcullis.audit.chain import head_of
from portcullis.audit.checkpoints import Checkpoint, CheckpointError, Place, Signed, Signer, body_hash, read_body
from portcullis.audit.tables import chains, checkpoints


def add_checkpoint(
    connection: Connection, chain: int, signer: Signer, at: datetime, *, pruned: Place | None = None
) -> Signed:
    """Keeps a checkpoint of the chain with that row, where it ends now.

    Args:
        connection: inside a transaction.
        pruned: how far records may be removed from now on; where it is not given, as far as before. What was allowed
            once is never taken back.
    """
    # Who prunes a chain and who writes it both add checkpoints to it: one after the other, so that these stay a list.
    row = connection.execute(
        select(chains.c.id, chains.c.replica, chains.c.hash, chains.c.pruned_position, chains.c.pruned_hash)
        .where(chains.c.number == chain)
        .with_for_update(key_share=True)
    ).one()
    head = head_of(connection, chain)
    last = last_checkpoint(connection, chain)
    before = _pruned(row, last)
    signed = signer.sign(
        Checkpoint(
            chain=row.id,
            replica=row.replica,
            head=Place(head.position, head.hash.hex()),
            at=at,
            pruned=pruned if pruned is not None and pruned.position > before.position else before,
            previous="" if last is None else body_hash(last.body.encode("utf-8", "surrogatepass")),
        )
    )
    connection.execute(
        insert(checkpoints),
        {
            "chain": chain,
            "position": head.position,
            "made_at": at,
            "body": signed.checkpoint.body().decode("ascii"),
            "signature": signed.signature or None,
            "key": signed.key,
        },
    )
    return signed


def last_checkpoint(connection: Connection, chain: int) -> Any | None:
    """The row of the newest checkpoint of a chain."""
    return connection.execute(
        select(checkpoints.c.body, checkpoints.c.key, checkpoints.c.position)
        .where(checkpoints.c.chain == chain)
        .order_by(checkpoints.c.number.desc())
        .limit(1)
    ).one_or_none()


def _pruned(row: Any, last: Any | None) -> Place:
    """As the last checkpoint says; the chain's row may lag behind it, while records are being removed."""
    if last is not None:
        try:
            return read_body(last.body.encode("utf-8", "surrogatepass")).pruned
        except CheckpointError:
            pass  # it was tampered with, which must not keep new ones from being made; verifying finds it
    if row.pruned_position:
        return Place(row.pruned_position, row.pruned_hash.hex())
    return Place(0, row.hash.hex())
