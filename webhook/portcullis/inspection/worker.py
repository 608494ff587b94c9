"""The process that reads layers: ``python -m portcullis.inspection.worker``, spoken to over its standard streams.

Layers come from strangers. What reads them has no credential and no environment, can open neither a file nor a
socket, and has a bounded memory; what it says is checked by who asked. And it has a lower priority: reading a layer
takes a processor for a second, and answers to the API server come first.
"""

import contextlib
import os
import resource
import sys
import traceback
from collections.abc import Iterator
from typing import BinaryIO

from portcullis.errors import PortcullisError
from portcullis.inspection.catalogue import Catalogue, load_catalogue
from portcullis.inspection.contents import Missing as MissingBodies
from portcullis.inspection.contents import encode_contents, inspect_image
from portcullis.inspection.layer import read_layer
from portcullis.inspection.layerfacts import pack, unpack
from portcullis.inspection.packages import compact
from portcullis.inspection.packing import decode, encode
from portcullis.inspection.reading import CatalogueReading
from portcullis.inspection.wire import (
    ABANDON,
    HEAD,
    PIECE_BYTES,
    Abandoned,
    Answer,
    Done,
    Failed,
    ImageJob,
    LayerJob,
    Missing,
    Setup,
    framed,
)
from portcullis.limits import Limits
from portcullis.model.image import Digest

NICE = 10


class Abandon(Exception):
    """The gate cannot bring the rest of the blob."""


class Worker:
    """Answers jobs until its input ends.

    Args:
        source, target: the streams of frames.
    """

    def __init__(self, source: BinaryIO, target: BinaryIO) -> None:
        self._source = source
        self._target = target

    def run(self) -> None:
        """Raises EOFError where the input ends in the middle of a frame."""
        first = self._frame()
        if first is None:
            return
        setup: Setup = decode(first, Setup)
        limits = setup.limits
        _restrict(limits)
        catalogue = load_catalogue(setup.catalogues)
        while (content := self._frame()) is not None:
            job: LayerJob | ImageJob = decode(content, LayerJob | ImageJob)
            answer = (
                self._layer(job, catalogue, limits)
                if isinstance(job, LayerJob)
                else self._image(job, catalogue, limits)
            )
            self._target.write(framed(encode(answer)))
            self._target.flush()

    def _layer(self, job: LayerJob, catalogue: Catalogue, limits: Limits) -> Answer:
        pieces = self._pieces()
        try:
            facts = read_layer(
                pieces,
                media_type=job.media_type,
                digest=Digest(job.digest),
                diff_id=Digest(job.diff_id),
                reading=CatalogueReading(catalogue=catalogue, limits=limits, extra=frozenset(job.extra)),
                limits=limits,
                what=job.what,
            )
            answer: Answer = Done(pack(compact(facts, limits=limits)))
        except Abandon:
            return Abandoned()
        except Exception as error:  # noqa: BLE001  # whatever it is, the gate has to know
            answer = _failed(error, job.what)
        with contextlib.suppress(Abandon):
            for _ in pieces:  # what was on its way when the answer was found already
                pass
        return answer

    def _image(self, job: ImageJob, catalogue: Catalogue, limits: Limits) -> Answer:
        packed = [self._frame() or b"" for _ in range(job.layers)]
        try:
            found = inspect_image(
                layers=[unpack(content) for content in packed], image=job.image, catalogue=catalogue, limits=limits
            )
        except Exception as error:  # noqa: BLE001  # whatever it is, the gate has to know
            return _failed(error, f"the image {job.image.digest}")
        if isinstance(found, MissingBodies):
            return Missing({digest: tuple(sorted(names)) for digest, names in found.bodies.items()})
        return Done(encode_contents(found))

    def _pieces(self) -> Iterator[bytes]:
        """The blob. Once at its end it stays there."""
        while True:
            length = self._length()
            if length == ABANDON:
                raise Abandon
            if not length:
                return
            yield self._exactly(length)

    def _frame(self) -> bytes | None:
        """None at the end of the input."""
        length = self._length(at_end=True)
        return None if length is None else self._exactly(length)

    def _length(self, *, at_end: bool = False) -> int | None:
        head = self._source.read(HEAD.size)
        if not head and at_end:
            return None
        if len(head) < HEAD.size:
            raise EOFError
        (length,) = HEAD.unpack(head)
        return int(length)

    def _exactly(self, length: int) -> bytes:
        content = self._source.read(length)
        if len(content) < length:
            raise EOFError
        return content


def _failed(error: Exception, what: str) -> Failed:
    if isinstance(error, PortcullisError):
        return Failed(type(error).__name__, error.message)
    if isinstance(error, MemoryError):
        return Failed("InspectionError", f"{what} needs more memory than the limit workerBytes leaves")
    if isinstance(error, EOFError):
        raise error
    (*_, place) = traceback.extract_tb(error.__traceback__)
    where = f"{type(error).__name__} in {place.name}, line {place.lineno}"
    return Failed("InspectionError", f"{what} was not read, for a fault in Portcullis itself ({where})")


def _restrict(limits: Limits) -> None:
    """Nothing can be opened any more, no core is dumped, and memory is bounded: all of it for good. Whatever is
    imported must have been by now."""
    with contextlib.suppress(OSError):
        os.nice(NICE)
    for what, bound in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 0),
        (resource.RLIMIT_AS, limits.worker_bytes),
    ):
        with contextlib.suppress(ValueError, OSError):  # a bound that is lower already
            resource.setrlimit(what, (bound, bound))


def main() -> None:
    """The program."""
    source = os.fdopen(os.dup(0), "rb", buffering=PIECE_BYTES)
    target = os.fdopen(os.dup(1), "wb")
    # Whatever prints must not get between the frames.
    os.dup2(os.open(os.devnull, os.O_RDWR), 1)
    try:
        Worker(source, target).run()
    except (EOFError, BrokenPipeError):
        sys.exit(0)


if __name__ == "__main__":
    main()
