"""The bytes of a tar, as the walk over it wants them: a block at a time, or none of them."""

from collections.abc import Iterator


class Plain:
    """The bytes of the tar, pulled piece by piece: ``piece`` is the one at hand, ``at`` how far it was read, and
    ``before`` counts the bytes in front of it."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self.pieces = pieces
        self.piece = b""
        self.at = 0
        self.before = 0

    def take(self, count: int) -> bytes:
        """The next bytes; fewer only at the end."""
        at = self.at
        stop = at + count
        if stop <= len(self.piece):
            self.at = stop
            return self.piece[at:stop]
        taken = [self.piece[at:]]
        left = stop - len(self.piece)
        while left and self._pull():
            taken.append(self.piece[:left])
            self.at = len(taken[-1])
            left -= self.at
        if left:
            self.at = len(self.piece)
        return b"".join(taken)

    def skip(self, count: int) -> int:
        """Leaves out the next bytes. Says how many of them there are not."""
        at = self.at + count
        while at > len(self.piece):
            at -= len(self.piece)
            if not self._pull():
                return at
        self.at = at
        return 0

    def _pull(self) -> bool:
        self.before += len(self.piece)
        self.piece, self.at = next(self.pieces, b""), 0
        return bool(self.piece)
