"""Looks into images in the background, shares the work, and keeps what it found.

The keys, and what they rest on:

* ``contents/<version>/<revision of the catalogue>/<revision of what is read>/<digest of the manifest>`` -> what was
  found. The manifest's digest fixes configuration and layers.
* ``layer/<version>/<revision of what is read>/<digest>/<diffID>[/<names>]`` -> the facts of one layer, shared by all
  images that have it. Both digests were verified by the process that read it.

Facts are handed out by digest to whoever resolved an image that names them, and so has fetched its manifest with his
own credential (design rule 6). Work under way is shared only by those with the same credential: what one may not
fetch must not fail for another, nor the other way round. A stranger's work (design rule 13) is apart from all other: he
is shown no facts that others' images brought, also none of a layer whose digest he knows, his own are not stored, he
has the turns of a single namespace, and his work ends after ``stranger_seconds``.

A look into an image is a task of its own. Its callers wait for it as long as they like; it goes on without them, for
``inspection_seconds`` at most.
"""

import asyncio
import contextlib
import hashlib
import logging
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from portcullis import errors
from portcullis.errors import (
    InspectionBusy,
    InspectionError,
    LayerMalformed,
    LayerUnsupported,
    PortcullisError,
    TooLarge,
)
from portcullis.inspection import layerfacts
from portcullis.inspection.catalogue import Catalogue
from portcullis.inspection.contents import CONTENTS_VERSION, decode_contents
from portcullis.inspection.layer import is_readable
from portcullis.inspection.pool import WorkerPool
from portcullis.inspection.reading import reading_revision
from portcullis.inspection.shelf import Shelf
from portcullis.inspection.wire import Answer, Done, Failed, ImageJob, LayerJob, Missing
from portcullis.limits import Limits
from portcullis.model.contents import Contents
from portcullis.model.image import Access, Descriptor, Digest, PlatformImage, Repository, ResolvedImage
from portcullis.ports import Facts, Registry
from portcullis.tasks import together
from portcullis.text import clean

_Made = TypeVar("_Made")

_READINGS: Final = 3
"""How often an image may ask for further bodies: a link to a link in another layer is one more."""
_REMEMBERED: Final = 2000
"""Failures in memory."""
_FIRST_RATE: Final = 20.0 * 1024 * 1024
"""Bytes of compressed layers per second, until it was measured."""

log = logging.getLogger(__name__)

Identify = Callable[[Repository, Access], Awaitable[str]]
"""Tells the credentials apart that are used for a repository."""


@dataclass(slots=True, eq=False)
class _Progress:
    """One image under way, in bytes of its layers."""

    digest: Digest
    namespace: str
    total: int
    done: int = 0


@dataclass(slots=True)
class InspectorCounters:
    """What happened since the start."""

    images: int = 0
    layers: int = 0
    bytes: int = 0
    known_images: int = 0
    known_layers: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    """By reason."""


class LayerInspector:
    """An Inspector (ports.py).

    Args:
        registry: where blobs come from.
        facts: keeps what was found. Where it fails, the work is done again.
        strangers: keeps what was found for strangers; None: nobody does.
        pool: the processes that read.
        identify: tells credentials apart.
        limits: ``image_layers``, ``layer_bytes``, ``image_layer_bytes``, ``inspections``, ``inspected_bytes``,
            ``inspection_seconds``, ``inspection_failure_seconds``, ``stranger_seconds``.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        facts: Facts,
        pool: WorkerPool,
        catalogue: Catalogue,
        identify: Identify,
        limits: Limits,
        strangers: Facts | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._pool = pool
        self._revision = catalogue.revision
        self._reading = reading_revision(catalogue, limits)
        self._identify = identify
        self._limits = limits
        self._clock = clock
        self._flights: dict[Hashable, asyncio.Task[Any]] = {}
        self._failures: dict[Hashable, tuple[float, PortcullisError]] = {}
        self._progress: set[_Progress] = set()
        self._rate = _FIRST_RATE
        self.counters = InspectorCounters()
        failures = self.counters.failures
        self._kept = {False: Shelf(facts, failures), True: Shelf(strangers, failures)}
        """By whether a stranger asks."""

    @property
    def under_way(self) -> int:
        """Images that are being looked into."""
        return len(self._progress)

    @property
    def waiting(self) -> int:
        """Layers that wait for a process."""
        return self._pool.waiting

    async def inspect(self, image: ResolvedImage, access: Access) -> tuple[Contents, ...]:
        """As the port says."""
        who = await self._identify(image.reference.repository, access)
        found = await together(image.platforms, lambda platform: self._platform(image, platform, access, who))
        return tuple(found)

    def remaining_seconds(self, image: ResolvedImage) -> float:
        """As the port says: by the bytes that are left and the rate so far, those in front of it counted too."""
        left = sum(one.total - one.done for one in self._progress)
        digests = {platform.digest for platform in image.platforms}
        own = sum(one.total - one.done for one in self._progress if one.digest in digests)
        return max(own, min(left, 2 * own)) / self._rate

    async def aclose(self) -> None:
        """Ends all work."""
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)
        await self._pool.aclose()

    # -- images ----------------------------------------------------------------------------------------------

    async def _platform(self, image: ResolvedImage, platform: PlatformImage, access: Access, who: str) -> Contents:
        key = f"contents/{CONTENTS_VERSION}/{self._revision}/{self._reading}/{platform.digest}"
        flight_key = (key, image.reference.repository, who)
        if flight_key not in self._flights:
            content = await self._known(key, access)
            if content is not None:
                self.counters.known_images += 1
                return content
            self._raise_known_failure(flight_key)
            self._check(image, platform, access.namespace)
        return await self._fly(flight_key, lambda: self._look(key, image, platform, access, who))

    async def _known(self, key: str, access: Access) -> Contents | None:
        content = await self._kept[access.stranger].get(key)
        if content is None:
            return None
        try:
            return decode_contents(content)
        except ValueError:  # of another version, or damaged: it is made anew
            return None

    def _check(self, image: ResolvedImage, platform: PlatformImage, namespace: str) -> None:
        """What can never be done, and what cannot be begun now, is said at once."""
        limits, what = self._limits, _shown(image, platform)
        for layer in platform.layers:
            if not is_readable(layer.media_type):
                raise LayerUnsupported(
                    f"{what} has a layer of the media type {clean(repr(layer.media_type), 100)}, which is not read"
                )
            if layer.size > limits.layer_bytes:
                raise TooLarge(
                    f"{what} has a layer of {layer.size} bytes; the limit layerBytes is {limits.layer_bytes}"
                )
        total = platform.compressed_bytes
        if total > limits.image_layer_bytes:
            raise TooLarge(f"{what} has {total} bytes; the limit imageLayerBytes is {limits.image_layer_bytes}")
        if len(platform.config.diff_ids) != len(platform.layers):
            raise LayerMalformed(
                f"{what} has {len(platform.layers)} layers, and its configuration names {len(platform.config.diff_ids)}"
            )
        self._check_room(what, total, namespace)

    def _check_room(self, what: str, total: int, namespace: str) -> None:
        """Of what may be under way, one namespace may take half: the others' images must not wait for its."""
        limits = self._limits
        for share, under_way in (
            (1, self._progress),
            (2, [one for one in self._progress if one.namespace == namespace]),
        ):
            if len(under_way) >= max(1, limits.inspections // share):
                raise InspectionBusy(f"{what} waits: as many images as the limit inspections allows are inspected now")
            size = sum(one.total for one in under_way)
            if size and size + total > limits.inspected_bytes // share:
                raise InspectionBusy(
                    f"{what} waits: as many bytes as the limit inspectedBytes allows are inspected now"
                )

    async def _look(
        self, key: str, image: ResolvedImage, platform: PlatformImage, access: Access, who: str
    ) -> Contents:
        progress = _Progress(platform.digest, access.namespace, platform.compressed_bytes)
        self._progress.add(progress)
        try:
            async with self._in_time(_shown(image, platform), self._limits.inspection_seconds, access):
                content = await self._merged(image, platform, access, who, progress)
            contents = decode_contents(content)
        except ValueError as error:
            raise InspectionError(f"what was found in {_shown(image, platform)} cannot be read: {error}") from error
        finally:
            self._progress.discard(progress)
        self.counters.images += 1
        await self._kept[access.stranger].put(key, content)
        return contents

    @contextlib.asynccontextmanager
    async def _in_time(self, what: str, seconds: float | None, access: Access) -> AsyncIterator[None]:
        """``seconds`` for the block, as long as it takes for None, and for a stranger no more than his."""
        named = "inspectionSeconds"
        if access.stranger and (seconds is None or seconds > self._limits.stranger_seconds):
            seconds, named = self._limits.stranger_seconds, "strangerSeconds"
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError as error:
            raise InspectionError(f"{what} was not inspected within the limit {named} of {seconds:g}") from error

    async def _merged(
        self, image: ResolvedImage, platform: PlatformImage, access: Access, who: str, progress: _Progress
    ) -> bytes:
        """Encoded contents. Bodies that turn out to be needed (a passwd that is a link) are read by a second look at
        their layers."""
        extra: dict[str, frozenset[bytes]] = {}
        for _ in range(_READINGS):
            layers = await self._layers(image, platform, access, who, progress, extra)
            answer = await self._pool.image(ImageJob(platform, len(layers)), layers, namespace=access.namespace)
            if isinstance(answer, Done):
                return answer.content
            if not isinstance(answer, Missing):
                raise _error(answer)
            extra = {
                digest: extra.get(digest, frozenset()) | set(names) for digest, names in (extra | answer.wanted).items()
            }
        raise LayerMalformed(f"{_shown(image, platform)} keeps its user database behind too many links")

    # -- layers ----------------------------------------------------------------------------------------------

    async def _layers(
        self,
        image: ResolvedImage,
        platform: PlatformImage,
        access: Access,
        who: str,
        progress: _Progress,
        extra: dict[str, frozenset[bytes]],
    ) -> Sequence[bytes]:
        """Packed facts of all layers, in order."""
        pairs = list(zip(platform.layers, platform.config.diff_ids, strict=True))

        async def one(pair: tuple[Descriptor, Digest]) -> bytes:
            layer, diff_id = pair
            content = await self._layer(image, layer, diff_id, access, who, extra.get(layer.digest, frozenset()))
            progress.done = min(progress.total, progress.done + layer.size)
            return content

        return await together(pairs, one)

    async def _layer(
        self,
        image: ResolvedImage,
        layer: Descriptor,
        diff_id: Digest,
        access: Access,
        who: str,
        extra: frozenset[bytes],
    ) -> bytes:
        key = f"layer/{layerfacts.VERSION}/{self._reading}/{layer.digest}/{diff_id}"
        if extra:
            names = b"\0".join(sorted(extra))
            key += f"/{hashlib.sha256(names).hexdigest()}"
        flight_key = (key, image.reference.repository, who)
        if flight_key not in self._flights:
            known = await self._kept[access.stranger].get(key)
            if known is not None:
                self.counters.known_layers += 1
                return known
            self._raise_known_failure(flight_key)
        return await self._fly(flight_key, lambda: self._read(key, image, layer, diff_id, access, extra))

    async def _read(
        self,
        key: str,
        image: ResolvedImage,
        layer: Descriptor,
        diff_id: Digest,
        access: Access,
        extra: frozenset[bytes],
    ) -> bytes:
        repository = image.reference.repository
        job = LayerJob(
            media_type=layer.media_type,
            digest=layer.digest,
            diff_id=diff_id,
            what=f"the layer {layer.digest} of {clean(str(repository), 200)}",
            extra=tuple(sorted(extra)),
        )
        started = 0.0

        async def pieces() -> AsyncGenerator[bytes]:
            nonlocal started
            started = self._clock()
            async for piece in self._registry.blob(repository, layer.digest, layer.size, access):
                yield piece

        # A layer goes on when the time of its image is over, for others may wait for it.
        async with self._in_time(job.what, None, access):
            answer = await self._pool.layer(job, pieces(), namespace=access.namespace)
        if not isinstance(answer, Done):
            raise _error(answer)
        self._measure(layer.size, self._clock() - started)
        self.counters.layers += 1
        self.counters.bytes += layer.size
        await self._kept[access.stranger].put(key, answer.content)
        return answer.content

    def _measure(self, size: int, seconds: float) -> None:
        if size > 64 * 1024 and seconds > 0:  # of smaller ones the way there is what takes the time
            self._rate += (size / seconds - self._rate) / 4

    # -- shared work -----------------------------------------------------------------------------------------

    async def _fly(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, _Made]]) -> _Made:
        """Waits for the one task of that key, which ``work`` makes where there is none. It is nobody's: who waits
        for it may be cancelled, and it goes on."""
        flight: asyncio.Task[_Made] | None = self._flights.get(key)
        if flight is None:
            flight = asyncio.create_task(work())
            self._flights[key] = flight
            flight.add_done_callback(lambda task: self._landed(key, task))
        return await asyncio.shield(flight)

    def _landed(self, key: Hashable, flight: asyncio.Task[Any]) -> None:
        del self._flights[key]
        error = None if flight.cancelled() else flight.exception()
        if not isinstance(error, PortcullisError):
            if error is not None:
                log.error("inspection failed", exc_info=error)
            return
        self.counters.failures[error.reason] += 1
        if not error.retryable:
            self._failures.pop(key, None)
            self._failures[key] = (self._clock() + self._limits.inspection_failure_seconds, error)
            while len(self._failures) > _REMEMBERED:
                del self._failures[next(iter(self._failures))]

    def _raise_known_failure(self, key: Hashable) -> None:
        until, error = self._failures.get(key, (0.0, None))
        if error is not None and until > self._clock():
            raise error.with_traceback(None)


_ERRORS: Final = {
    kind.__name__: kind for kind in (InspectionError, LayerMalformed, LayerUnsupported, TooLarge, errors.DigestMismatch)
}
"""What a process may say; anything else is a fault of it."""


def _error(answer: Answer) -> PortcullisError:
    if isinstance(answer, Failed):
        return _ERRORS.get(answer.kind, InspectionError)(clean(answer.message, 1000))
    return InspectionError("the process that reads layers gave no answer")


def _shown(image: ResolvedImage, platform: PlatformImage) -> str:
    name = clean(str(image.reference), 300)
    return f"{name} ({clean(str(platform.platform), 60)})" if image.is_index else name
