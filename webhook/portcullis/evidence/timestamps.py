"""Time-stamps (RFC 3161): that a signature existed at a time which an authority of the trusted root has signed.

The proof. A time-stamp proves a time, if:

 (1) it can be read, and the authority granted it;
 (2) it is over the signature's bytes, by SHA-256, SHA-384 or SHA-512;
 (3) it is signed with a certificate that the root lists for an authority, leads to that authority's root at the very
     time, and is for time-stamps and nothing else is asked of it: a certificate that came with the time-stamp counts
     only where it is that one;
 (4) its time lies within the time for which the root trusts the authority, both ends included.

A time-stamp of an authority that the root does not list proves nothing and does no harm.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from rfc3161_client import TimeStampResponse, VerificationError, VerifierBuilder, decode_timestamp_response

from portcullis.evidence.certificates import UNREADABLE
from portcullis.evidence.refusal import EvidenceError
from portcullis.evidence.roots import Authority


def proven_times(stamps: Sequence[bytes], signature: bytes, authorities: Sequence[Authority]) -> tuple[datetime, ...]:
    """The times that ``stamps`` prove for ``signature``, in the order of ``stamps``.

    Raises:
        EvidenceError: one stands twice, or cannot be read (attestation-invalid).
    """
    if len(set(stamps)) != len(stamps):
        raise EvidenceError("a time-stamp stands twice")
    times = (_proven_time(_read(stamp), signature, authorities) for stamp in stamps)
    return tuple(moment for moment in times if moment is not None)


def _read(stamp: bytes) -> TimeStampResponse:
    # (1) one that can be read
    try:
        return decode_timestamp_response(stamp)
    except (TypeError, OverflowError, *UNREADABLE):
        raise EvidenceError("a time-stamp cannot be read") from None


def _proven_time(stamp: TimeStampResponse, signature: bytes, authorities: Sequence[Authority]) -> datetime | None:
    for authority in authorities:
        moment = _time_by(stamp, signature, authority)
        if moment is not None:
            return moment
    return None


def _time_by(stamp: TimeStampResponse, signature: bytes, authority: Authority) -> datetime | None:
    """The time, where it is ``authority`` that has signed it."""
    signer, *others = authority.certificates
    if not others:
        # A list of one certificate does not say which one signs and which one vouches.
        return None
    *between, root = others
    try:
        # (1) granted (2) over these bytes (3) by this certificate
        verifier = VerifierBuilder(tsa_certificate=signer, intermediates=list(between), roots=[root]).build()
        verifier.verify_message(stamp, signature)
        moment = stamp.tst_info.gen_time.astimezone(UTC)
    except (VerificationError, TypeError, OverflowError, *UNREADABLE):
        return None
    # (4) while it was to be trusted
    return moment if authority.window.holds(moment) else None
