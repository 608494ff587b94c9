"""``portcullis schema``: the JSON Schema of the policy input or of the configuration."""

import json
import sys
from enum import StrEnum
from typing import Annotated

import typer

from portcullis.cli.output import reported


class Subject(StrEnum):
    INPUT = "input"
    CONFIG = "config"


class Only(StrEnum):
    """For scripts that hand ``-o json`` to every command."""

    JSON = "json"


@reported
def schema(
    subject: Annotated[
        Subject, typer.Argument(help="What policies see as `input`, or the configuration file.")
    ] = Subject.INPUT,
    _output: Annotated[Only, typer.Option("--output", "-o", help="A schema is always JSON.")] = Only.JSON,
) -> None:
    """Print the JSON Schema of the policy input or configuration."""
    if subject is Subject.INPUT:
        from portcullis.policy.schema import document_schema

        document = document_schema()
    else:
        from portcullis.server.settings import configuration_schema

        document = configuration_schema()
    sys.stdout.write(json.dumps(document, indent=2))
    sys.stdout.write("\n")
