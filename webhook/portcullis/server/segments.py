"""The unguessable words before ``/validate`` by which the API server is told from everybody else in the cluster.

One may stand in the configuration (``server.pathSegment``). Where ``cluster.caller.pathSecret`` names the Secret that
the replicas share, another comes from there, and changes while the program runs.
"""

import hmac
import re
from collections.abc import Iterable
from typing import Final

SEGMENT: Final = re.compile(r"[A-Za-z0-9_-]{16,128}")
"""What such a word looks like."""


class PathSegments:
    """The words that count now.

    Args:
        configured: a word that always counts; "" if there is none.
        shared: whether words come from the replicas' Secret as well.
    """

    def __init__(self, configured: str = "", *, shared: bool = False) -> None:
        self._configured = (configured.encode(),) if configured else ()
        self._shared: tuple[bytes, ...] = ()
        self.told_apart = bool(configured) or shared
        """Whether the API server can be told apart by its path. Where it can, a review by another path is unverified,
        also while the shared word is not known yet: this replica is not ready then."""

    def take(self, words: Iterable[str]) -> None:
        """These are the words of the Secret from now on; what is no such word is left out."""
        self._shared = tuple(word.encode() for word in words if SEGMENT.fullmatch(word))

    def accepts(self, word: bytes) -> bool:
        """Whether a path with this word is the API server's; takes as long for any word of that length."""
        found = False
        for known in (*self._configured, *self._shared):
            found |= hmac.compare_digest(word, known)
        return found
