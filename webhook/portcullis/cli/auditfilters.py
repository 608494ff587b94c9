"""The conditions that ``audit list`` and ``audit export`` take, and the log that they are put to."""

import os
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, tzinfo
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from portcullis.cli.moments import parse_moment
from portcullis.errors import ConfigError
from portcullis.model import decision, request, ruling

if TYPE_CHECKING:
    from portcullis.audit.sql import SqlRecords
    from portcullis.limits import Limits
    from portcullis.model.record import RecordFilter


Namespace = Annotated[str, typer.Option("--namespace", "-n")]
Kind = Annotated[str, typer.Option("--kind", help="Such as Deployment.")]
Name = Annotated[str, typer.Option("--name")]
User = Annotated[str, typer.Option("--user", help="Who asked.")]
Image = Annotated[str, typer.Option("--image", help="As written in the object, or without tag and digest.")]
Digest = Annotated[str, typer.Option("--digest", help="That the image stood for.")]
Policy = Annotated[str, typer.Option("--policy", help="That was violated or not evaluated.")]
Mode = Annotated[ruling.Mode | None, typer.Option("--mode", help="Of that policy.")]
Exempted = Annotated[str, typer.Option("--exception", help="That covers a violation.")]
Verdict = Annotated[decision.Verdict | None, typer.Option("--verdict")]
Reason = Annotated[str, typer.Option("--reason", help="Code of what could not be had: registry-unreachable.")]
Because = Annotated[decision.Because | None, typer.Option("--because", help="Why it was admitted.")]
Caller = Annotated[request.Caller | None, typer.Option("--caller", help="How the sender was known.")]
Words = Annotated[str, typer.Option("--text", help="Words that the message holds, all of them.")]
DryRun = Annotated[bool | None, typer.Option("--dry-run/--no-dry-run", help="Only dry runs, or none.")]
Since = Annotated[str, typer.Option("--since", help="7d, 12h, 30m, or RFC 3339.")]
Until = Annotated[str, typer.Option("--until", help="The same.")]
Before = Annotated[int | None, typer.Option("--before", min=1, help="Only what is older than this sequence.")]
Utc = Annotated[bool, typer.Option("--utc", help="Times in UTC, not in the zone of this machine.")]


def query_of(*, since: str, until: str, zone: tzinfo | None, **conditions: Any) -> "RecordFilter":
    """What was asked for. ``zone`` is that of times without one; None: of this machine.

    Raises:
        ConfigError: a time that is none.
    """
    from portcullis.model.record import RecordFilter

    now = datetime.now(UTC)
    plain: dict[str, Any] = {
        name: value.value if isinstance(value, StrEnum) else value
        for name, value in conditions.items()
        if value is not None
    }
    return RecordFilter(
        since=parse_moment(since, now, zone) if since else None,
        until=parse_moment(until, now, zone) if until else None,
        **plain,
    )


def zone_of(*, utc: bool) -> tzinfo | None:
    """None: the zone of this machine, which differs in summer and winter."""
    return UTC if utc else None


def open_log(config: Path | None) -> "tuple[AbstractAsyncContextManager[SqlRecords], Limits]":
    """The configured log, to be opened for reading, with the configured bounds.

    Raises:
        ConfigError: no log is configured, or the configuration is wrong.
    """
    from portcullis.audit.sql import open_records
    from portcullis.server.settings import load_settings

    settings = load_settings(config, os.environ)
    if not settings.audit.database:
        raise ConfigError("no audit log is configured\nname the webhook's configuration: --config portcullis.yaml")
    return open_records(settings.audit.database, settings.bounds()), settings.bounds()
