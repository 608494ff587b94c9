"""What ``lint`` found: as text with excerpts, as JSON, as SARIF 2.1.0."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from rich.text import Text

from portcullis.cli.output import API_VERSION
from portcullis.cli.sarif import sarif_log
from portcullis.policy.linting.finding import RULES, Finding, Level
from portcullis.policy.linting.linter import Report
from portcullis.text import clean, sentence

EXCERPT_CHARS = 160
"""Of one line of source that are shown."""

DOCS = "https://portcullis.dev/docs/linting"
_STYLES: Mapping[Level, str] = {Level.ERROR: "bold red", Level.WARNING: "yellow"}


def excerpt(text: str, row: int, column: int) -> tuple[str, str]:
    """The line without its indentation, and a caret below its column; both "" where there is no such line."""
    lines = text.split("\n")
    if not 0 < row <= len(lines):
        return "", ""
    line = lines[row - 1].replace("\t", " ").rstrip()
    indent = len(line) - len(line.lstrip())
    start = max(indent, min(column - EXCERPT_CHARS // 2, len(line) - EXCERPT_CHARS))
    shown = clean(line[start : start + EXCERPT_CHARS], EXCERPT_CHARS)
    return shown, f"{' ' * max(0, column - 1 - start)}^" if column else ""


def lint_text(report: Report) -> Iterator[Text]:
    """One block for each finding, and the count."""
    for one in report.findings:
        yield _block(one, report.texts.get(one.file, ""))
    counts = _counts(report)
    looked = f"{report.files} file{'s' if report.files != 1 else ''}"
    if not report.findings:
        yield Text(f"{looked}: nothing to mend", style="green")
        return
    words = ", ".join(f"{number} {name}{'s' if number != 1 else ''}" for name, number in counts.items() if number)
    yield Text(f"{looked}: {words}")


def _block(one: Finding, source: str) -> Text:
    place = ":".join(str(part) for part in (clean(one.file, 400), one.row, one.column) if part)
    text = Text.assemble(
        (place, "bold"),
        ": ",
        (one.level.value, _STYLES[one.level]),
        f" {one.rule}\n  {sentence(clean(one.message, 1000))}",
    )
    line, caret = excerpt(source, one.row, one.column)
    if line:
        gutter = f"{one.row:>5} | "
        text.append(f"\n{gutter}{line}\n{' ' * (len(gutter) - 2)}| {caret}", "cyan")
    if one.fix:
        fix = clean(one.fix, 1000)
        text.append(f"\n  mend: {fix}", "dim")
    if one.docs:
        text.append(f"\n  see {clean(one.docs, 300)}", "dim")
    text.append("\n")
    return text


def _counts(report: Report) -> dict[str, int]:
    return {level.value: sum(one.level is level for one in report.findings) for level in Level}


def lint_json(report: Report) -> dict[str, Any]:
    """The stable form."""
    return {
        "apiVersion": API_VERSION,
        "kind": "LintReport",
        "summary": {"files": report.files, "policies": report.policies, **_counts(report)},
        "findings": [_finding_json(one, report.texts.get(one.file, "")) for one in report.findings],
        "notes": [*report.notes],
    }


def _finding_json(one: Finding, source: str) -> dict[str, Any]:
    return {
        "rule": one.rule,
        "level": one.level.value,
        "file": one.file,
        "line": one.row,
        "column": one.column,
        "msg": one.message,
        "fix": one.fix,
        "docs": one.docs,
        "excerpt": excerpt(source, one.row, one.column)[0],
    }


def lint_sarif(report: Report) -> dict[str, Any]:
    """For editors and code scanning. Regal's rules are those that found something."""
    rules = [
        {
            "id": rule.name,
            "shortDescription": {"text": rule.title},
            "helpUri": f"{DOCS}#{rule.name}",
            "defaultConfiguration": {"level": rule.level.value},
        }
        for rule in RULES.values()
    ]
    regal = {one.rule: one for one in report.findings if one.rule not in RULES}
    rules.extend(
        {
            "id": name,
            "shortDescription": {"text": one.message},
            **({"helpUri": one.docs} if one.docs else {}),
            "defaultConfiguration": {"level": one.level.value},
        }
        for name, one in sorted(regal.items())
    )
    return sarif_log(rules=rules, results=[_result(one) for one in report.findings])


def _result(one: Finding) -> dict[str, Any]:
    words = [sentence(clean(one.message, 1000))]
    if one.fix:
        words.append(sentence(f"{one.fix[:1].upper()}{clean(one.fix, 1000)[1:]}"))
    region = {"startLine": one.row, **({"startColumn": one.column} if one.column else {})}
    place: dict[str, Any] = {"artifactLocation": {"uri": quote(one.file)}}
    if one.row:
        place["region"] = region
    return {
        "ruleId": one.rule,
        "level": one.level.value,
        "message": {"text": " ".join(words)},
        "locations": [{"physicalLocation": place}],
    }
