"""What attestations hold, one file per form, read into the types of the model."""

from collections.abc import Callable, Mapping
from datetime import datetime

import msgspec

from portcullis.evidence.decode import decode_typed
from portcullis.evidence.predicates import LINT_V1
from portcullis.evidence.refusal import ATTESTATION_UNSUPPORTED, ReportError, shown
from portcullis.evidence.reports.cyclonedx import read_cyclonedx_sbom, read_cyclonedx_scan
from portcullis.evidence.reports.formats import Format, detect
from portcullis.evidence.reports.lint import read_lint
from portcullis.evidence.reports.sarif import read_sarif_lint, read_sarif_scan
from portcullis.evidence.reports.scans import SCANNERS
from portcullis.evidence.reports.slsa import read_provenance
from portcullis.evidence.reports.spdx import read_spdx
from portcullis.evidence.reports.vuln import read_vuln
from portcullis.evidence.reports.vulns import read_vulns
from portcullis.evidence.reports.wrapped import dated, unwrap_custom
from portcullis.limits import Limits
from portcullis.model.evidence import PredicateClass, Provenance, ReadFact, Statement, VexDocument

__all__ = ["Format", "detect", "read_facts", "read_report"]

_HTTPS = "https://"
_COSIGN_CUSTOM = "cosign.sigstore.dev/attestation/v1"
_PREDICATE_TYPES: Mapping[str, tuple[Format, frozenset[str]]] = {
    "cosign.sigstore.dev/attestation/vuln": (Format.COSIGN_VULN, frozenset({"v1"})),
    "in-toto.io/attestation/vulns": (Format.IN_TOTO_VULNS, frozenset({"v0.1", "v0.2"})),
}
"""With the versions that are read; of others a shape that happens to fit may mean something else."""

Reader = Callable[[bytes, Limits], ReadFact | None]


def read_facts(statement: Statement, about: PredicateClass, limits: Limits) -> tuple[ReadFact, ...]:
    """What a verified statement says of the class ``about``: nothing, as a bill of materials says nothing of
    vulnerabilities in which no scanner looked for them, or one fact.

    The form is told by the shape of the predicate, as many sign a tool's own report under a type of their own.

    Raises:
        EvidenceError: of no form that is read, or of one that says nothing of ``about`` (attestation-unsupported), of
            another shape (attestation-invalid), over a limit (too-large).
    """
    if about in {PredicateClass.SIGNATURE, PredicateClass.OTHER}:
        return ()
    kind = statement.predicate_type
    content, made = statement.predicate, None
    # SPDX may be a text, too, and its reader says so.
    if kind.removeprefix(_HTTPS) == _COSIGN_CUSTOM or (content[:1] == b'"' and about is not PredicateClass.SBOM):
        content, made = unwrap_custom(content, limits)
    fact = _read(content, kind, about, limits)
    return () if fact is None else (_dated(fact, made),)


def read_report(content: bytes, limits: Limits) -> ReadFact:
    """What ``content`` is, by its shape: for files, whose strictness the caller has proven (``require_strict``).

    A CycloneDX document is read as VEX where it has analyses, else as a scan where a scanner lists vulnerabilities,
    else as a bill of materials; SARIF as lint where Hadolint wrote it.

    Raises:
        EvidenceError: of no form that is read (attestation-unsupported), of another shape (attestation-invalid), over
            a limit (too-large).
    """
    form = detect(content, limits)
    if form is not Format.COSIGN_CUSTOM:
        return _read_any(form, content, limits)
    inner, made = unwrap_custom(content, limits)
    form = detect(inner, limits)
    if form is Format.COSIGN_CUSTOM:
        raise ReportError("the predicate's Data is such a predicate again", ATTESTATION_UNSUPPORTED)
    return _dated(_read_any(form, inner, limits), made)


def _read_any(form: Format, content: bytes, limits: Limits) -> ReadFact:
    fact = _ANY[form](content, limits)
    if fact is None:
        raise ReportError(f"it is of the form {form}, and says nothing that is read", ATTESTATION_UNSUPPORTED)
    return fact


def _read(content: bytes, kind: str, about: PredicateClass, limits: Limits) -> ReadFact | None:
    match about:
        case PredicateClass.PROVENANCE:
            return read_provenance(content, kind, limits)
        case PredicateClass.LINT if kind == LINT_V1 or content.strip() == b"[]":
            return read_lint(content, limits)
        case PredicateClass.SBOM if content[:1] == b'"':
            return read_spdx(content, limits)
    form = _form(content, kind, limits)
    reader = _OF_CLASS[about].get(form)
    if reader is None:
        raise ReportError(f"it is of the form {form}, which says nothing of {about}", ATTESTATION_UNSUPPORTED)
    return reader(content, limits)


def _form(content: bytes, kind: str, limits: Limits) -> Format:
    """By the type where that is one predicate's alone, else by the shape."""
    name, _, version = kind.removeprefix(_HTTPS).rpartition("/")
    known = _PREDICATE_TYPES.get(name)
    if known is None:
        return detect(content, limits)
    form, versions = known
    if version not in versions:
        raise ReportError(f"predicates of type {shown(kind)} are not read", ATTESTATION_UNSUPPORTED)
    return form


def _dated(fact: ReadFact, made: datetime | None) -> ReadFact:
    """A VEX document and provenance keep their own times: their age is not that of somebody's look at the image."""
    return fact if isinstance(fact, VexDocument | Provenance) else dated(fact, made)


def _read_any_cyclonedx(content: bytes, limits: Limits) -> ReadFact:
    return (
        _read_cyclonedx_vex(content, limits)
        or read_cyclonedx_scan(content, limits)
        or read_cyclonedx_sbom(content, limits)
    )


class _Named(msgspec.Struct):
    name: str | None = None


class _Tool(msgspec.Struct):
    driver: _Named | None = None


class _Run(msgspec.Struct):
    tool: _Tool | None = None


class _Sarif(msgspec.Struct):
    runs: list[_Run] | None = None


def _read_any_sarif(content: bytes, limits: Limits) -> ReadFact:
    tools = [run.tool for run in decode_typed(content, _Sarif, "the SARIF report").runs or ()]
    names = {tool.driver.name for tool in tools if tool is not None and tool.driver is not None}
    lint = any((name or "").lower() == "hadolint" for name in names)
    return read_sarif_lint(content, limits) if lint else read_sarif_scan(content, limits)


# The readers of VEX use modules of this folder, so that they cannot be imported while it is.


def _read_openvex(content: bytes, limits: Limits) -> VexDocument:
    from portcullis.evidence.vex.openvex import read_openvex

    return read_openvex(content, limits)


def _read_csaf(content: bytes, limits: Limits) -> VexDocument:
    from portcullis.evidence.vex.csaf import read_csaf

    return read_csaf(content, limits)


def _read_cyclonedx_vex(content: bytes, limits: Limits) -> VexDocument | None:
    from portcullis.evidence.vex.cyclonedx import read_cyclonedx_vex

    return read_cyclonedx_vex(content, limits)


_PREDICATES: Mapping[Format, Reader] = {Format.COSIGN_VULN: read_vuln, Format.IN_TOTO_VULNS: read_vulns}
_LINTERS: Mapping[Format, Reader] = {Format.HADOLINT: read_lint, Format.LINT: read_lint, Format.SARIF: read_lint}
_VEX: Mapping[Format, Reader] = {
    Format.OPENVEX: _read_openvex,
    Format.CSAF: _read_csaf,
    Format.CYCLONEDX: _read_cyclonedx_vex,
}
_OF_CLASS: Mapping[PredicateClass, Mapping[Format, Reader]] = {
    PredicateClass.VULNERABILITY: {**SCANNERS, **_PREDICATES},
    PredicateClass.LINT: _LINTERS,
    PredicateClass.SBOM: {Format.CYCLONEDX: read_cyclonedx_sbom, Format.SPDX: read_spdx},
    PredicateClass.VEX: _VEX,
}


def _read_any_slsa(content: bytes, limits: Limits) -> ReadFact:
    return read_provenance(content, "", limits)


_ANY: Mapping[Format, Reader] = {
    **_LINTERS,
    **_VEX,
    **SCANNERS,
    **_PREDICATES,
    Format.SPDX: read_spdx,
    Format.SLSA: _read_any_slsa,
    Format.SARIF: _read_any_sarif,
    Format.CYCLONEDX: _read_any_cyclonedx,
}
