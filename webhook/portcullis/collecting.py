"""Collects the facts of a workload's images: one task per distinct image, what is needed and no more."""

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol

from portcullis.audit.redact import Redactor
from portcullis.errors import (
    DeadlineExceeded,
    InspectionBusy,
    InspectionError,
    InvalidReference,
    PortcullisError,
    RedactionError,
    RegistryError,
)
from portcullis.inspection.buildargs import blotted
from portcullis.inspection.catalogue import Catalogue
from portcullis.inspection.config import container_user, image_user
from portcullis.inspection.history import build_steps
from portcullis.limits import Limits
from portcullis.measuring import Durations
from portcullis.model.contents import Contents, ContentsStatus
from portcullis.model.decision import Problem, Stage
from portcullis.model.evidence import Evidence
from portcullis.model.facts import ContainerFacts, ImageFacts
from portcullis.model.image import (
    Access,
    BuildStep,
    Digest,
    ImageConfig,
    ImageReference,
    ImageUser,
    PlatformImage,
    ResolvedImage,
)
from portcullis.model.request import AdmissionRequest
from portcullis.model.ruling import Need
from portcullis.model.workload import Workload
from portcullis.patience import Patience, Wait
from portcullis.ports import Clock, Gatherer, Inspector, Registry
from portcullis.spans import span
from portcullis.tasks import aside

_KNOWN_HISTORIES = 500
"""Histories in memory; one has some 20 lines."""

_SLOWER = 8
"""How much longer it takes to search a character of a history for secrets than to read a byte of JSON."""

STEPS = ("resolve", "evidence", "layers")
"""With one image: what its reference means and what it says of itself, what was signed about it, what is in it."""

REQUEST_NEEDS = frozenset({Need.REQUEST, Need.NAMESPACE, Need.INVENTORY})
"""What is known without a look at the images."""

IMAGE_NEEDS = frozenset(Need) - REQUEST_NEEDS

UNMET_BY: Mapping[Stage, frozenset[Need]] = {
    Stage.ADMISSION: frozenset(Need),
    Stage.GATE: frozenset(Need),
    Stage.NAMESPACE: frozenset({Need.NAMESPACE}),
    Stage.INVENTORY: frozenset({Need.INVENTORY}),
    Stage.REFERENCE: IMAGE_NEEDS,
    Stage.REGISTRY: IMAGE_NEEDS,
    Stage.EVIDENCE: frozenset({Need.ATTESTATIONS, Need.COMPONENTS}),
    Stage.INSPECTION: frozenset({Need.CONTENTS, Need.PACKAGES}),
    Stage.PACKAGES: frozenset({Need.PACKAGES}),
    Stage.USER: frozenset({Need.USER}),
}
"""Which needs a problem of a stage leaves unmet."""


def problem_of(error: PortcullisError, stage: Stage, image: str = "") -> Problem:
    return Problem(stage=stage, reason=error.reason, retryable=error.retryable, msg=error.message, image=image)


def container_facts(workload: Workload, images: Sequence[ImageFacts]) -> list[ContainerFacts]:
    """The containers with the users that they would run as, by what is known of their images."""
    users = {image.written: image.users if image.resolved is not None else None for image in images}
    pod_spec = workload.pod_spec or {}
    return [
        ContainerFacts(container, container_user(container, pod_spec, users.get(container.image)))
        for container in workload.containers
    ]


class Collector(Protocol):
    """Tells of the images of one request. For each distinct text, in order."""

    def name(self, images: Collection[str]) -> tuple[ImageFacts, ...]:
        """What the texts alone say."""
        ...

    async def collect(
        self,
        images: Collection[str],
        needs: Collection[Need],
        access: Access,
        deadline: float,
        request: AdmissionRequest | None = None,
    ) -> tuple[ImageFacts, ...]:
        """What is needed of each, until ``deadline``; a fact that cannot be had is a problem of its image."""
        ...


@dataclass(slots=True)
class _Collected:
    """What one task has so far; read at the deadline, whatever was reached."""

    written: str
    reference: ImageReference | None = None
    resolved: ResolvedImage | None = None
    users: tuple[ImageUser, ...] = ()
    steps: tuple[tuple[BuildStep, ...], ...] = ()
    contents: tuple[Contents, ...] = ()
    contents_status: ContentsStatus = ContentsStatus.SKIPPED
    evidence: Evidence | None = None
    components: bool = False
    problems: list[Problem] = field(default_factory=list)
    under_way: set[Stage] = field(default_factory=set)
    """What has begun and not ended."""

    def facts(self) -> ImageFacts:
        return ImageFacts(
            written=self.written,
            reference=self.reference,
            resolved=self.resolved,
            users=self.users,
            steps=self.steps,
            contents=self.contents,
            contents_status=self.contents_status,
            evidence=self.evidence,
            components=self.components,
            problems=tuple(self.problems),
        )


class ImageCollector:
    """Resolves images, gathers what was signed about them, and has their layers looked into.

    Args:
        parse: text to reference; raises InvalidReference.
        registry: where images come from; it caches and shares flights, and finishes in the background what a
            deadline cuts off here.
        gatherer: finds and verifies attestations.
        inspector: looks into layers; None where that is switched off.
        catalogue: says what is a secret in a line of the history, which nobody is shown.
        redactor: takes secrets out of what an image says of itself; by default without rules of an operator.
        seconds: is told how long each of STEPS takes.
    """

    def __init__(
        self,
        *,
        parse: Callable[[str], ImageReference],
        registry: Registry,
        gatherer: Gatherer,
        inspector: Inspector | None,
        catalogue: Catalogue,
        clock: Clock,
        limits: Limits,
        redactor: Redactor | None = None,
        seconds: Mapping[str, Durations] | None = None,
    ) -> None:
        self._seconds = seconds or {step: Durations() for step in STEPS}
        self._patience = Patience(limits)
        self._parse = parse
        self._registry = registry
        self._gatherer = gatherer
        self._inspector = inspector
        self._catalogue = catalogue
        self._redactor = redactor or Redactor(limits=limits)
        self._known: dict[Digest, tuple[tuple[BuildStep, ...], ImageConfig]] = {}
        self._clock = clock
        self._limits = limits

    def name(self, images: Collection[str]) -> tuple[ImageFacts, ...]:
        """What the texts alone say of each distinct image, in order."""
        return tuple(image.facts() for image in self._start_all(images))

    async def collect(
        self,
        images: Collection[str],
        needs: Collection[Need],
        access: Access,
        deadline: float,
        request: AdmissionRequest | None = None,
    ) -> tuple[ImageFacts, ...]:
        """Facts of each distinct image text, in order; at ``deadline`` what is missing becomes a problem, or before
        it, where whoever made the ``request`` should not wait so long (patience.py).

        A fact that cannot be had is a problem of its image; nothing is raised for it.
        """
        collected = self._start_all(images)
        if not IMAGE_NEEDS.isdisjoint(needs):
            if len(collected) > self._limits.distinct_images:
                self._refuse_all(collected)
            else:
                await self._fetch(collected, frozenset(needs), access, deadline, request)
        return tuple(image.facts() for image in collected)

    def _start_all(self, images: Collection[str]) -> list[_Collected]:
        return [self._start(written) for written in dict.fromkeys(images)]

    def _start(self, written: str) -> _Collected:
        image = _Collected(written=written)
        try:
            image.reference = self._parse(written)
        except InvalidReference as error:
            image.problems.append(problem_of(error, Stage.REFERENCE, written))
        return image

    def _refuse_all(self, collected: list[_Collected]) -> None:
        limit = self._limits.distinct_images
        message = f"the workload names {len(collected)} different images; the limit distinctImages is {limit}"
        for image in collected:
            image.problems.append(
                Problem(Stage.REGISTRY, "too-large", retryable=False, msg=message, image=image.written)
            )

    async def _fetch(
        self,
        collected: list[_Collected],
        needs: frozenset[Need],
        access: Access,
        deadline: float,
        request: AdmissionRequest | None,
    ) -> None:
        started = self._clock.monotonic()
        wait = Wait()
        try:
            async with asyncio.timeout_at(deadline) as limit:
                with self._patience.shared(request, limit) as wait:
                    async with asyncio.TaskGroup() as group:
                        for image in collected:
                            if image.reference is not None:
                                group.create_task(self._one(image, image.reference, needs, access))
        except TimeoutError:
            elapsed = self._clock.monotonic() - started
            for image in collected:
                self._late(image, elapsed, cut_short=wait.cut_short)

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        started = self._clock.monotonic()
        try:
            with span(name):
                yield
        finally:
            self._seconds[name].observe(self._clock.monotonic() - started)

    async def _one(self, image: _Collected, reference: ImageReference, needs: frozenset[Need], access: Access) -> None:
        with span("image", image=image.written) as one:
            await self._facts_of(image, reference, needs, access)
            if image.resolved is not None:
                one.set(digest=image.resolved.digest)

    async def _facts_of(
        self, image: _Collected, reference: ImageReference, needs: frozenset[Need], access: Access
    ) -> None:
        image.under_way.add(Stage.REGISTRY)
        try:
            with self._step("resolve"):
                resolved = await self._registry.resolve(reference, access)
        except RegistryError as error:
            image.under_way.discard(Stage.REGISTRY)
            image.problems.append(problem_of(error, Stage.REGISTRY, image.written))
            return
        try:
            told = [await self._told(platform) for platform in resolved.platforms]
        except RedactionError as error:
            image.under_way.discard(Stage.REGISTRY)
            image.problems.append(problem_of(error, Stage.REGISTRY, image.written))
            return
        image.steps = tuple(steps for steps, _ in told)
        image.under_way.discard(Stage.REGISTRY)
        image.resolved = resolved = replace(resolved, platforms=tuple(platform for _, platform in told))
        image.users = tuple(image_user(platform.config) for platform in resolved.platforms)
        async with asyncio.TaskGroup() as group:
            if Need.ATTESTATIONS in needs:
                image.components = Need.COMPONENTS in needs
                image.under_way.add(Stage.EVIDENCE)
                group.create_task(self._attestations(image, resolved, access))
            if stages := _inspected(image, needs):
                image.under_way |= stages
                group.create_task(self._contents(image, resolved, access, needs, stages))

    async def _told(self, platform: PlatformImage) -> tuple[tuple[BuildStep, ...], PlatformImage]:
        """The history of an image, and the image with what it says of itself, both without secrets. They never change,
        and to read them takes as long as all else that is warm.

        Raises:
            RedactionError.
        """
        known = self._known.get(platform.digest)
        if known is None:
            chars = sum(len(entry.created_by) for entry in platform.config.history)
            known = await aside(_SLOWER * chars, lambda: self._read(platform))
            if len(self._known) >= _KNOWN_HISTORIES:
                self._known.clear()
            self._known[platform.digest] = known
        steps, config = known
        return steps, replace(platform, config=config) if config is not platform.config else platform

    def _read(self, platform: PlatformImage) -> tuple[tuple[BuildStep, ...], ImageConfig]:
        config = platform.config
        return blotted(build_steps(config, len(platform.layers)), self._catalogue), self._redactor.config(config)

    async def _attestations(self, image: _Collected, resolved: ResolvedImage, access: Access) -> None:
        try:
            with self._step("evidence"):
                image.evidence = await self._gatherer.gather(resolved, access)
        except RegistryError as error:
            image.problems.append(problem_of(error, Stage.EVIDENCE, image.written))
        image.under_way.discard(Stage.EVIDENCE)

    async def _contents(
        self,
        image: _Collected,
        resolved: ResolvedImage,
        access: Access,
        needs: frozenset[Need],
        stages: frozenset[Stage],
    ) -> None:
        if self._inspector is None:
            image.contents_status = ContentsStatus.UNAVAILABLE
            image.problems += [_switched_off(image, stage) for stage in sorted(stages)]
            image.under_way -= stages
            return
        image.contents_status = ContentsStatus.PENDING
        try:
            with self._step("layers"):
                contents = await self._inspector.inspect(resolved, access)
        except InspectionBusy as error:
            seconds = self._limits.inspection_failure_seconds
            image.problems += [_pending(image, stage, error.message, seconds) for stage in sorted(stages)]
        except (RegistryError, InspectionError) as error:
            image.contents_status = ContentsStatus.UNAVAILABLE
            image.problems += [problem_of(error, stage, image.written) for stage in sorted(stages)]
        else:
            _take(image, contents, needs)
        image.under_way -= stages

    def _late(self, image: _Collected, elapsed: float, *, cut_short: bool) -> None:
        """A registry that has not even named the image in all the time there was is an outage; one that has is being
        worked with, and the next request finds that work done. So it may be where the time was cut short."""
        if Stage.REGISTRY in image.under_way and not cut_short:
            error = DeadlineExceeded("the registry did not answer before the deadline of the request")
            image.problems.append(problem_of(error, Stage.REGISTRY, image.written))
            return
        for stage in sorted(image.under_way):
            eta = elapsed
            if self._inspector is not None and image.resolved is not None and stage is not Stage.EVIDENCE:
                eta = self._inspector.remaining_seconds(image.resolved)
            message = "the image is still being inspected; the work goes on in the background"
            image.problems.append(_pending(image, stage, message, eta))


def _inspected(image: _Collected, needs: frozenset[Need]) -> frozenset[Stage]:
    """What the layers must be looked into for. Of an image whose USER is a number, nobody needs to look up the name."""
    stages = {Stage.INSPECTION} if Need.CONTENTS in needs else set()
    if Need.USER in needs and any(user.root is None for user in image.users):
        stages.add(Stage.USER)
    return frozenset(stages)


def _take(image: _Collected, contents: Sequence[Contents], needs: frozenset[Need]) -> None:
    """What was found in the layers, as far as somebody needs it."""
    image.users = tuple(inside.user or known for inside, known in zip(contents, image.users, strict=True))
    image.contents_status = ContentsStatus.SKIPPED
    if Need.CONTENTS in needs:
        image.contents_status = ContentsStatus.COMPLETE
        image.contents = tuple(contents if Need.PACKAGES in needs else map(_without_packages, contents))
    if Need.PACKAGES in needs:
        image.problems += _unreadable_packages(image, contents)


def _unreadable_packages(image: _Collected, contents: Sequence[Contents]) -> list[Problem]:
    faults = dict.fromkeys(fault for inside in contents for fault in inside.package_faults)
    return [
        Problem(Stage.PACKAGES, "packages-unreadable", retryable=False, msg=fault, image=image.written)
        for fault in faults
    ]


def _without_packages(contents: Contents) -> Contents:
    return replace(contents, packages=None)


def _switched_off(image: _Collected, stage: Stage) -> Problem:
    message = "the layers of images are not looked into (inspection.enabled is false)"
    return Problem(stage, "inspection-unavailable", retryable=False, msg=message, image=image.written)


def _pending(image: _Collected, stage: Stage, message: str, eta: float) -> Problem:
    return Problem(
        stage=stage,
        reason=InspectionBusy.reason,
        retryable=True,
        msg=message,
        image=image.written,
        pending=True,
        eta_seconds=eta,
    )
