"""The verifier: the one way by which anything that was found becomes evidence, whoever signed it and however.

The proof. A carrier is evidence about a digest, if:

 (1)-(5) what was found has one reading, and a configured key signed it, as dsse.py proves; or
         a configured identity did, by a certificate, as keyless.py proves; or
         a configured signer of Notation did, as notation.py proves;
 (6)     where its key is configured with a transparency log, that log has an entry of this very signature, as
         keyless.py proves; a signer whose entry is missing has not signed. Its time is then the one that is trusted;
 (7)     in an envelope the payload is declared to be an in-toto statement, character for character (dsse.py, step 6),
         and is one: strict JSON, a known version, a predicate type, no more subjects than the limit. It is read from
         the very bytes whose signature was checked, after that;
 (8)     one of its subjects is the digest that was judged, not a tag, a name, or what the registry said where the
         carrier belongs; without a statement the signature itself is one of that digest (legacy.py, steps 2 to 4; or
         the digest is what it runs over);
 (9)     the predicate is an object or a text.

Whether the signer may speak of that predicate about that image is not asked here, because it depends on the
image's name: gather.py asks trust.py. Whether the predicate is the one that is needed is a policy's question.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Protocol

from portcullis.errors import ConfigError
from portcullis.evidence.bundle import is_bundle, parse_bundle
from portcullis.evidence.decode import require_strict
from portcullis.evidence.dsse import (
    ENVELOPE_MEDIA_TYPE,
    IN_TOTO_PAYLOAD_TYPE,
    message_of,
    require_in_toto,
    signing_keys,
)
from portcullis.evidence.jws import parse_jws
from portcullis.evidence.keys import TrustedKey
from portcullis.evidence.legacy import (
    read_legacy,
    read_simple_signing,
    require_signature_of,
)
from portcullis.evidence.material import Material, Proven
from portcullis.evidence.mediatypes import NOTATION, SIMPLE_SIGNING
from portcullis.evidence.predicates import COSIGN_SIGNATURE, NOTARY_PAYLOAD
from portcullis.evidence.refusal import (
    ATTESTATION_INVALID,
    ATTESTATION_SUBJECT_MISMATCH,
    ATTESTATION_UNLOGGED,
    ATTESTATION_UNSIGNED,
    ATTESTATION_UNSUPPORTED,
    ATTESTATION_UNTRUSTED,
    TOO_LARGE,
    EvidenceError,
    shown,
)
from portcullis.evidence.signed import Signed
from portcullis.evidence.statement import names, parse_statement, predicate_object
from portcullis.evidence.trust import Trust
from portcullis.limits import Limits
from portcullis.model.evidence import Carrier, Rejected, Signer, Statement, Verified
from portcullis.model.image import Digest
from portcullis.tasks import aside

_log = logging.getLogger(__name__)


class KeylessProver(Protocol):
    """:class:`~portcullis.evidence.keyless.KeylessVerifier`. It raises only EvidenceError."""

    def prove(self, material: Material, signed: Signed) -> Proven: ...

    def prove_logged(self, material: Material, key: TrustedKey, signed: Signed) -> datetime: ...


class NotationProver(Protocol):
    """:class:`~portcullis.evidence.notation.NotationVerifier`. It raises only EvidenceError."""

    def prove(self, content: bytes, media_type: str, subject: Digest, now: datetime) -> Proven: ...


@dataclass(slots=True)
class _Claim:
    """What is known of an attestation so far, for the one who reads why it was rejected."""

    signers: tuple[Signer, ...] = ()
    predicate_type: str = ""


class AttestationVerifier:
    """The Verifier: DSSE envelopes, Sigstore bundles, cosign's old formats, and signatures of Notation.

    Args:
        trust: its keys are tried; its rules are not asked.
        keyless: verifies certificates, and entries of transparency logs. Without it neither can be believed.
        notation: verifies signatures of Notation; without it none is believed.
        limits: ``attestation_bytes``, ``envelope_signatures``, ``statement_subjects``, ``json_depth``, ``json_values``,
            ``signers``, ``certificates``, ``certificate_bytes``, ``log_entries``, ``timestamps``.
        now: the time in UTC, for what expires.

    Raises:
        ConfigError: more keys than the limit, or a key that needs a transparency log where there is nothing to ask.
    """

    def __init__(
        self,
        *,
        trust: Trust,
        keyless: KeylessProver | None = None,
        notation: NotationProver | None = None,
        limits: Limits,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        if len(trust.keys) > limits.signers:
            raise ConfigError(f"{len(trust.keys)} signers are configured; the limit signers is {limits.signers}")
        for trusted in trust.keys:
            if trusted.log_root and keyless is None:
                raise ConfigError(f'signer "{trusted.signer.name}" names the trusted root {shown(trusted.log_root)}')
        self._keys = trust.keys
        self._keyless = keyless
        self._notation = notation
        self._limits = limits
        self._now = now

    async def verify(self, carrier: Carrier, subject: Digest) -> Verified | Rejected:
        if self._is_quick(carrier):
            return await aside(len(carrier.content), lambda: self._verify(carrier, subject))
        return await asyncio.to_thread(self._verify, carrier, subject)

    def _is_quick(self, carrier: Carrier) -> bool:
        """Whether a few hundred microseconds will do: certificates and log entries take milliseconds."""
        if carrier.media_type in NOTATION:
            return self._notation is None
        return self._keyless is None or (carrier.media_type == ENVELOPE_MEDIA_TYPE and not carrier.annotations)

    def _verify(self, carrier: Carrier, subject: Digest) -> Verified | Rejected:
        claim = _Claim()
        try:
            return self._prove(carrier, subject, claim)
        except EvidenceError as error:
            signer = claim.signers[0] if claim.signers else None
            return Rejected(error.reason, error.message, claim.predicate_type, signer)
        except Exception:  # noqa: BLE001 - a fault of ours, or of a library: no way past the gate, and no end of it
            _log.exception("an attestation could not be judged", extra={"digest": carrier.digest})
            return Rejected(ATTESTATION_INVALID, "it could not be judged because of a fault that is in the log")

    def _prove(self, carrier: Carrier, subject: Digest, claim: _Claim) -> Verified:
        if len(carrier.content) > self._limits.attestation_bytes:
            raise EvidenceError(
                f"the attestation has {len(carrier.content)} bytes; the limit attestationBytes is "
                f"{self._limits.attestation_bytes}",
                TOO_LARGE,
            )
        if carrier.media_type in NOTATION:
            return self._prove_notation(carrier, subject, claim)
        # (1) (2) (3) one reading of what was found
        material = self._open(carrier)
        # (4) (5) (6) who signed it, and when
        try:
            proven = self._signers(material, subject, claim)
        except EvidenceError:
            claim.predicate_type = self._claimed_type(material)
            raise
        claim.signers = proven.signers
        # (7) (8) (9) what it says, and that it is about the judged digest
        statement, payload = self._statement(material, subject, claim)
        return Verified(statement, proven.signers, proven.signed_at, proven.logged, payload)

    def _open(self, carrier: Carrier) -> Material:
        media_type, content = carrier.media_type, carrier.content
        if is_bundle(media_type):
            return parse_bundle(content, self._limits)
        if media_type == ENVELOPE_MEDIA_TYPE:
            return read_legacy(content, carrier.annotations, self._limits)
        if media_type == SIMPLE_SIGNING:
            return read_simple_signing(content, carrier.annotations, self._limits)
        if media_type == IN_TOTO_PAYLOAD_TYPE:
            raise EvidenceError("the statement is not signed: anybody who can push can write it", ATTESTATION_UNSIGNED)
        raise EvidenceError(f"{shown(media_type)} is no kind of attestation that is read", ATTESTATION_UNSUPPORTED)

    def _signers(self, material: Material, subject: Digest, claim: _Claim) -> Proven:
        message = _message(material, subject)
        # (4) (5) a configured key, whatever is said of certificates beside the signature
        signed = signing_keys(message, _signatures(material), self._keys)
        if signed:
            claim.signers = tuple(trusted.signer for trusted in signed)
            # (6) the log, where a signer is configured with one
            return self._logged(material, message, signed)
        # (4) (5) or the owner of a certificate
        if material.certificates:
            if self._keyless is None:
                raise EvidenceError(
                    "it is signed with a certificate (keyless), and no signer of that kind is configured",
                    ATTESTATION_UNTRUSTED,
                )
            return self._keyless.prove(material, message)
        raise _unsigned(_hints(material), self._keys)

    def _logged(self, material: Material, message: Signed, signed: Sequence[TrustedKey]) -> Proven:
        """Those of ``signed`` for whom step (6) holds."""
        signers: list[Signer] = []
        times: list[datetime] = []
        refusals: list[EvidenceError] = []
        for trusted in signed:
            try:
                if trusted.log_root:
                    times.append(self._prove_logged(material, message, trusted))
                signers.append(trusted.signer)
            except EvidenceError as error:
                refusals.append(error)
        if not signers:
            raise refusals[0]
        # What is older than one of its signatures is as old for all of them: the entry has the payload's hash.
        return Proven(tuple(signers), min(times, default=None), bool(times))

    def _prove_logged(self, material: Material, message: Signed, trusted: TrustedKey) -> datetime:
        if self._keyless is None:
            raise EvidenceError(f"no trusted root {shown(trusted.log_root)} is configured", ATTESTATION_UNLOGGED)
        return self._keyless.prove_logged(material, trusted, message)

    def _statement(self, material: Material, subject: Digest, claim: _Claim) -> tuple[Statement, str]:
        """Steps (7) to (9), and the hash of what was signed."""
        envelope = material.envelope
        if envelope is None and material.message:
            claim.predicate_type = SIMPLE_SIGNING
            require_signature_of(material.message, subject, self._limits)
            return Statement(SIMPLE_SIGNING, material.message), sha256(material.message).hexdigest()
        if envelope is None:
            # The signature runs over the judged digest itself, and says no more than that.
            claim.predicate_type = COSIGN_SIGNATURE
            return Statement(COSIGN_SIGNATURE, b"{}"), subject.hex
        # (7) an in-toto statement
        require_in_toto(envelope)
        require_strict(envelope.payload, limits=self._limits, what="the statement")
        statement = parse_statement(envelope.payload, self._limits)
        claim.predicate_type = statement.predicate_type
        # (8) about the judged digest
        if not names(statement, subject):
            raise EvidenceError(
                f"the statement is about {len(statement.subjects)} other artifacts, not about {shown(subject)}",
                ATTESTATION_SUBJECT_MISMATCH,
            )
        # (9) with a predicate that can be read
        predicate = predicate_object(statement)
        return Statement(statement.predicate_type, predicate), sha256(envelope.payload).hexdigest()

    def _prove_notation(self, carrier: Carrier, subject: Digest, claim: _Claim) -> Verified:
        """All steps in one: a signature of Notation is over a digest, and has no statement."""
        claim.predicate_type = NOTARY_PAYLOAD
        if self._notation is None:
            raise EvidenceError(
                "it is a signature of Notation, and no signer of that kind is configured", ATTESTATION_UNTRUSTED
            )
        proven = self._notation.prove(carrier.content, carrier.media_type, subject, self._now())
        payload = parse_jws(carrier.content, self._limits).payload
        statement = Statement(NOTARY_PAYLOAD, payload)
        return Verified(statement, proven.signers, proven.signed_at, proven.logged, sha256(payload).hexdigest())

    def _claimed_type(self, material: Material) -> str:
        """The predicate type of a statement that nobody trusted has signed, so that people can see what it was
        meant to be. It is shown beside ``verified: false`` and decides nothing."""
        if material.envelope is None:
            return SIMPLE_SIGNING if material.message else COSIGN_SIGNATURE
        try:
            return parse_statement(material.envelope.payload, self._limits).predicate_type
        except EvidenceError:
            return ""


def _message(material: Material, subject: Digest) -> Signed:
    """What the signatures must run over."""
    if material.envelope is not None:
        return message_of(material.envelope)
    if material.message:
        return Signed(material.message)
    if subject.algorithm != "sha256" or len(subject.hex) != 64:
        raise EvidenceError(
            f"a plain signature can be checked for an artifact with a sha256 digest, not for {shown(subject)}",
            ATTESTATION_UNSUPPORTED,
        )
    digest = bytes.fromhex(subject.hex)
    claimed = material.message_digest
    if claimed is not None and claimed != ("SHA2_256", digest):
        raise EvidenceError(
            f"the signature is one of {shown(claimed[1].hex())}, not of {shown(subject)}", ATTESTATION_SUBJECT_MISMATCH
        )
    return Signed(None, sha256=digest)


def _signatures(material: Material) -> Sequence[bytes]:
    if material.envelope is None:
        return (material.signature,)
    return [signature.sig for signature in material.envelope.signatures]


def _hints(material: Material) -> Sequence[str]:
    """What stands beside the signature about its key, without being signed."""
    keyids = () if material.envelope is None else (signature.keyid for signature in material.envelope.signatures)
    return [text for text in (material.hint, *keyids) if text]


def _unsigned(hints: Sequence[str], keys: Sequence[TrustedKey]) -> EvidenceError:
    """Why no configured key's signature holds: as well as it can be told.

    An envelope that was changed and one that a stranger signed look the same, unless a hint names a configured
    key. The hint is not signed either: it may choose between two refusals, nothing else.
    """
    for trusted in keys:
        if any(trusted.is_hinted_by(hint) for hint in hints):
            return EvidenceError(
                f'the signature does not match: it names the key of signer "{trusted.signer.name}", but the content '
                "was changed after signing, or another key signed it",
                ATTESTATION_INVALID,
            )
    key = f" (it names the key {shown(hints[0])})" if hints else ""
    return EvidenceError(
        f"no configured key signed it{key}: a stranger did, or it was changed afterwards", ATTESTATION_UNTRUSTED
    )
