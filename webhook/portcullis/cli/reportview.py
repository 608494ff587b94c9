"""What a report says, as fields and in words."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from portcullis.cli.evidenceview import (
    age_of,
    findings_of,
    lint_findings_of,
    lint_view,
    scanner_of,
    source_of,
    table_of,
    verdict_of,
    vulnerabilities_view,
)
from portcullis.cli.words import SHORT, plural
from portcullis.model.evidence import Evaluation, LintReport, Provenance, ReadFact, Sbom, ScanReport, VexDocument
from portcullis.policy.attested import (
    evaluation_fields,
    lint_fields,
    provenance_fields,
    sbom_fields,
    scan_fields,
    vex_fields,
)
from portcullis.policy.plain import optional_time, plain
from portcullis.text import clean

JSON = Mapping[str, Any]

SHOWN = 20
"""Lines of a table, unless all are wanted."""

Rows = Iterator[tuple[str, str | Text]]


def kind_of(fact: ReadFact) -> str:
    return type(fact).__name__


def fields_of(fact: ReadFact, now: datetime) -> dict[str, Any]:
    """The fields of the policy input that come from the report alone, and which image it says it is about."""
    match fact:
        case ScanReport():
            target = {"digests": fact.target_digests, "imageId": fact.target_image_id}
            return {**scan_fields(fact, now), "target": target}
        case Evaluation():
            return {**evaluation_fields(fact, now), "target": {"digests": fact.target_digests}}
        case LintReport():
            return lint_fields(fact, now)
        case Sbom():
            return {**sbom_fields(fact, now, components=True), "target": {"digests": fact.target_digests}}
        case Provenance():
            return provenance_fields(fact, now)
        case VexDocument():
            return {**vex_fields(fact, now), "statements": [_statement(one) for one in fact.statements]}


def plain_json(fields: JSON) -> dict[str, Any]:
    """The same as JSON values alone."""
    tree: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(fields, enc_hook=plain))
    return tree


def _statement(statement: Any) -> dict[str, Any]:
    return {
        "vulnerabilities": statement.vulnerabilities,
        "status": statement.status,
        "justification": statement.justification,
        "impact": statement.impact,
        "issuedAt": optional_time(statement.issued_at),
        "products": [
            {
                "purl": one.purl,
                "digests": one.digests,
                "identifier": one.identifier,
                "subcomponents": one.subcomponents,
            }
            for one in statement.products
        ],
    }


def fact_view(fact: ReadFact, fields: JSON, *, every: bool) -> RenderableType:
    """Args:
    fields: as :func:`fields_of` gives them.
    every: all lines, not only the first.
    """
    tree = plain_json(fields)
    match fact:
        case ScanReport():
            return _page(_scan(tree), tree["vulnerabilities"], vulnerabilities_view, every)
        case Evaluation():
            return _page(_evaluation(tree), tree["checks"], _checks, every)
        case LintReport():
            return _page(_lint(tree), tree["findings"], lint_view, every)
        case Sbom():
            return _page(_sbom(tree), tree["components"], _components, every)
        case Provenance():
            return _page(_provenance(tree), tree["materials"], _materials, every)
        case VexDocument():
            return _page(_vex(tree), tree["statements"], _statements, every)


def _page(head: Rows, lines: Sequence[JSON], view: Any, every: bool) -> Group:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in head:
        grid.add_row(name, value)
    parts: list[RenderableType] = [grid]
    if lines:
        shown = len(lines) if every else SHOWN
        parts += [Text(""), view(lines, shown)]
        if len(lines) > shown:
            parts.append(Text(f"  and {plural(len(lines) - shown, 'more line')} (--all)", "dim"))
    return Group(*parts)


def _target(fields: JSON) -> Rows:
    target = fields["target"]
    named = [*target["digests"], *([target["imageId"]] if target.get("imageId") else [])]
    yield "image", "\n".join(named) if named else Text("the report does not say of which", "yellow")


def _scan(fields: JSON) -> Rows:
    yield "scanner", scanner_of(fields)
    yield "format", fields["format"]
    yield "scanned", age_of(fields["ageHours"]) if fields["scannedAt"] else Text("the report has no time", "yellow")
    yield "database", age_of(fields["dbAgeHours"]) if fields["dbAgeHours"] is not None else Text("not said", "dim")
    yield from _target(fields)
    yield "platform", clean(fields["platform"] or "(not said)", SHORT)
    if fields["system"]:
        yield "system", clean(f"{fields['system']['family']} {fields['system']['version']}", SHORT)
    if fields["packages"] is not None:
        yield "packages", f"{fields['packages']:,}"
    if fields["filters"]:
        yield "filters", Text(clean(", ".join(fields["filters"]), SHORT), "yellow")
    yield "findings", findings_of(fields)
    for one in fields["suppressions"][:SHOWN]:
        yield "suppressed", clean(f"{one['id']} {one['package']} {one['why']}", SHORT)


def _evaluation(fields: JSON) -> Rows:
    yield "tool", clean(fields["tool"], SHORT)
    yield "policy", clean(fields["policy"], SHORT)
    yield "verdict", verdict_of(fields)
    yield "made", age_of(fields["ageHours"])
    yield from _target(fields)


def _checks(checks: Sequence[JSON], shown: int) -> Table:
    table = table_of("Action", "Gate", "Trigger", "What")
    for one in checks[:shown]:
        table.add_row(*(clean(one[key], SHORT) for key in ("action", "gate", "trigger", "message")))
    return table


def _lint(fields: JSON) -> Rows:
    yield "linter", clean(f"{fields['tool']['name']} {fields['tool']['version']}", SHORT)
    yield "linted", age_of(fields["ageHours"])
    if fields["dockerfile"]:
        yield "Dockerfile", clean(fields["dockerfile"], SHORT)
    yield "findings", lint_findings_of(fields)


def _sbom(fields: JSON) -> Rows:
    yield "form", clean(f"{fields['format']} {fields['specVersion']}", SHORT)
    yield "made", age_of(fields["ageHours"])
    yield "by", clean(", ".join(fields["tools"]) or "(not said)", SHORT)
    yield from _target(fields)
    yield "components", f"{fields['componentCount']:,}"


def _components(components: Sequence[JSON], shown: int) -> Table:
    table = table_of("Name", "Version", "Type", "Licences")
    for one in components[:shown]:
        licences = ", ".join(one["licenses"])
        table.add_row(*(clean(text, SHORT) for text in (one["name"], one["version"], one["type"], licences)))
    return table


def _provenance(fields: JSON) -> Rows:
    yield "version", clean(fields["version"], SHORT)
    yield "built", age_of(fields["ageHours"])
    yield "from", source_of(fields)
    yield "by", clean(fields["builder"], SHORT)
    yield "type", clean(fields["buildType"], SHORT)
    if fields["entryPoint"]:
        yield "entry point", clean(fields["entryPoint"], SHORT)
    if fields["invocation"]:
        yield "run", clean(fields["invocation"], SHORT)


def _materials(materials: Sequence[JSON], shown: int) -> Table:
    table = table_of("Material", "Digest")
    for one in materials[:shown]:
        table.add_row(clean(one["uri"], SHORT), clean(one["digest"], SHORT))
    return table


def _vex(fields: JSON) -> Rows:
    yield "form", clean(fields["format"], SHORT)
    yield "id", clean(fields["id"], SHORT)
    yield "author", clean(fields["author"] or "(not said)", SHORT)
    yield "issued", age_of(fields["ageHours"])
    yield "statements", f"{len(fields['statements']):,}"


def _statements(statements: Sequence[JSON], shown: int) -> Table:
    table = table_of("Status", "Vulnerability", "Products", "Why")
    for one in statements[:shown]:
        products = [
            product["purl"] or product["identifier"] or "".join(product["digests"]) for product in one["products"]
        ]
        table.add_row(
            one["status"].replace("_", " "),
            clean(", ".join(one["vulnerabilities"]), SHORT),
            clean(", ".join(products) or "the image it is attached to", SHORT),
            clean(one["justification"] or one["impact"], SHORT),
        )
    return table
