"""The two that judge, put together from the same parts: the gate, and what judges again by its ways."""

import functools
from collections.abc import Callable

from portcullis.admission.workloads import CustomKind, WorkloadReader
from portcullis.audit.redact import Redactor
from portcullis.collecting import ImageCollector
from portcullis.decision.grants import Grants
from portcullis.gate import Gate
from portcullis.inspection.catalogue import Catalogue
from portcullis.inspection.inspector import Identify
from portcullis.limits import Limits
from portcullis.model.decision import Problem
from portcullis.ports import Admissions, Clock, Engine, Gatherer, Inspector, Namespaces, Registry
from portcullis.rechecking import Rechecker
from portcullis.reference.parse import parse_reference
from portcullis.remembering import Remembering
from portcullis.runningimages import RunningImages
from portcullis.server.settings import Settings
from portcullis.standing import Standing


def judging(
    settings: Settings,
    *,
    reader: WorkloadReader,
    registry: Registry,
    identify: Identify,
    gatherer: Gatherer,
    inspector: Inspector | None,
    catalogue: Catalogue,
    engine: Engine,
    standing: Callable[[], Standing],
    namespaces: Namespaces | None,
    inventory: Callable[[], Problem | None],
    admissions: Admissions | None,
    remembering: Remembering | None,
    grants: Callable[[str], Grants],
    redactor: Redactor,
    clock: Clock,
    limits: Limits,
) -> tuple[Gate, Rechecker]:
    """The gate, and a Rechecker whose decisions are those of the gate, but for the images: it takes those that run, and
    it remembers nothing.

    Args:
        identify: tells apart the credentials that ``registry`` uses.
        admissions: what the audit log knows; None where none is kept.
    """
    default = settings.registries.default
    common = functools.partial(
        Gate,
        reader=reader,
        registry=registry,
        gatherer=gatherer,
        inspector=inspector,
        catalogue=catalogue,
        engine=engine,
        namespaces=namespaces,
        inventory=inventory,
        clock=clock,
        limits=limits,
        redactor=redactor,
        default_registry=default,
        callers_told_apart=settings.tells_callers_apart,
        grants=grants,
    )
    parse = functools.partial(parse_reference, default_registry=default, limits=limits)
    collector = ImageCollector(
        parse=parse,
        registry=registry,
        gatherer=gatherer,
        inspector=inspector,
        catalogue=catalogue,
        clock=clock,
        limits=limits,
        redactor=redactor,
    )
    images = RunningImages(
        collector=collector, registry=registry, parse=parse, identify=identify, clock=clock, limits=limits
    )
    rechecker = Rechecker(
        gate=common, images=images, standing=standing, admissions=admissions, clock=clock, limits=limits
    )
    return common(standing=standing, remembering=remembering), rechecker


def reader_of(settings: Settings, limits: Limits) -> WorkloadReader:
    """Finds the pod in objects of the built-in kinds, and in those of ``cluster.podSpecPaths``.

    Raises:
        ConfigError: one of these cannot be used.
    """
    custom = [
        CustomKind(entry.group, entry.kind, tuple(entry.path.split(".")), entry.version)
        for entry in settings.cluster.pod_spec_paths
    ]
    return WorkloadReader(custom=custom, limits=limits)
