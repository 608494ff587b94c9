"""``portcullis lint``: what is wrong with policies, with the place and how to mend it."""

import asyncio
import os
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
    stderr,
    stdout,
)

if TYPE_CHECKING:
    from portcullis.policy.linting.linter import Report


class LintFormat(StrEnum):
    TABLE = "table"
    JSON = "json"
    SARIF = "sarif"


REQUIRED = "required"
NEVER = "never"


@reported
def lint(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR", help="Folders of policies, or single Rego files.")],
    regal: Annotated[
        str,
        typer.Option(
            "--regal", metavar="PATH", help="Regal; `required` fails where it is not on PATH, `never` leaves it out."
        ),
    ] = "",
    strict: Annotated[bool, typer.Option("--strict", help="Warnings fail, too.")] = False,
    config: ConfigOption = None,
    output: Annotated[LintFormat, typer.Option("--output", "-o", help="How to print.")] = LintFormat.TABLE,
) -> None:
    """Say what is wrong with policies, and how to mend it.

    Exits 0 if nothing is wrong, 1 if there are errors (with --strict also for warnings), 2 if it could not be told.
    """
    from portcullis.policy.linting.finding import Level

    report = asyncio.run(_lint(folders, _regal(regal), config))
    _print(report, output)
    levels = {one.level for one in report.findings}
    if Level.ERROR in levels or (strict and levels):
        raise typer.Exit(EXIT_REFUSED)


def _regal(chosen: str) -> Path | None:
    """Regal, or None where its findings are left out, which is told."""
    from portcullis.policy.linting.regal import find_regal

    if chosen == NEVER:
        return None
    named = chosen not in ("", REQUIRED)
    found = find_regal(Path(chosen) if named else None)
    if found is None and chosen:
        what = f"{chosen} is no program" if named else "regal is not on PATH"
        print_error(
            "Regal was not found", what, "https://www.openpolicyagent.org/projects/regal says how to install it"
        )
        raise typer.Exit(EXIT_FAILED)
    if found is None:
        stderr().print("Regal is not on PATH: its findings are left out", style="dim", soft_wrap=True)
    return found


async def _lint(folders: list[Path], regal: Path | None, config: Path | None) -> "Report":
    from portcullis.policy.linting.linter import lint as lint_folders
    from portcullis.policy.supervisor import OpaSupervisor
    from portcullis.server.settings import load_settings

    settings = load_settings(config, os.environ)
    supervisor = OpaSupervisor(binary=settings.opa.binary, limits=settings.bounds())
    with progress("reading the policies"):
        return await lint_folders(
            folders,
            binary=supervisor.binary(),
            regal=regal,
            limits=settings.bounds(),
            memory_bytes=supervisor.memory_bytes,
        )


def _print(report: "Report", output: LintFormat) -> None:
    from portcullis.cli.lintview import lint_json, lint_sarif, lint_text

    if output is LintFormat.JSON:
        print_json(lint_json(report))
    elif output is LintFormat.SARIF:
        print_json(lint_sarif(report))
    else:
        console = stdout()
        for block in lint_text(report):
            console.print(block, soft_wrap=True)
    for note in report.notes:
        stderr().print(note, style="dim", soft_wrap=True)
