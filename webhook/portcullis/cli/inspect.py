"""``portcullis inspect``: every fact of an image that the gate sees."""

import asyncio
import os
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
    from portcullis.cli.clients import Clients
    from portcullis.model.facts import ImageFacts
    from portcullis.model.request import AdmissionRequest
    from portcullis.server.settings import Settings

CONTAINER = "image"


@reported
def inspect(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="registry/name:tag, or with @sha256:…")],
    config: ConfigOption = None,
    timeout: Annotated[float, typer.Option("--timeout", min=1, max=600, help="Seconds.")] = 60.0,
    output: FormatOption = Format.TABLE,
) -> None:
    """Show every fact of an image that policies see.

    Exits 2 if some of them could not be had.
    """
    from datetime import UTC, datetime

    from portcullis.cli.clients import require_image_name
    from portcullis.cli.facts import facts_view
    from portcullis.server.settings import load_settings

    require_image_name(image)
    document = asyncio.run(_inspect(load_settings(config, os.environ), image, timeout))
    if output is Format.JSON:
        parts = {key: document[key] for key in ("time", "containers", "images")}
        print_json({"apiVersion": API_VERSION, "kind": "PolicyInput", **parts})
    else:
        stdout().print(facts_view(image, document["images"][image], datetime.now(UTC)))
    if document["images"][image]["problems"]:
        raise typer.Exit(EXIT_FAILED)


async def _inspect(settings: "Settings", image: str, seconds: float) -> dict[str, Any]:
    """The policy input for a pod with that image."""
    from portcullis.cli.clients import open_clients

    with progress(f"asking for {image}"):
        async with open_clients(settings) as clients:
            facts = await _facts(clients, image, seconds)
            return _document(clients, facts)


async def _facts(clients: "Clients", image: str, seconds: float) -> "ImageFacts":
    from portcullis.collecting import ImageCollector
    from portcullis.evidence.gather import EvidenceGatherer
    from portcullis.evidence.verifier import KeyVerifier
    from portcullis.model.image import Access
    from portcullis.model.ruling import Need
    from portcullis.server.compose import trust_of

    trust = trust_of(clients.settings)
    verifier = KeyVerifier(trust=trust, limits=clients.limits)
    gatherer = EvidenceGatherer(registry=clients.registry, verifier=verifier, trust=trust, limits=clients.limits)
    collector = ImageCollector(
        parse=clients.parse,
        registry=clients.registry,
        gatherer=gatherer,
        clock=clients.clock,
        limits=clients.limits,
    )
    needs = (Need.IMAGE, Need.CONFIG, Need.ATTESTATIONS)
    (facts,) = await collector.collect([image], needs, Access(), clients.clock.monotonic() + seconds)
    return facts


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
