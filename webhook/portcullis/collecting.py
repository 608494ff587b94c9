"""Collects the facts of a workload's images: one task per distinct image, what is needed and no more."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from portcullis.errors import DeadlineExceeded, InvalidReference, PortcullisError, RegistryError
from portcullis.evidence.gather import EvidenceGatherer
from portcullis.inspection.config import container_user, image_user
from portcullis.limits import Limits
from portcullis.model.decision import Problem, Stage
from portcullis.model.evidence import Evidence
from portcullis.model.facts import ContainerFacts, ImageFacts
from portcullis.model.image import Access, ImageReference, ImageUser, ResolvedImage
from portcullis.model.request import AdmissionRequest
from portcullis.model.ruling import Need
from portcullis.model.workload import Workload
from portcullis.patience import Patience, Wait
from portcullis.ports import Clock, Registry

IMAGE_NEEDS = frozenset({Need.IMAGE, Need.CONFIG, Need.CONTENTS, Need.ATTESTATIONS})

UNMET_BY: Mapping[Stage, frozenset[Need]] = {
    Stage.ADMISSION: IMAGE_NEEDS | {Need.REQUEST, Need.INVENTORY},
    Stage.GATE: IMAGE_NEEDS | {Need.REQUEST, Need.INVENTORY},
    Stage.REFERENCE: IMAGE_NEEDS,
    Stage.REGISTRY: IMAGE_NEEDS,
    Stage.EVIDENCE: frozenset({Need.ATTESTATIONS}),
    Stage.INSPECTION: frozenset({Need.CONTENTS}),
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


@dataclass(slots=True)
class _Collected:
    """What one task has so far; read at the deadline, whatever was reached."""

    written: str
    reference: ImageReference | None = None
    resolved: ResolvedImage | None = None
    users: tuple[ImageUser, ...] = ()
    evidence: Evidence | None = None
    problems: list[Problem] = field(default_factory=list)
    done: bool = False

    def facts(self) -> ImageFacts:
        return ImageFacts(
            written=self.written,
            reference=self.reference,
            resolved=self.resolved,
            users=self.users,
            evidence=self.evidence,
            problems=tuple(self.problems),
        )


class ImageCollector:
    """Resolves images and gathers what was signed about them.

    Args:
        parse: text to reference; raises InvalidReference.
        registry: where images come from; it caches and shares flights, and finishes in the background what a
            deadline cuts off here.
        gatherer: finds and verifies attestations.
    """

    def __init__(
        self,
        *,
        parse: Callable[[str], ImageReference],
        registry: Registry,
        gatherer: EvidenceGatherer,
        clock: Clock,
        limits: Limits,
    ) -> None:
        self._patience = Patience(limits)
        self._parse = parse
        self._registry = registry
        self._gatherer = gatherer
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
                if image.reference is not None and not image.done:
                    image.problems.append(_late(image, elapsed, cut_short=wait.cut_short))

    async def _one(self, image: _Collected, reference: ImageReference, needs: frozenset[Need], access: Access) -> None:
        stage = Stage.REGISTRY
        try:
            image.resolved = await self._registry.resolve(reference, access)
            image.users = tuple(image_user(platform.config) for platform in image.resolved.platforms)
            stage = Stage.EVIDENCE
            if Need.ATTESTATIONS in needs:
                image.evidence = await self._gatherer.gather(image.resolved, access)
        except RegistryError as error:
            image.problems.append(problem_of(error, stage, image.written))
        if Need.CONTENTS in needs and image.resolved is not None:
            message = "this version of Portcullis does not look into the layers of images"
            image.problems.append(
                Problem(Stage.INSPECTION, "inspection-unavailable", retryable=False, msg=message, image=image.written)
            )
        image.done = True


def _late(image: _Collected, elapsed: float, *, cut_short: bool) -> Problem:
    """A registry that has not even named the image in all the time there was is an outage; one that has is being
    worked with, and the next request finds that work done. So it may be where the time was cut short."""
    if image.resolved is None and not cut_short:
        error = DeadlineExceeded("the registry did not answer before the deadline of the request")
        return problem_of(error, Stage.REGISTRY, image.written)
    return Problem(
        stage=Stage.REGISTRY if image.resolved is None else Stage.EVIDENCE,
        reason="inspection-pending",
        retryable=True,
        msg="the image is still being inspected; the work goes on in the background",
        image=image.written,
        pending=True,
        eta_seconds=elapsed,
    )
