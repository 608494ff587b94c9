"""``portcullis explain``: why policies judge as they do, rule by rule."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from portcullis.cli.output import (
    API_VERSION,
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
    from portcullis.model.decision import Decision
    from portcullis.model.ruling import CompiledBundle, PolicyBundle
    from portcullis.policy.explaining.explain import Explained
    from portcullis.server.compose import Parts
    from portcullis.server.settings import Settings

_ID = re.compile(r"[0-9a-f-]{6,36}")


@dataclass(frozen=True, slots=True)
class Subject:
    """One decision that is explained. ``title`` names it; ``recorded`` is that it was made earlier, and ``draft`` that
    it is explained under other policies than it was made by."""

    title: str
    namespace: str
    decision: "Decision"
    recorded: bool
    draft: bool = False


@reported
def explain(
    subject: Annotated[str, typer.Argument(metavar="SUBJECT", help="A manifest, a review, - or the id of a decision.")],
    policy: Annotated[list[str] | None, typer.Option("--policy", help="Only this policy; repeatable.")] = None,
    policies: Annotated[
        list[Path] | None, typer.Option("--policies", help="A folder of policies beside the others; repeatable.")
    ] = None,
    config: ConfigOption = None,
    every: Annotated[
        bool, typer.Option("--all", help="Also what stops the policies that have nothing to say.")
    ] = False,
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", help="For objects that name no namespace of their own.")
    ] = "",
    output: FormatOption = Format.TABLE,
    timeout: Annotated[float, typer.Option("--timeout", min=1, max=600, help="Seconds for the decision.")] = 30.0,
) -> None:
    """Say why: which rule fires or what stops it, and what decided.

    A recorded decision is explained with the policies that were recorded with it, or with --policies under these.
    """
    from portcullis.server.settings import load_settings

    settings = load_settings(config, os.environ)
    if policies:
        settings = settings.with_policy_folders(policies)
    wanted = frozenset(policy or ())
    recorded = _ID.fullmatch(subject) is not None and not Path(subject).exists()
    job = (
        _recorded(settings, config, subject, wanted, draft=bool(policies))
        if recorded
        else _objects(settings, subject, namespace, timeout, wanted)
    )
    with progress("asking the policies"):
        explained = asyncio.run(job)
    _print(explained, output, silent=every or bool(wanted))


async def _objects(
    settings: "Settings", path: str, namespace: str, seconds: float, wanted: frozenset[str]
) -> "list[tuple[Subject, list[Explained]]]":
    from portcullis.cli.manifests import BadManifest, find_files, read_manifests
    from portcullis.cli.requests import local_user, request_of
    from portcullis.server.compose import bundle_of, with_profile

    limits = settings.bounds()
    manifests = list(read_manifests(find_files([path], limits), standard_input=sys.stdin.buffer, limits=limits))
    if not manifests:
        raise ConfigError(f"no object was found in {path}")
    found: list[tuple[Subject, list[Explained]]] = []
    async with _composed(settings) as parts:
        bundle = bundle_of(with_profile(settings), limits)
        for manifest in manifests:
            if isinstance(manifest, BadManifest):
                raise manifest.error
            request = request_of(manifest, namespace=namespace, user=local_user(), limits=limits)
            decision = await parts.gate.decide(request, parts.clock.monotonic() + seconds)
            title = f"{request.kind.kind} {request.namespace}/{manifest.object.get('metadata', {}).get('name', '')}"
            subject = Subject(title, request.namespace, decision, recorded=False)
            found.append((subject, await _explain(parts, bundle, parts.compiled, subject, wanted)))
    return found


async def _recorded(
    settings: "Settings", config: Path | None, decision: str, wanted: frozenset[str], *, draft: bool
) -> "list[tuple[Subject, list[Explained]]]":
    from portcullis.cli.audit import get_record, get_recorded_policies
    from portcullis.server.compose import bundle_of, with_profile

    record = await get_record(config, decision)
    subject = Subject(
        f"{record.kind} {record.namespace}/{record.name}", record.namespace, record.decision, recorded=True, draft=draft
    )
    async with _composed(settings) as parts:
        if draft or record.decision.policy_revision == parts.compiled.revision:
            bundle, compiled = bundle_of(with_profile(settings), parts.limits), parts.compiled
        else:
            bundle = stored_bundle(
                record.decision.policy_revision, await get_recorded_policies(config, record.decision.policy_revision)
            )
            compiled = await parts.engine.compile(bundle)
        return [(subject, await _explain(parts, bundle, compiled, subject, wanted))]


def stored_bundle(revision: str, content: bytes | None) -> "PolicyBundle":
    """The policy set that was recorded under the revision.

    Raises:
        ConfigError: there is none.
    """
    from portcullis.server.compose import read_bundle

    if content is None:
        hint = "explain it under other policies: --policies DIR"
        raise ConfigError(f"the policies {revision} are not in the audit log\n{hint}")
    return read_bundle(revision, content)


@asynccontextmanager
async def _composed(settings: "Settings") -> "AsyncIterator[Parts]":
    from portcullis.server.compose import compose

    # An OPA of our own, whose trace can be had, in the place of one of others: it gives the same decisions.
    async with compose(settings.with_own_engine(), with_audit=False, user=os.environ) as parts:
        yield parts


async def _explain(
    parts: "Parts", bundle: "PolicyBundle", compiled: "CompiledBundle", subject: Subject, wanted: frozenset[str]
) -> "list[Explained]":
    from portcullis.model.place import Place
    from portcullis.model.ruling import Mode
    from portcullis.policy.explaining.explain import Explained, Explainer
    from portcullis.policy.supervisor import OpaSupervisor

    assert isinstance(parts.supervisor, OpaSupervisor)
    decision = subject.decision
    known = {one.name for one in compiled.policies}
    if unknown := sorted(wanted - known):
        raise ConfigError(f"there is no policy {unknown[0]}; there is: {', '.join(sorted(known))}")
    if not decision.document:
        raise ConfigError(f"nothing was judged by policies: the request was admitted as {decision.because.value}")
    modes, place = parts.current.standing.modes, Place(subject.namespace)
    weakest_first = sorted(decision.violations, key=lambda one: list(Mode).index(one.mode), reverse=True)
    judged = {} if subject.draft else {one.policy: one.mode for one in weakest_first}
    explainer = Explainer(
        engine=parts.engine,
        tracer=parts.supervisor,
        clock=parts.clock,
        limits=parts.limits,
        bundle=bundle,
        compiled=compiled,
        document=decision.document,
        parameters=modes.parameters_at(place).changed,
    )
    undecided = {one.policy: one for one in decision.undecided}
    found: list[Explained] = []
    for one in compiled.policies:
        if wanted and one.name not in wanted:
            continue
        policy = replace(one, mode=judged.get(one.name) or modes.mode(one, Mode.DENY, place))
        if policy.name in undecided:
            why = "; ".join(dict.fromkeys(problem.msg for problem in undecided[policy.name].problems))
            failure = why or "it was not asked: others refuse already"
            found.append(Explained(policy, (), failure, (), None, (), asked=bool(why)))
        else:
            found.append(await explainer.explain(policy))
    return found


def _print(explained: "Sequence[tuple[Subject, list[Explained]]]", output: Format, *, silent: bool) -> None:
    from portcullis.cli.explainview import covered_json, covered_text, explained_json, explained_text

    if output is Format.JSON:
        items = [
            {
                "subject": subject.title,
                "decision": subject.decision.id,
                "recorded": subject.recorded,
                "verdict": subject.decision.verdict.value,
                "because": subject.decision.because.value,
                "covered": covered_json(subject.decision),
                "policies": [explained_json(one) for one in ones],
            }
            for subject, ones in explained
        ]
        print_json({"apiVersion": API_VERSION, "kind": "Explanation", "items": items})
        return
    console = stdout()
    for subject, ones in explained:
        when = "was" if subject.recorded else "is"
        console.print(f"{subject.title} {when} {subject.decision.verdict.value}\n", style="bold", soft_wrap=True)
        if says := covered_text(subject.decision):
            console.print(says, soft_wrap=True)
        for block in explained_text(ones, silent=silent):
            console.print(block, soft_wrap=True)
