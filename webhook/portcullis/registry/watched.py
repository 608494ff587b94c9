"""Files that change while the program runs: Secrets that the kubelet mounts are replaced there."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

_Value = TypeVar("_Value")


class UnreadableFile(Exception):
    """``problem`` names the file and says what is wrong with it, and nothing of what it holds."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


class Unusable(Exception):
    """What a reader says of a content: ``problem`` goes on after the name of the file."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


class WatchedFile(Generic[_Value]):
    """What a small file says now. It is read again where it is another file than before, or a changed one.

    What was read before is not used where the file cannot be read any more: whoever takes a credential away means it.

    Args:
        limit: bytes; ``named`` is the field of the limits in camelCase.
        read: makes the value of the content; raises Unusable.
    """

    def __init__(self, *, path: Path, limit: int, named: str, read: Callable[[bytes], _Value]) -> None:
        self._path = path
        self._limit = limit
        self._named = named
        self._read = read
        self._kept: tuple[tuple[int, ...], _Value] | None = None

    def value(self) -> _Value:
        """Raises UnreadableFile: it is not there, too large, or not what ``read`` takes."""
        try:
            with self._path.open("rb") as stream:
                state = os.fstat(stream.fileno())
                # The kubelet makes new files and turns a link; others write into the same one.
                seen = (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
                if self._kept is not None and self._kept[0] == seen:
                    return self._kept[1]
                self._kept = None
                content = stream.read(self._limit + 1)
        except OSError as error:
            self._kept = None
            raise UnreadableFile(f"{self._path} cannot be read: {error.strerror}") from None
        if len(content) > self._limit:
            raise UnreadableFile(f"{self._path} has more bytes than the limit {self._named} of {self._limit}")
        try:
            value = self._read(content)
        except Unusable as error:
            raise UnreadableFile(f"{self._path} {error.problem}") from None
        self._kept = (seen, value)
        return value
