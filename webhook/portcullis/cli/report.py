"""``portcullis report``: a scanner's report, of whatever format, in the one normal form."""

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from portcullis.cli.output import API_VERSION, ConfigOption, Format, FormatOption, print_json, reported, stdout
from portcullis.errors import ConfigError
from portcullis.model.evidence import ReadFact

if TYPE_CHECKING:
    from portcullis.limits import Limits

STDIN = "-"


@reported
def report(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The report; - for standard input.")],
    config: ConfigOption = None,
    every: Annotated[bool, typer.Option("--all", help="All findings, not only the gravest.")] = False,
    output: FormatOption = Format.TABLE,
) -> None:
    """Show what a report says, as policies will see it.

    Reads what Trivy, Grype, Anchore, Clair, Docker Scout and Hadolint write, SARIF, GitLab's container scanning,
    CycloneDX, SPDX, OpenVEX, CSAF, SLSA provenance and in-toto's vulnerability predicates; which it is, is found out.
    Nothing is verified. Exits 2 if it cannot be read.
    """
    from portcullis.cli.reportview import fact_view, fields_of, kind_of, plain_json
    from portcullis.server.settings import load_settings

    limits = load_settings(config, os.environ).bounds()
    fact = read_fact(file, limits)
    fields = fields_of(fact, datetime.now(UTC))
    if output is Format.JSON:
        print_json({"apiVersion": API_VERSION, "kind": kind_of(fact), **plain_json(fields)})
    else:
        stdout().print(fact_view(fact, fields, every=every))


def read_fact(file: Path, limits: "Limits") -> "ReadFact":
    """What the file holds.

    Raises:
        ConfigError: it cannot be read, or is no report that is known.
    """
    from portcullis.evidence.decode import require_strict
    from portcullis.evidence.refusal import EvidenceError
    from portcullis.evidence.reports import read_report
    from portcullis.evidence.reports.formats import refuse_utf16

    content = read_input(file, limits.attestation_bytes)
    try:
        refuse_utf16(content)
        require_strict(content, limits=limits, what="the report")
        return read_report(content, limits)
    except EvidenceError as error:
        name = "standard input" if str(file) == STDIN else str(file)
        raise ConfigError(f"{name} cannot be read as a report\n{error.message}\nreason: {error.reason}") from None


def read_input(file: Path, limit: int) -> bytes:
    """The content of a file, or of standard input for ``-``.

    Raises:
        ConfigError: it cannot be read, or is larger than ``limit`` bytes.
    """
    from portcullis.server.files import read_bounded

    if str(file) != STDIN:
        return read_bounded(file, limit)
    content = sys.stdin.buffer.read(limit + 1)
    if len(content) > limit:
        raise ConfigError(f"standard input has more than {limit} bytes")
    return content
