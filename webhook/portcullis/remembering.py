"""Remembers which scans were seen, so that to delete a newer one does not bring an older one back.

Only what the API server really asked moves a mark: not a dry run, not a caller that anybody may be (design rule 13),
not the command line. Nobody waits for it: a mark that is lost is written by the next decision on the same image.
"""

import asyncio
import logging
from collections.abc import Mapping
from datetime import datetime

from portcullis.errors import RecordsError
from portcullis.limits import Limits
from portcullis.model.request import AdmissionRequest, Caller
from portcullis.ports import Marks

_WRITES = 100
"""Writes under way at once; what comes in between is written by a later decision."""

_KNOWN = frozenset({Caller.CERTIFICATE, Caller.PATH})

log = logging.getLogger(__name__)


class Remembering:
    """Moves marks in the background.

    Args:
        limits: ``marks``: those that are known to stand, which are not written again.
    """

    def __init__(self, *, marks: Marks, limits: Limits) -> None:
        self._marks = marks
        self._limits = limits
        self._standing: dict[str, datetime] = {}
        self._writes: set[asyncio.Task[None]] = set()
        self.failed = 0
        """Marks that could not be written."""

    def note(self, request: AdmissionRequest, marks: Mapping[str, datetime]) -> None:
        """Moves ``marks`` forward if ``request`` counts."""
        if request.dry_run or request.caller not in _KNOWN:
            return
        news = {key: instant for key, instant in marks.items() if self._is_news(key, instant)}
        if not news or len(self._writes) >= _WRITES:
            return
        task = asyncio.create_task(self._write(news))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)

    async def aclose(self) -> None:
        """Waits for what is under way; the store bounds that."""
        await asyncio.gather(*self._writes, return_exceptions=True)

    def _is_news(self, key: str, instant: datetime) -> bool:
        standing = self._standing.get(key)
        return standing is None or instant > standing

    async def _write(self, news: Mapping[str, datetime]) -> None:
        try:
            await self._marks.advance(news)
        except RecordsError as error:
            self.failed += len(news)
            log.warning("scans that were seen are not remembered", extra={"problem": error.message})
            return
        if len(self._standing) + len(news) > self._limits.marks:
            self._standing.clear()
        self._standing |= news
