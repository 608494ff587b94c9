"""``portcullis serve``: the webhook."""

import os
from pathlib import Path
from typing import Annotated

import typer

from portcullis.cli.output import reported


@reported
def serve(
    config: Annotated[Path | None, typer.Option("--config", help="portcullis.yaml; without it, the defaults.")] = None,
) -> None:
    """Run the webhook until it is told to stop (SIGTERM or Ctrl-C)."""
    from portcullis.server.app import serve as run
    from portcullis.server.settings import load_settings

    run(load_settings(config, os.environ))
