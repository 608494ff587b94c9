"""``portcullis replay``: what past decisions would be under a draft, before it is rolled out."""

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from portcullis.cli.output import (
    EXIT_REFUSED,
    ConfigOption,
    Format,
    FormatOption,
    print_json,
    progress,
    reported,
    stdout,
)
from portcullis.errors import ConfigError

if TYPE_CHECKING:
    from portcullis.model.record import RecordFilter
    from portcullis.server.replay import Progress
    from portcullis.server.settings import Settings
    from portcullis.server.tally import Tally

MOST = 10_000_000
"""Without --limit; no log of a file is as long."""


@reported
def replay(
    policies: Annotated[
        list[Path] | None, typer.Option("--policies", help="A folder of policies beside the others; repeatable.")
    ] = None,
    only_policies: Annotated[
        bool, typer.Option("--only-policies", help="The draft is the folders of --policies and no others.")
    ] = False,
    recorded: Annotated[
        bool, typer.Option("--recorded", help="Judge each record by its own policies: nothing may flip.")
    ] = False,
    evaluate_all: Annotated[
        bool, typer.Option("--all", help="Evaluate every policy, also those that must rule as they did.")
    ] = False,
    config: ConfigOption = None,
    since: Annotated[str, typer.Option("--since", help="7d, 12h, 30m, or RFC 3339.")] = "7d",
    until: Annotated[str, typer.Option("--until", help="The same.")] = "",
    namespace: Annotated[str, typer.Option("--namespace", "-n")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, help="The newest so many records at most.")] = MOST,
    violations: Annotated[
        bool, typer.Option("--violations", help="Say which violations would be new or gone, too.")
    ] = False,
    output: FormatOption = Format.TABLE,
) -> None:
    """Judge recorded decisions again, by a draft of the policies.

    The draft is the configuration with the folders of --policies added. Exits 0 if no verdict flips, 1 if some do.
    """
    from datetime import UTC, datetime

    from portcullis.cli.moments import parse_moment
    from portcullis.cli.replayview import tally_json, tally_view
    from portcullis.model.record import RecordFilter
    from portcullis.server.settings import load_settings

    if recorded and (policies or only_policies):
        raise ConfigError("--recorded takes no draft\neither --policies, or --recorded")
    if only_policies and not policies:
        raise ConfigError("--only-policies needs a folder\nname it: --policies DIR")
    settings = load_settings(config, os.environ)
    if policies:
        settings = settings.only_policy_folders(policies) if only_policies else settings.with_policy_folders(policies)
    now = datetime.now(UTC)
    query = RecordFilter(
        since=parse_moment(since, now) if since else None,
        until=parse_moment(until, now) if until else None,
        namespace=namespace,
    )
    tally, took, revision = asyncio.run(_replay(settings, query, limit, recorded=recorded, evaluate_all=evaluate_all))
    if output is Format.JSON:
        print_json(tally_json(tally, took, query, revision))
    else:
        stdout().print(tally_view(tally, took, violations=violations))
    if tally.flipped:
        raise typer.Exit(EXIT_REFUSED)


async def _replay(
    settings: "Settings", query: "RecordFilter", limit: int, *, recorded: bool, evaluate_all: bool
) -> "tuple[Tally, Progress, str]":
    from portcullis.cli.replayview import progress_text
    from portcullis.server.replay import replay as judge

    with progress("starting the policy engine") as say:
        return await judge(
            settings,
            query,
            limit,
            recorded=recorded,
            evaluate_all=evaluate_all,
            say=lambda now: say(progress_text(now)),
        )
