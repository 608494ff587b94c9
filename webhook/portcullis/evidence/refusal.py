"""Why evidence is refused: the reason codes of this folder, and the one error its parsers raise."""

from portcullis.text import clean

ATTESTATION_INVALID = "attestation-invalid"
"""Not what its format says, or changed after it was signed."""
ATTESTATION_UNSIGNED = "attestation-unsigned"
"""A bare statement: anybody who can push can write one."""
ATTESTATION_UNSUPPORTED = "attestation-unsupported"
"""A format, or a way of signing, that this version does not read."""
ATTESTATION_UNTRUSTED = "attestation-untrusted"
"""Signed by no configured key, or by one that may not speak of this about this image."""
ATTESTATION_SUBJECT_MISMATCH = "attestation-subject-mismatch"
"""Signed for another image."""
ATTESTATION_EXPIRED = "attestation-expired"
"""Its certificate, or the signature itself, was not valid at the time at which it has to be judged."""
ATTESTATION_UNLOGGED = "attestation-unlogged"
"""An entry in a transparency log, or a time-stamp, is required and is missing or does not hold."""
ATTESTATION_QUORUM = "attestation-quorum"
"""Fewer of the trusted signers than are required have signed it."""
REPORT_SUBJECT_MISMATCH = "report-subject-mismatch"
"""The statement names this image, the report inside another one."""
TOO_LARGE = "too-large"
"""A limit of limits.py was crossed."""

_SHOWN_CHARS = 120


class EvidenceError(Exception):
    """Evidence that is refused. It stays inside this folder: the verifier and the gatherer turn it into a
    :class:`~portcullis.model.evidence.Rejected` with the same ``reason`` and ``message``."""

    def __init__(self, message: str, reason: str = ATTESTATION_INVALID) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason


class ReportError(EvidenceError):
    """A scanner's report that cannot be used. ``reason`` is ``attestation-invalid``, ``attestation-unsupported``
    or ``too-large``."""


def shown(text: object) -> str:
    """Untrusted text, quoted and shortened for a message."""
    return f'"{clean(str(text), _SHOWN_CHARS)}"'
