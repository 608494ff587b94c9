"""VEX in CycloneDX (cyclonedx.org/capabilities/vex): what ``analysis`` says of the vulnerabilities of a document.

Where the format leaves open what is meant, the reading that clears less is taken:

- "not_affected" and "false_positive" with neither justification nor detail, and an analysis without a state, are
  "under_investigation": the format allows them, and they give no reason.
- A component is what ``affects`` names, if this document holds it and gives its package URL (or, for an image, its
  digest). A BOM-Link to another document, and a component known by its name only, are kept as identifiers, which
  nothing is compared with.
- ``versions`` of a component whose package URL has none: a favourable state is one of the single versions that are
  "unaffected", ranges are not computed. An unfavourable state is one of all versions.
- A favourable state of no component at all is one of nothing, an unfavourable one of the whole subject.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final, Literal
from urllib.parse import quote

import msgspec

from portcullis.evidence.decode import decode_typed
from portcullis.evidence.refusal import EvidenceError
from portcullis.evidence.reports.bom import (
    Bom,
    CdxComponent,
    all_components,
    by_ref,
    local_ref,
    require_version,
    target_digests,
)
from portcullis.evidence.times import parse_time
from portcullis.evidence.vex.purls import parse_purl
from portcullis.evidence.vex.wording import Tally, name, reason
from portcullis.limits import Limits
from portcullis.model.evidence import VexDocument, VexProduct, VexStatement, VexStatus

_WHAT: Final = "the CycloneDX document"
_NOTHING: Final = VexProduct(identifier="a component that is not named")

_State = Literal["resolved", "resolved_with_pedigree", "exploitable", "in_triage", "false_positive", "not_affected"]
_STATUS: Final[Mapping[str | None, VexStatus]] = {
    "resolved": VexStatus.FIXED,
    "resolved_with_pedigree": VexStatus.FIXED,
    "exploitable": VexStatus.AFFECTED,
    "in_triage": VexStatus.UNDER_INVESTIGATION,
    "false_positive": VexStatus.NOT_AFFECTED,
    "not_affected": VexStatus.NOT_AFFECTED,
    None: VexStatus.UNDER_INVESTIGATION,
}


class _Analysis(msgspec.Struct):
    state: _State | None = None
    justification: str | None = None
    detail: str | None = None
    first_issued: str | None = msgspec.field(default=None, name="firstIssued")
    last_updated: str | None = msgspec.field(default=None, name="lastUpdated")


class _Reference(msgspec.Struct):
    id: str | None = None


class _Version(msgspec.Struct):
    version: str | None = None
    status: str | None = None


class _Affected(msgspec.Struct):
    ref: str = ""
    versions: list[_Version] | None = None


class _Vulnerability(msgspec.Struct):
    id: str | None = None
    references: list[_Reference] | None = None
    analysis: _Analysis | None = None
    affects: list[_Affected] | None = None


class _VexBom(Bom):
    vulnerabilities: list[_Vulnerability] | None = None


def read_cyclonedx_vex(content: bytes, limits: Limits) -> VexDocument | None:
    """One statement for each vulnerability that has an analysis; None where none has.

    Raises:
        EvidenceError: it is no CycloneDX, or contradicts it (attestation-invalid); another version
            (attestation-unsupported); more than ``vex_statements``, ``vex_products`` or ``sbom_components``
            (too-large).
    """
    bom = decode_typed(content, _VexBom, _WHAT)
    require_version(bom)
    if all(one.analysis is None for one in bom.vulnerabilities or ()):
        return None
    metadata = bom.metadata
    issued = parse_time(metadata.timestamp, f"the timestamp of {_WHAT}") if metadata is not None else None
    components = by_ref(all_components(bom, limits), metadata.component if metadata is not None else None)
    tally = Tally(limits)
    statements = tuple(
        _statement(one, one.analysis, bom, components, issued, tally)
        for one in bom.vulnerabilities or ()
        if one.analysis is not None
    )
    times = (one.issued_at for one in statements if one.issued_at is not None)
    return VexDocument(
        format="cyclonedx",
        id=name(bom.serial),
        author=name(", ".join(tool.name or "" for tool in metadata.all_tools) if metadata is not None else ""),
        version=name(bom.version or 1),
        issued_at=issued or max(times, default=None),
        statements=statements,
    )


def _statement(
    found: _Vulnerability,
    analysis: _Analysis,
    bom: Bom,
    components: Mapping[str, CdxComponent],
    cascaded: datetime | None,
    tally: Tally,
) -> VexStatement:
    tally.statement()
    names = [found.id or "", *(one.id or "" for one in found.references or ())]
    names = list(dict.fromkeys(stripped for one in names if (stripped := one.strip())))
    if not names:
        raise EvidenceError(f"{_WHAT} has an analysis of a vulnerability without an id")
    status = _STATUS[analysis.state]
    impact = reason(analysis.detail)
    if status is VexStatus.NOT_AFFECTED and not analysis.justification and not impact:
        status, impact = VexStatus.UNDER_INVESTIGATION, f"said to be {analysis.state}, without a reason"
    favourable = status in (VexStatus.NOT_AFFECTED, VexStatus.FIXED)
    products: Sequence[VexProduct] = [
        product for one in found.affects or () for product in _products(one, bom, components, favourable=favourable)
    ]
    if favourable and not products:
        products = [_NOTHING]
    tally.products(len(products), len(names))
    last = parse_time(analysis.last_updated, f"an analysis' lastUpdated in {_WHAT}")
    first = parse_time(analysis.first_issued, f"an analysis' firstIssued in {_WHAT}")
    return VexStatement(
        vulnerabilities=tuple(names),
        status=status,
        justification=reason(analysis.justification),
        impact=impact,
        products=tuple(products),
        issued_at=last or first or cascaded,
    )


def _products(
    affected: _Affected, bom: Bom, components: Mapping[str, CdxComponent], *, favourable: bool
) -> Iterator[VexProduct]:
    ref = local_ref(affected.ref, bom)
    component = components.get(ref)
    written = component.purl if component is not None and component.purl else ref
    purl = parse_purl(written)
    if purl is None:
        digests = target_digests(component)
        yield VexProduct(digests=digests, identifier=affected.ref or _NOTHING.identifier)
    elif purl.version or not affected.versions or not favourable:
        yield VexProduct(purl=written, identifier=affected.ref)
    else:
        single = [one.version for one in affected.versions if one.version and one.status == "unaffected"]
        for version in single:
            yield VexProduct(purl=_with_version(written, version), identifier=affected.ref)
        if not single:
            yield VexProduct(identifier=affected.ref)


def _with_version(purl: str, version: str) -> str:
    """``purl``, which has no version, with one: before its qualifiers and its subpath."""
    end = min((at for at in (purl.find("?"), purl.find("#")) if at >= 0), default=len(purl))
    return f"{purl[:end].rstrip('/')}@{quote(version, safe='.-_~:+')}{purl[end:]}"
