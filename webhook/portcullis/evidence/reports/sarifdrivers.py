"""What each scanner puts into SARIF beyond the standard: properties of rules, and texts of a fixed form.

A text is read only where all of it has that form: names and versions of packages come from the image, whose author
must not be able to write another severity with a line break. And a severity by word counts only where it fits the
``level`` of the result, which the tool writes apart from it.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

import msgspec

from portcullis.evidence.reports.given import decode_given
from portcullis.evidence.reports.severity import cvss_score, severity_of
from portcullis.model.evidence import Severity, Vulnerability

_BY_LEVEL: Mapping[str, Severity] = {
    # An error is a high or a critical one, a note a low one or one that nobody has graded; what is of no level is not
    # graded by definition (paragraph 3.27.10).
    "error": Severity.CRITICAL,
    "warning": Severity.MEDIUM,
    "note": Severity.LOW,
    "none": Severity.UNKNOWN,
}
_FITTING: Mapping[str, frozenset[Severity]] = {
    "error": frozenset({Severity.CRITICAL, Severity.HIGH}),
    "warning": frozenset({Severity.CRITICAL, Severity.HIGH, Severity.MEDIUM, Severity.UNKNOWN}),
}
"""Words that count beside a level; beside others all do."""
_DEFAULT_LEVEL = "warning"

_TRIVY_RESULT = re.compile(
    r"Package: ([^\n]*)\nInstalled Version: ([^\n]*)\nVulnerability ([^\n]*)\nSeverity: (\w*)\n"
    r"Fixed Version: ([^\n]*)\nLink: [^\n]*"
)
_TRIVY_OTHERS = frozenset({"Misconfiguration", "Secret", "License"})
"""Names of Trivy's rules that are not about vulnerabilities."""
_GRYPE_RULE = re.compile(
    r"Vulnerability ([^\n]*)\nSeverity: (\w*)\nPackage: ([^\n]*)\nVersion: ([^\n]*)\nFix Version: ([^\n]*)\n"
    r"Type: [^\n]*\nLocation: [^\n]*\nData Namespace: [^\n]*\nLink: [^\n]*"
)
_GRYPE_RESULT = re.compile(r"An? (\w+) vulnerability in \S* package: ([^\n,]*), version ([^\s,]+) was found [^\n]*")
_SCOUT_NOT_FIXED = "not fixed"
_GRADES = frozenset({"CRITICAL", "HIGH", "MEDIUM", "LOW", "UNKNOWN", "UNSPECIFIED"})
_DISTRIBUTIONS = frozenset({"deb", "rpm", "apk", "alpm"})
"""Types of package URLs whose namespace is the vendor."""


class Text(msgspec.Struct, gc=False):
    text: str | None = None


class _Configuration(msgspec.Struct, gc=False):
    level: str | None = None


class Rule(msgspec.Struct, gc=False):
    """``properties`` are any JSON; each scanner has its own."""

    id: str | None = None
    name: str | None = None
    help: Text | None = None
    configuration: _Configuration | None = msgspec.field(default=None, name="defaultConfiguration")
    properties: msgspec.Raw = msgspec.Raw()


class RuleReference(msgspec.Struct, gc=False):
    id: str | None = None
    index: int | None = None


class _Artifact(msgspec.Struct, gc=False):
    uri: str | None = None


class _Region(msgspec.Struct, gc=False):
    line: int | None = msgspec.field(default=None, name="startLine")


class _Physical(msgspec.Struct, gc=False):
    artifact: _Artifact | None = msgspec.field(default=None, name="artifactLocation")
    region: _Region | None = None


class _Location(msgspec.Struct, gc=False):
    physical: _Physical | None = msgspec.field(default=None, name="physicalLocation")


class SarifSuppression(msgspec.Struct, gc=False):
    kind: str | None = None
    status: str | None = None
    justification: str | None = None


class Result(msgspec.Struct, gc=False):
    rule_id: str | None = msgspec.field(default=None, name="ruleId")
    rule_index: int | None = msgspec.field(default=None, name="ruleIndex")
    rule: RuleReference | None = None
    level: str | None = None
    kind: str | None = None
    message: Text | None = None
    locations: list[_Location] | None = None
    suppressions: list[SarifSuppression] | None = None

    @property
    def text(self) -> str:
        return self.message.text or "" if self.message is not None else ""

    @property
    def _place(self) -> _Physical:
        location = self.locations[0] if self.locations else _Location()
        return location.physical or _Physical()

    @property
    def uri(self) -> str:
        artifact = self._place.artifact
        return artifact.uri or "" if artifact is not None else ""

    @property
    def line(self) -> int | None:
        region = self._place.region
        return region.line if region is not None else None

    def level_by(self, rule: Rule) -> str:
        """Its level, else its rule's, else ``warning`` (paragraph 3.27.10)."""
        configured = rule.configuration.level if rule.configuration is not None else None
        return self.level or configured or _DEFAULT_LEVEL


class _Properties(msgspec.Struct, gc=False):
    """Those of Docker Scout, Trivy and Grype together."""

    severity: str | None = msgspec.field(default=None, name="cvssV3_severity")
    score: float | str | None = msgspec.field(default=None, name="cvssV3")
    base_score: float | str | None = msgspec.field(default=None, name="cvssv3_baseScore")
    fixed: str | None = msgspec.field(default=None, name="fixed_version")
    purl: str | None = None
    purls: list[str] | None = None
    tags: list[str] | None = None


@dataclass(frozen=True, slots=True)
class RuleFacts:
    """What a rule says of its vulnerability and of one package that has it; "" where it does not say. ``words`` are
    severities, ``score`` the CVSS score."""

    id: str
    package: str = ""
    purl: str = ""
    installed: str = ""
    fixed: str = ""
    words: Sequence[str] = ()
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Driver:
    """How a tool's results are read.

    Args:
        scanner: its name in :class:`~portcullis.model.evidence.ScanReport`.
        facts: what a rule says. Read once for each, as any number of results may have it.
        read: a result, its rule and that as a finding; None where it is about something else than a vulnerability.
        tells_image: whether the properties of its runs are those of Trivy.
        suppresses_all: whether it marks each result as suppressed, whatever it is.
    """

    scanner: str
    facts: Callable[[Rule], RuleFacts]
    read: Callable[[Result, Rule, RuleFacts], Vulnerability | None]
    tells_image: bool = False
    suppresses_all: bool = False


def driver_of(name: str) -> Driver:
    """The reader of the tool ``name``. One that is not known is read by the standard alone."""
    known = _DRIVERS.get(name.lower())
    return known if known is not None else Driver(name, _bare_facts, _read_any)


def _properties(rule: Rule) -> _Properties:
    return decode_given(rule.properties, _Properties, "the properties of a SARIF rule") or _Properties()


def _severity(result: Result, rule: Rule, words: Sequence[str]) -> Severity:
    """By the first of ``words`` that is there and fits the result's level, else by that."""
    level = result.level_by(rule)
    fitting = _FITTING.get(level)
    for word in words:
        if word:
            severity = severity_of(word)
            if fitting is None or severity in fitting:
                return severity
    return _BY_LEVEL.get(level, Severity.UNKNOWN)


def _bare_facts(rule: Rule) -> RuleFacts:
    return RuleFacts(rule.id or "")


def _read_any(result: Result, rule: Rule, facts: RuleFacts) -> Vulnerability:
    return Vulnerability(id=facts.id, severity=_severity(result, rule, ()), path=result.uri)


def _scout_facts(rule: Rule) -> RuleFacts:
    properties = _properties(rule)
    purls = properties.purls or []
    purl = properties.purl or (purls[0] if len(purls) == 1 else "")
    package, installed = split_purl(purl)
    return RuleFacts(
        id=rule.id or "",
        package=package,
        purl=purl,
        installed=installed,
        fixed=properties.fixed or "",
        words=(properties.severity or "", *_graded_tags(properties)),
        score=cvss_score(properties.score),
    )


def _read_scout(result: Result, rule: Rule, facts: RuleFacts) -> Vulnerability:
    """The rule's properties are those of one package; the table in the result's text says which one it is about."""
    table = _scout_table(result.text)
    if table.get("Vulnerability") != facts.id:
        table = {}
    purl = table.get("Package", "")
    package, installed = split_purl(purl) if purl else (facts.package, facts.installed)
    fixed = table.get("Fixed version") or facts.fixed
    return Vulnerability(
        id=facts.id,
        package=package,
        purl=purl or facts.purl,
        installed=installed,
        fixed="" if fixed == _SCOUT_NOT_FIXED else fixed,
        severity=_severity(result, rule, (table.get("Severity", ""), *facts.words)),
        score=facts.score,
        path=result.uri,
    )


def _scout_table(text: str) -> Mapping[str, str]:
    """The rows of Docker Scout's text; none where a line is no row, or a row stands there twice."""
    lines = [line for line in text.split("\n") if line.strip()]
    rows = [(label.strip(), value.strip()) for label, colon, value in (line.partition(":") for line in lines) if colon]
    table = dict(rows)
    return table if len(table) == len(lines) else {}


def _trivy_facts(rule: Rule) -> RuleFacts:
    properties = _properties(rule)
    return RuleFacts(rule.id or "", words=_graded_tags(properties), score=cvss_score(properties.base_score))


def _read_trivy(result: Result, rule: Rule, facts: RuleFacts) -> Vulnerability | None:
    """The rule's tags are those of the last package that has the vulnerability; the text of the result is its own."""
    if rule.name in _TRIVY_OTHERS:
        return None
    found = _TRIVY_RESULT.fullmatch(result.text)
    package, installed, vulnerability, word, fixed = found.groups() if found is not None else ("",) * 5
    if vulnerability != facts.id:
        package, installed, word, fixed = ("",) * 4
    return Vulnerability(
        id=facts.id,
        package=package,
        installed=installed,
        fixed=fixed,
        severity=_severity(result, rule, (word, *facts.words)),
        score=facts.score,
        path=result.uri,
    )


def _grype_facts(rule: Rule) -> RuleFacts:
    rule_id = rule.id or ""
    found = _GRYPE_RULE.fullmatch(rule.help.text or "" if rule.help is not None else "")
    if found is None or not found[1] or found[1] not in rule_id:
        return RuleFacts(rule_id)
    vulnerability, word, package, version, fixed = found.groups()
    purls = _properties(rule).purls
    return RuleFacts(
        id=vulnerability,
        package=package,
        purl=purls[0] if purls else "",
        installed=version,
        fixed=", ".join(part.strip() for part in fixed.split(",") if part.strip()),
        words=(word,),
    )


def _read_grype(result: Result, rule: Rule, facts: RuleFacts) -> Vulnerability:
    """Rules are one for each vulnerability and package, whatever its version; the text of the result says that."""
    found = _GRYPE_RESULT.fullmatch(result.text)
    word, package, installed = found.groups() if found is not None else ("", facts.package, facts.installed)
    same = (package, installed) == (facts.package, facts.installed)
    return Vulnerability(
        id=facts.id,
        package=package,
        purl=facts.purl if same else "",
        installed=installed,
        fixed=facts.fixed,
        severity=_severity(result, rule, (word, *facts.words)),
        path=result.uri,
    )


def _graded_tags(properties: _Properties) -> Sequence[str]:
    return [tag for tag in properties.tags or () if tag in _GRADES]


def split_purl(purl: str) -> tuple[str, str]:
    """``(package, version)`` of a package URL. The namespace stands in front of the name where it is part of it, and
    not where it is a distribution's (``pkg:deb/debian/glibc@2.36``)."""
    kind, _, rest = purl.removeprefix("pkg:").partition("/")
    path = rest.partition("#")[0].partition("?")[0]
    name, at, version = path.rpartition("@")
    # An "@" at the beginning of a segment is npm's, which some do not encode.
    if not at or not name or name.endswith("/"):
        name, version = path, ""
    if kind.lower() in _DISTRIBUTIONS:
        name = name.rpartition("/")[2]
    return unquote(name), unquote(version)


_DRIVERS: Mapping[str, Driver] = {
    "docker scout": Driver("docker-scout", _scout_facts, _read_scout),
    "trivy": Driver("trivy", _trivy_facts, _read_trivy, tells_image=True),
    "grype": Driver("grype", _grype_facts, _read_grype),
    # Grype's name of itself before 0.35, where all results carry a suppression that means nothing.
    "anchore container vulnerability report (t0)": Driver("grype", _grype_facts, _read_grype, suppresses_all=True),
}
