"""``portcullis serve``: the webhook."""

import os

from portcullis.cli.output import ConfigOption, reported


@reported
def serve(
    config: ConfigOption = None,
) -> None:
    """Run the webhook until it is told to stop (SIGTERM or Ctrl-C)."""
    from portcullis.server.app import serve as run
    from portcullis.server.settings import load_settings

    run(load_settings(config, os.environ))
