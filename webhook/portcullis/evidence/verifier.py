"""The verifier for keys: the one way by which anything that was found becomes evidence.

The proof. A carrier is evidence about a digest, if:

 (1)-(5) its envelope is signed by a configured key, and
 (6)     its payload is declared to be an in-toto statement: as dsse.py proves;
 (7)     the payload is a statement: strict JSON, a known version, a predicate type, no more subjects than the
         limit. It is read from the very bytes whose signature was checked, after that;
 (8)     one of its subjects is the digest that was judged, not a tag, a name, or what the registry said where
         the carrier belongs;
 (9)     its predicate is an object.

Whether the signer may speak of that predicate about that image is not asked here, because it depends on the
image's name: gather.py asks trust.py. Whether the predicate is the one that is needed is a policy's question.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from portcullis.errors import ConfigError
from portcullis.evidence.bundle import is_bundle, parse_bundle
from portcullis.evidence.dsse import (
    ENVELOPE_MEDIA_TYPE,
    IN_TOTO_PAYLOAD_TYPE,
    Envelope,
    parse_envelope,
    require_in_toto,
    signed_by,
)
from portcullis.evidence.keys import TrustedKey
from portcullis.evidence.refusal import (
    ATTESTATION_INVALID,
    ATTESTATION_SUBJECT_MISMATCH,
    ATTESTATION_UNSIGNED,
    ATTESTATION_UNSUPPORTED,
    ATTESTATION_UNTRUSTED,
    TOO_LARGE,
    EvidenceError,
    shown,
)
from portcullis.evidence.statement import names, parse_statement, predicate_object
from portcullis.evidence.trust import Trust
from portcullis.limits import Limits
from portcullis.model.evidence import Carrier, Rejected, Signer, Statement, Verified
from portcullis.model.image import Digest
from portcullis.tasks import aside


@dataclass(slots=True)
class _Claim:
    """What is known of an attestation so far, for the one who reads why it was rejected."""

    signers: tuple[Signer, ...] = ()
    predicate_type: str = ""


class KeyVerifier:
    """A Verifier for DSSE envelopes and Sigstore bundles that a configured ECDSA P-256 key signed.

    Such a signature has no trusted time: ``Verified.signed_at`` is always None.

    Args:
        trust: its keys are tried; its rules are not asked.
        limits: ``attestation_bytes``, ``envelope_signatures``, ``statement_subjects``, ``json_depth``, ``signers``.

    Raises:
        ConfigError: more keys than the limit.
    """

    def __init__(self, *, trust: Trust, limits: Limits) -> None:
        if len(trust.keys) > limits.signers:
            raise ConfigError(f"{len(trust.keys)} signers are configured; the limit signers is {limits.signers}")
        self._keys = trust.keys
        self._limits = limits

    async def verify(self, carrier: Carrier, subject: Digest) -> Verified | Rejected:
        return await aside(len(carrier.content), lambda: self._verify(carrier, subject))

    def _verify(self, carrier: Carrier, subject: Digest) -> Verified | Rejected:
        claim = _Claim()
        try:
            return self._prove(carrier, subject, claim)
        except EvidenceError as error:
            signer = claim.signers[0] if claim.signers else None
            return Rejected(error.reason, error.message, claim.predicate_type, signer)

    def _prove(self, carrier: Carrier, subject: Digest, claim: _Claim) -> Verified:
        # (1) (2) (3) one reading of what was found
        envelope, hints = self._open(carrier)
        # (4) (5) a configured key signed it
        signed = signed_by(envelope, self._keys)
        if not signed:
            claim.predicate_type = self._claimed_type(envelope)
            raise _unsigned(hints, self._keys)
        claim.signers = tuple(trusted.signer for trusted in signed)
        # (6) as an in-toto statement
        require_in_toto(envelope)
        # (7) which it is
        statement = parse_statement(envelope.payload, self._limits)
        claim.predicate_type = statement.predicate_type
        # (8) about the judged digest
        if not names(statement, subject):
            raise EvidenceError(
                f"the statement is about {len(statement.subjects)} other artifacts, not about {shown(subject)}",
                ATTESTATION_SUBJECT_MISMATCH,
            )
        # (9) with a predicate that can be read
        return Verified(Statement(statement.predicate_type, predicate_object(statement)), claim.signers)

    def _open(self, carrier: Carrier) -> tuple[Envelope, tuple[str, ...]]:
        """The envelope, and what it says about its key without having signed it."""
        if len(carrier.content) > self._limits.attestation_bytes:
            raise EvidenceError(
                f"the attestation has {len(carrier.content)} bytes; the limit attestationBytes is "
                f"{self._limits.attestation_bytes}",
                TOO_LARGE,
            )
        hint = ""
        if is_bundle(carrier.media_type):
            bundle = parse_bundle(carrier.content, self._limits)
            envelope, hint = bundle.envelope, bundle.hint
        elif carrier.media_type == ENVELOPE_MEDIA_TYPE:
            envelope = parse_envelope(carrier.content, self._limits)
        elif carrier.media_type == IN_TOTO_PAYLOAD_TYPE:
            raise EvidenceError("the statement is not signed: anybody who can push can write it", ATTESTATION_UNSIGNED)
        else:
            raise EvidenceError(
                f"{shown(carrier.media_type)} is no kind of attestation that is read", ATTESTATION_UNSUPPORTED
            )
        keyids = (signature.keyid for signature in envelope.signatures)
        return envelope, tuple(text for text in (hint, *keyids) if text)

    def _claimed_type(self, envelope: Envelope) -> str:
        """The predicate type of a statement that nobody trusted has signed, so that people can see what it was
        meant to be. It is shown beside ``verified: false`` and decides nothing."""
        try:
            return parse_statement(envelope.payload, self._limits).predicate_type
        except EvidenceError:
            return ""


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
