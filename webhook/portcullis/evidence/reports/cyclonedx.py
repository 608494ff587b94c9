"""CycloneDX 1.2 to 1.7 as JSON (cyclonedx.org/docs): as a bill of materials, and as a scanner's report.

What ``analysis`` says of a vulnerability is VEX, and is not looked at here.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from portcullis.evidence.decode import decode_typed
from portcullis.evidence.refusal import ReportError
from portcullis.evidence.reports.bom import (
    Bom,
    CdxComponent,
    License,
    LicenseChoice,
    Metadata,
    Tool,
    all_components,
    by_ref,
    image_id,
    local_ref,
    require_version,
    target_digests,
)
from portcullis.evidence.reports.findings import other_names, require_few_findings
from portcullis.evidence.reports.following import TextBudget, each_once
from portcullis.evidence.reports.given import is_given
from portcullis.evidence.reports.severity import RANK, severity_of, severity_of_score
from portcullis.evidence.times import parse_time
from portcullis.limits import Limits
from portcullis.model.evidence import Component, Sbom, ScannedSystem, ScanReport, Severity, Vulnerability

_WHAT = "the CycloneDX document"
_ALWAYS_SCANNING = frozenset({"grype"})
"""Scanners that write no document without having looked. Trivy writes the key ``vulnerabilities`` with an empty list
in each bill of materials, whether it looked for them or not."""
_NO_SCANNERS = re.compile(r"syft|cdxgen|cyclonedx[-.].*|.*-maven-plugin|.*-gradle-plugin|bom|tern|vexctl", re.ASCII)
_UPGRADE = re.compile(r"Upgrade (\S+) to version ([^;]+)")
"""Trivy's recommendation, of which there may be several behind each other."""
_EPSS = "https://www.first.org/epss"
_PATHS = re.compile(r"syft:location:[0-9]+:path|aquasecurity:trivy:FilePath", re.ASCII)


class _Source(msgspec.Struct, gc=False):
    name: str | None = None
    url: str | None = None


class _Rating(msgspec.Struct, gc=False):
    source: _Source | None = None
    score: float | None = None
    severity: str | None = None
    method: str | None = None


class _Range(msgspec.Struct, gc=False):
    version: str | None = None
    range: str | None = None
    status: str | None = None


class _Affected(msgspec.Struct, gc=False):
    ref: str | None = None
    versions: list[_Range] | None = None


class _Reference(msgspec.Struct, gc=False):
    id: str | None = None


class _Vulnerability(msgspec.Struct, gc=False):
    id: str | None = None
    references: list[_Reference] | None = None
    ratings: list[_Rating] | None = None
    recommendation: str | None = None
    affects: list[_Affected] | None = None
    analysis: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)


class _ScanBom(Bom, gc=False):
    vulnerabilities: list[_Vulnerability] | None = None


@dataclass(frozen=True, slots=True)
class _Graded:
    """What is the same for all packages that one vulnerability affects."""

    id: str
    aliases: tuple[str, ...]
    severity: Severity
    score: float | None
    epss: float | None


@dataclass(frozen=True, slots=True)
class _Affecting:
    """What is the same for all vulnerabilities of one package. ``names`` are those by which a recommendation may call
    it: Trivy's other reports write a colon behind the group of Maven. ``path`` is the reference where no component has
    it."""

    name: str = ""
    names: Sequence[str] = ()
    purl: str = ""
    version: str = ""
    path: str = ""


def read_cyclonedx_sbom(content: bytes, limits: Limits) -> Sbom:
    """The bill of materials in ``content``.

    ``metadata.component`` is the image, not a component of it; what is nested in it is. Its digests are those of its
    package URL, of its version (as Syft writes it), of its hashes where it is a container, and of Trivy's properties.

    Raises:
        EvidenceError: of another version (attestation-unsupported), of another shape (attestation-invalid), or more
            components than ``sbom_components`` (too-large).
    """
    bom = decode_typed(content, Bom, _WHAT)
    require_version(bom)
    metadata = bom.metadata or Metadata()
    tools = (f"{tool.name} {tool.version or ''}".strip() for tool in metadata.all_tools if tool.name)
    return Sbom(
        format="cyclonedx",
        spec_version=bom.spec_version,
        created_at=parse_time(metadata.timestamp, "the document's metadata.timestamp"),
        tools=tuple(dict.fromkeys(tools)),
        target_digests=target_digests(metadata.component),
        components=tuple(_component(one) for one in all_components(bom, limits)),
    )


def read_cyclonedx_scan(content: bytes, limits: Limits) -> ScanReport | None:
    """The findings in ``content``; None where the document is no scanner's report: it has no ``vulnerabilities``, or
    names no tool but ones that make bills of materials or VEX, or is VEX by its content, or has an empty list of a tool
    that may not have looked.

    One finding for each vulnerability and package that it affects, in however many places. Its severity is the worst of
    all ratings, whatever their source: which one a scanner prefers the format does not say. Without a word the highest
    CVSS score decides.

    Raises:
        EvidenceError: of another version (attestation-unsupported), of another shape (attestation-invalid), or over
            ``sbom_components`` or ``findings`` (too-large).
    """
    bom = decode_typed(content, _ScanBom, _WHAT)
    require_version(bom)
    metadata = bom.metadata or Metadata()
    scanner = _scanner(metadata)
    if bom.vulnerabilities is None or scanner is None or _is_vex(bom):
        return None
    name = (scanner.name or "").lower()
    if not bom.vulnerabilities and name not in _ALWAYS_SCANNING:
        return None
    components = all_components(bom, limits)
    packages = None if bom.components is None else sum(1 for one in components if one.type != "operating-system")
    looked = packages != 0 or bool(bom.vulnerabilities)
    return ScanReport(
        scanner=name,
        scanner_version=scanner.version or "",
        scanned_at=parse_time(metadata.timestamp, "the document's metadata.timestamp"),
        target_digests=target_digests(metadata.component),
        target_image_id=image_id(metadata.component),
        complete=looked,
        incomplete_because="" if looked else "the scanner found no packages to look at",
        vulnerabilities=_findings(bom, by_ref(components, metadata.component), limits),
        format="cyclonedx-json",
        system=_system(components),
        packages=packages,
    )


def _is_vex(bom: _ScanBom) -> bool:
    """Whether it lists no components, and says of each vulnerability what somebody thinks of it."""
    rows = bom.vulnerabilities or ()
    return not bom.components and bool(rows) and all(is_given(row.analysis) for row in rows)


def _scanner(metadata: Metadata) -> Tool | None:
    """The first tool that is no maker of bills of materials: a scanner that reads one names both."""
    return next(
        (tool for tool in metadata.all_tools if tool.name and _NO_SCANNERS.fullmatch(tool.name.lower()) is None), None
    )


def _system(components: Sequence[CdxComponent]) -> ScannedSystem | None:
    systems = (one for one in components if one.type == "operating-system" and one.name)
    return next((ScannedSystem(one.name or "", one.version or "", None) for one in systems), None)


def _findings(bom: _ScanBom, components: Mapping[str, CdxComponent], limits: Limits) -> tuple[Vulnerability, ...]:
    rows = bom.vulnerabilities or []
    require_few_findings(sum(max(len(row.affects or ()), 1) for row in rows), limits)
    budget = TextBudget(limits)
    packages: dict[str, _Affecting] = {}
    found: list[Vulnerability] = []
    for row in rows:
        graded = _graded(row)
        advice = _UPGRADE.findall(row.recommendation) if row.recommendation else ()
        fixes = {name: version.strip() for name, version in advice}
        for affected in row.affects or [_Affected()]:
            ref = local_ref(affected.ref or "", bom)
            if ref not in packages:
                packages[ref] = _affecting(affected.ref or "", components.get(ref))
            finding = _finding(graded, affected, packages[ref], fixes)
            budget.spend_on(finding)
            found.append(finding)
    return each_once(found)


def _finding(graded: _Graded, affected: _Affected, package: _Affecting, fixes: Mapping[str, str]) -> Vulnerability:
    fixed = ", ".join([one.version or one.range or "" for one in affected.versions or () if one.status == "unaffected"])
    if not fixed and fixes:
        fixed = next((fixes[name] for name in package.names if name in fixes), "")
    return Vulnerability(
        id=graded.id,
        aliases=graded.aliases,
        package=package.name,
        purl=package.purl,
        installed=package.version,
        fixed=fixed,
        severity=graded.severity,
        score=graded.score,
        epss=graded.epss,
        path=package.path,
    )


def _affecting(ref: str, component: CdxComponent | None) -> _Affecting:
    if component is None:
        return _Affecting(path=ref)
    name, group = component.name or "", component.group
    values = (one.value for one in component.properties or () if one.name and _PATHS.fullmatch(one.name))
    return _Affecting(
        name=component.full_name,
        names=(name, f"{group}/{name}", f"{group}:{name}") if group else (name,),
        purl=component.purl or "",
        version=component.version or "",
        path=next((value for value in values if value), ""),
    )


def _graded(row: _Vulnerability) -> _Graded:
    if not row.id:
        raise ReportError("a vulnerability of the CycloneDX document has no id")
    severity, newer, older, epss = Severity.UNKNOWN, None, None, None
    for rating in row.ratings or ():
        if rating.severity and RANK[worse := severity_of(rating.severity)] < RANK[severity]:
            severity = worse
        score, method = rating.score, rating.method or ""
        if score is None:
            continue
        if method.startswith("CVSSv2"):
            older = _highest(older, score)
        elif method.startswith("CVSSv"):
            newer = _highest(newer, score)
        elif epss is None and _is_epss(rating.source, score):
            epss = score
    score = newer if newer is not None else older
    return _Graded(
        id=row.id,
        aliases=other_names(row.id, (one.id for one in row.references or ())),
        severity=severity_of_score(score) if severity is Severity.UNKNOWN and score is not None else severity,
        score=score,
        epss=epss,
    )


def _highest(known: float | None, score: float) -> float | None:
    """Of CVSS scores; what is none is passed over."""
    return score if 0 <= score <= 10 and (known is None or score > known) else known


def _is_epss(source: _Source | None, score: float) -> bool:
    return source is not None and (source.url or "").startswith(_EPSS) and 0 <= score <= 1


def _component(component: CdxComponent) -> Component:
    return Component(
        name=component.full_name,
        version=component.version or "",
        purl=component.purl or "",
        type=component.type or "",
        licenses=tuple(_licenses(component.licenses or ())),
    )


def _licenses(choices: Sequence[LicenseChoice]) -> Iterator[str]:
    for choice in choices:
        license = choice.license or License()  # noqa: A001
        text = choice.expression or license.id or license.name
        if text:
            yield text
