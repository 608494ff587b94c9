"""Grype's JSON report (``grype IMAGE -o json``), with the databases of schema 1 to 6.

Grype records how it was run, so that what it was told to leave out can be told: see :func:`_filters`. Rules that it
always has, for headers of the kernel, which are no kernel, leave out nothing by anybody's choice and do not count.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from portcullis.evidence.decode import decode_typed
from portcullis.evidence.refusal import ATTESTATION_UNSUPPORTED, ReportError, shown
from portcullis.evidence.reports.findings import other_names, require_few_findings, unique
from portcullis.evidence.reports.given import decode_given
from portcullis.evidence.reports.imagenames import digest_in, digests_in
from portcullis.evidence.reports.severity import severity_of
from portcullis.evidence.times import oldest, parse_date, parse_time
from portcullis.limits import Limits
from portcullis.model.evidence import ScannedSystem, ScanReport, Suppression, Vulnerability
from portcullis.model.image import Platform

_WHAT = "the Grype report"
_FIXED = "fixed"
_IMAGE = "image"
_SAYS_NOTHING = frozenset({"", "unknown"})
_WIDE_SCOPES = frozenset({"squashed", "all-layers", "alllayers", "deep-squashed", "deepsquashed"})
"""``squashed`` is the default: the files that a container sees. The others look at more."""
_VERSION_NOT_SAID = "(not said)"
_BUILT_IN_RULES = frozenset(
    {
        ("rpm", "kernel-headers", "kernel"),
        ("deb", "linux(-.*)?-headers-.*", "linux.*"),
        ("deb", "linux-libc-dev", "linux"),
        ("deb", "linux-kbuild-.*", "linux.*"),
    }
)
_BUILT_IN_MATCH = "exact-indirect-match"


class _Metrics(msgspec.Struct, gc=False):
    score: float | None = msgspec.field(default=None, name="baseScore")


class _Cvss(msgspec.Struct, gc=False):
    metrics: _Metrics | None = None


class _Epss(msgspec.Struct, gc=False):
    epss: float | None = None


class _Available(msgspec.Struct, gc=False):
    date: str | None = None


class _Fix(msgspec.Struct, gc=False):
    versions: list[str] | None = None
    state: str | None = None
    available: list[_Available] | None = None


class _Entry(msgspec.Struct, gc=False):
    """Only its presence counts."""


class _Vulnerability(msgspec.Struct, gc=False):
    id: str | None = None
    severity: str | None = None
    fix: _Fix | None = None
    fixed_in: str | None = msgspec.field(default=None, name="fixedInVersion")
    """Where Grype before 0.13 had the fix."""
    cvss: list[_Cvss] | None = None
    epss: list[_Epss] | None = None
    exploited: list[_Entry] | None = msgspec.field(default=None, name="knownExploited")


class _Location(msgspec.Struct, gc=False):
    path: str | None = None


class _Artifact(msgspec.Struct, gc=False):
    name: str | None = None
    version: str | None = None
    purl: str | None = None
    locations: list[_Location] | None = None


class _Match(msgspec.Struct, gc=False):
    vulnerability: _Vulnerability | None = None
    related: list[_Vulnerability] | None = msgspec.field(default=None, name="relatedVulnerabilities")
    artifact: _Artifact | None = None


class _RulePackage(msgspec.Struct):
    name: str = ""
    version: str = ""
    language: str = ""
    type: str = ""
    location: str = ""
    upstream: str = msgspec.field(default="", name="upstream-name")


class _Rule(msgspec.Struct):
    vulnerability: str = ""
    reason: str = ""
    namespace: str = ""
    fix_state: str = msgspec.field(default="", name="fix-state")
    package: _RulePackage | None = None
    vex_status: str = msgspec.field(default="", name="vex-status")
    vex_justification: str = msgspec.field(default="", name="vex-justification")
    match_type: str = msgspec.field(default="", name="match-type")

    @property
    def built_in(self) -> bool:
        package = self.package or _RulePackage()
        narrower = (self.vulnerability, self.namespace, self.fix_state, self.vex_status, self.vex_justification)
        return (
            (package.type, package.name, package.upstream) in _BUILT_IN_RULES
            and self.match_type == _BUILT_IN_MATCH
            and not any(narrower)
        )

    @property
    def words(self) -> str:
        package = self.package or _RulePackage()
        named = {
            "vulnerability": self.vulnerability,
            "namespace": self.namespace,
            "fix-state": self.fix_state,
            "package": package.name,
            "version": package.version,
            "type": package.type,
            "location": package.location,
            "vex-status": self.vex_status,
            "vex-justification": self.vex_justification,
            "match-type": self.match_type,
            "reason": self.reason,
        }
        return ", ".join(f"{name} {value}" for name, value in named.items() if value)


class _Ignored(_Match, gc=False):
    rules: list[_Rule] | None = msgspec.field(default=None, name="appliedIgnoreRules")

    @property
    def by_choice(self) -> bool:
        return not self.rules or not all(rule.built_in for rule in self.rules)


class _Search(msgspec.Struct):
    scope: str | None = None


class _Configuration(msgspec.Struct):
    only_fixed: bool | None = msgspec.field(default=None, name="only-fixed")
    only_not_fixed: bool | None = msgspec.field(default=None, name="only-notfixed")
    ignored_states: str | None = msgspec.field(default=None, name="ignore-wontfix")
    """What ``--ignore-states`` was given, under this name."""
    exclude: list[str] | None = None
    ignore: list[_Rule] | None = None
    vex_documents: list[str] | None = msgspec.field(default=None, name="vex-documents")
    search: _Search | None = None
    scope: str | None = None


class _Status(msgspec.Struct):
    built: str | None = None
    error: Any = None


class _Database(_Status):
    """Up to schema 5 the fields themselves, in schema 6 below ``status``."""

    status: _Status | None = None
    providers: dict[str, _Entry] | None = None


class _Descriptor(msgspec.Struct):
    version: str | None = None
    timestamp: str | None = None
    configuration: _Configuration | None = None
    database: _Database | None = msgspec.field(default=None, name="db")


class _Target(msgspec.Struct):
    image_id: str | None = msgspec.field(default=None, name="imageID")
    manifest_digest: str | None = msgspec.field(default=None, name="manifestDigest")
    repo_digests: list[str] | None = msgspec.field(default=None, name="repoDigests")
    os: str | None = None
    architecture: str | None = None
    variant: str | None = None


class _Source(msgspec.Struct):
    type: str | None = None
    target: msgspec.Raw = msgspec.Raw(b"")
    """An object for an image, a text for everything else."""


class _Distro(msgspec.Struct):
    name: str | None = None
    version: str | None = None


class _Report(msgspec.Struct):
    matches: list[_Match] | None
    ignored: list[_Ignored] | None = msgspec.field(default=None, name="ignoredMatches")
    source: _Source | None = None
    distro: _Distro | None = None
    descriptor: _Descriptor | None = None


def read_grype(content: bytes, limits: Limits) -> ScanReport:
    """Grype's report in the one normal form. Findings are unique by id, package and version.

    ``fix.state`` alone says whether there is a fix, whatever versions stand beside it. A GHSA's CVE is an alias, and
    what is known of it (CVSS, EPSS, known exploited) counts where the finding itself has none. Not complete is a report
    with filters, one with an error of the database, and one that has no distribution and no match.

    Raises:
        EvidenceError: a report of something that is no image (attestation-unsupported), a shape that is not Grype's
            (attestation-invalid), too many findings (too-large).
    """
    report = decode_typed(content, _Report, _WHAT)
    matches, descriptor = report.matches or (), report.descriptor or _Descriptor()
    require_few_findings(len(matches), limits)
    target = _target(report.source or _Source())
    database = descriptor.database or _Database()
    status = database.status or database
    filters = tuple(_filters(descriptor.configuration or _Configuration()))
    distro = report.distro or _Distro()
    because = "; ".join(_gaps(filters, status, looked=bool(distro.name or matches or report.ignored)))
    ignored = [match for match in report.ignored or () if match.by_choice]
    findings = _Findings(exploits_known="kev" in (database.providers or {}))
    return ScanReport(
        scanner="grype",
        scanner_version=descriptor.version or "",
        db_built_at=parse_time(status.built, "descriptor.db.built"),
        scanned_at=parse_time(descriptor.timestamp, "descriptor.timestamp"),
        target_digests=digests_in((target.manifest_digest, *(target.repo_digests or ()))),
        target_image_id=digest_in(target.image_id) or "",
        platform=Platform(target.os, target.architecture, target.variant or "")
        if target.os and target.architecture
        else None,
        suppressed=len(ignored),
        complete=not because,
        incomplete_because=because,
        vulnerabilities=unique([findings.of(match) for match in matches]),
        format="grype-json",
        suppressions=tuple(_suppression(match) for match in ignored[: limits.suppressions]),
        filters=filters,
        system=ScannedSystem(distro.name, distro.version or "", None) if distro.name else None,
    )


def _target(source: _Source) -> _Target:
    kind = source.type or ""
    if kind == _IMAGE:
        return decode_given(source.target, _Target, "source.target of the Grype report") or _Target()
    if kind not in _SAYS_NOTHING:
        raise ReportError(f"the Grype report is of a {shown(kind)}, not of an image", ATTESTATION_UNSUPPORTED)
    return _Target()


def _filters(configuration: _Configuration) -> Iterator[str]:
    """Settings with which Grype leaves findings out, by their names in its configuration."""
    scope = (configuration.search or _Search()).scope or configuration.scope or ""
    told: Mapping[str, object] = {
        "only-fixed": configuration.only_fixed,
        "only-notfixed": configuration.only_not_fixed,
        "ignore-states": configuration.ignored_states,
        "exclude": configuration.exclude,
        "ignore": any(not rule.built_in for rule in configuration.ignore or ()),
        "vex-documents": configuration.vex_documents,
        "search.scope": scope and scope.lower() not in _WIDE_SCOPES,
    }
    for name, value in told.items():
        if value:
            yield name


def _gaps(filters: Sequence[str], status: _Status, *, looked: bool) -> Iterator[str]:
    if filters:
        yield f"Grype was told to leave findings out ({', '.join(filters)})"
    if status.error:
        yield f"Grype's database had an error: {shown(status.error)}"
    if not looked:
        yield "the scanner found no distribution and no vulnerability, so that it may have found no package to look at"


class _Findings:
    """Makes findings of matches.

    Args:
        exploits_known: whether the database has the list of what is exploited.
    """

    def __init__(self, *, exploits_known: bool) -> None:
        self._not_listed = False if exploits_known else None
        self._dates: dict[str | None, datetime | None] = {}

    def of(self, match: _Match) -> Vulnerability:
        vulnerability, artifact, related = match.vulnerability, match.artifact, match.related
        if vulnerability is None or not vulnerability.id:
            raise ReportError("a match of the Grype report has no vulnerability.id")
        if artifact is None or not artifact.name:
            raise ReportError("a match of the Grype report has no artifact.name")
        about = (vulnerability, *related) if related else (vulnerability,)
        fixed, state = _fixed(vulnerability)
        # By position: names double the time of ten thousand calls.
        return Vulnerability(
            vulnerability.id,
            other_names(vulnerability.id, [one.id for one in related]) if related else (),
            artifact.name,
            artifact.purl or "",
            artifact.version or "",
            fixed,
            severity_of(vulnerability.severity),
            _score(about),
            state,
            (artifact.locations[0].path or "") if artifact.locations else "",
            self._exploited(about),
            _epss(about),
            self._available(vulnerability.fix) if fixed else None,
        )

    def _exploited(self, about: Sequence[_Vulnerability]) -> bool | None:
        for vulnerability in about:
            if vulnerability.exploited:
                return True
        return self._not_listed

    def _available(self, fix: _Fix | None) -> datetime | None:
        """When the first fix was published. A report has few dates, which are parsed once each."""
        if fix is None or not fix.available:
            return None
        for one in fix.available:
            if one.date not in self._dates:
                self._dates[one.date] = parse_date(one.date, "fix.available.date")
        return oldest(*[self._dates[one.date] for one in fix.available])


def _fixed(vulnerability: _Vulnerability) -> tuple[str, str]:
    """The fixed versions, and Grype's word."""
    fix = vulnerability.fix
    if fix is None:
        return vulnerability.fixed_in or "", _FIXED if vulnerability.fixed_in else ""
    if fix.state != _FIXED:
        return "", fix.state or ""
    return ", ".join(fix.versions) if fix.versions else _VERSION_NOT_SAID, _FIXED


def _score(about: Sequence[_Vulnerability]) -> float | None:
    """The highest score of the finding itself, else of its other names."""
    highest: float | None = None
    for vulnerability in about:
        for cvss in vulnerability.cvss or ():
            score = None if cvss.metrics is None else cvss.metrics.score
            if score is not None and 0 <= score <= 10 and (highest is None or score > highest):
                highest = score
        if highest is not None:
            return highest
    return None


def _epss(about: Sequence[_Vulnerability]) -> float | None:
    highest: float | None = None
    for vulnerability in about:
        for one in vulnerability.epss or ():
            epss = one.epss
            if epss is not None and 0 <= epss <= 1 and (highest is None or epss > highest):
                highest = epss
        if highest is not None:
            return highest
    return None


def _suppression(match: _Ignored) -> Suppression:
    rules = [rule.words for rule in match.rules or () if not rule.built_in]
    return Suppression(
        id=(match.vulnerability or _Vulnerability()).id or "",
        package=(match.artifact or _Artifact()).name or "",
        why="; ".join(rules),
    )
