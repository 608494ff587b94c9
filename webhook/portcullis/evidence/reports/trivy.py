"""Trivy's JSON report of a container image (``trivy image --format json``), schema version 2.

What it cannot tell: a scan with ``--severity``, ``--ignore-unfixed`` or an ignore file gives a shorter report of
the same shape. Only who signs it can vouch for how it was made.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from portcullis.evidence.decode import as_list, as_object, as_text
from portcullis.evidence.refusal import ATTESTATION_UNSUPPORTED, TOO_LARGE, ReportError, shown
from portcullis.evidence.times import parse_time
from portcullis.limits import Limits
from portcullis.model.evidence import ScanReport, Severity, Vulnerability
from portcullis.model.image import Digest, Platform
from portcullis.model.json import JSONObject

_SEVERITIES: Mapping[object, Severity] = MappingProxyType(
    {
        "CRITICAL": Severity.CRITICAL,
        "HIGH": Severity.HIGH,
        "MEDIUM": Severity.MEDIUM,
        "LOW": Severity.LOW,
        "UNKNOWN": Severity.UNKNOWN,
    }
)
_WORST_FIRST = tuple(Severity)
_PACKAGE_CLASSES = frozenset({"os-pkgs", "lang-pkgs", ""})
"""Results of a package scan; reports before 0.20 name no class."""
_OTHER_FINDINGS = frozenset({"misconfiguration", "secret", "license"})
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")


def is_trivy(document: JSONObject) -> bool:
    """Whether it is a Trivy report, of whatever schema and artifact."""
    return "SchemaVersion" in document and ("Results" in document or "ArtifactType" in document)


def parse_trivy(document: JSONObject, limits: Limits) -> ScanReport:
    """Trivy's report in the one normal form. Findings are unique by id, package and installed version.

    Raises:
        ReportError (an EvidenceError, as every error here): another schema or artifact (attestation-unsupported),
            a shape that is not Trivy's (attestation-invalid), too many findings (too-large).
    """
    _check_kind(document)
    metadata = _optional_object(document.get("Metadata"), "Metadata")
    results = [as_object(result, "a result") for result in _optional_list(document.get("Results"), "Results")]
    looked = bool(_text(_optional_object(metadata.get("OS"), "Metadata.OS"), "Family")) or any(
        _text(result, "Class") in _PACKAGE_CLASSES for result in results
    )
    return ScanReport(
        scanner="trivy",
        scanner_version=_text(_optional_object(document.get("Trivy"), "Trivy"), "Version"),
        db_built_at=None,
        scanned_at=parse_time(document.get("CreatedAt"), "CreatedAt"),
        target_digests=_repo_digests(metadata),
        target_image_id=image_id if _DIGEST.fullmatch(image_id := _text(metadata, "ImageID")) else "",
        platform=_platform(metadata),
        suppressed=sum(_suppressed(result) for result in results),
        complete=looked,
        incomplete_because="" if looked else "the scanner found no operating system and no packages to look at",
        vulnerabilities=_findings(results, limits),
    )


def _check_kind(document: JSONObject) -> None:
    version = document.get("SchemaVersion")
    if type(version) is not int or version != 2:
        raise ReportError(
            f"the Trivy report is of schema version {shown(version)}; version 2 is supported", ATTESTATION_UNSUPPORTED
        )
    artifact = document.get("ArtifactType")
    if artifact != "container_image":
        raise ReportError(
            f"the Trivy report is of a {shown(artifact)}, not of a container image", ATTESTATION_UNSUPPORTED
        )


def _findings(results: Sequence[JSONObject], limits: Limits) -> tuple[Vulnerability, ...]:
    found: dict[tuple[str, str, str], Vulnerability] = {}
    for count, row in enumerate(_rows(results), start=1):
        if count > limits.findings:
            raise ReportError(f"the report has more findings than the limit findings ({limits.findings})", TOO_LARGE)
        finding = _finding(row)
        key = (finding.id, finding.package, finding.installed)
        known = found.get(key)
        found[key] = finding if known is None else _worst_of(known, finding)
    return tuple(found.values())


def _rows(results: Sequence[JSONObject]) -> Iterator[JSONObject]:
    for result in results:
        for row in _optional_list(result.get("Vulnerabilities"), "Vulnerabilities"):
            yield as_object(row, "a vulnerability")


def _finding(row: JSONObject) -> Vulnerability:
    return Vulnerability(
        id=_required(row, "VulnerabilityID"),
        aliases=tuple(as_text(alias, "a VendorID") for alias in _optional_list(row.get("VendorIDs"), "VendorIDs")),
        package=_required(row, "PkgName"),
        purl=_text(_optional_object(row.get("PkgIdentifier"), "PkgIdentifier"), "PURL"),
        installed=_text(row, "InstalledVersion"),
        fixed=_text(row, "FixedVersion"),
        severity=_SEVERITIES.get(_text(row, "Severity"), Severity.UNKNOWN),
        score=_score(row),
        state=_text(row, "Status"),
    )


def _worst_of(one: Vulnerability, other: Vulnerability) -> Vulnerability:
    """Of two rows of one finding (one package in two places) the more severe, and a fix that either knows: so
    that neither a limit for severities nor one for fixable findings is passed by order."""
    worse, better = sorted((one, other), key=lambda finding: _WORST_FIRST.index(finding.severity))
    return worse if worse.fixed or not better.fixed else replace(worse, fixed=better.fixed, state=better.state)


def _score(row: JSONObject) -> float | None:
    """The CVSS score of the source that the severity was taken from, else the highest of any source; of one
    source that of the newest CVSS version."""
    sources = _optional_object(row.get("CVSS"), "CVSS")
    scores = {name: _newest_score(as_object(entry, "a CVSS entry")) for name, entry in sources.items()}
    chosen = scores.get(_text(row, "SeveritySource"))
    return (
        chosen if chosen is not None else max((score for score in scores.values() if score is not None), default=None)
    )


def _newest_score(entry: JSONObject) -> float | None:
    for version in ("V40Score", "V3Score", "V2Score"):
        score = entry.get(version)
        if isinstance(score, int | float) and not isinstance(score, bool) and 0 <= score <= 10:
            return float(score)
    return None


def _suppressed(result: JSONObject) -> int:
    rows = _optional_list(result.get("ExperimentalModifiedFindings"), "ExperimentalModifiedFindings")
    return sum(_text(as_object(row, "a modified finding"), "Type") not in _OTHER_FINDINGS for row in rows)


def _repo_digests(metadata: JSONObject) -> tuple[Digest, ...]:
    """Digests of ``repository@digest`` entries. Entries without one (a local build has "") bind nothing."""
    entries = _optional_list(metadata.get("RepoDigests"), "Metadata.RepoDigests")
    digests = (as_text(entry, "an entry of RepoDigests").rpartition("@")[2] for entry in entries)
    return tuple(dict.fromkeys(Digest(digest) for digest in digests if _DIGEST.fullmatch(digest)))


def _platform(metadata: JSONObject) -> Platform | None:
    config = _optional_object(metadata.get("ImageConfig"), "Metadata.ImageConfig")
    system, architecture = _text(config, "os"), _text(config, "architecture")
    return Platform(system, architecture, _text(config, "variant")) if system and architecture else None


def _optional_object(value: object, what: str) -> JSONObject:
    return {} if value is None else as_object(value, what)


def _optional_list(value: object, what: str) -> Sequence[object]:
    return () if value is None else as_list(value, what)


def _text(document: JSONObject, key: str) -> str:
    value = document.get(key)
    return "" if value is None else as_text(value, key)


def _required(row: JSONObject, key: str) -> str:
    value = _text(row, key)
    if not value:
        raise ReportError(f"a vulnerability of the report has no {key}")
    return value
