"""What was signed about an image, in words; from the policy input itself."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.box import HORIZONTALS
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from portcullis.cli.words import SHORT, digest_of, hours_of, plural
from portcullis.text import clean

JSON = Mapping[str, Any]

SEVERITIES = {
    "critical": "bold red",
    "high": "red",
    "medium": "yellow",
    "low": "",
    "negligible": "",
    "unknown": "yellow",
}
LEVELS = {"error": "red", "warning": "yellow", "info": "", "style": ""}
ACTIONS = {"stop": "bold red", "warn": "yellow", "go": "green"}

_CARRIERS = {
    "referrer": "referrer",
    "fallback-tag": "referrer (fall-back tag)",
    "cosign-tag": "cosign's tag",
    "index": "the image's index",
}
_ORDER = tuple(SEVERITIES)


def evidence_views(image: JSON) -> Iterator[tuple[str, RenderableType]]:
    """Title and table of each kind of evidence that there is; the list of attestations always."""
    yield "Attestations", _attestations(image["attestations"])
    views = (
        ("Scans", "scans", _scans),
        ("Verdicts of scanners", "evaluations", _evaluations),
        ("Lint", "lint", _lint),
        ("Bills of materials", "sboms", _sboms),
        ("Provenance", "provenance", _provenance),
        ("VEX", "vex", _vex),
    )
    for title, key, view in views:
        if image[key]:
            yield title, view(image[key])


def table_of(*columns: str) -> Table:
    table = Table(box=HORIZONTALS, border_style="dim", header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def signer_of(signer: JSON | None) -> Text:
    """Its name; of a certificate what that says, too."""
    if signer is None:
        return Text("")
    text = Text(clean(signer["name"], SHORT))
    if signer["identity"]:
        text.append(f"\n{clean(signer['identity'], SHORT)}", "dim")
    return text


def age_of(hours: float | None) -> str:
    if hours is None:
        return "(no time)"
    return f"{hours_of(hours)} ago" if hours >= 0 else f"in {hours_of(-hours)}: in the future"


def _attestations(attestations: Sequence[JSON]) -> RenderableType:
    if not attestations:
        return Text("  none is attached", style="dim")
    table = table_of("Verdict", "What", "Signer", "Why not")
    for one in attestations:
        verdict = Text("✓ verified", style="green") if one["verified"] is True else Text("✗ rejected", style="red")
        if one["logged"]:
            verdict.append("\nin a public log", "dim")
        why = Text(clean(one["reason"] or "", SHORT), style="bold")
        if one["message"]:
            why.append(f"\n{clean(one['message'], SHORT)}", "not bold")
        what = Text(clean(one["predicateClass"] or "", SHORT))
        what.append(f"\n{clean(one['predicateType'] or 'of an unknown type', SHORT)}", "dim")
        what.append(f"\n{digest_of(one['digest'])}", "dim")
        what.append(f"\n{_place(one)}", "dim")
        table.add_row(verdict, what, signer_of(one["signer"]), why)
    return table


def _place(attestation: JSON) -> str:
    """``cosign's tag of linux/amd64, in registry.example/attestations``"""
    place = _CARRIERS.get(attestation["carrier"], clean(attestation["carrier"], SHORT))
    if attestation["platform"]:
        place += f" of {clean(attestation['platform'], SHORT)}"
    return f"{place}, in {clean(attestation['repository'], SHORT)}" if attestation["repository"] else place


# -- scans ------------------------------------------------------------------------------------------------------


def _scans(scans: Sequence[JSON]) -> Table:
    table = table_of("Scanner", "Platform", "Scanned", "Signer", "Findings")
    for one in scans:
        when = Text(age_of(one["ageHours"]))
        if one["dbAgeHours"] is not None:
            when.append(f"\ndatabase {hours_of(one['dbAgeHours'])} old", "dim")
        if one["newerSeen"]:
            when.append("\na newer one is gone", "bold red")
        table.add_row(
            scanner_of(one),
            clean(one["platform"] or "(not said)", SHORT),
            when,
            signer_of(one["signer"]),
            findings_of(one),
        )
    return table


def scanner_of(scan: JSON) -> str:
    return clean(f"{scan['scanner']['name']} {scan['scanner']['version'] or ''}", SHORT)


def findings_of(scan: JSON) -> Text:
    """``2 critical, 7 high; 5 can be fixed; 1 suppressed``"""
    counts = scan["counts"]
    parts = [
        Text(f"{counts[severity]:,} {severity}", style)
        for severity, style in SEVERITIES.items()
        if counts.get(severity)
    ]
    text = Text(", ").join(parts) if parts else Text("none", style="green")
    if counts.get("fixable"):
        text.append(f"; {counts['fixable']:,} can be fixed", "not bold")
    if counts.get("setAside"):
        text.append(f"; {counts['setAside']:,} set aside by VEX", "not bold")
    if scan["suppressed"]:
        text.append(f"; {scan['suppressed']:,} suppressed", "yellow")
    if scan["complete"] is not True:
        text.append("; incomplete", "bold yellow")
        if scan["incompleteBecause"]:
            text.append(f": {clean(scan['incompleteBecause'], SHORT)}", "not bold yellow")
    if scan["system"] and scan["system"]["endOfLife"]:
        text.append("; the system gets no more fixes", "bold yellow")
    return text


def vulnerabilities_view(vulnerabilities: Sequence[JSON], shown: int) -> Table:
    """The gravest first."""
    table = table_of("Severity", "Vulnerability", "Package", "Installed", "Fixed")
    ordered = sorted(vulnerabilities, key=lambda one: (_ORDER.index(one["severity"]), one["id"], one["package"]))
    for one in ordered[:shown]:
        name = Text(clean(one["id"], SHORT))
        if one["exploited"]:
            name.append("\nexploited", "bold red")
        if one["vex"]:
            name.append(f"\n{one['vex']['status'].replace('_', ' ')} (VEX)", "dim")
        table.add_row(
            Text(one["severity"], SEVERITIES[one["severity"]]),
            name,
            clean(one["package"] or one["path"], SHORT),
            clean(one["installed"], SHORT),
            clean(one["fixed"], SHORT) or Text("none", "dim"),
        )
    return table


def _evaluations(evaluations: Sequence[JSON]) -> Table:
    table = table_of("Tool", "Policy", "Verdict", "Made", "Signer")
    for one in evaluations:
        table.add_row(
            clean(one["tool"], SHORT),
            clean(one["policy"], SHORT),
            verdict_of(one),
            age_of(one["ageHours"]),
            signer_of(one["signer"]),
        )
    return table


def verdict_of(evaluation: JSON) -> Text:
    text = Text("passed", "green") if evaluation["passed"] is True else Text("failed", "bold red")
    return text.append(f" ({evaluation['action']})", ACTIONS.get(evaluation["action"], ""))


# -- what else is signed ----------------------------------------------------------------------------------------


def _lint(reports: Sequence[JSON]) -> Table:
    table = table_of("Linter", "Made", "Signer", "Findings")
    for one in reports:
        name = clean(f"{one['tool']['name']} {one['tool']['version']}", SHORT)
        table.add_row(name, age_of(one["ageHours"]), signer_of(one["signer"]), lint_findings_of(one))
    return table


def lint_findings_of(report: JSON) -> Text:
    """``3 errors, 9 warnings``"""
    words = {"error": "error", "warning": "warning", "info": "hint", "style": "matter of style"}
    parts = [
        Text(
            f"{count} matters of style" if level == "style" and count != 1 else plural(count, words[level]),
            LEVELS[level],
        )
        for level, count in report["counts"].items()
        if count
    ]
    text = Text(", ").join(parts) if parts else Text("none", "green")
    if report["suppressed"]:
        text.append(f"; {report['suppressed']:,} suppressed", "yellow")
    if report["complete"] is not True:
        text.append(f"; incomplete: {clean(report['incompleteBecause'], SHORT)}", "bold yellow")
    return text


def lint_view(findings: Sequence[JSON], shown: int) -> Table:
    """The gravest first, then by line."""
    table = table_of("Line", "Level", "Rule", "What")
    levels = tuple(LEVELS)
    for one in sorted(findings, key=lambda one: (levels.index(one["level"]), one["file"], one["line"]))[:shown]:
        table.add_row(
            str(one["line"] or ""),
            Text(one["level"], LEVELS[one["level"]]),
            clean(one["rule"], SHORT),
            clean(one["message"], SHORT),
        )
    return table


def _sboms(sboms: Sequence[JSON]) -> Table:
    table = table_of("Form", "Platform", "Made", "By", "Signer", "Components")
    for one in sboms:
        table.add_row(
            clean(f"{one['format']} {one['specVersion']}", SHORT),
            clean(one["platform"] or "(not said)", SHORT),
            age_of(one["ageHours"]),
            clean(", ".join(one["tools"]), SHORT),
            signer_of(one["signer"]),
            f"{one['componentCount']:,}",
        )
    return table


def _provenance(provenance: Sequence[JSON]) -> Table:
    table = table_of("Built", "From", "By", "Signer")
    for one in provenance:
        table.add_row(age_of(one["ageHours"]), source_of(one), clean(one["builder"], SHORT), signer_of(one["signer"]))
    return table


def source_of(provenance: JSON) -> Text:
    text = Text(clean(provenance["source"] or "(not said)", SHORT))
    for part in (provenance["sourceRef"], provenance["sourceDigest"]):
        if part:
            text.append(f"\n{clean(part, SHORT)}", "dim")
    return text


def _vex(documents: Sequence[JSON]) -> Table:
    table = table_of("Document", "Issued", "Signer", "Statements", "Applied to")
    for one in documents:
        issued = Text(age_of(one["ageHours"]))
        if one["expired"]:
            issued.append("\nexpired: counts no more", "bold yellow")
        elif one["expiresAt"]:
            issued.append(f"\nuntil {one['expiresAt'][:10]}", "dim")
        table.add_row(
            clean(f"{one['format']} {one['id']}", SHORT),
            issued,
            signer_of(one["signer"]),
            f"{one['statements']:,}",
            plural(one["applied"], "finding"),
        )
    return table
