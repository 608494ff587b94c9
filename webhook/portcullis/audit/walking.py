"""Proof of one chain, record by record; :mod:`portcullis.audit.verifying` numbers its steps."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

from portcullis.audit import recomputed
from portcullis.audit.chain import record_hash
from portcullis.audit.chainreading import ChainReader, ChainRow, Kept
from portcullis.audit.checkpointproof import Said
from portcullis.audit.checkpoints import Place
from portcullis.audit.codec import CodecError, input_hash
from portcullis.audit.counting import HOUR
from portcullis.audit.diagnosis import Link, diagnose
from portcullis.audit.sql import inflate
from portcullis.audit.verification import Finding, Wrong
from portcullis.text import clean

INPUT_BYTES = 256 * 1024 * 1024
"""More than any judged input has, whatever limits.documentBytes was."""

_Page = tuple[Sequence[Kept], Awaitable[Sequence[Kept]]]


class Walk:
    """One way along a chain.

    Args:
        said: what stands where, in the words of others.
        left: where its writer left it for another one, and who says so; None where nobody does.
        lost: whether it is known that its end is missing.
        seen: is told how many records of a page were looked at.
    """

    def __init__(
        self,
        reader: ChainReader,
        chain: ChainRow,
        *,
        said: Sequence[Said],
        left: tuple[int, str] | None,
        lost: bool,
        seen: Callable[[int], None],
    ) -> None:
        self._reader = reader
        self._chain = chain
        self._left = left
        self._lost = lost
        self._seen = seen
        self._places: defaultdict[int, list[Said]] = defaultdict(list)
        for one in said:
            self._places[one.place.position].append(one)
        self.findings: list[Finding] = []
        self.position = chain.pruned
        """Of the last record that holds."""
        self.hash = chain.start
        self._before: bytes | None = None
        self._agreed = chain.pruned
        """The last position that somebody else confirms."""
        self._hours: Mapping[int, tuple[int, int]] = {}

    @property
    def place(self) -> Place:
        return Place(self.position, self.hash.hex())

    async def run(self, until: int) -> None:
        """Steps 5 to 8, up to the position ``until``. Ends at the first record that does not hold in its chain; of
        those that hold, and are kept otherwise than they were written, the first is told.

        Raises:
            RecordsError: the store is down.
        """
        if stray := await self._reader.misplaced(self._chain.number, self._chain.pruned):
            self._wrong(Wrong.INSERTED, f"the decision {stray} stands where the chain has no record", self.position)
            return
        if liar := _contradicting(self._places, self.position, self.hash):
            self._wrong(Wrong.CHANGED, f"the chain does not begin with what {liar} names", self.position)
            return
        self._hours = await self._reader.hours(self._chain.number)
        async for page, following in self._pages(until):
            for at, kept in enumerate(page):
                if not self._follows(kept):
                    await self._tell_why(page, at, following)
                    return
                if not self._agrees(kept):
                    return
                if not self.findings and (found := self._misfit(kept)) is not None:  # (7) (8)
                    self._wrong(*found, self.position, kept)
            self._seen(len(page))
        self._end()

    async def _pages(self, until: int) -> AsyncIterator[_Page]:
        """Each page, and the one behind it, which is read meanwhile."""
        waiting = asyncio.ensure_future(self._reader.page(self._chain.number, self._chain.pruned, until))
        try:
            while page := await waiting:
                waiting = asyncio.ensure_future(self._reader.page(self._chain.number, page[-1].position, until))
                yield page, waiting
        finally:
            waiting.cancel()

    def _follows(self, kept: Kept) -> bool:
        """(5)"""
        if kept.position != self.position + 1 or record_hash(self.hash, kept.body) != kept.hash:
            return False
        self._before, self.hash, self.position = self.hash, kept.hash, kept.position
        return True

    async def _tell_why(self, page: Sequence[Kept], at: int, following: Awaitable[Sequence[Kept]]) -> None:
        kept = page[at]
        if kept.position != self.position + 1:
            missing = _span(self.position + 1, kept.position - 1)
            self._wrong(Wrong.REMOVED, f"{missing} missing; behind comes this one", self.position + 1, kept)
            return
        links = [Link(one.position, one.hash, one.body) for one in (*page[at:], *await following)]
        known = {bytes.fromhex(said.place.hash): position for position, of in self._places.items() for said in of}
        what, position, message = diagnose(self._before, self.hash, links, known)
        before = page[at - 1] if at else None
        self._wrong(what, message, position, kept if position == kept.position else before)

    def _agrees(self, kept: Kept) -> bool:
        """(6)"""
        if self.position not in self._places:
            return True
        if liar := _contradicting(self._places, self.position, self.hash):
            first = self._agreed + 1
            message = f"{_span(first, self.position)} not what was written: {liar} names another hash"
            self._wrong(Wrong.CHANGED, message, first, kept if first == self.position else None)
            return False
        self._agreed = self.position
        return True

    def _misfit(self, kept: Kept) -> tuple[Wrong, str] | None:
        """(7) and (8): what is kept beside a record is what its body says."""
        try:
            body = recomputed.read(kept.body)
        except recomputed.NoRecord as error:
            return Wrong.CHANGED, f"it is no record: {clean(str(error), 160)}"
        written = recomputed.columns(body)
        if written != kept.values:
            names = [
                name for name, one, other in zip(recomputed.COLUMNS, written, kept.values, strict=True) if one != other
            ]
            return Wrong.CHANGED, f"its column {names[0]} is not what its body says"
        for name, rows, there in (
            ("images", recomputed.images(body), kept.images),
            ("violations", recomputed.violations(body), kept.violations),
            ("reasons", recomputed.reasons(body), kept.reasons),
        ):
            if rows != there:
                return Wrong.CHANGED, f"its rows of the table {name} are not what its body says"
        hour = int(body.decision.decided_at.timestamp()) // HOUR * HOUR
        first, last = self._hours.get(hour, (0, -1))
        if not first <= kept.sequence <= last:
            return Wrong.CHANGED, "searches by time pass it over: the table hours has not its sequence"
        return self._input_misfit(body.decision.input_hash, kept.content)

    def _input_misfit(self, named: str, content: bytes | None) -> tuple[Wrong, str] | None:
        if not named:
            return None
        if content is None:
            return Wrong.INPUT, "its judged input is gone"
        try:
            if input_hash(inflate(content, INPUT_BYTES)) == named:
                return None
        except CodecError:
            pass
        return Wrong.INPUT, "its judged input is not the one that was judged"

    def _end(self) -> None:
        """(6): no chain ends before a position that somebody names, or goes on where its writer left it."""
        highest = max(self._places, default=0)
        if highest > self.position and not self._lost:
            message = f"{_span(self.position + 1, highest)} missing at the end; {self._places[highest][0].who} names it"
            self._wrong(Wrong.CUT_OFF, message, self.position + 1)
        elif self._left is not None and self.position > self._left[0]:
            end, who = self._left
            self._wrong(Wrong.INSERTED, f"{_span(end + 1, self.position)} behind the end that {who} names", end + 1)

    def _wrong(self, what: Wrong, message: str, position: int, kept: Kept | None = None) -> None:
        """What breaks the chain comes last and is told first, in place of what else is wrong with the record."""
        decision, at = (kept.values[0], kept.values[1]) if kept is not None else ("", None)
        finding = Finding(what, message, self._chain.id, self._chain.replica, position, decision, at)
        self.findings = [finding, *(one for one in self.findings if one.position != position)]


def _contradicting(places: Mapping[int, Sequence[Said]], position: int, found: bytes) -> str:
    """Who names another hash for that position; "" for nobody."""
    return next((said.who for said in places.get(position, ()) if said.place.hash != found.hex()), "")


def _span(first: int, last: int) -> str:
    return f"record {first} is" if first == last else f"records {first} to {last} are"
