"""``portcullis check``: decides manifests as the webhook would."""

import asyncio
import os
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from portcullis.cli.output import (
    API_VERSION,
    EXIT_FAILED,
    EXIT_REFUSED,
    ConfigOption,
    print_error,
    print_json,
    progress,
    reported,
    stdout,
)

if TYPE_CHECKING:
    from portcullis.cli.decisions import Judged
    from portcullis.cli.manifests import BadManifest, Manifest
    from portcullis.errors import PortcullisError
    from portcullis.model.request import AdmissionRequest
    from portcullis.model.ruling import PolicyInfo
    from portcullis.server.compose import Parts
    from portcullis.server.settings import Settings

AT_ONCE = 16
"""Objects that are decided at once; what their images share is fetched once."""


class CheckFormat(StrEnum):
    TABLE = "table"
    JSON = "json"
    SARIF = "sarif"
    JUNIT = "junit"


@reported
def check(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH", help="Files, folders, or - for standard input; YAML or JSON.")
    ],
    policies: Annotated[
        list[Path] | None, typer.Option("--policies", help="A folder of policies beside the others; repeatable.")
    ] = None,
    config: ConfigOption = None,
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", help="For objects that name no namespace of their own.")
    ] = "",
    output: Annotated[CheckFormat, typer.Option("--output", "-o", help="How to print.")] = CheckFormat.TABLE,
    timeout: Annotated[float, typer.Option("--timeout", min=1, max=600, help="Seconds for each object.")] = 30.0,
) -> None:
    """Decide manifests as the webhook would.

    Exits 0 if all are admitted, 1 if some are refused, 2 if some could not be decided.
    """
    from portcullis.cli.manifests import find_files, read_manifests
    from portcullis.model.decision import Verdict
    from portcullis.server.settings import load_settings

    settings = load_settings(config, os.environ)
    if policies:
        settings = settings.with_policy_folders(policies)
    files = find_files(paths, settings.bounds())
    manifests = list(read_manifests(files, standard_input=sys.stdin.buffer, limits=settings.bounds()))
    judged, infos = asyncio.run(_decide(settings, manifests, namespace, timeout))
    _print(judged, infos, output)
    verdicts = {one.verdict for one in judged}
    if not judged:
        print_error("nothing to check", "No object was found in what was given.")
    if not judged or Verdict.UNDECIDED in verdicts:
        raise typer.Exit(EXIT_FAILED)
    if Verdict.REFUSED in verdicts:
        raise typer.Exit(EXIT_REFUSED)


async def _decide(
    settings: "Settings", manifests: "Sequence[Manifest | BadManifest]", namespace: str, seconds: float
) -> "tuple[list[Judged], Sequence[PolicyInfo]]":
    """The decisions in the order of the manifests, and the policies that made them."""
    from portcullis.cli.manifests import Manifest
    from portcullis.cli.namespaces import GivenNamespaces
    from portcullis.server.compose import compose

    with progress("starting the policy engine") as say:
        given = GivenNamespaces([one for one in manifests if isinstance(one, Manifest)])
        async with compose(settings, with_audit=False, user=os.environ, namespaces=given) as parts:
            say(f"judging {len(manifests)} object{'s' if len(manifests) != 1 else ''}")
            room = asyncio.Semaphore(AT_ONCE)

            async def judge(manifest: "Manifest | BadManifest") -> "Judged":
                async with room:
                    return await _judge(parts, manifest, namespace, seconds)

            judged = await asyncio.gather(*(judge(manifest) for manifest in manifests))
            return judged, parts.compiled.policies


async def _judge(parts: "Parts", manifest: "Manifest | BadManifest", namespace: str, seconds: float) -> "Judged":
    from portcullis.cli.decisions import Judged
    from portcullis.cli.manifests import BadManifest
    from portcullis.cli.requests import local_user, request_of
    from portcullis.errors import PortcullisError

    if isinstance(manifest, BadManifest):
        return _unreadable(manifest, manifest.error)
    try:
        request = request_of(manifest, namespace=namespace, user=local_user(), limits=parts.limits)
    except PortcullisError as error:
        return _unreadable(manifest, error)
    decision = await parts.gate.decide(request, parts.clock.monotonic() + seconds)
    return Judged(
        source=manifest.source,
        file=manifest.file,
        line=manifest.line,
        kind=request.kind.kind,
        namespace=request.namespace,
        name=_name(request),
        decision=decision,
    )


def _unreadable(manifest: "Manifest | BadManifest", error: "PortcullisError") -> "Judged":
    """What cannot be read as a request counts as undecided."""
    from portcullis.cli.decisions import Judged
    from portcullis.cli.manifests import Manifest
    from portcullis.model.decision import Problem, Stage

    problem = Problem(Stage.ADMISSION, error.reason, retryable=error.retryable, msg=error.message)
    kind = manifest.object["kind"] if isinstance(manifest, Manifest) else ""
    return Judged(manifest.source, manifest.file, manifest.line, kind, "", "", None, (problem,))


def _name(request: "AdmissionRequest") -> str:
    return request.name or str((request.object or {}).get("metadata", {}).get("name", ""))


def _print(judged: "Sequence[Judged]", policies: "Sequence[PolicyInfo]", output: CheckFormat) -> None:
    from portcullis.cli.decisions import decisions_table, judged_json, summary, summary_text

    if output is CheckFormat.JSON:
        decisions = [judged_json(one) for one in judged]
        counts = summary(judged)
        print_json({"apiVersion": API_VERSION, "kind": "DecisionList", "summary": counts, "decisions": decisions})
    elif output is CheckFormat.SARIF:
        from portcullis.cli.sarif import sarif

        print_json(sarif(judged, policies))
    elif output is CheckFormat.JUNIT:
        from portcullis.cli.junit import junit

        sys.stdout.write(f'<?xml version="1.0" encoding="UTF-8"?>\n{junit(judged)}\n')
    elif judged:
        console = stdout()
        console.print(decisions_table(judged))
        console.print(summary_text(judged))
