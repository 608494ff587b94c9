"""Verdicts that are remembered, so that one attestation is verified and read once and not for each decision.

A verdict depends on the content (its digest), on what nobody signed beside it (annotations, media type), on the subject
that was judged, on the configuration, which does not change in a process, and on the time: a certificate or a signature
expires. So it is kept for some minutes, under the first four. Who may speak of what about which image is not part of
it: trust rules are asked each time. Nor is access: a verdict is looked up by a digest that a manifest lists which was
just given to whoever asks, and of the same repository, so that nobody learns what another repository holds by naming
its digest.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from hashlib import sha256

from portcullis.evidence.kept import Kept
from portcullis.evidence.refusal import EvidenceError
from portcullis.limits import Limits
from portcullis.model.evidence import (
    Evaluation,
    LintReport,
    PredicateClass,
    Provenance,
    ReadFact,
    Rejected,
    Sbom,
    ScanReport,
    Statement,
    Verified,
    VexDocument,
)
from portcullis.model.image import Digest, Repository
from portcullis.ports import Clock

_ROW_BYTES = 500
"""About what one finding or component takes in memory."""

SECONDS = 600
"""How long a verdict is believed at most: certificates of keyless signatures live as long."""


@dataclass(frozen=True, slots=True)
class ReadClass:
    """What a statement says of one class of predicates; ``fault`` is set where that cannot be read."""

    about: PredicateClass
    facts: tuple[ReadFact, ...] = ()
    fault: EvidenceError | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict, and what the statement says. ``classes`` are in the order of the predicate type's; empty where it is
    rejected."""

    verdict: Verified | Rejected
    classes: tuple[ReadClass, ...] = ()

    @property
    def rows(self) -> int:
        """Findings, components and other lines of all that it says."""
        return sum(_rows(fact) for one in self.classes for fact in one.facts)


@dataclass(frozen=True, slots=True)
class VerdictKey:
    """``annotations`` is a digest of them; ``report`` the media type of what has no statement (see discover.py).
    ``signed`` says whether it brings its own signature, ``vouched`` whether somebody signed what leads to it."""

    repository: Repository
    content: Digest
    media_type: str
    annotations: str
    subject: Digest
    report: str
    signed: bool
    vouched: bool = False


@dataclass(slots=True)
class VerdictCounters:
    """What happened since the start."""

    hits: int = 0
    misses: int = 0


@dataclass(frozen=True, slots=True)
class _Entry:
    judged: Judged
    until: float


def annotations_digest(annotations: Mapping[str, str]) -> str:
    return sha256(json.dumps(sorted(annotations.items())).encode()).hexdigest()


class Verdicts:
    """Judges each attestation once, and remembers.

    Args:
        limits: ``known_verdicts``, ``known_verdict_bytes``; the least recently used go.
    """

    def __init__(self, *, clock: Clock, limits: Limits) -> None:
        self._clock = clock
        self._kept: Kept[VerdictKey, _Entry] = Kept(entries=limits.known_verdicts, room=limits.known_verdict_bytes)
        self._locks: dict[VerdictKey, asyncio.Lock] = {}
        self._waiting: Counter[VerdictKey] = Counter()
        self.counters = VerdictCounters()

    @property
    def bytes(self) -> int:
        """Of the attestations whose verdicts are known."""
        return self._kept.bytes

    def __len__(self) -> int:
        return len(self._kept)

    async def judge(self, key: VerdictKey, make: Callable[[], Awaitable[tuple[Judged, int]]]) -> Judged:
        """The verdict for ``key``: known, or made now. Whoever asks for the same meanwhile waits for it.

        Args:
            make: also says how many bytes were judged. What it raises is raised, and not remembered.
        """
        async with self._alone(key):
            known = self._get(key)
            if known is not None:
                self.counters.hits += 1
                return known
            self.counters.misses += 1
            judged, size = await make()
            # A report of short lines takes many times its bytes.
            size = max(size, judged.rows * _ROW_BYTES)
            self._kept.put(key, _Entry(_slim(judged), self._clock.monotonic() + SECONDS), size)
            return judged

    @asynccontextmanager
    async def _alone(self, key: VerdictKey) -> AsyncIterator[None]:
        lock = self._locks.setdefault(key, asyncio.Lock())
        self._waiting[key] += 1
        try:
            async with lock:
                yield
        finally:
            self._waiting[key] -= 1
            if not self._waiting[key]:
                del self._waiting[key], self._locks[key]

    def _get(self, key: VerdictKey) -> Judged | None:
        entry = self._kept.get(key)
        if entry is None:
            return None
        if entry.until <= self._clock.monotonic():
            self._kept.forget(key)
            return None
        return entry.judged


def _rows(fact: ReadFact) -> int:
    match fact:
        case ScanReport():
            return len(fact.vulnerabilities) + len(fact.suppressions)
        case Evaluation():
            return len(fact.checks)
        case LintReport():
            return len(fact.findings)
        case Sbom():
            return len(fact.components)
        case Provenance():
            return len(fact.materials)
        case VexDocument():
            return sum(1 + len(statement.products) for statement in fact.statements)


def _slim(judged: Judged) -> Judged:
    """Without the text of the predicate, which was read."""
    if isinstance(judged.verdict, Rejected):
        return judged
    statement = Statement(judged.verdict.statement.predicate_type, b"")
    return replace(judged, verdict=replace(judged.verdict, statement=statement))
