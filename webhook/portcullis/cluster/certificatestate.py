"""What becomes of a self-managed CA and its certificate: one pure step, from what is kept to what is to be kept.

What is kept is a handful of entries (a Secret that replicas share, or a folder):

* ``ca.crt``: what clients trust, each CA until it has expired, also those that sign no more;
* ``ca.key``: signs. Which CA it belongs to is found in ``ca.crt``;
* ``next.crt``, ``next.key``: a CA that stands in ``ca.crt`` already and does not sign yet;
* ``tls.crt`` (leaf, then CA), ``tls.key``: what is served;
* ``path``: the unguessable word by which the API server calls;
* ``rotated``: the last wish to change all of this that was granted.

A CA is changed in two steps, so that nobody ever sees a leaf whose CA he does not know yet: the next one goes into the
bundle, and signs once every client has it. Whoever finds things in the middle of that goes on with it, since all that
is known stands in the entries and in what clients trust. Entries that hold nonsense are as good as missing ones; those
that are not known are kept.
"""

import re
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from portcullis.cluster.certificateissuing import (
    DEFAULT_LIVES,
    Authority,
    Lives,
    Pair,
    belongs_to,
    certificate_pem,
    holds,
    issued_by,
    key_pem,
    left_of,
    make_authority,
    make_leaf,
    read_certificates,
    read_key,
)

CA_FILE: Final = "ca.crt"
"""What clients trust."""
CA_KEY: Final = "ca.key"
NEXT_FILE: Final = "next.crt"
NEXT_KEY: Final = "next.key"
LEAF_FILE: Final = "tls.crt"
LEAF_KEY: Final = "tls.key"
PATH: Final = "path"
ROTATED: Final = "rotated"

RENEW_BELOW: Final = 1 / 3
"""The part of its life that is left when a certificate is renewed."""
CHANGE_BELOW: Final = 1 / 6
"""The part of a CA's life that is left when the next one signs, where nobody can tell what clients trust."""
SKEW: Final = timedelta(hours=1)
"""A CA is trusted for so much longer than it holds: clocks differ."""
MOST_AUTHORITIES: Final = 16
MOST_NAMES: Final = 100
ENTRY_BYTES: Final = 256 * 1024

Content = Mapping[str, bytes]

_SEGMENT = re.compile(r"[a-z0-9][a-z0-9-]{14,126}[a-z0-9]")
"""The API server takes no other segment in the path of a webhook than a DNS subdomain in lower case."""


@dataclass(frozen=True, slots=True)
class Stored:
    """The entries as they were read."""

    content: Content = field(repr=False)
    rotate: str = ""
    """A wish to change all of it, see Terms; "" if there is none."""
    found: Any = field(default=None, repr=False)
    """What the store needs to know that nobody changed them since."""


@dataclass(frozen=True, slots=True)
class Trust:
    """What clients trust, as it was read back from where they read it."""

    common: tuple[x509.Certificate, ...] = ()
    """By each of them."""
    some: tuple[x509.Certificate, ...] = ()
    """By at least one."""
    settled: frozenset[bytes] = frozenset()
    """Fingerprints of those that have been in ``common`` for so long that no client has older news."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What is asked for.

    Args:
        names: that the leaf has to have; None: certificates are somebody else's affair.
        lives: of what is made.
        path: whether there is to be a word for the path.
        rotate: a text; another one than at the last time asks for a new CA and a new word. "": nothing is asked.
    """

    names: tuple[x509.GeneralName, ...] | None = None
    lives: Lives = DEFAULT_LIVES
    path: bool = False
    rotate: str = ""


@dataclass(frozen=True, slots=True)
class _Held:
    bundle: tuple[x509.Certificate, ...]
    signing: Authority | None
    upcoming: Authority | None


def advance(
    content: Content,
    *,
    terms: Terms,
    trust: Trust | None,
    now: datetime,
    kept: Sequence[x509.Certificate] = (),
    called_by: str = "",
) -> Content:
    """One step.

    Args:
        trust: None where nobody can tell: then the next CA signs when little is left of the one before.
        kept: CAs that must go on being trusted whatever the entries say: somebody serves a leaf of them.
        called_by: the word by which the API server calls now; "" if there is none. It is kept where the entries have
            lost theirs.

    Returns:
        The entries as they are to be; ``content`` itself where nothing changes.
    """
    wish = terms.rotate.encode()[:ENTRY_BYTES]
    wished = bool(wish) and content.get(ROTATED) != wish
    made = dict(content)
    if terms.names is not None:
        made.update(_certificates(content, terms, terms.names, trust, now, kept, wished=wished))
    if terms.path:
        made[PATH] = _path(content, called_by, wished=wished).encode()
    if wished:
        made[ROTATED] = wish
    entries = {name: entry for name, entry in made.items() if entry or name in content}
    return content if entries == dict(content) else entries


def word_of(content: Content) -> str:
    """The word for the path; "" where there is none that can be used."""
    text = content.get(PATH, b"").decode("ascii", "replace")
    return text if _SEGMENT.fullmatch(text) else ""


def pair_of(content: Content) -> Pair | None:
    """The leaf with its key; None where there is none that can be used."""
    pair = Pair(content.get(LEAF_FILE, b""), content.get(LEAF_KEY, b""))
    key, leaf = read_key(pair.key_pem), leaf_of(pair)
    return pair if key is not None and leaf is not None and belongs_to(key, leaf) else None


def leaf_of(pair: Pair) -> x509.Certificate | None:
    return next(iter(read_certificates(pair.certificate_pem)), None)


def issuer_of(pair: Pair, authorities: Iterable[x509.Certificate]) -> x509.Certificate | None:
    """That of these CAs which signed the leaf; None if none did."""
    leaf = leaf_of(pair)
    return next((one for one in authorities if leaf is not None and issued_by(leaf, one)), None)


def fingerprint(certificate: x509.Certificate) -> bytes:
    return certificate.fingerprint(hashes.SHA256())


def _path(content: Content, called_by: str, *, wished: bool) -> str:
    there = word_of(content)
    if wished:
        return secrets.token_hex(32)
    return there or (called_by if _SEGMENT.fullmatch(called_by) else secrets.token_hex(32))


def _certificates(
    content: Content,
    terms: Terms,
    names: tuple[x509.GeneralName, ...],
    trust: Trust | None,
    now: datetime,
    kept: Sequence[x509.Certificate],
    *,
    wished: bool,
) -> Content:
    held = _held(content, trust, now)
    lost = held.signing is None and held.upcoming is None
    if lost and trust is not None:
        # Somebody may serve a leaf of what is trusted now.
        held = replace(held, bundle=(*held.bundle, *trust.some))
    if held.upcoming is None and (held.signing is None or wished or _due(held.signing.certificate, now)):
        held = replace(held, upcoming=make_authority(now, terms.lives.authority))
    if held.upcoming is not None and _may_sign(held.upcoming, held.signing, trust, now):
        held = _Held(held.bundle, held.upcoming, None)
    pair = Pair(content.get(LEAF_FILE, b""), content.get(LEAF_KEY, b""))
    if held.signing is not None and not _serves(pair, held.signing, names, now):
        pair = make_leaf(held.signing, _names(names, pair, now), now, terms.lives.leaf)
    return {
        CA_FILE: _bundle_pem(content.get(CA_FILE, b""), _trusted(held, kept, now)),
        CA_KEY: _key(held.signing, content.get(CA_KEY, b"")),
        NEXT_FILE: b"" if held.upcoming is None else certificate_pem(held.upcoming.certificate),
        NEXT_KEY: _key(held.upcoming, content.get(NEXT_KEY, b"")),
        LEAF_FILE: pair.certificate_pem,
        LEAF_KEY: pair.key_pem,
    }


def _held(content: Content, trust: Trust | None, now: datetime) -> _Held:
    bundle = tuple(read_certificates(content.get(CA_FILE, b"")))
    # A CA that is missing from the bundle is found in what clients trust, if it is there.
    known = (*bundle, *(trust.some if trust is not None else ()))
    signing = _authority(content.get(CA_KEY, b""), known, now)
    upcoming = _authority(content.get(NEXT_KEY, b""), (*read_certificates(content.get(NEXT_FILE, b"")), *known), now)
    if signing is not None and upcoming is not None and signing.certificate == upcoming.certificate:
        upcoming = None
    return _Held(bundle, signing, upcoming)


def _authority(pem: bytes, known: Iterable[x509.Certificate], now: datetime) -> Authority | None:
    """The CA that the key belongs to, if it is known and holds."""
    key = read_key(pem)
    if key is None:
        return None
    for certificate in known:
        if belongs_to(key, certificate) and _is_authority(certificate) and holds(certificate, now):
            return Authority(certificate, key)
    return None


def _may_sign(upcoming: Authority, signing: Authority | None, trust: Trust | None, now: datetime) -> bool:
    """Whether clients know it, or there is nobody who would miss the one before."""
    if trust is None:
        return signing is None or left_of(signing.certificate, now) < CHANGE_BELOW
    if signing is None and not any(holds(one, now) for one in trust.some):
        return True
    return fingerprint(upcoming.certificate) in trust.settled


def _serves(pair: Pair, authority: Authority, names: Iterable[x509.GeneralName], now: datetime) -> bool:
    """Whether the pair is whole, signed by this CA, for these names, and not due."""
    leaf, key = leaf_of(pair), read_key(pair.key_pem)
    if leaf is None or key is None or not issued_by(leaf, authority.certificate):
        return False
    return belongs_to(key, leaf) and set(names) <= set(_sans(leaf)) and not _due(leaf, now)


def _names(names: tuple[x509.GeneralName, ...], pair: Pair, now: datetime) -> Sequence[x509.GeneralName]:
    """Those of the leaf that is replaced before its time stay in: replicas of two configurations, which stand side by
    side while a change is rolled out, would make it anew by turns."""
    leaf = leaf_of(pair)
    before = () if leaf is None or _due(leaf, now) else tuple(_sans(leaf))
    together = tuple(dict.fromkeys((*names, *before)))
    return together if len(together) <= MOST_NAMES else names


def _sans(leaf: x509.Certificate) -> Sequence[x509.GeneralName]:
    try:
        return tuple(leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except Exception:  # noqa: BLE001 - without the extension, or with one that cannot be read, it has no names
        return ()


def _due(certificate: x509.Certificate, now: datetime) -> bool:
    """Whether less than a third of its life is left, or it does not hold yet (a clock that was set back)."""
    return left_of(certificate, now) < RENEW_BELOW or certificate.not_valid_before_utc > now


def _trusted(held: _Held, kept: Sequence[x509.Certificate], now: datetime) -> list[x509.Certificate]:
    """What clients are to trust, in the order in which it came."""
    own = [one.certificate for one in (held.signing, held.upcoming) if one is not None]
    wanted = {fingerprint(one): one for one in (*held.bundle, *kept, *own) if _is_authority(one)}
    lasting = [one for one in wanted.values() if now < one.not_valid_after_utc + SKEW]
    if len(lasting) > MOST_AUTHORITIES:
        needed = [*own, *kept]
        others = sorted((one for one in lasting if one not in needed), key=_end, reverse=True)
        allowed = [*needed, *others[: MOST_AUTHORITIES - len(needed)]]
        lasting = [one for one in lasting if one in allowed]
    return lasting


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except Exception:  # noqa: BLE001 - likewise
        return False


_end: Callable[[x509.Certificate], datetime] = lambda certificate: certificate.not_valid_after_utc  # noqa: E731


def _bundle_pem(before: bytes, authorities: Sequence[x509.Certificate]) -> bytes:
    """The text that is there, where it says the same."""
    if list(authorities) == read_certificates(before):
        return before
    return b"".join(certificate_pem(one) for one in authorities)


def _key(authority: Authority | None, before: bytes) -> bytes:
    """The text that is there, where it is the same key."""
    if authority is None:
        return b""
    key = read_key(before)
    return before if key is not None and key.public_key() == authority.key.public_key() else key_pem(authority.key)
