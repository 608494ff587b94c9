"""Which form an attestation in a file has: a file brings no media type with it."""

import msgspec

from portcullis.evidence.decode import decode_typed
from portcullis.evidence.dsse import ENVELOPE_MEDIA_TYPE, IN_TOTO_PAYLOAD_TYPE
from portcullis.evidence.mediatypes import JWS, SIMPLE_SIGNING
from portcullis.evidence.refusal import ATTESTATION_UNSUPPORTED, TOO_LARGE, EvidenceError
from portcullis.limits import Limits

_ABSENT = msgspec.Raw(b"")


class _Root(msgspec.Struct):
    """Keys that tell the forms apart; their values are looked at by whoever reads that form."""

    media_type: str = msgspec.field(name="mediaType", default="")
    envelope_type: msgspec.Raw = msgspec.field(name="payloadType", default=_ABSENT)
    protected: msgspec.Raw = _ABSENT
    statement_type: msgspec.Raw = msgspec.field(name="_type", default=_ABSENT)
    critical: msgspec.Raw = _ABSENT


def media_type_of(content: bytes, limits: Limits) -> str:
    """The media type under which a registry would have it.

    Raises:
        EvidenceError: it is over the limit, no JSON object, or of no form that is read.
    """
    if len(content) > limits.attestation_bytes:
        raise EvidenceError(
            f"it has {len(content)} bytes; the limit attestationBytes is {limits.attestation_bytes}", TOO_LARGE
        )
    root = decode_typed(content, _Root, "the attestation")
    if root.media_type:
        return root.media_type
    if bytes(root.envelope_type):
        return ENVELOPE_MEDIA_TYPE
    if bytes(root.protected):
        return JWS
    if bytes(root.statement_type):
        return IN_TOTO_PAYLOAD_TYPE
    if bytes(root.critical):
        return SIMPLE_SIGNING
    raise EvidenceError(
        "it is no DSSE envelope, no Sigstore bundle and no JWS signature of Notation", ATTESTATION_UNSUPPORTED
    )
