"""in-toto statements: what is claimed (predicate) about which artifacts (subjects); in-toto/attestation, spec v1."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from portcullis.evidence.decode import as_list, as_object, as_text, parse_object
from portcullis.evidence.refusal import ATTESTATION_UNSUPPORTED, TOO_LARGE, EvidenceError, shown
from portcullis.limits import Limits
from portcullis.model.evidence import PredicateClass
from portcullis.model.image import Digest
from portcullis.model.json import JSONObject

STATEMENT_V0_1 = "https://in-toto.io/Statement/v0.1"
STATEMENT_V1 = "https://in-toto.io/Statement/v1"

COSIGN_VULN = "https://cosign.sigstore.dev/attestation/vuln/v1"
COSIGN_VULN_OLD = "cosign.sigstore.dev/attestation/vuln/v1"
"""As cosign 1.x and many Kyverno examples write it."""

_CLASSES: Mapping[str, PredicateClass] = MappingProxyType(
    {
        "https://cosign.sigstore.dev/attestation/vuln": PredicateClass.VULNERABILITY,
        "cosign.sigstore.dev/attestation/vuln": PredicateClass.VULNERABILITY,
        "https://in-toto.io/attestation/vulns": PredicateClass.VULNERABILITY,
        "https://scout.docker.com/vulnerabilities": PredicateClass.VULNERABILITY,
        "https://cyclonedx.org/bom": PredicateClass.SBOM,
        "https://spdx.dev/Document": PredicateClass.SBOM,
        "https://openvex.dev/ns": PredicateClass.VEX,
        "https://slsa.dev/provenance": PredicateClass.PROVENANCE,
    }
)

_TYPE_CHARS = 1024
_HEX = {"sha256": re.compile(r"[0-9a-f]{64}"), "sha512": re.compile(r"[0-9a-f]{128}")}


@dataclass(frozen=True, slots=True)
class ParsedStatement:
    """A statement as written, its subject not yet compared. ``subjects`` are their digest sets (algorithm to
    hex, as written); ``predicate`` is any JSON."""

    predicate_type: str
    subjects: Sequence[Mapping[str, Any]] = field(repr=False)
    predicate: object = field(repr=False)


def parse_statement(payload: bytes, limits: Limits) -> ParsedStatement:
    """The statement in ``payload``, in the form of version 0.1 (cosign) or 1.

    Raises:
        EvidenceError: it is no statement (attestation-invalid), or over a limit (too-large).
    """
    document = parse_object(payload, limits=limits, what="the statement")
    kind = as_text(document.get("_type"), "the statement's _type")
    if kind not in {STATEMENT_V0_1, STATEMENT_V1}:
        raise EvidenceError(f"the statement's _type {shown(kind)} is not in-toto's")
    predicate_type = as_text(document.get("predicateType"), "the statement's predicateType")
    if not 0 < len(predicate_type) <= _TYPE_CHARS:
        raise EvidenceError(f"the statement's predicateType has {len(predicate_type)} characters")
    entries = as_list(document.get("subject"), "the statement's subject")
    if len(entries) > limits.statement_subjects:
        raise EvidenceError(
            f"the statement has {len(entries)} subjects; the limit statementSubjects is {limits.statement_subjects}",
            TOO_LARGE,
        )
    return ParsedStatement(predicate_type, [_digest_set(entry) for entry in entries], document.get("predicate"))


def names(statement: ParsedStatement, judged: Digest) -> bool:
    """Whether one of the statement's subjects is the artifact with the digest ``judged``.

    The digest is compared under its own algorithm, as lower-case hex of its full length; a subject without it
    (a name or URI only, another algorithm) is no match, and names decide nothing.
    """
    shape = _HEX.get(judged.algorithm)
    if shape is None or shape.fullmatch(judged.hex) is None:
        return False
    return any(subject.get(judged.algorithm) == judged.hex for subject in statement.subjects)


def predicate_object(statement: ParsedStatement) -> JSONObject:
    """The predicate. Unset is the same as empty (spec/v1/statement.md, "Fields").

    Raises:
        EvidenceError: it is a text (as cosign writes ``--type custom`` of old and SPDX tag-value;
            attestation-unsupported) or something else that is no object (attestation-invalid).
    """
    if statement.predicate is None:
        return {}
    if isinstance(statement.predicate, str):
        raise EvidenceError("the predicate is a text, which is not read", ATTESTATION_UNSUPPORTED)
    return as_object(statement.predicate, "the predicate")


def classify(predicate_type: str) -> PredicateClass:
    """What a predicate type is about. A known type matches whole, or up to a "/" (its versions), so that
    ``…/bom/v1.6`` is an SBOM and ``…/bom-evil`` is not."""
    prefix = predicate_type
    while prefix:
        if prefix in _CLASSES:
            return _CLASSES[prefix]
        prefix = prefix.rpartition("/")[0]
    return PredicateClass.OTHER


def _digest_set(entry: object) -> Mapping[str, Any]:
    digests = as_object(entry, "a subject of the statement").get("digest")
    # Version 1 lets a subject carry a URI only.
    return {} if digests is None else as_object(digests, "a subject's digest")
