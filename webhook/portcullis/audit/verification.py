"""What a look at the whole audit log found."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Wrong(StrEnum):
    """What is wrong, in one word; the message of the finding says it in full."""

    CHANGED = "changed"
    """A record, or what is kept beside it to find it by."""
    REMOVED = "removed"
    INSERTED = "inserted"
    REORDERED = "reordered"
    CUT_OFF = "cut-off"
    """Records at the end of a chain are missing."""
    VANISHED = "vanished"
    """A whole chain is missing."""
    INPUT = "input"
    """A judged input is missing, or another one."""
    GENESIS = "genesis"
    """The first record of a chain was changed."""
    CHECKPOINT = "checkpoint"
    """A checkpoint was changed, removed or inserted, or its signature is wrong."""
    PRUNED = "pruned"
    """The beginning of a chain was removed, and no checkpoint says so."""
    BUNDLE = "bundle"
    """A policy set or configuration that records refer to is another one."""


class Verdict(StrEnum):
    PROVEN = "proven"
    TAMPERED = "tampered"
    UNVERIFIED = "unverified"
    """Nothing wrong was found, but something could not be checked."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong. ``position`` 0 is the genesis; ``decision`` and ``at`` are those of the record where
    there is one."""

    what: Wrong
    message: str
    chain: str = ""
    replica: str = ""
    position: int = 0
    decision: str = ""
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ChainResult:
    """One chain. ``first`` and ``last`` are positions of the records that are there (``last`` is one less than
    ``first`` where there is none); ``signed`` is the position up to which a signature covers it, -1 where none does."""

    chain: str
    replica: str
    started_at: datetime
    first: int
    last: int
    hash: str
    checkpoints: int
    signed: int
    whole: bool
    """Whether every record of it was looked at and is as it was written."""

    @property
    def records(self) -> int:
        return self.last - self.first + 1

    @property
    def unsigned(self) -> int:
        """Records behind the last signature."""
        return self.last - max(self.signed, self.first - 1)


@dataclass(frozen=True, slots=True)
class Verification:
    """``unchained`` are records from before there were chains, which nothing covers; ``doubts`` say what could not be
    checked; ``notes`` what whoever reads should know."""

    chains: Sequence[ChainResult]
    findings: Sequence[Finding]
    doubts: Sequence[str]
    notes: Sequence[str]
    records: int
    unchained: int
    published: int

    @property
    def verdict(self) -> Verdict:
        if self.findings:
            return Verdict.TAMPERED
        return Verdict.UNVERIFIED if self.doubts else Verdict.PROVEN
