"""Who sent a review: the API server, known by its client certificate or by the path that only it is told, or anybody
else in the cluster who reaches the port (design rule 13).

Every handler of reviews asks here, and nowhere else is it decided. What a stranger's review may do, and what not, is
said in docs/threat-model.md.
"""

from portcullis.model.request import Caller
from portcullis.ports import Clock
from portcullis.server.clientcertificates import PEER, ClientCertificates, PeerCertificate
from portcullis.server.http import Scope
from portcullis.server.segments import PathSegments

STRANGERS_SHARE = 0.5
"""What strangers' reviews may use of what is in flight: they cannot crowd the API server out."""


class Callers:
    """Tells callers apart.

    Args:
        segments: the words before ``/validate`` that count.
        certificates: the client certificates that count; None where none are asked for.
    """

    def __init__(self, *, segments: PathSegments, certificates: ClientCertificates | None, clock: Clock) -> None:
        self._segments = segments
        self._certificates = certificates
        self._clock = clock

    @property
    def told_apart(self) -> bool:
        """Whether the API server can be told from others at all."""
        return self._segments.told_apart or self._certificates is not None

    def of(self, scope: Scope) -> Caller:
        """Who sent the request. A certificate goes before a path; a path that is nobody's is one of a stranger, and
        the answer does not tell that it is not the right one."""
        by_path = self._segments.accepts(_segment(scope["path"]).encode(errors="replace"))
        peer: PeerCertificate | None = scope.get(PEER)
        if self._certificates is not None and peer is not None and self._certificates.knows(peer, self._clock.now()):
            return Caller.CERTIFICATE
        return Caller.PATH if by_path else Caller.UNVERIFIED

    def is_stranger(self, caller: Caller) -> bool:
        """Whether the caller could have shown that it is the API server, and did not."""
        return self.told_apart and caller is Caller.UNVERIFIED

    def share(self, caller: Caller) -> float:
        """The part of what is in flight that reviews of such callers may use."""
        return STRANGERS_SHARE if self.is_stranger(caller) else 1.0


def is_path_of(path: str, word: str) -> bool:
    """Whether ``path`` is ``/word`` or ``/…/word``."""
    words = path.split("/")
    return words[0] == "" and words[-1] == word and (len(words) == 2 or (len(words) == 3 and words[1] != ""))


def _segment(path: str) -> str:
    """What stands before the last word of a path of two."""
    words = path.split("/")
    return words[1] if len(words) == 3 else ""
