"""Where facts of images and layers are kept, for one kind of callers."""

from collections import Counter

from portcullis.errors import RecordsError
from portcullis.ports import Facts


class Shelf:
    """Facts, of which one that cannot be had is made again.

    Args:
        facts: None: nothing is kept.
        failures: by reason; what could not be kept is counted there.
    """

    def __init__(self, facts: Facts | None, failures: Counter[str]) -> None:
        self._facts = facts
        self._failures = failures

    async def get(self, key: str) -> bytes | None:
        """Raises nothing."""
        if self._facts is None:
            return None
        try:
            return await self._facts.get(key)
        except RecordsError:
            return None

    async def put(self, key: str, content: bytes) -> None:
        """Raises nothing."""
        if self._facts is None:
            return
        try:
            await self._facts.put(key, content)
        except RecordsError:
            self._failures[RecordsError.reason] += 1
