"""Test results for people: what failed and why, and little else."""

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.text import Text

from portcullis.cli.words import plural
from portcullis.errors import CompileProblem
from portcullis.policy.testing.coverage import Coverage
from portcullis.policy.testing.results import Outcome, Result, Step, counts
from portcullis.text import clean

SHOWN = 12
"""Tests that did not pass, in full; the others are counted."""
NAMED = 50
"""After these, further ones by name only."""
GAPS = 40
GAP_LINES = 6
CASES = 8
LINE_CHARS = 600

_SIGNS = {
    Outcome.PASSED: ("✓", "green"),
    Outcome.FAILED: ("✗", "red"),
    Outcome.BROKEN: ("!", "yellow"),
    Outcome.SKIPPED: ("-", "dim"),
}


def show_results(console: Console, results: Sequence[Result]) -> None:
    """What did not pass, then one line that counts all."""
    show_accounts(console, results)
    _print(console, [summary(results)])


def show_accounts(console: Console, results: Sequence[Result]) -> None:
    """What did not pass, and why."""
    bad = [result for result in results if result.outcome in (Outcome.FAILED, Outcome.BROKEN)]
    for result in bad[:SHOWN]:
        _print(console, account(result))
        console.print()
    for result in bad[SHOWN : SHOWN + NAMED]:
        _print(console, [_headline(result)])
    if len(bad) > SHOWN + NAMED:
        rest = len(bad) - SHOWN - NAMED
        _print(console, [Text(f"… and {plural(rest, 'test')} more; -o json lists them all", "dim")])


def show_verdict(console: Console, results: Sequence[Result], seconds: float) -> None:
    """At once, before anything is explained: the names of what failed, and the count."""
    bad = [result for result in results if result.outcome in (Outcome.FAILED, Outcome.BROKEN)]
    for result in bad[:SHOWN]:
        _print(console, [_headline(result)])
    _print(console, [Text.assemble(summary(results), (f"  {seconds:.2f} s after the change", "dim"))])


def account(result: Result) -> Iterator[Text]:
    """The lines on a test that did not pass."""
    yield _headline(result)
    cases = [*result.cases[:CASES], *([f"… {len(result.cases) - CASES} more"] if len(result.cases) > CASES else [])]
    if cases:
        yield Text(f"    in the case {', '.join(cases)}" if len(cases) == 1 else f"    in the cases {', '.join(cases)}")
    for line in result.message.splitlines():
        yield Text(f"    {clean(line, LINE_CHARS)}")
    for at, step in enumerate(result.steps):
        yield from _step(step, inner=at > 0)
        if at == 0:
            yield from _diff(result.diff)
    if not result.steps:
        yield from _diff(result.diff)
    for line in result.printed.splitlines():
        yield Text(f"    print: {clean(line, LINE_CHARS)}", "dim")


def show_coverage(console: Console, coverage: Coverage) -> None:
    """The share, then the lines that no test reached."""
    for gap in coverage.gaps[:GAPS]:
        _print(console, [Text(gap.place, "yellow")])
        for line in gap.text[:GAP_LINES]:
            _print(console, [Text(f"    {_kept(line)}")])
        if len(gap.text) > GAP_LINES:
            _print(console, [Text(f"    … {plural(len(gap.text) - GAP_LINES, 'line')} more", "dim")])
    if len(coverage.gaps) > GAPS:
        _print(console, [Text(f"… and {plural(len(coverage.gaps) - GAPS, 'gap')} more; -o json lists them all", "dim")])
    lines = f"{coverage.covered:,} of {plural(coverage.lines, 'line')}"
    _print(console, [Text(f"coverage {coverage.percent} % ({lines})", "bold")])


def show_problems(console: Console, problems: Sequence[CompileProblem], source: str = "") -> None:
    """Sources that do not compile."""
    for problem in problems:
        _print(console, [Text.assemble((clean(str(problem), LINE_CHARS), "red"))])
    if source:
        _print(console, [Text(f"    {_kept(source)}")])


def summary(results: Sequence[Result]) -> Text:
    """``12 passed, 1 failed``."""
    found = counts(results)
    shown = [outcome for outcome in Outcome if found[outcome] or outcome in (Outcome.PASSED, Outcome.FAILED)]
    parts = [Text(f"{found[one]:,} {one}", f"bold {_SIGNS[one][1]}" if found[one] else "dim") for one in shown]
    return Text(", ").join(parts)


def _headline(result: Result) -> Text:
    sign, style = _SIGNS[result.outcome]
    place = f"{result.file}:{result.row}" if result.row else result.file
    name = result.name if result.kind == "rego" else clean(result.name, LINE_CHARS)
    return Text.assemble((f"{sign} {name}", f"bold {style}"), "  ", (clean(place, LINE_CHARS), "dim"))


def _step(step: Step, *, inner: bool) -> Iterator[Text]:
    where = f"{step.file}:{step.row}"
    rule = f" {step.rule}" if inner and step.rule else ""
    yield Text.assemble(("    within " if inner else "    ", "dim"), (f"{where}{rule}  ", "dim"), step.expression)
    reads = dict(step.reads)
    for path, value in reads.items():
        yield Text(f"        {path}: {value}", "cyan")
    if not reads:
        for name, value in step.values:
            yield Text(f"        {name}: {value}", "cyan")


def _diff(diff: Sequence[str]) -> Iterator[Text]:
    if diff:
        yield Text.assemble("        ", ("- expected", "green"), "  ", ("+ got", "red"))
    for line in diff:
        style = "green" if line.startswith("-") else "red" if line.startswith("+") else "dim"
        yield Text(f"        {line[:2]}{_kept(line[2:])}", style)


def _kept(line: str) -> str:
    """With its indentation, and nothing that a terminal obeys."""
    expanded = line.replace("\t", "    ")
    text = expanded.lstrip(" ")
    return " " * (len(expanded) - len(text)) + clean(text, LINE_CHARS) if text else ""


def _print(console: Console, lines: Sequence[Text] | Iterator[Text]) -> None:
    for line in lines:
        console.print(line, soft_wrap=True)
