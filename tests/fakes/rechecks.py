"""What judges again, over a registry in memory and an engine in the test's hands."""

import asyncio
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from fakes.engine import ScriptedEngine
from fakes.registry import MemoryRegistry
from fakes.runningpods import running_pod
from portcullis.admission.workloads import WorkloadReader
from portcullis.cluster.podlikeness import creation, images_of
from portcullis.collecting import ImageCollector
from portcullis.decision.exceptions import Exceptions
from portcullis.decision.grants import NO_GRANTS, Grants
from portcullis.decision.modes import Modes
from portcullis.errors import RecordsError
from portcullis.evidence.gather import EvidenceGatherer
from portcullis.evidence.trust import Trust
from portcullis.evidence.verifier import AttestationVerifier
from portcullis.gate import Gate
from portcullis.inspection.catalogue import load_catalogue
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.model.image import Access, Digest, Repository
from portcullis.model.ruling import CompiledBundle, Mode, Need, PolicyInfo
from portcullis.model.running import Admitted, ObjectRef, RunningPods
from portcullis.ports import Inspector
from portcullis.rechecking import Rechecker
from portcullis.reference.parse import parse_reference
from portcullis.runningimages import RunningImages
from portcullis.standing import Standing

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
POLICIES = {
    "team-label": frozenset({Need.REQUEST}),
    "image-user": frozenset({Need.REQUEST, Need.IMAGE, Need.CONFIG}),
    "scan-required": frozenset({Need.REQUEST, Need.IMAGE, Need.ATTESTATIONS}),
}


class Clock:
    """The event loop's; ``passed`` are seconds beside it."""

    def __init__(self) -> None:
        self.passed = 0.0

    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time() + self.passed


@dataclass
class GivenAdmissions:
    """An Admissions that says what the test says; ``asked`` are the objects of each question."""

    rows: Sequence[Admitted] = ()
    error: RecordsError | None = None
    asked: list[list[str]] = field(default_factory=list)

    async def admitted(self, objects: Sequence[ObjectRef]) -> Sequence[Admitted]:
        self.asked.append([f"{one.kind}/{one.name}" for one in objects])
        if self.error is not None:
            raise self.error
        return [
            row for one in objects for row in self.rows if (row.object.kind, row.object.name) == (one.kind, one.name)
        ]


async def by_namespace(repository: Repository, access: Access) -> str:
    """Each namespace has a credential of its own."""
    return access.namespace


async def by_nobody(repository: Repository, access: Access) -> str:
    """All have the same."""
    return ""


@dataclass
class Rechecking:
    """Everything around a Rechecker in the test's hands."""

    registry: Any = field(default_factory=MemoryRegistry)
    engine: ScriptedEngine = field(default_factory=ScriptedEngine)
    admissions: GivenAdmissions | None = None
    modes: Modes = field(default_factory=Modes)
    exceptions: Exceptions = field(default_factory=Exceptions)
    grants: Grants = NO_GRANTS
    inspector: Inspector | None = None
    policies: Mapping[str, frozenset[Need]] = field(default_factory=lambda: dict(POLICIES))
    limits: Limits = DEFAULT_LIMITS
    identify: Callable[..., Any] = by_nobody
    clock: Clock = field(default_factory=Clock)

    @functools.cached_property
    def images(self) -> RunningImages:
        return self.rechecker.images

    @functools.cached_property
    def rechecker(self) -> Rechecker:
        trust = Trust(signers=(), rules=())
        verifier = AttestationVerifier(trust=trust, limits=self.limits)
        gatherer = EvidenceGatherer(
            registry=self.registry, verifier=verifier, trust=trust, clock=self.clock, limits=self.limits
        )
        parse = functools.partial(parse_reference, limits=self.limits)
        common: dict[str, Any] = {
            "registry": self.registry,
            "gatherer": gatherer,
            "inspector": self.inspector,
            "catalogue": load_catalogue(()),
            "clock": self.clock,
            "limits": self.limits,
        }
        gate = functools.partial(
            Gate,
            reader=WorkloadReader(limits=self.limits),
            engine=self.engine,
            grants=lambda _: self.grants,
            **common,
        )
        images = RunningImages(
            collector=ImageCollector(parse=parse, **common),
            registry=self.registry,
            parse=parse,
            identify=self.identify,
            clock=self.clock,
            limits=self.limits,
        )
        return Rechecker(
            gate=gate,
            images=images,
            standing=self.standing,
            admissions=self.admissions,
            clock=self.clock,
            limits=self.limits,
        )

    def standing(self) -> Standing:
        policies = tuple(policy(name, needs) for name, needs in self.policies.items())
        compiled = CompiledBundle(revision="sha256:p", policies=policies)
        return Standing(compiled=compiled, modes=self.modes, exceptions=self.exceptions, config_revision="sha256:c")


def policy(name: str, needs: frozenset[Need]) -> PolicyInfo:
    return PolicyInfo(
        name=name, title=name, description="", severity="high", mode=Mode.DENY, docs="", needs=needs, rules=(Mode.DENY,)
    )


def group_of(
    images: Mapping[str, str],
    *,
    owner: str = "web",
    namespace: str = "shop",
    pods: Sequence[str] = ("web-1",),
    **more: Any,
) -> RunningPods:
    """Pods of a Deployment, by what is written in them and what the kubelet reports of that."""
    pod = running_pod(pods[0], images, namespace=namespace, **more)
    return RunningPods(
        owner=ObjectRef("apps/v1", "Deployment", namespace, owner),
        pod=creation(pod),
        names=tuple(pods),
        count=len(pods),
        images=images_of(pod),
        key=f"{namespace}/{owner}",
    )


def admitted(name: str, written: str, digest: str, *, kind: str = "Pod", break_glass: str = "") -> Admitted:
    """How an object was let in."""
    place = ObjectRef("v1", kind, "shop", name)
    return Admitted(place, f"decision-of-{name}", {written: Digest(digest)} if digest else {}, break_glass)
