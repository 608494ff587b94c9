"""The look into layers, put together as the configuration says, and what is measured of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from portcullis.inspection.catalogue import Catalogue, load_catalogue
from portcullis.inspection.inspector import Identify, LayerInspector
from portcullis.inspection.pool import WorkerPool
from portcullis.inspection.wire import Setup
from portcullis.limits import Limits
from portcullis.ports import Facts, Registry
from portcullis.server.settings import Settings
from portcullis.server.telemetry import Metrics


def catalogue_of(settings: Settings, limits: Limits) -> Catalogue:
    """What is looked for in images.

    Raises:
        ConfigError: a file of the operator cannot be used.
    """
    return load_catalogue(settings.catalogue_files, limits=limits)


@asynccontextmanager
async def inspecting(
    settings: Settings,
    *,
    catalogue: Catalogue,
    registry: Registry,
    identify: Identify,
    facts: Facts,
    strangers: Facts | None = None,
    limits: Limits,
) -> AsyncIterator[LayerInspector | None]:
    """An inspector, and its end with that of the block; None where the configuration wants none. No process is
    started before there is a layer to read.

    Args:
        identify: tells the credentials apart that ``registry`` uses.
        facts: keeps what is found.
        strangers: the same for strangers, so that they are shown nothing of others' and fill no store.
    """
    if not settings.inspection.enabled:
        yield None
        return
    files = settings.catalogue_files
    inspector = LayerInspector(
        registry=registry,
        facts=facts,
        strangers=strangers,
        pool=WorkerPool(workers=settings.inspection.workers, setup=Setup(limits=limits, catalogues=files)),
        catalogue=catalogue,
        identify=identify,
        limits=limits,
    )
    try:
        yield inspector
    finally:
        await inspector.aclose()


def observe_inspection(inspector: LayerInspector, metrics: Metrics) -> None:
    """Binds metrics to the inspector; they are read when Prometheus asks."""
    counters = inspector.counters
    counted = {
        "images": "Images that were looked into.",
        "layers": "Layers that were read.",
        "bytes": "Bytes of layers that were read, as pulled.",
        "known_images": "Images whose contents were known already.",
        "known_layers": "Layers whose facts were known already.",
    }
    metrics.count_fields("inspection", counted, lambda: counters)
    metrics.count_function(
        "inspection_failures", "Looks into images and layers that failed.", lambda: float(counters.failures.total())
    )
    metrics.gauge("inspections", "Images that are being looked into.").set_function(lambda: float(inspector.under_way))
    metrics.gauge("inspection_waiting_layers", "Layers that wait for a process.").set_function(
        lambda: float(inspector.waiting)
    )
