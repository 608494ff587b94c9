"""``portcullis test``: the tests that policies come with."""

import asyncio
import os
import re
import sys
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from portcullis.cli.output import (
    EXIT_FAILED,
    EXIT_REFUSED,
    ConfigOption,
    print_error,
    print_json,
    progress,
    reported,
    stdout,
)
from portcullis.errors import ConfigError

if TYPE_CHECKING:
    from portcullis.cli.testing.session import Report, Session


class TestFormat(StrEnum):
    __test__ = False  # no test class of pytest

    TABLE = "table"
    JSON = "json"
    JUNIT = "junit"


@reported
def run_tests(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR", help="Folders with policies, their tests and fixtures.")
    ],
    run: Annotated[
        str, typer.Option("--run", help="Only tests whose full name this regular expression is found in.")
    ] = "",
    watch: Annotated[bool, typer.Option("--watch", help="Run what a change touches, as soon as it is saved.")] = False,
    coverage: Annotated[bool, typer.Option("--coverage", help="Show the lines that no Rego test reaches.")] = False,
    threshold: Annotated[
        str | None, typer.Option("--threshold", help="Percent of the lines that must be covered.")
    ] = None,
    builtin: Annotated[
        bool, typer.Option("--builtin/--no-builtin", help="With the built-in library and policies beside.")
    ] = True,
    config: ConfigOption = None,
    output: Annotated[TestFormat, typer.Option("--output", "-o", help="How to print.")] = TestFormat.TABLE,
) -> None:
    """Run the tests that policies come with.

    These are Rego tests, fixtures and Gatekeeper suites. Exits 0 if all passed, 1 if some failed, 2 if some could not
    be run.
    """
    from portcullis.cli.testing.session import Session
    from portcullis.server.settings import load_settings

    for folder in folders:
        if not folder.exists():
            raise ConfigError(f"{folder}: there is no such folder")
    try:
        re.compile(run)
    except re.error as error:
        raise ConfigError(f"--run: no regular expression: {error}") from None
    wanted = _percent(threshold) if threshold is not None else None
    settings = load_settings(config, os.environ)
    session = Session(
        folders=folders,
        builtin=builtin,
        pattern=run,
        coverage=coverage or wanted is not None,
        binary=settings.opa.binary,
        limits=settings.bounds(),
    )
    if watch:
        if output is not TestFormat.TABLE or coverage or wanted is not None:
            raise ConfigError("--watch goes with -o table only, and without --coverage")
        _watch(session)
        return
    with progress("running the tests") as say:
        report = asyncio.run(session.run(say))
    _print(report, output)
    _exit(report, wanted)


def _watch(session: "Session") -> None:
    from portcullis.cli.testing.watching import watch

    try:
        asyncio.run(watch(session, stdout()))
    except KeyboardInterrupt:
        stdout().print()  # Ctrl-C is how one ends it, and no fault


def _percent(text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal(-1)
    if not value.is_finite() or not 0 <= value <= 100:
        raise ConfigError("--threshold: a number from 0 to 100 is expected")
    return value


def _print(report: "Report", output: TestFormat) -> None:
    from portcullis.cli.testing.report import results_json, results_junit
    from portcullis.cli.testing.view import show_coverage, show_results

    if output is TestFormat.JSON:
        print_json(results_json(report.results, report.coverage, report.problems))
    elif output is TestFormat.JUNIT:
        text = results_junit(report.results, report.problems)
        sys.stdout.write(f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n')
    elif report.results:
        console = stdout()
        if report.coverage is not None:
            show_coverage(console, report.coverage)
        show_results(console, report.results)


def _exit(report: "Report", threshold: Decimal | None) -> None:
    from portcullis.policy.testing.results import Outcome

    outcomes = {result.outcome for result in report.results}
    if report.problems:
        print_error("the policies do not compile", "\n".join(str(problem) for problem in report.problems))
        raise typer.Exit(EXIT_FAILED)
    if not outcomes - {Outcome.SKIPPED}:
        what = "no test matches --run" if report.unmatched else "no test was found"
        print_error(what, "Rego tests are rules test_… in files …_test.rego; fixtures are YAML of kind PolicyFixture.")
        raise typer.Exit(EXIT_FAILED)
    if Outcome.BROKEN in outcomes:
        raise typer.Exit(EXIT_FAILED)
    if Outcome.FAILED in outcomes:
        raise typer.Exit(EXIT_REFUSED)
    if threshold is not None and report.coverage is not None and not report.coverage.meets(threshold):
        print_error(f"the tests cover {report.coverage.percent} % of the lines, and {threshold} % are asked for", "")
        raise typer.Exit(EXIT_REFUSED)
