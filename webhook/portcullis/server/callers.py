"""Who sent a review: the API server, known by its client certificate or by the path that only it is told, or anybody
else in the cluster who reaches the port (design rule 13).

Every handler of reviews asks here, and nowhere else is it decided. What a stranger's review may do, and what not, is
said in docs/threat-model.md.
"""

import math

from portcullis.model.request import Caller
from portcullis.ports import Clock
from portcullis.server.clientcertificates import PEER, ClientCertificates, PeerCertificate
from portcullis.server.health import Check
from portcullis.server.http import Scope
from portcullis.server.segments import PathSegments
from portcullis.server.settings import Settings
from portcullis.server.telemetry import Metrics
from portcullis.server.tls import ServerTls

STRANGERS_SHARE = 0.5
"""What strangers' reviews may use of what is in flight: they cannot crowd the API server out."""


class Callers:
    """Tells callers apart.

    Args:
        segments: the words before ``/validate`` that count.
        certificates: the client certificates that count; None where none are asked for.
    """

    def __init__(self, *, segments: PathSegments, certificates: ClientCertificates | None) -> None:
        self._segments = segments
        self._certificates = certificates

    @property
    def told_apart(self) -> bool:
        """Whether the API server can be told from others at all."""
        return self._segments.told_apart or self._certificates is not None

    def of(self, scope: Scope) -> Caller:
        """Who sent the request. A certificate goes before a path; a path that is nobody's is one of a stranger, and
        the answer does not tell that it is not the right one."""
        by_path = self._segments.accepts(_segment(scope["path"]).encode(errors="replace"))
        peer: PeerCertificate | None = scope.get(PEER)
        if self._certificates is not None and peer is not None and self._certificates.knows(peer):
            return Caller.CERTIFICATE
        return Caller.PATH if by_path else Caller.UNVERIFIED

    def is_stranger(self, caller: Caller) -> bool:
        """Whether the caller could have shown that it is the API server, and did not."""
        return self.told_apart and caller is Caller.UNVERIFIED

    async def watch(self) -> None:
        """Follows the file of authorities until cancelled."""
        if self._certificates is not None:
            await self._certificates.watch()

    def checks(self) -> list[Check]:
        """Whether the newest authorities of client certificates are in use."""
        certificates = self._certificates
        if certificates is None:
            return []

        async def authorities() -> str:
            return certificates.problem

        return [Check("client-authorities", authorities, decisive=False)]

    def observe(self, metrics: Metrics) -> None:
        """Binds a gauge to when the API server's certificate ends; it is read when Prometheus asks."""
        certificates = self._certificates
        if certificates is None:
            return

        def not_after() -> float:
            return certificates.not_after.timestamp() if certificates.not_after is not None else math.nan

        metrics.gauge(
            "caller_certificate_not_after_seconds",
            "When the client certificate ends by which the API server was known last (Unix time).",
        ).set_function(not_after)

    def share(self, caller: Caller) -> float:
        """The part of what is in flight that reviews of such callers may use."""
        return STRANGERS_SHARE if self.is_stranger(caller) else 1.0


def callers_of(settings: Settings, segments: PathSegments, tls: ServerTls, clock: Clock) -> Callers:
    """As the configuration says; where it names client certificates, ``tls`` asks for them from now on.

    Args:
        segments: the words before ``/validate`` that count; others may change them.

    Raises:
        ConfigError: the file of authorities cannot be used.
    """
    section = settings.cluster.caller.client_certificate
    certificates = None
    if section is not None:
        certificates = ClientCertificates(
            path=section.ca_file, names=section.common_names, limits=settings.bounds(), clock=clock
        )
        certificates.ask(tls.context)
    return Callers(segments=segments, certificates=certificates)


def is_path_of(path: str, word: str) -> bool:
    """Whether ``path`` is ``/word`` or ``/…/word``."""
    words = path.split("/")
    return words[0] == "" and words[-1] == word and (len(words) == 2 or (len(words) == 3 and words[1] != ""))


def _segment(path: str) -> str:
    """What stands before the last word of a path of two."""
    words = path.split("/")
    return words[1] if len(words) == 3 else ""
