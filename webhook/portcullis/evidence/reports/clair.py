"""Clair v4's vulnerability report (``GET /matcher/api/v1/vulnerability_report/<digest>``; quay.github.io/clair).

It has no time of the scan, none of the database and no version of Clair: these come from what is signed around it.

Findings are the pairs of ``package_vulnerabilities``; ``vulnerabilities`` also has entries that are there to say that
a package is not affected. Names are free text, so that ids are looked for in them. Where a name is that of an advisory
about several CVEs, these are no other names of it: a VEX statement about one of them must not clear the others.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar
from urllib.parse import parse_qs

import msgspec

from portcullis.evidence.decode import decode_typed
from portcullis.evidence.refusal import ATTESTATION_UNSUPPORTED, ReportError, shown
from portcullis.evidence.reports.findings import CVE, other_names, require_few_findings, unique
from portcullis.evidence.reports.following import TextBudget
from portcullis.evidence.reports.given import is_given
from portcullis.evidence.reports.imagenames import digests_in
from portcullis.evidence.reports.severity import RANK, severity_of, severity_of_score
from portcullis.limits import Limits
from portcullis.model.evidence import ScannedSystem, ScanReport, Severity, Vulnerability

_WHAT = "the Clair report"
_ID = re.compile(
    r"\b(?:CVE-\d{4}-\d{4,}|GHSA(?:-[0-9a-z]{4}){3}|RH[SBE]A-\d{4}:\d+|ELSA-\d{4}-\d+|ALAS\d*(?:[A-Z]+-)?-?\d{4}-\d+"
    r"|(?:open)?SUSE-[SRO]U-\d{4}:[\d-]+|D[SL]A-\d+(?:-\d+)?|USN-\d+(?:-\d+)?|GO-\d{4}-\d+|P(?:YSEC|VE)-\d{4}-\d+"
    r"|RUSTSEC-\d{4}-\d+|pyup\.io-\d+|TEMP-[0-9A-F]+-[0-9A-F]+)\b",
    re.ASCII | re.IGNORECASE,
)
_NAME_CHARS = 1000
"""More of a name or its links is not searched."""
_LINKS_CHARS = 20_000
_NO_FIX = frozenset({"", "0", "0:0"})
"""``0:0`` is what Debian's old OVAL files give where nothing is fixed."""
_MOST_VALUES = 10
_USE_V4 = "use Clair v4 (clairctl report --out json)"

_Item = TypeVar("_Item")


class _Package(msgspec.Struct, gc=False):
    name: str | None = None
    version: str | None = None


class _Vulnerability(msgspec.Struct, gc=False):
    name: str | None = None
    links: str | None = None
    severity: str | None = msgspec.field(default=None, name="normalized_severity")
    fixed: str | None = msgspec.field(default=None, name="fixed_in_version")
    package: _Package | None = None


class _Distribution(msgspec.Struct):
    did: str | None = None
    name: str | None = None
    version_id: str | None = None


class _Report(msgspec.Struct):
    pairs: dict[str, list[str] | None] | None = msgspec.field(name="package_vulnerabilities")
    manifest_hash: str | None = None
    packages: dict[str, _Package] | None = None
    distributions: dict[str, _Distribution] | None = None
    vulnerabilities: dict[str, _Vulnerability] | None = None
    enrichments: dict[str, msgspec.Raw] | None = None


class _Cvss(msgspec.Struct, gc=False):
    score: float | None = msgspec.field(default=None, name="baseScore")
    severity: str | None = msgspec.field(default=None, name="baseSeverity")


class _Epss(msgspec.Struct, gc=False):
    epss: float | None = None


class _Entry(msgspec.Struct, gc=False):
    """Only its presence counts."""


class _Enriched(msgspec.Struct):
    """What Clair's enrichers say, by the key of the vulnerability; None where an enricher did not run."""

    cvss: Mapping[str, Sequence[_Cvss]] | None = None
    epss: Mapping[str, Sequence[_Epss]] | None = None
    exploited: Mapping[str, Sequence[_Entry]] | None = None


class _Probe(msgspec.Struct):
    """Which of Clair's forms it is: the typed reading of one refuses the others."""

    layer: msgspec.Raw = msgspec.field(default=msgspec.Raw(b""), name="Layer")
    layer_count: msgspec.Raw = msgspec.field(default=msgspec.Raw(b""), name="LayerCount")
    unapproved: msgspec.Raw = msgspec.Raw(b"")


def read_clair(content: bytes, limits: Limits) -> ScanReport:
    """Clair's report in the one normal form. Findings are unique by id, package and installed version.

    A severity that Clair does not know, as all of Debian's are, is that of the CVSS score with which Clair enriched the
    report, where it did. Not complete is a report without a package.

    Raises:
        EvidenceError: of the older forms, of Clair v1, klar and clair-scanner (attestation-unsupported); a shape that
            is not Clair's, or a pair of which one side is missing (attestation-invalid); too many findings, or more
            text in all than ``document_bytes`` (too-large).
    """
    _refuse_old(decode_typed(content, _Probe, _WHAT))
    report = decode_typed(content, _Report, _WHAT)
    if not report.manifest_hash:
        raise ReportError("the Clair report has no manifest_hash")
    pairs, packages = report.pairs or {}, report.packages or {}
    require_few_findings(sum(len(keys or ()) for keys in pairs.values()), limits)
    enriched = _enriched(report.enrichments or {})
    system = next(iter((report.distributions or {}).values()), None)
    return ScanReport(
        scanner="clair",
        target_digests=digests_in([report.manifest_hash]),
        complete=bool(packages),
        incomplete_because="" if packages else "the scanner found no packages to look at",
        vulnerabilities=unique(_bounded(_findings(pairs, packages, report.vulnerabilities or {}, enriched), limits)),
        format="clair-json",
        system=ScannedSystem(system.did or system.name or "", system.version_id or "", None) if system else None,
        packages=len(packages),
    )


def _refuse_old(probe: _Probe) -> None:
    if is_given(probe.layer):
        form = "the API of Clair v1 and v2"
    elif is_given(probe.layer_count):
        form = "klar"
    elif is_given(probe.unapproved):
        form = "clair-scanner"
    else:
        return
    raise ReportError(f"the report is in the form of {form}, which is not read: {_USE_V4}", ATTESTATION_UNSUPPORTED)


def _enriched(enrichments: Mapping[str, msgspec.Raw]) -> _Enriched:
    """By the name of the enricher; the schema in the rest of the key changed between versions."""
    found = _Enriched()
    for key, raw in enrichments.items():
        words = key.replace(";", " ").split()
        if "enricher=clair.cvss" in words:
            found.cvss = _merged(raw, _Cvss)
        elif "enricher=clair.epss" in words:
            found.epss = _merged(raw, _Epss)
        elif "enricher=clair.kev" in words:
            found.exploited = _merged(raw, _Entry)
    return found


def _merged(raw: msgspec.Raw, kind: type[_Item]) -> Mapping[str, Sequence[_Item]]:
    """One mapping of the several that a list of enrichments may have."""
    shape: type[list[dict[str, list[_Item]]]] = list[dict[str, list[kind]]]  # type: ignore[valid-type]
    merged: dict[str, list[_Item]] = {}
    for group in decode_typed(bytes(raw), shape, "an enrichment of the Clair report"):
        for key, items in group.items():
            merged.setdefault(key, []).extend(items)
    return merged


def _bounded(findings: Iterable[Vulnerability], limits: Limits) -> Iterator[Vulnerability]:
    """Many pairs may name one long text."""
    budget = TextBudget(limits)
    for finding in findings:
        budget.spend_on(finding)
        yield finding


def _findings(
    pairs: Mapping[str, Sequence[str] | None],
    packages: Mapping[str, _Package],
    vulnerabilities: Mapping[str, _Vulnerability],
    enriched: _Enriched,
) -> Iterator[Vulnerability]:
    named: dict[str, tuple[str, tuple[str, ...]]] = {}
    for package_key, keys in pairs.items():
        package = packages.get(package_key)
        if package is None:
            raise ReportError(f"package_vulnerabilities names the package {shown(package_key)}, which is not there")
        for key in keys or ():
            row = vulnerabilities.get(key)
            if row is None:
                raise ReportError(f"package_vulnerabilities names the vulnerability {shown(key)}, which is not there")
            if key not in named:
                named[key] = _names(row)
            yield _finding(key, row, package, named[key], enriched)


def _finding(
    key: str, row: _Vulnerability, package: _Package, names: tuple[str, tuple[str, ...]], enriched: _Enriched
) -> Vulnerability:
    cvss = enriched.cvss.get(key, ()) if enriched.cvss else ()
    epss = enriched.epss.get(key, ()) if enriched.epss else ()
    severity = severity_of(row.severity)
    return Vulnerability(
        id=names[0],
        aliases=names[1],
        package=package.name or (row.package or _Package()).name or "",
        installed=package.version or "",
        fixed=_fixed(row.fixed) if row.fixed else "",
        severity=_of_cvss(cvss) if severity is Severity.UNKNOWN else severity,
        score=_highest([one.score for one in cvss], 10) if cvss else None,
        exploited=None if enriched.exploited is None else bool(enriched.exploited.get(key)),
        epss=_highest([one.epss for one in epss], 1) if epss else None,
    )


def _highest(numbers: Sequence[float | None], most: float) -> float | None:
    return max((number for number in numbers if number is not None and 0 <= number <= most), default=None)


def _of_cvss(cvss: Sequence[_Cvss]) -> Severity:
    """The worst of the severities, of CVSS 2, which has none, by its score."""
    found = [severity_of(one.severity) if one.severity else _of_score(one.score) for one in cvss]
    return min(found, key=RANK.__getitem__, default=Severity.UNKNOWN)


def _of_score(score: float | None) -> Severity:
    return Severity.UNKNOWN if score is None else severity_of_score(score)


def _names(row: _Vulnerability) -> tuple[str, tuple[str, ...]]:
    """The id, and other names of the same.

    The id is the CVE in the name if there is one alone, else the first other id in it, else the name itself.
    """
    name = (row.name or "").strip()
    if not name:
        raise ReportError("a vulnerability of the Clair report has no name")
    in_name, in_links = _ids(name[:_NAME_CHARS]), _ids((row.links or "")[:_LINKS_CHARS])
    if len(in_name) == 1 and in_links in ([], in_name):
        return in_name[0], ()
    named_cves = [one for one in in_name if CVE.fullmatch(one)]
    own = named_cves[0] if len(named_cves) == 1 else next((one for one in in_name if one not in named_cves), name)
    return own, other_names(own, (*in_name, *in_links))


def _ids(text: str) -> list[str]:
    found = _ID.findall(text)
    return found if len(found) < 2 else list(dict.fromkeys(found))


def _fixed(version: str) -> str:
    """The fixed version; for packages of languages it is one of several values in the form of a query."""
    if "=" in version:
        try:
            values = parse_qs(version, max_num_fields=_MOST_VALUES)
        except ValueError:
            return version
        version = values.get("fixed", [""])[0]
    return "" if version in _NO_FIX else version
