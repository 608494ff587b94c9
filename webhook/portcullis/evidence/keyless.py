"""Keyless signatures: a key that lived for minutes, a certificate that says whose it was, and proofs of when it was.

The proof. A signature is that of a configured signer, if for one trusted root:

 (1) there is one signature, and one certificate for it, which can be read; and no root certificate beside the root's;
 (2) every log entry that came with it is in a log of the root (transparency.py, steps 1 to 4), and there is one: where
     the root lists logs, a time-stamp does not stand in for them. A root without logs (GitHub's for private
     repositories) asks for none, and what entries there may be are passed over;
 (3) the time-stamps of the root's authorities are over this signature (timestamps.py);
 (4) there is a trusted time: one that a log has promised or a time-stamp proves. The certificate's own word and the
     time of this check are none. Logs without a time of their own must have been trusted at it. A root that lists
     neither logs nor time-stamp authorities, as that of a firm whose certificates live for years, has nobody who could
     prove a time: there the certificate must hold now, and when it was used stays unknown;
 (5) at every trusted time, or else now, the certificate was valid, and led to one of the root's authorities that the
     root trusted then. Intermediate certificates may come with the signature, ends of chains may not (certificates.py);
 (6) the certificate is one for signing code, and was announced to a certificate log, where the root lists any;
 (7) the signature holds over the very bytes that are used afterwards, by the certificate's key;
 (8) every log entry is one of this signature, this content and this certificate (transparency.py, step 5);
 (9) sigstore-python agrees, where it can tell (opinion.py);
 (10) the identity and the issuer in the certificate are, from first to last letter, those that a signer is configured
     with, for this root; and an entry without inclusion proof counts for a signer that takes one.

All signers of whom (10) is true have signed. Nothing here reads a file or asks the network; the clock is asked for (4).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from portcullis.errors import ConfigError
from portcullis.evidence.certificates import (
    Identity,
    identity_of,
    is_root,
    lead_to,
    load_certificate,
    names_issuer,
    require_profile,
    require_valid,
    signing_key,
)
from portcullis.evidence.entries import Claim, require_entry_of
from portcullis.evidence.identities import KnownIdentity
from portcullis.evidence.keys import TrustedKey
from portcullis.evidence.material import Material, Proven
from portcullis.evidence.opinion import SecondOpinion
from portcullis.evidence.refusal import (
    ATTESTATION_EXPIRED,
    ATTESTATION_INVALID,
    ATTESTATION_SUBJECT_MISMATCH,
    ATTESTATION_UNLOGGED,
    ATTESTATION_UNSUPPORTED,
    ATTESTATION_UNTRUSTED,
    TOO_LARGE,
    EvidenceError,
    shown,
)
from portcullis.evidence.roots import RootAge, TrustedRoot, load_root
from portcullis.evidence.signed import Signed, spki
from portcullis.evidence.signers import KeylessSigner, RootSource
from portcullis.evidence.timestamps import proven_times
from portcullis.evidence.transparency import Logged, prove_entry, require_ct_logged, require_trusted_then
from portcullis.limits import Limits
from portcullis.model.evidence import Signer
from portcullis.model.image import Digest
from portcullis.text import clean
from portcullis.times import rfc3339

_IDENTITY_CHARS = 400
"""Shown whole as a rule: whoever configures a signer copies it from here."""
_DIGEST_NAMES = {"SHA2_256": "sha256", "SHA2_384": "sha384", "SHA2_512": "sha512"}


@dataclass(frozen=True, slots=True)
class _Found:
    """What is proven by one root. ``moment`` is None where the root has nobody who could prove one; ``needs_set_only``:
    an entry was counted that has no inclusion proof."""

    identity: Identity
    moment: datetime | None
    logged: bool
    needs_set_only: bool


class KeylessVerifier:
    """Verifies signatures with certificates, and log entries of signatures with keys. Safe to use from several threads.

    Args:
        signers: those configured.
        roots: those that the signers name, and those in whose logs keyed signatures must be.
        limits: ``signers``, ``trusted_roots``, ``trusted_root_bytes``, ``certificates``, ``certificate_bytes``,
            ``log_entries``, ``timestamps``, and those of JSON.
        now: the time in UTC.

    Raises:
        ConfigError: a root that cannot be used, stands twice or is missing; a pattern that is not read (patterns.py);
            over a limit.
    """

    def __init__(
        self,
        *,
        signers: Sequence[KeylessSigner],
        roots: Sequence[RootSource],
        limits: Limits,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        if len(signers) > limits.signers:
            raise ConfigError(f"{len(signers)} keyless signers are configured; the limit signers is {limits.signers}")
        if len(roots) > limits.trusted_roots:
            raise ConfigError(
                f"{len(roots)} trusted roots are configured; the limit trustedRoots is {limits.trusted_roots}"
            )
        self._limits = limits
        self._now = now
        self._roots: dict[str, TrustedRoot] = {}
        for source in roots:
            if source.name in self._roots:
                raise ConfigError(f'the trusted root "{source.name}" stands twice')
            self._roots[source.name] = load_root(source, limits)
        self._signers: dict[str, list[KnownIdentity]] = {}
        for signer in signers:
            if signer.root not in self._roots:
                raise ConfigError(f'signer "{signer.name}" names the unknown trusted root {shown(signer.root)}')
            self._signers.setdefault(signer.root, []).append(KnownIdentity(signer))
        self._opinions = {name: SecondOpinion(self._roots[name]) for name in self._signers}

    def root_ages(self, now: datetime) -> Mapping[str, RootAge]:
        """How current each root is, by name."""
        return {name: root.age(now) for name, root in self._roots.items()}

    def prove(self, material: Material, signed: Signed | bytes | Digest) -> Proven:
        """Which configured signers signed, and when.

        Args:
            material: what was found, with at least one certificate.
            signed: what the signature runs over (PAE of the envelope, or the message); or its digest, for
                a bundle with a plain signature over something that is known by its digest, as an image's manifest is.

        Raises:
            EvidenceError: the proof fails: attestation-invalid, attestation-untrusted, attestation-expired,
                attestation-unlogged, attestation-unsupported, or too-large.
        """
        with _refusing():
            return self._prove(material, _signed(signed))

    def prove_logged(self, material: Material, key: TrustedKey, signed: Signed | bytes | Digest) -> datetime:
        """The time at which a signature with a key was logged, by a log of the trusted root that the key names.

        Steps (2) to (4) and (8), with the key in the certificate's place. An entry without inclusion proof counts:
        that is what cosign keeps in annotations. Where the log gives no time, a time-stamp must.

        Args:
            key: holds the signatures against what was signed, in one of its own ways (keys.py).
            signed: as for :meth:`prove`.

        Raises:
            EvidenceError: there is no entry, or it does not hold (attestation-unlogged, attestation-invalid, or
                attestation-unsupported).
        """
        with _refusing():
            return self._prove_logged(material, key, _signed(signed))

    def _prove(self, material: Material, signed: Signed) -> Proven:
        # (1) one signature, one certificate
        signature = _one_signature(material)
        chain = _chain(material, self._limits)
        _require_digest(material, signed)
        found: list[tuple[_Found, Sequence[KnownIdentity]]] = []
        refusals: list[EvidenceError] = []
        for name, signers in self._signers.items():
            root = self._roots[name]
            # Which root a certificate may belong to is told by names, so that the refusal is that of its own root.
            if not any(names_issuer(chain, authority.certificates) for authority in root.authorities):
                continue
            try:
                found.append((self._prove_by(root, material, chain, signature, signed), signers))
            except EvidenceError as error:
                refusals.append(error)
        if not found:
            raise refusals[0] if refusals else _stranger(chain, list(self._signers))
        return _matching(found)

    def _prove_by(
        self, root: TrustedRoot, material: Material, chain: Sequence[x509.Certificate], signature: bytes, signed: Signed
    ) -> _Found:
        leaf = chain[0]
        # (1) no other root than this one's
        _refuse_other_roots(chain, root)
        # (2) log entries, where the root has logs
        logged = self._logged(material, root)
        # (3) time-stamps
        stamped = proven_times(material.timestamps, signature, root.stampers)
        # (4) a trusted time
        times = _trusted_times(logged, stamped)
        if not times and root.proves_times:
            raise self._timeless(leaf)
        # (5) a valid certificate of the root at each of them, or now
        paths = [_path(chain, root, moment, proven=bool(times)) for moment in times or (self._now(),)]
        # (6) for signing code, and announced
        require_profile(leaf)
        if root.ct_logs:
            require_ct_logged(leaf, paths[-1][1], root.ct_logs)
        # (7) the signature
        key = signing_key(leaf)
        if not signed.holds(key, signature):
            raise EvidenceError(
                "the signature does not match its certificate: the content was changed, or another signed"
            )
        # (8) the entries are this signature's
        payload = None if material.envelope is None else material.envelope.payload
        claim = Claim((signature,), signed, payload, leaf.public_bytes(Encoding.DER), is_certificate=True)
        if logged:
            for entry in material.entries:
                require_entry_of(entry, claim, self._limits)
        # (9) the library agrees
        opinion = self._opinions[root.name]
        if opinion.is_sought(material, key, stamped):
            opinion.confirm(material, leaf, signed)
        included = all(one.included for one in logged)
        return _Found(identity_of(leaf), min(times, default=None), bool(logged), needs_set_only=not included)

    def _logged(self, material: Material, root: TrustedRoot) -> Sequence[Logged]:
        if not root.logs:
            return ()
        if not material.entries:
            raise EvidenceError(
                f"it has no entry of a transparency log, which the trusted root {shown(root.name)} asks for",
                ATTESTATION_UNLOGGED,
            )
        if len(material.entries) > self._limits.log_entries:
            raise EvidenceError(
                f"it has {len(material.entries)} log entries; the limit logEntries is {self._limits.log_entries}",
                TOO_LARGE,
            )
        return [prove_entry(entry, root.logs) for entry in material.entries]

    def _timeless(self, leaf: x509.Certificate) -> EvidenceError:
        end = leaf.not_valid_after_utc
        if end < self._now():
            return EvidenceError(
                f"its certificate expired at {rfc3339(end)}, and neither a log nor a time-stamp proves that it was "
                "signed before",
                ATTESTATION_EXPIRED,
            )
        return EvidenceError("neither a log nor a time-stamp proves when it was signed", ATTESTATION_UNLOGGED)

    def _prove_logged(self, material: Material, key: TrustedKey, signed: Signed) -> datetime:
        root = self._roots.get(key.log_root)
        if root is None or not root.logs:
            raise EvidenceError(
                f"the trusted root {shown(key.log_root)} lists no transparency log", ATTESTATION_UNLOGGED
            )
        envelope = material.envelope
        signatures = (material.signature,) if envelope is None else tuple(one.sig for one in envelope.signatures)
        # Of several signatures only the key's own say when the key was used.
        own = tuple(signature for signature in signatures if key.signed(signed, signature))
        if not own:
            raise EvidenceError("none of the signatures is one of the key", ATTESTATION_INVALID)
        logged = self._logged(material, root)
        stamped = proven_times(material.timestamps, own[0], root.stampers)
        times = _trusted_times(logged, stamped)
        if not times:
            raise EvidenceError("neither the log nor a time-stamp proves when it was signed", ATTESTATION_UNLOGGED)
        claim = Claim(own, signed, None if envelope is None else envelope.payload, spki(key.key), is_certificate=False)
        for entry in material.entries:
            require_entry_of(entry, claim, self._limits)
        return min(times)


def _signed(given: Signed | bytes | Digest) -> Signed:
    if isinstance(given, Signed):
        return given
    if isinstance(given, Digest):
        known = bytes.fromhex(given.hex) if given.algorithm == "sha256" else None
        return Signed(None, sha256=known)
    return Signed(given)


def _one_signature(material: Material) -> bytes:
    if material.envelope is None:
        if not material.signature:
            raise EvidenceError("it has no signature")
        return material.signature
    if len(material.envelope.signatures) != 1:
        raise EvidenceError(
            f"the envelope has {len(material.envelope.signatures)} signatures, where a certificate stands for one"
        )
    return material.envelope.signatures[0].sig


def _chain(material: Material, limits: Limits) -> Sequence[x509.Certificate]:
    if not material.certificates:
        raise EvidenceError("it has no certificate")
    size = sum(map(len, material.certificates))
    if len(material.certificates) > limits.certificates or size > limits.certificate_bytes:
        raise EvidenceError(
            f"it has {len(material.certificates)} certificates with {size} bytes; the limits certificates and "
            f"certificateBytes are {limits.certificates} and {limits.certificate_bytes}",
            TOO_LARGE,
        )
    return [load_certificate(der) for der in material.certificates]


def _refuse_other_roots(chain: Sequence[x509.Certificate], root: TrustedRoot) -> None:
    """sigstore_bundle.proto: a chain MUST NOT include root certificates. Old bundles and cosign's annotations repeat
    that of the authority, which is passed over; any other one is an attempt to be believed."""
    known = {certificate for authority in root.authorities for certificate in authority.certificates}
    for certificate in chain:
        if is_root(certificate) and certificate not in known:
            raise EvidenceError(f"it brings a root certificate that is none of the trusted root {shown(root.name)}")


def _require_digest(material: Material, signed: Signed) -> None:
    """That the digest which a bundle claims for what was signed is that of what was signed."""
    if material.message_digest is None:
        return
    algorithm, digest = material.message_digest
    name = _DIGEST_NAMES.get(algorithm)
    known = signed.digest(name) if name is not None else None
    if known is None:
        raise EvidenceError(
            f"the bundle has a digest by {shown(algorithm)}, which is not known of the artifact",
            ATTESTATION_UNSUPPORTED,
        )
    if known != digest:
        raise EvidenceError("the bundle's signature is over another artifact", ATTESTATION_SUBJECT_MISMATCH)


def _trusted_times(logged: Sequence[Logged], stamped: Sequence[datetime]) -> Sequence[datetime]:
    times = [one.at for one in logged if one.at is not None] + list(stamped)
    for one in logged:
        if one.at is None:
            for moment in times:
                require_trusted_then(one.log, moment)
    return times


def _path(
    chain: Sequence[x509.Certificate], root: TrustedRoot, moment: datetime, *, proven: bool
) -> Sequence[x509.Certificate]:
    require_valid(chain[0], moment, proven=proven)
    refusal = EvidenceError(
        f"no certificate authority of the trusted root {shown(root.name)} was to be trusted at {rfc3339(moment)}",
        ATTESTATION_UNTRUSTED,
    )
    for authority in root.authorities:
        if not authority.window.holds(moment) or not names_issuer(chain, authority.certificates):
            continue
        try:
            return lead_to(chain, authority.certificates, moment)
        except EvidenceError as error:
            refusal = error
    raise refusal


def _matching(found: Sequence[tuple[_Found, Sequence[KnownIdentity]]]) -> Proven:
    """Step (10)."""
    named = [(one, signer) for one, signers in found for signer in signers if signer.is_named_by(one.identity)]
    if not named:
        said = found[0][0].identity
        name, issuer = (clean(text, _IDENTITY_CHARS) for text in (said.name, said.issuer))
        raise EvidenceError(
            f'signed by "{name}" (issuer {issuer or "none"}), which no configured signer matches', ATTESTATION_UNTRUSTED
        )
    counted = [(one, signer) for one, signer in named if signer.configured.set_only or not one.needs_set_only]
    if not counted:
        raise EvidenceError(
            f'its log entry has no inclusion proof, which signer "{named[0][1].configured.name}" asks for',
            ATTESTATION_UNLOGGED,
        )
    signers = tuple(
        Signer(signer.configured.name, "keyless", one.identity.issuer, one.identity.name) for one, signer in counted
    )
    moments = (one.moment for one, _ in counted if one.moment is not None)
    return Proven(signers, min(moments, default=None), all(one.logged for one, _ in counted))


def _stranger(chain: Sequence[x509.Certificate], roots: Sequence[str]) -> EvidenceError:
    names = " and ".join(f'"{name}"' for name in roots) or "none is configured"
    return EvidenceError(
        f"its certificate is one of {shown(chain[0].issuer.rfc4514_string())}, which is no authority of a trusted root "
        f"({names})",
        ATTESTATION_UNTRUSTED,
    )


@contextmanager
def _refusing() -> Iterator[None]:
    """What a library raises against its word is a refusal as well, and never the end of a request."""
    try:
        yield
    except EvidenceError:
        raise
    except Exception as error:  # noqa: BLE001
        raise EvidenceError(f"it cannot be verified: {type(error).__name__}: {clean(str(error), 160)}") from None
