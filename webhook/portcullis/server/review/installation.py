"""What this replica says of itself on the overview, for readers who see all."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Root:
    """A trusted root. ``newest`` is when the newest key in it came into force; ``current`` says that it knows the ones
    that sign now."""

    name: str
    newest: datetime
    current: bool


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The newest word about the chain that this replica writes; ``signed`` says that the operator's key signed it."""

    chain: str
    position: int
    made_at: datetime
    signed: bool


@dataclass(frozen=True, slots=True)
class Installation:
    """As of now; None where it does not apply or nobody knows.

    Args:
        certificate_until: when the served certificate expires.
        policies_since: since when the policies stand in this replica.
        waiting: records in the journal that the store has not got yet.
        checkpoint: the last one that this replica made.
    """

    certificate_until: datetime | None = None
    policies_since: datetime | None = None
    roots: tuple[Root, ...] = ()
    waiting: int = 0
    checkpoint: Checkpoint | None = None


Installed = Callable[[], Installation]
