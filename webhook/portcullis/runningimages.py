"""Which image a running container really has, and what is known of it.

The kubelet resolved the tag by itself, at its own time. What it reports (``status.containerStatuses[].imageID``) is a
digest, and of what depends on the runtime:

* containerd: of what the tag named, an index or a manifest; of the configuration, for an image that was imported and
  never pulled. Where one image was pulled by several names, the name that it was pulled by first.
* cri-o: of the manifest of the node's platform, also where the tag names an index; or the configuration's, without a
  name.
* docker: ``docker-pullable://name@digest`` of what the tag named, or ``docker://sha256:…`` of the configuration.

Attestations are looked for by the index, so a digest is first looked for among what the reference is known to have
named: pinned in the spec, judged at the admission, named by the tag now. Only where none of these has it, it is judged
by itself.

In one round an image is looked at once for all who may see it by the same credential, whatever its tags and
namespaces are: that spares registries, and one round says one thing of one image.
"""

import asyncio
import json
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from portcullis.collecting import Collector, problem_of
from portcullis.errors import DeadlineExceeded, InvalidReference, NotFound, RegistryError, UnknownContent
from portcullis.limits import Limits
from portcullis.model.decision import Stage
from portcullis.model.facts import ImageFacts
from portcullis.model.image import DIGEST, Access, Digest, ImageReference, Repository, ResolvedImage
from portcullis.model.request import AdmissionRequest
from portcullis.model.ruling import Need
from portcullis.model.running import RunningImage
from portcullis.ports import Clock, Registry
from portcullis.registry.pinning import pinned
from portcullis.tasks import together

_FAILURE_SECONDS = 60.0
"""How long a round believes that facts cannot be had which may come."""

_POLL_SECONDS = 1.0
"""Between two looks at an image whose inspection is under way."""

Identify = Callable[[Repository, Access], Awaitable[str]]
"""Tells the credentials apart that are used for a repository."""


async def _at_once() -> None:
    """Nobody holds it back."""


@dataclass(slots=True)
class _Kept:
    """Facts, or the place where they will be. ``until``: believed so long."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    facts: ImageFacts | None = None
    until: float = 0.0


class RunningImages:
    """The images of a round.

    Args:
        collector: finds facts of images by what is written.
        registry: caches what it fetches by digest.
        parse: text to reference; raises InvalidReference.
        identify: tells credentials apart; raises RegistryError.
        pace: is waited for before facts of another image are fetched.
        limits: ``running_images``.
    """

    def __init__(
        self,
        *,
        collector: Collector,
        registry: Registry,
        parse: Callable[[str], ImageReference],
        identify: Identify,
        clock: Clock,
        limits: Limits,
        pace: Callable[[], Awaitable[None]] = _at_once,
    ) -> None:
        self.collector = collector
        self.pace = pace
        self._registry = registry
        self._parse = parse
        self._identify = identify
        self._clock = clock
        self._room = limits.running_images
        self._kept: OrderedDict[tuple[str, str, frozenset[Need]], _Kept] = OrderedDict()
        self._tags: dict[tuple[Repository, str, str], Digest] = {}
        self._seen: set[Digest] = set()

    @property
    def count(self) -> int:
        """Different digests that were judged since the round began."""
        return len(self._seen)

    def begin(self) -> None:
        """A new round: nothing of the last one counts."""
        self._kept.clear()
        self._tags.clear()
        self._seen.clear()

    async def facts(
        self,
        written: str,
        running: RunningImage | None,
        judged: Collection[Digest],
        needs: frozenset[Need],
        access: Access,
        deadline: float,
    ) -> ImageFacts:
        """The facts of what a container runs, under the name that its spec has; what cannot be had is a problem.

        Args:
            running: what the kubelet reports; None for nothing, and then the reference itself is judged.
            judged: digests that the reference was judged by at the admission.
        """
        try:
            reference = self._parse(written)
        except InvalidReference as error:
            return ImageFacts(written, None, problems=(problem_of(error, Stage.REFERENCE, written),))
        try:
            # What is kept by a credential's fingerprint must have been fetched by that very credential.
            with pinned():
                async with asyncio.timeout_at(deadline):
                    who = await self._identify(reference.repository, access)
                    chosen = await self._chosen(reference, running, judged, access)
                text = f"{chosen.repository}@{chosen.digest}" if chosen.digest is not None else str(chosen)
                found = await self._once((text, who, needs), lambda: self._fetch(text, needs, access, deadline))
        except RegistryError as error:
            return ImageFacts(written, reference, problems=(problem_of(error, Stage.REGISTRY, written),))
        except TimeoutError:
            late = DeadlineExceeded("the registry did not answer in the time for one workload")
            return ImageFacts(written, reference, problems=(problem_of(late, Stage.REGISTRY, written),))
        if found.resolved is not None:
            self._seen.add(found.resolved.digest)
        problems = tuple(replace(problem, image=written) for problem in found.problems)
        return replace(found, written=written, reference=reference, problems=problems)

    async def same(self, written: str, running: RunningImage, judged: Digest, access: Access) -> bool:
        """Whether what runs is the image that was judged then: its index, one of that, or one that is equal but for how
        its layers are packed, or for what was attached to its index.

        Raises:
            RegistryError: that cannot be told now.
        """
        assert running.digest is not None
        if running.digest == judged:
            return True
        try:
            reference = self._parse(written)
            image = await self._by_digest(reference.repository, judged, access)
        except (InvalidReference, NotFound):
            return False  # the tag went on, and what was judged is gone
        if _holds(image, running.digest) or await self._lists(image, running.digest, access):
            return True
        if running.by_configuration:
            return False
        try:
            other = await self._reported(reference.repository, running, access)
        except NotFound:
            return False
        return _equal(other, image)

    async def _chosen(
        self, reference: ImageReference, running: RunningImage | None, judged: Collection[Digest], access: Access
    ) -> ImageReference:
        """The reference to judge by in the place of what is written."""
        digest = running.digest if running is not None else None
        if running is None or digest is None:
            return reference
        known = [found for found in (reference.digest, *judged) if found is not None]
        if digest in known:
            return _at(reference, digest)
        if running.by_configuration:
            async for image in self._named(reference, known, access):
                if _holds(image, digest):
                    return _at(reference, image.digest)
            message = f"the node has an image of the configuration {digest}, which {reference} does not name (any more)"
            raise UnknownContent(message)
        try:
            found = await self._by_digest(reference.repository, digest, access)
        except NotFound:
            found = await self._reported(reference.repository, running, access)
            async for image in self._named(reference, known, access):
                if _equal(found, image):
                    return _at(reference, image.digest)
            raise
        if not found.is_index:
            async for image in self._named(reference, known, access):
                if image.is_index and _holds(image, digest):
                    return _at(reference, image.digest)
        return _at(reference, digest)

    async def _named(
        self, reference: ImageReference, known: Sequence[Digest], access: Access
    ) -> AsyncIterator[ResolvedImage]:
        """What the reference is known to have named, and what its tag names now; what is gone is left out."""
        for digest in dict.fromkeys(known):
            try:
                yield await self._by_digest(reference.repository, digest, access)
            except NotFound:
                continue
        if reference.digest is None and reference.tag is not None:
            try:
                yield await self._tagged(reference, access)
            except NotFound:
                return

    async def _tagged(self, reference: ImageReference, access: Access) -> ResolvedImage:
        """What the tag names, asked for once in a round."""
        assert reference.tag is not None
        key = (reference.repository, reference.tag, await self._identify(reference.repository, access))
        if (digest := self._tags.get(key)) is not None:
            return await self._by_digest(reference.repository, digest, access)
        image = await self._registry.resolve(reference, access)
        self._tags[key] = image.digest
        return image

    async def _reported(self, repository: Repository, running: RunningImage, access: Access) -> ResolvedImage:
        """The image by the digest that the kubelet reports: in its own repository, else in the one that is reported."""
        assert running.digest is not None
        try:
            return await self._by_digest(repository, running.digest, access)
        except NotFound:
            try:
                other = self._parse(running.image_id.partition("://")[2] or running.image_id).repository
            except InvalidReference:
                other = repository
            if other == repository:
                raise
            return await self._by_digest(other, running.digest, access)

    async def _by_digest(self, repository: Repository, digest: Digest, access: Access) -> ResolvedImage:
        return await self._registry.resolve(ImageReference(repository, None, digest), access)

    async def _lists(self, image: ResolvedImage, digest: Digest, access: Access) -> bool:
        """Whether an index has such a manifest, be it of a platform that is not judged."""
        if not image.is_index:
            return False
        content = (await self._registry.manifest(image.reference.repository, image.digest, access)).content
        return str(digest) in _children(content)

    async def _fetch(self, text: str, needs: frozenset[Need], access: Access, deadline: float) -> ImageFacts:
        """What is being inspected, or waits for its turn, is waited for."""
        await self.pace()
        while True:
            (found,) = await self.collector.collect([text], needs, access, deadline)
            pending = any(problem.pending for problem in found.problems)
            if not pending or self._clock.monotonic() + _POLL_SECONDS >= deadline:
                return found
            await asyncio.sleep(_POLL_SECONDS)

    async def _once(
        self, key: tuple[str, str, frozenset[Need]], fetch: Callable[[], Awaitable[ImageFacts]]
    ) -> ImageFacts:
        """The facts that are known, or come: one fetch at a time for one key."""
        kept = self._kept.setdefault(key, _Kept())
        self._kept.move_to_end(key)
        self._make_room()
        async with kept.lock:
            if kept.facts is not None and self._clock.monotonic() < kept.until:
                return kept.facts
            kept.facts = found = await fetch()
            lasting = not any(problem.retryable for problem in found.problems)
            kept.until = float("inf") if lasting else self._clock.monotonic() + _FAILURE_SECONDS
            return found

    def _make_room(self) -> None:
        for key in list(self._kept)[: max(0, len(self._kept) - self._room)]:
            if not self._kept[key].lock.locked():
                del self._kept[key]


class RunningCollector:
    """A Collector (collecting.py) for one group of pods: each image is the one that runs.

    Args:
        images: of the round.
        running: by what is written; what is missing there runs nowhere yet.
        judged: digests of the admission, by what is written.
    """

    def __init__(
        self, images: RunningImages, running: Mapping[str, RunningImage], judged: Mapping[str, Collection[Digest]]
    ) -> None:
        self._images = images
        self._running = running
        self._judged = judged

    def name(self, images: Collection[str]) -> tuple[ImageFacts, ...]:
        """See :class:`portcullis.collecting.Collector`."""
        return self._images.collector.name(images)

    async def collect(
        self,
        images: Collection[str],
        needs: Collection[Need],
        access: Access,
        deadline: float,
        request: AdmissionRequest | None = None,  # noqa: ARG002 - nobody's patience ends
    ) -> tuple[ImageFacts, ...]:
        """See :class:`portcullis.collecting.Collector`."""
        needed = frozenset(needs)

        async def one(written: str) -> ImageFacts:
            running, judged = self._running.get(written), self._judged.get(written, ())
            return await self._images.facts(written, running, judged, needed, access, deadline)

        return tuple(await together(list(dict.fromkeys(images)), one))


def _at(reference: ImageReference, digest: Digest) -> ImageReference:
    return ImageReference(reference.repository, reference.tag, digest)


def _holds(image: ResolvedImage, digest: Digest) -> bool:
    """Whether a digest is that of the image, of one of its platforms' manifests, or of their configurations."""
    return digest == image.digest or any(digest in (one.digest, one.config_digest) for one in image.platforms)


def _equal(image: ResolvedImage, other: ResolvedImage) -> bool:
    """Whether all that is judged of ``image`` is in ``other``: configurations name the content of their layers."""
    configurations = {one.config_digest for one in image.platforms}
    return bool(configurations) and configurations <= {one.config_digest for one in other.platforms}


def _children(content: bytes) -> Iterator[str]:
    """The digests of the manifests of an index, which its registry has read as one before."""
    tree = json.loads(content)
    manifests = tree.get("manifests") if isinstance(tree, dict) else None
    for entry in manifests if isinstance(manifests, list) else ():
        found = entry.get("digest") if isinstance(entry, dict) else None
        if isinstance(found, str) and DIGEST.fullmatch(found):
            yield found
