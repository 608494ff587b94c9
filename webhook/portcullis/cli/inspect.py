"""``portcullis inspect``: every fact of an image that the gate sees."""

import asyncio
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from portcullis.cli.output import (
    API_VERSION,
    EXIT_FAILED,
    ConfigOption,
    Format,
    FormatOption,
    print_json,
    progress,
    reported,
    stdout,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from portcullis.cli.clients import Clients
    from portcullis.model.facts import ImageFacts
    from portcullis.model.image import Access, ImageReference, Repository
    from portcullis.model.request import AdmissionRequest
    from portcullis.ports import Registry
    from portcullis.server.settings import Settings

CONTAINER = "image"


@reported
def inspect(
    image: Annotated[
        str,
        typer.Argument(
            metavar="IMAGE",
            help="registry/name:tag, or with @sha256:…; on disk: oci-layout:DIR[:TAG], docker-archive:FILE[:NAME:TAG].",
        ),
    ],
    config: ConfigOption = None,
    timeout: Annotated[float, typer.Option("--timeout", min=1, max=3600, help="Seconds.")] = 300.0,
    every: Annotated[bool, typer.Option("--all", help="All findings, not only the first of each class.")] = False,
    packages: Annotated[bool, typer.Option("--packages", help="Each installed package.")] = False,
    as_dockerfile: Annotated[
        bool, typer.Option("--dockerfile", help="Only the history of the image, as the Dockerfile it may have been.")
    ] = False,
    output: FormatOption = Format.TABLE,
) -> None:
    """Show every fact of an image that policies see.

    Exits 2 if some of them could not be had.
    """
    from datetime import UTC, datetime

    from portcullis.cli.facts import facts_view, history_view
    from portcullis.errors import ConfigError
    from portcullis.server.settings import load_settings

    if as_dockerfile and output is Format.JSON:
        raise ConfigError("--dockerfile is a text and no JSON\nthe JSON of all facts holds the history as well")
    document = asyncio.run(_inspect(load_settings(config, os.environ), image, timeout, contents=not as_dockerfile))
    facts = document["images"][image]
    if output is Format.JSON:
        parts = {key: document[key] for key in ("time", "containers", "images")}
        print_json({"apiVersion": API_VERSION, "kind": "PolicyInput", **parts})
    elif as_dockerfile and facts["platforms"]:
        stdout().print(history_view(facts), soft_wrap=True)
    else:
        stdout().print(facts_view(image, facts, datetime.now(UTC), every=every, packages=packages))
    if facts["problems"]:
        raise typer.Exit(EXIT_FAILED)


async def _inspect(settings: "Settings", image: str, seconds: float, *, contents: bool) -> dict[str, Any]:
    """The policy input for a pod with that image.

    Args:
        contents: whether its layers are looked into, and what is attached to it is fetched.
    """
    from portcullis.cli.clients import open_clients
    from portcullis.server.secretkeys import with_keys_of_cluster

    settings = await with_keys_of_cluster(settings)
    with progress(f"asking for {image}"):
        async with open_clients(settings) as clients:
            facts = await _facts(clients, image, seconds, contents=contents)
            return _document(clients, facts)


async def _facts(clients: "Clients", image: str, seconds: float, *, contents: bool) -> "ImageFacts":
    from portcullis.audit.memory import MemoryFacts
    from portcullis.collecting import ImageCollector
    from portcullis.model.image import Access
    from portcullis.model.ruling import Need
    from portcullis.server.inspecting import catalogue_of, inspecting
    from portcullis.server.trusting import gatherer_of, trusting

    source = _source_of(clients, image)
    memory = MemoryFacts(limits=clients.limits)
    gatherer = gatherer_of(
        clients.settings,
        trusting=trusting(clients.settings, clients.limits),
        registry=source.registry,
        marks=None,
        clock=clients.clock,
        limits=clients.limits,
    )
    needs = [Need.IMAGE, Need.CONFIG]
    if contents:
        needs += [Need.ATTESTATIONS, Need.COMPONENTS, Need.USER, Need.CONTENTS, Need.PACKAGES]
    catalogue = catalogue_of(clients.settings, clients.limits)
    async with inspecting(
        clients.settings,
        catalogue=catalogue,
        registry=source.registry,
        identify=_one_user,
        facts=memory,
        limits=clients.limits,
    ) as inspector:
        collector = ImageCollector(
            parse=source.parse,
            registry=source.registry,
            gatherer=gatherer,
            inspector=inspector,
            catalogue=catalogue,
            clock=clients.clock,
            limits=clients.limits,
        )
        (facts,) = await collector.collect([image], needs, Access(), clients.clock.monotonic() + seconds)
    return facts


async def _one_user(repository: "Repository", access: "Access") -> str:  # noqa: ARG001
    """Whoever runs the command is the only one."""
    return ""


@dataclass(frozen=True, slots=True)
class _Source:
    """Where an image is read from, and what reads the text that names it."""

    registry: "Registry"
    parse: "Callable[[str], ImageReference]"


def _source_of(clients: "Clients", image: str) -> _Source:
    """A registry, or the folder or archive that ``image`` names.

    Raises:
        InvalidReference: it is to be a folder or archive, and is no name of one.
    """
    from portcullis.cli.ondisk import is_on_disk, open_on_disk, parse_on_disk
    from portcullis.server.platforms import configured_platforms

    if not is_on_disk(image):
        return _Source(clients.registry, clients.parse)
    reference = parse_on_disk(image, clients.limits)
    platforms = configured_platforms(clients.settings)
    registry = open_on_disk(reference, platforms=platforms, limits=clients.limits)
    return _Source(registry, lambda _: reference)


def _document(clients: "Clients", facts: "ImageFacts") -> dict[str, Any]:
    import msgspec

    from portcullis.admission.workloads import WorkloadReader
    from portcullis.collecting import container_facts
    from portcullis.policy.document import build_document

    request = _pod_with(facts.written, clients)
    workload = WorkloadReader(limits=clients.limits).read(request)
    document = build_document(
        now=clients.clock.now(),
        request=request,
        workload=workload,
        containers=container_facts(workload, [facts]),
        images=[facts],
        limits=clients.limits,
    )
    tree: dict[str, Any] = msgspec.json.decode(document)
    return tree


def _pod_with(image: str, clients: "Clients") -> "AdmissionRequest":
    """A pod that says nothing but the image, so that its user is the image's own."""
    from portcullis.cli.manifests import Manifest
    from portcullis.cli.requests import local_user, request_of

    spec = {"containers": [{"name": CONTAINER, "image": image}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": CONTAINER}, "spec": spec}
    return request_of(Manifest("", "", 1, pod), namespace="", user=local_user(), limits=clients.limits)
