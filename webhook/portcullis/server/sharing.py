"""What the replicas of a gate share, as one of them sees it: the CA, the certificate, and the word of the path.

Each look of the registrar is one step here: what clients trust was read from the webhook configuration just before,
then the store (a Secret, or a folder) is read, and what cluster.certificatestate makes of both is written back if
nobody else was quicker. That order matters: whoever then writes into a webhook configuration that nobody changed since
writes what is at least as new as what stands there.

What is served follows the store with one condition: a leaf is taken up only when its CA stands in the CA bundle that
was read back, and, as long as there is another one that is trusted, only when it has stood there for a while. What
stands in a CA bundle and not in the store goes away later still: another replica may serve a leaf of it, and has that
time to say so in the store.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final, Protocol

from cryptography import x509

from portcullis.cluster.certificateissuing import Pair, certificate_pem, general_names, holds, read_certificates
from portcullis.cluster.certificatestate import (
    CA_FILE,
    MOST_AUTHORITIES,
    Content,
    Stored,
    Terms,
    Trust,
    advance,
    fingerprint,
    issuer_of,
    leaf_of,
    pair_of,
    word_of,
)
from portcullis.errors import ConfigError
from portcullis.ports import Clock
from portcullis.server.segments import SEGMENT, PathSegments
from portcullis.server.settings import Settings
from portcullis.server.tls import ServerTls, lives_of, names_of, pair_source, read_authorities

if TYPE_CHECKING:
    from portcullis.cluster.registration import Registration

SETTLE_SECONDS: Final = 15.0
"""How long a CA stands in the webhook configuration before it signs, and a word in the store before it is called by:
API servers see a change later than the one that took it, and replicas look every few seconds."""
REMEMBERED_SECONDS: Final = 60.0
"""How long a word is taken after it was last seen."""
FOREIGN_SECONDS: Final = 600.0
"""How long a CA that is not ours is left where it stands: as long as an upgrade rolls that lets the certificate come
from elsewhere. Replicas from before and after it are both called meanwhile."""


class Store(Protocol):
    """Keeps the entries. Raises only ClusterError and ConfigError."""

    async def read(self) -> Stored: ...

    async def write(self, stored: Stored, content: Content) -> Stored | None:
        """What is kept then; None where somebody else changed it since ``stored`` was read."""
        ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the webhook configuration is to have."""

    ca_bundle: bytes | None = None
    """None: that is somebody else's affair."""
    segment: str = field(default="", repr=False)
    """"": likewise."""


class Sharing:
    """This replica's part.

    Args:
        terms: what it asks for.
        segments: is told the words that count.
        given: reads the CA, in PEM, of a certificate that is not made here; None where others see to that. Raises
            ConfigError.
        settle_seconds: see SETTLE_SECONDS.
    """

    def __init__(
        self,
        *,
        terms: Terms,
        segments: PathSegments,
        clock: Clock,
        given: Callable[[], bytes] | None = None,
        settle_seconds: float = SETTLE_SECONDS,
    ) -> None:
        self._terms = terms
        self._given = given
        self._clock = clock
        self._settle_seconds = settle_seconds
        self._since: dict[bytes, float] = {}
        """Since when each CA is seen in every CA bundle, by its fingerprint."""
        self._usable: set[bytes] | None = None
        """Those of them that every client has, or that were there before this replica, or before which there was none;
        None before the first look."""
        self._any_before = False
        """Whether there was any CA at the last look."""
        self._foreign: dict[bytes, float] = {}
        """Since when each CA is seen in a CA bundle that the store does not have."""
        self._word = ("", 0.0)
        """The word of the store, and since when it is known."""
        self._words: dict[str, float] = {}
        """When each word was seen last, or may still have been in use."""
        self._standing: tuple[str, ...] = ()
        """Those of the last look."""
        self._content: Content = {}
        self.segments = segments
        self.pair: Pair | None = None
        """What is served."""
        self.problem = "not looked at yet" if terms.names is not None or terms.path else ""
        """Why the API server would not trust this replica or call it by its path, "" if it does."""
        self.on_change: Callable[[], None] = lambda: None
        """Is called when there is another pair."""

    @property
    def certifies(self) -> bool:
        """Whether the certificate is made here."""
        return self._terms.names is not None

    @property
    def names_authorities(self) -> bool:
        """Whether the CA bundle of the webhook configuration is written here."""
        return self.certifies or self._given is not None

    @property
    def names_path(self) -> bool:
        """Whether the word of the path is made here."""
        return self._terms.path

    @property
    def issuer(self) -> x509.Certificate | None:
        """The CA of what is served; None if there is none."""
        return issuer_of(self.pair, self.authorities) if self.pair is not None else None

    @property
    def authorities(self) -> Sequence[x509.Certificate]:
        """What clients are to trust."""
        return read_certificates(self._content.get(CA_FILE, b""))

    def current(self, now: datetime) -> Pair:  # noqa: ARG002 - what is served was decided at the last look
        """The pair to serve with.

        Raises:
            ConfigError: there is none yet.
        """
        if self.pair is None:
            raise ConfigError("there is no certificate yet that the cluster trusts")
        return self.pair

    async def step(self, store: Store, found: "Registration | None") -> Wanted | None:
        """One step.

        Args:
            found: the webhook configuration, read just before; None if there is none.

        Returns:
            What is to be written into it; None where another replica was quicker, so that it has to be read again.

        Raises:
            ClusterError, ConfigError: the store cannot be used.
        """
        now, trust = self._clock.now(), self._observe(found)
        stored = await store.read()
        called_by = next(iter(found.segments), "") if found is not None else ""
        content = advance(
            stored.content,
            terms=replace(self._terms, rotate=stored.rotate),
            trust=trust,
            now=now,
            kept=self._kept(trust, now),
            called_by=called_by,
        )
        if content is not stored.content:
            written = await store.write(stored, content)
            if written is None:
                return None
            content = written.content
        self._content = content
        self._take(trust, now, called=found is not None)
        return Wanted(self._wanted_bundle(trust, now), self._wanted_word(found))

    def alone(self, found: "Registration | None") -> Wanted:
        """What is to be written into the webhook configuration where nothing is shared. Raises ConfigError."""
        return Wanted(self._wanted_bundle(self._observe(found), self._clock.now()))

    def read_back(self, found: "Registration") -> None:
        """The webhook configuration as it is after it was written."""
        self._take(self._observe(found), self._clock.now(), called=True)
        self._learn(found)

    def _observe(self, found: "Registration | None") -> Trust:
        """What clients trust, by what was read now and before."""
        at = self._clock.monotonic()
        bundles = [read_certificates(pem) for pem in found.ca_bundles.values()] if found is not None else []
        some = {fingerprint(one): one for bundle in bundles for one in bundle}
        common = {key: one for key, one in some.items() if all(one in bundle for bundle in bundles)}
        self._since = {key: self._since.get(key, at) for key in common}
        settled = frozenset(key for key, since in self._since.items() if at - since >= self._settle_seconds)
        if self._usable is None or not self._any_before:
            self._usable = set(common)
        self._usable = (self._usable | settled) & set(common)
        self._any_before = any(holds(one, self._clock.now()) for one in some.values())
        return Trust(tuple(common.values()), tuple(some.values()), settled)

    def _wanted_bundle(self, trust: Trust, now: datetime) -> bytes | None:
        """That of the store, or the one that is given, and for a while what stands there beside it."""
        if not self.names_authorities:
            return None
        pem = self._given() if self._given is not None else self._content.get(CA_FILE, b"")
        at = self._clock.monotonic()
        own = {fingerprint(one) for one in read_certificates(pem)}
        foreign = {key: one for one in trust.some if (key := fingerprint(one)) not in own and holds(one, now)}
        self._foreign = {key: self._foreign.get(key, at) for key in foreign}
        left = [one for key, one in foreign.items() if at - self._foreign[key] < FOREIGN_SECONDS]
        return pem + b"".join(certificate_pem(one) for one in left[:MOST_AUTHORITIES])

    def _kept(self, trust: Trust, now: datetime) -> tuple[x509.Certificate, ...]:
        """The CA of what is served, if that is trusted."""
        issuer = self._trusted_issuer(self.pair, trust, now)
        return () if issuer is None else (issuer,)

    def _take(self, trust: Trust, now: datetime, *, called: bool) -> None:
        """Takes up the pair of the store, unless what is served is trusted and that is not, or not for long enough."""
        pair = pair_of(self._content) if self.certifies else None
        if pair is not None and pair != self.pair:
            serving, issuer = self._trusted_issuer(self.pair, trust, now), self._trusted_issuer(pair, trust, now)
            trusted = fingerprint(issuer) if issuer is not None else b""
            known = trusted in trust.settled or (issuer is not None and issuer == serving)
            if known or (serving is None and (not called or trusted in (self._usable or ()))):
                self.pair = pair
                self.on_change()
        if self.certifies and called and self._trusted_issuer(self.pair, trust, now) is None:
            self.problem = "the cluster does not trust the certificate yet"
        else:
            self.problem = ""

    @staticmethod
    def _trusted_issuer(pair: Pair | None, trust: Trust, now: datetime) -> x509.Certificate | None:
        leaf = leaf_of(pair) if pair is not None else None
        if pair is None or leaf is None or not holds(leaf, now):
            return None
        return issuer_of(pair, [one for one in trust.common if holds(one, now)])

    def _wanted_word(self, found: "Registration | None") -> str:
        """The word of the store, once every replica knows it; until then the one that stands."""
        if not self.names_path:
            return ""
        word, at = word_of(self._content), self._clock.monotonic()
        if word != self._word[0]:
            self._word = (word, at)
        self._learn(found)
        standing = [old for old in (found.segments if found is not None else ()) if SEGMENT.fullmatch(old)]
        if not standing or word in standing or at - self._word[1] >= self._settle_seconds:
            return word
        return standing[0]

    def _learn(self, found: "Registration | None") -> None:
        """Words that count: that of the store, and those by which the API server calls or called just now."""
        if not self.names_path:
            return
        at = self._clock.monotonic()
        standing = (self._word[0], *(found.segments if found is not None else ()))
        # What stood at the last look may have stood until just now, however long ago that was.
        self._words.update(dict.fromkeys((*standing, *self._standing), at))
        self._standing = standing
        self._words = {word: seen for word, seen in self._words.items() if at - seen <= REMEMBERED_SECONDS}
        self.segments.take(self._words)


def sharing_of(settings: Settings, clock: Clock) -> Sharing:
    """What the configuration says is shared; nothing where there is no cluster, or others make the certificate.

    Raises:
        ConfigError: a name of the certificate is none.
    """
    managed, path_secret = settings.server.tls.self_managed, settings.cluster.caller.path_secret
    certifies = managed is not None and settings.cluster.webhook is not None
    ca_file = settings.server.tls.ca_file if settings.cluster.webhook is not None else None
    return Sharing(
        terms=Terms(
            names=general_names(names_of(settings.server)) if certifies else None,
            lives=lives_of(settings.server),
            path=bool(path_secret),
        ),
        segments=PathSegments(settings.server.path_segment.get_secret_value(), shared=bool(path_secret)),
        given=functools.partial(read_authorities, ca_file) if ca_file is not None else None,
        clock=clock,
    )


def tls_of(settings: Settings, sharing: Sharing, clock: Clock) -> ServerTls:
    """The webhook's TLS, with the certificate that is shared where one is.

    Raises:
        ConfigError: there is no usable pair at the start, nor is one to come.
    """
    if not sharing.certifies:
        return ServerTls(source=pair_source(settings.server), clock=clock)
    tls = ServerTls(source=sharing.current, clock=clock, patient=True)
    sharing.on_change = tls.changed
    return tls
