"""The ``portcullis`` executable: one command per file, imported here; what they need is imported when they run."""

import sys
from collections.abc import Callable

import typer

from portcullis.cli.attest import attest
from portcullis.cli.audit import audit
from portcullis.cli.auditprune import prune_log
from portcullis.cli.auditverify import verify_log
from portcullis.cli.breakglass import break_glass
from portcullis.cli.check import check
from portcullis.cli.demo.command import demo
from portcullis.cli.dockerfile import dockerfile
from portcullis.cli.exceptions import exceptions
from portcullis.cli.explain import explain
from portcullis.cli.health import health
from portcullis.cli.inspect import inspect
from portcullis.cli.lint import lint
from portcullis.cli.pages import pages
from portcullis.cli.replay import replay
from portcullis.cli.report import report
from portcullis.cli.scan import scan
from portcullis.cli.schema import schema
from portcullis.cli.serve import serve
from portcullis.cli.testing.command import run_tests
from portcullis.cli.verify import verify
from portcullis.cli.version import version

app = typer.Typer(
    name="portcullis",
    help="A policy-as-code admission gate for Kubernetes: judges workloads by what their images really are.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_BEFORE: tuple[Callable[..., None], ...] = (serve, demo, check)
_AFTER: tuple[Callable[..., None], ...] = (
    *(scan, lint, explain, replay, inspect, dockerfile, report, verify, attest, pages, health, schema, version),
)
for command in _BEFORE:
    app.command()(command)
app.command("test")(run_tests)
for command in _AFTER:
    app.command()(command)
audit.command("verify")(verify_log)
audit.command("prune")(prune_log)
app.add_typer(audit, name="audit")
app.add_typer(exceptions, name="exceptions")
app.add_typer(break_glass, name="break-glass")


def main() -> None:
    """Entry point of the console script."""
    for stream in (sys.stdout, sys.stderr):
        # A name from outside that the terminal's encoding cannot show must not end the command.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    app()
