"""Steps of :mod:`portcullis.audit.pruning`, each for one transaction."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Table, and_, bindparam, delete, exists, func, select, text, update

from portcullis.audit.codec import SAMPLED_BODY
from portcullis.audit.counting import spans_of
from portcullis.audit.tables import (
    bundles,
    chains,
    checkpoints,
    decisions,
    hours,
    image_uses,
    images,
    inputs,
    policy_tallies,
    tallies,
    violations,
)

UNCHAINED = 0
"""The chain under which records in no chain are counted."""
REVISION_ROWS = 10_000


@dataclass(slots=True)
class Gone:
    """What was removed: ``revisions`` are those that these records named."""

    records: int = 0
    inputs: int = 0
    revisions: set[str] = field(default_factory=set)

    def add(self, other: "Gone") -> None:
        self.records += other.records
        self.inputs += other.inputs
        self.revisions |= other.revisions


def remove_step(connection: Connection, chain: int | None, through: int, most: int) -> Gone:
    """Removes the oldest ``most`` records of the chain that are not behind the position ``through``, or as many as
    there are."""
    # Two that prune one chain take turns: what one has removed, the other must not take out of the tallies again.
    connection.execute(select(chains.c.number).where(chains.c.number == chain).with_for_update(key_share=True))
    place = decisions.c.position if chain is not None else decisions.c.sequence
    rows = connection.execute(
        select(
            place.label("place"),
            (func.substr(decisions.c.body, 1, len(SAMPLED_BODY)) == SAMPLED_BODY).label("sampled"),
            *(
                decisions.c[name]
                for name in (
                    "sequence",
                    "decided_at",
                    "namespace",
                    "verdict",
                    "code",
                    "because",
                    "dry_run",
                    "policy_revision",
                    "config_revision",
                    "input_hash",
                    "hash",
                )
            ),
        )
        .where(decisions.c.chain == chain if chain is not None else decisions.c.chain.is_(None), place <= through)
        .order_by(place)
        .limit(most)
    ).all()
    if not rows:
        return Gone()
    sequences = [row.sequence for row in rows]
    _uncount(connection, chain if chain is not None else UNCHAINED, rows, sequences)
    if connection.dialect.name == "sqlite":  # PostgreSQL's table of words refers to decisions
        connection.execute(text("DELETE FROM texts WHERE rowid = :sequence"), [{"sequence": one} for one in sequences])
    connection.execute(delete(decisions).where(decisions.c.sequence.in_(sequences)))
    if chain is not None:
        moved = update(chains).where(chains.c.number == chain, chains.c.pruned_position < rows[-1].place)
        connection.execute(moved.values(pruned_position=rows[-1].place, pruned_hash=rows[-1].hash))
    return Gone(
        records=len(rows),
        inputs=_remove_inputs(connection, {row.input_hash for row in rows if row.input_hash}),
        revisions={one for row in rows for one in (row.policy_revision, row.config_revision)},
    )


def remove_checkpoints(connection: Connection, chain: int) -> None:
    """Removes the checkpoints of what is gone, but for the newest."""
    pruned = select(chains.c.pruned_position).where(chains.c.number == chain).scalar_subquery()
    newest = (
        select(checkpoints.c.number)
        .where(checkpoints.c.chain == chain)
        .order_by(checkpoints.c.number.desc())
        .limit(1)
        .scalar_subquery()
    )
    connection.execute(
        delete(checkpoints).where(
            checkpoints.c.chain == chain, checkpoints.c.position <= pruned, checkpoints.c.number < newest
        )
    )


def revisions_between(connection: Connection, after: int) -> tuple[set[str], int | None]:
    """The revisions that some records behind a sequence name, and the sequence of the last of these; None where these
    were the last."""
    sequence = decisions.c.sequence
    end = connection.execute(
        select(sequence).where(sequence > after).order_by(sequence).offset(REVISION_ROWS - 1).limit(1)
    ).scalar_one_or_none()
    found = select(decisions.c.policy_revision, decisions.c.config_revision).where(sequence > after).distinct()
    if end is not None:
        found = found.where(sequence <= end)
    return {one for row in connection.execute(found) for one in row}, end


def remove_bundles(connection: Connection, revisions: Collection[str]) -> int:
    """How many there were of them."""
    return connection.execute(delete(bundles).where(bundles.c.revision.in_(sorted(revisions)))).rowcount


def _remove_inputs(connection: Connection, hashes: Collection[str]) -> int:
    """Those that no record has any more."""
    used = exists().where(decisions.c.input_hash == inputs.c.hash)
    return connection.execute(delete(inputs).where(inputs.c.hash.in_(sorted(hashes)), ~used)).rowcount


# -- tallies -----------------------------------------------------------------------------------------------------


def _uncount(connection: Connection, chain: int, rows: Sequence[Any], sequences: Sequence[int]) -> None:
    """Takes the records out of what :mod:`portcullis.audit.counting` counted."""
    outcomes: dict[int, set[tuple[str, str, str]]] = {}
    for one in connection.execute(select(violations).where(violations.c.decision.in_(sequences))):
        outcome = "undecided" if one.undecided else "excepted" if one.exception else "violation"
        outcomes.setdefault(one.decision, set()).add((one.policy, one.mode, outcome))
    digests: dict[int, set[str]] = {}
    for one in connection.execute(select(images.c.decision, images.c.digest).where(images.c.decision.in_(sequences))):
        if one.digest:
            digests.setdefault(one.decision, set()).add(one.digest)
    verdicts: Counter[tuple[Any, ...]] = Counter()
    policies: Counter[tuple[Any, ...]] = Counter()
    uses: Counter[tuple[Any, ...]] = Counter()
    refused: Counter[tuple[Any, ...]] = Counter()
    for row in rows:
        if row.sampled:
            continue
        for width, start, namespace in spans_of(row.decided_at, row.namespace):
            span = (width, start, chain, namespace)
            verdicts[(*span, row.verdict, row.code, row.because, row.dry_run)] += 1
            if not row.dry_run:
                policies.update((*span, *outcome) for outcome in outcomes.get(row.sequence, ()))
        if not row.dry_run:
            for digest in digests.get(row.sequence, ()):
                uses[digest, row.namespace, chain] += 1
                refused[digest, row.namespace, chain] += row.verdict == "refused"
    _take(connection, tallies, {"count": verdicts})
    _take(connection, policy_tallies, {"count": policies})
    _take(connection, image_uses, {"decisions": uses, "refused": refused})
    for table in (hours, image_uses):  # the records of a chain go in the order of their sequences
        connection.execute(delete(table).where(table.c.chain == chain, table.c.last_sequence <= sequences[-1]))


def _take(connection: Connection, table: Table, counted: Mapping[str, Counter[tuple[Any, ...]]]) -> None:
    """Subtracts from columns of ``table``, by its primary key; rows whose first column comes to nothing go."""
    first = next(iter(counted))
    if not counted[first]:
        return
    names = [column.name for column in table.primary_key.columns]
    chosen = and_(*(table.c[name] == bindparam(f"the_{name}") for name in names))
    rows = [
        {f"the_{name}": value for name, value in zip(names, key, strict=True)}
        | {f"less_{column}": counts[key] for column, counts in counted.items()}
        for key in sorted(counted[first])
    ]
    fewer = {column: table.c[column] - bindparam(f"less_{column}") for column in counted}
    connection.execute(update(table).where(chosen).values(fewer), rows)
    keys = [{name: value for name, value in row.items() if name.startswith("the_")} for row in rows]
    connection.execute(delete(table).where(chosen, table.c[first] <= 0), keys)
