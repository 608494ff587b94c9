"""in-toto statements: what is claimed (predicate) about which artifacts (subjects); in-toto/attestation, spec v1."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from portcullis.evidence.decode import decode_typed
from portcullis.evidence.refusal import TOO_LARGE, EvidenceError, shown
from portcullis.limits import Limits
from portcullis.model.image import Digest

STATEMENT_V0_1 = "https://in-toto.io/Statement/v0.1"
STATEMENT_V1 = "https://in-toto.io/Statement/v1"

COSIGN_VULN = "https://cosign.sigstore.dev/attestation/vuln/v1"
COSIGN_VULN_OLD = "cosign.sigstore.dev/attestation/vuln/v1"
"""As cosign 1.x and many Kyverno examples write it."""

_TYPE_CHARS = 1024
_HEX = {"sha256": re.compile(r"[0-9a-f]{64}"), "sha512": re.compile(r"[0-9a-f]{128}")}


class _Subject(msgspec.Struct):
    # Version 1 lets a subject carry a URI only. A value that is no text is no digest, and no reason to refuse the rest.
    digest: dict[str, Any] | None = None


class _Statement(msgspec.Struct, rename="camel"):
    kind: str = msgspec.field(name="_type")
    predicate_type: str
    subject: list[_Subject]
    predicate: msgspec.Raw = msgspec.Raw(b"null")


@dataclass(frozen=True, slots=True)
class ParsedStatement:
    """A statement as written, its subject not yet compared. ``subjects`` are their digest sets (algorithm to
    hex, as written); ``predicate`` is the JSON text of anything."""

    predicate_type: str
    subjects: Sequence[Mapping[str, Any]] = field(repr=False)
    predicate: bytes = field(repr=False)


def parse_statement(payload: bytes, limits: Limits) -> ParsedStatement:
    """The statement in ``payload``, in the form of version 0.1 (cosign) or 1.

    Args:
        payload: strict JSON, which was proven before (:func:`~portcullis.evidence.decode.require_strict`).
        limits: ``statement_subjects``.

    Raises:
        EvidenceError: it is no statement (attestation-invalid), or over a limit (too-large).
    """
    document = decode_typed(payload, _Statement, "the statement")
    if document.kind not in {STATEMENT_V0_1, STATEMENT_V1}:
        raise EvidenceError(f"the statement's _type {shown(document.kind)} is not in-toto's")
    if not 0 < len(document.predicate_type) <= _TYPE_CHARS:
        raise EvidenceError(f"the statement's predicateType has {len(document.predicate_type)} characters")
    if len(document.subject) > limits.statement_subjects:
        raise EvidenceError(
            f"the statement has {len(document.subject)} subjects; the limit statementSubjects is "
            f"{limits.statement_subjects}",
            TOO_LARGE,
        )
    subjects = [subject.digest or {} for subject in document.subject]
    return ParsedStatement(document.predicate_type, subjects, bytes(document.predicate))


def names(statement: ParsedStatement, judged: Digest) -> bool:
    """Whether one of the statement's subjects is the artifact with the digest ``judged``.

    The digest is compared under its own algorithm, as lower-case hex of its full length; a subject without it
    (a name or URI only, another algorithm) is no match, and names decide nothing.
    """
    shape = _HEX.get(judged.algorithm)
    if shape is None or shape.fullmatch(judged.hex) is None:
        return False
    return any(subject.get(judged.algorithm) == judged.hex for subject in statement.subjects)


def predicate_object(statement: ParsedStatement) -> bytes:
    """The JSON text of the predicate. Unset is the same as empty (spec/v1/statement.md, "Fields"). A text passes, as
    cosign writes SPDX tag-value and, of old, ``--type custom``: readers know which texts they take.

    Raises:
        EvidenceError: it is neither an object nor a text (attestation-invalid).
    """
    match statement.predicate[:1]:
        case b"{" | b'"':
            return statement.predicate
        case b"n":
            return b"{}"
    raise EvidenceError("the predicate is neither an object nor a text")
