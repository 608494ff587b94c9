"""``portcullis demo``: the whole gate on this machine."""

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from portcullis.cli.output import EXIT_TERMINATED, Format, FormatOption, reported


@reported
def demo(
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the gate running until Ctrl-C, and print how to talk to it.")
    ] = False,
    output: FormatOption = Format.TABLE,
) -> None:
    """Run the whole gate on this machine and show what it decides.

    A loopback registry with images made for it, signed scans, the webhook with its own OPA and audit log, and
    AdmissionReviews over TLS. The verdicts are compared with a table written by hand; a difference exits 1.
    """
    from portcullis.errors import ConfigError

    if shutil.which("opa") is None:
        raise ConfigError("opa is not on PATH\n`make demo` installs it; or see https://www.openpolicyagent.org/docs")

    from portcullis.cli.demo.run import run

    # The certificate's and the database's folder is this user's alone (0700), and goes whatever happens.
    with tempfile.TemporaryDirectory(prefix="portcullis-demo-") as folder:
        try:
            differences = asyncio.run(run(Path(folder), keep=keep, output=output))
        except asyncio.CancelledError:
            raise typer.Exit(EXIT_TERMINATED) from None
    if differences:
        raise typer.Exit(1)
