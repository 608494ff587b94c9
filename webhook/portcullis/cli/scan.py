"""``portcullis scan``: judges what runs in a cluster now, once."""

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from portcullis.cli.clusters import ContextOption, KubeconfigOption, NamespaceOption
from portcullis.cli.output import (
    EXIT_FAILED,
    EXIT_REFUSED,
    ConfigOption,
    Format,
    FormatOption,
    print_json,
    progress,
    reported,
    stderr,
    stdout,
)
from portcullis.errors import ConfigError, PortcullisError
from portcullis.text import clean

if TYPE_CHECKING:
    from portcullis.cluster.running import RunningWorkloads
    from portcullis.model.running import Rejudged, RunningPods
    from portcullis.ports import Admissions
    from portcullis.rechecking import Rechecker
    from portcullis.server.compose import Parts
    from portcullis.server.settings import Settings

AT_ONCE: Final = 8
"""Workloads that are judged at once; what their images share is fetched once."""
LIST_SECONDS: Final = 30.0
"""For grants, pull secrets and what else the configuration says is watched."""
EXEMPT: Final = frozenset({"kube-system"})
"""With --all-namespaces, where no configuration says which webhook judges: what the chart exempts of itself."""


@dataclass(slots=True)
class Scanned:
    """What a scan has found so far.

    Args:
        where: the cluster.
        namespace: the one that was looked at; "" for all but ``exempt``.
        remarks: what kept a part of it from being judged whole, for people.
    """

    where: str = ""
    namespace: str = ""
    exempt: tuple[str, ...] = ()
    results: "list[Rejudged]" = field(default_factory=list)
    images: int = 0
    registry_requests: int = 0
    seconds: float = 0.0
    remarks: list[str] = field(default_factory=list)


@reported
def scan(
    all_namespaces: Annotated[
        bool, typer.Option("--all-namespaces", "-A", help="All but those that the gate leaves out.")
    ] = False,
    namespace: NamespaceOption = "",
    config: ConfigOption = None,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = "",
    output: FormatOption = Format.TABLE,
) -> None:
    """Judge what runs in a cluster now, by the images that really run.

    Nothing is recorded. Exits 0 if all is well, 1 if some workloads fail, 2 if some could not be judged.
    """
    from portcullis.cli.scanview import scan_json, scan_view
    from portcullis.model.running import Condition
    from portcullis.server.settings import load_settings

    if all_namespaces and namespace:
        raise ConfigError("--all-namespaces and --namespace together\neither all, or one")
    settings = load_settings(config, os.environ)
    scanned = asyncio.run(_scan(settings, kubeconfig, context, None if all_namespaces else namespace))
    if output is Format.JSON:
        print_json(scan_json(scanned))
    else:
        stdout().print(scan_view(scanned))
    for remark in scanned.remarks:
        stderr().print(clean(remark, 1000), soft_wrap=True)
    conditions = {result.condition for result in scanned.results}
    if Condition.UNKNOWN in conditions:
        raise typer.Exit(EXIT_FAILED)
    if Condition.FAILING in conditions:
        raise typer.Exit(EXIT_REFUSED)


async def _scan(settings: "Settings", kubeconfig: Path | None, context: str, namespace: str | None) -> Scanned:
    """``namespace``: None for all of them, "" for the one that the context means."""
    from portcullis.cluster.client import configured
    from portcullis.cluster.namespaces import AskedNamespaces
    from portcullis.cluster.running import RunningWorkloads
    from portcullis.server.compose import compose
    from portcullis.server.live.watching import watching
    from portcullis.server.telemetry import configure_logging

    started = time.monotonic()
    async with AsyncExitStack() as stack:
        say = stack.enter_context(progress("looking for the cluster", log=True))
        cluster = await configured(kubeconfig=kubeconfig, context=context, environ=os.environ)
        configure_logging(level=logging.WARNING)  # what watches say goes to stderr
        client = await stack.enter_async_context(cluster.client())
        webhook = settings.cluster.webhook
        within = "" if namespace is None else namespace or cluster.namespace
        workloads = RunningWorkloads(
            client=client,
            limits=settings.bounds(),
            exempt=() if webhook is not None else EXEMPT,
            webhook=webhook.name if webhook is not None else "",
            namespace=within,
        )
        scanned = Scanned(where=cluster.where, namespace=within)
        say("starting the policy engine")
        admissions = await stack.enter_async_context(_admissions(settings, scanned))
        opened = compose(
            settings,
            with_audit=False,
            user=os.environ,
            namespaces=AskedNamespaces(client=client),
            admissions=admissions,
            looking=watching(settings, settings.bounds(), cluster),
        )
        parts = await stack.enter_async_context(opened)
        if unlisted := await parts.watched.listed(LIST_SECONDS):
            scanned.remarks.append(f"not everything is known of the cluster: {unlisted}")
        say(f"listing what runs: {cluster.where}")
        await _judge_all(workloads, parts.rechecker, scanned, say)
        scanned.exempt = tuple(sorted(workloads.exempt))
        scanned.images = parts.rechecker.images.count
        scanned.registry_requests = _requests(parts)
        if parts.rechecker.unasked:
            scanned.remarks.append(f"tags are not compared: {parts.rechecker.unasked}")
        scanned.seconds = time.monotonic() - started
    return scanned


async def _judge_all(
    workloads: "RunningWorkloads", rechecker: "Rechecker", scanned: Scanned, say: Callable[[str], None]
) -> None:
    """Judges every group, several at once, and says how far it is."""
    from portcullis.model.running import Condition

    rechecker.begin()
    places = asyncio.Semaphore(AT_ONCE)
    failing = 0

    async def judge(group: "RunningPods") -> None:
        nonlocal failing
        try:
            result = await rechecker.judge(group)
        finally:
            places.release()
        # The documents of thousands of decisions would fill the memory, and nobody prints them.
        scanned.results.append(replace(result, decision=replace(result.decision, document=b"")))
        failing += result.condition is Condition.FAILING
        done = len(scanned.results)
        if done == workloads.count or done % 25 == 0:
            say(f"judged {done} of {workloads.count} workloads, {failing} failing")

    try:
        async with asyncio.TaskGroup() as group:
            async for pods in workloads.groups():
                await places.acquire()
                group.create_task(judge(pods))
    except BaseExceptionGroup as raised:
        raise raised.exceptions[0] from None


@asynccontextmanager
async def _admissions(settings: "Settings", scanned: Scanned) -> "AsyncIterator[Admissions | None]":
    """The audit log of the configuration, by which tags are seen to have moved; None where there is none to be read."""
    if not settings.audit.database:
        yield None
        return
    from portcullis.audit.judgedtags import SqlAdmissions
    from portcullis.audit.sql import open_records

    async with AsyncExitStack() as stack:
        try:
            records = await stack.enter_async_context(open_records(settings.audit.database, settings.bounds()))
        except PortcullisError as error:
            scanned.remarks.append(f"tags are not compared: {error.message}")
            yield None
            return
        yield SqlAdmissions(records=records, verified_only=settings.tells_callers_apart)


def _requests(parts: "Parts") -> int:
    """That were sent to registries."""
    return sum(parts.traffic.requests.values())
