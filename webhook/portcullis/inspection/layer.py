"""One layer, from its bytes to what is known of it."""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Final

from portcullis.errors import DigestMismatch, LayerMalformed, LayerUnsupported, TooLarge
from portcullis.inspection.inflate import inflated
from portcullis.inspection.layerfacts import LayerFacts
from portcullis.inspection.tarwalk import Reading, Walk
from portcullis.limits import Limits
from portcullis.model.image import Digest
from portcullis.text import clean

_READ: Final = frozenset(
    {
        "application/vnd.oci.image.layer.v1.tar",
        "application/vnd.oci.image.layer.v1.tar+gzip",
        "application/vnd.oci.image.layer.v1.tar+zstd",
        "application/vnd.docker.image.rootfs.diff.tar",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "application/vnd.docker.image.rootfs.diff.tar.zstd",
    }
)
"""OCI image-spec layer.md, Docker image manifest v2.2, and what containerd made of the latter (core/images). Not
read are those of foreign and non-distributable layers, which come from elsewhere, and those that are encrypted."""
_ALGORITHMS: Final = frozenset({"sha256", "sha512"})
"""OCI image-spec descriptor.md, registered algorithms that must or may be there."""


def is_readable(media_type: str) -> bool:
    """Whether :func:`read_layer` reads layers of the media type."""
    return media_type in _READ


def read_layer(
    pieces: Iterable[bytes],
    *,
    media_type: str,
    digest: Digest,
    diff_id: Digest,
    reading: Reading,
    limits: Limits,
    what: str,
) -> LayerFacts:
    """What lies in a layer. ``databases`` is empty: who reads the bodies fills it.

    What makes the answer true:

    1. The bytes that came are hashed, all of them, and have the digest ``digest``.
    2. The bytes that they decompress to are hashed, all of them, and have the digest ``diff_id``: those behind the
       end of the archive, too.
    3. The entries are read from exactly the bytes that were hashed in 2, and end where the archive ends for a node.
    4. Nothing is left out: what cannot be read, or could be read in two ways, is an error.

    Args:
        pieces: the blob, in pieces of any length.
        media_type: of the blob; says whether it is a layer at all. Its first bytes say how it is compressed.
        digest, diff_id: of the blob, and of the tar in it.
        reading: which bodies are looked into.
        what: the layer, at the beginning of a message ("the layer sha256:... of ...").

    Raises:
        DigestMismatch: 1 or 2 does not hold. If the first does not, that is said whatever else is wrong, because then
            it was the way here that broke the blob.
        LayerMalformed: it cannot be decompressed, or is no tar that a node would unpack.
        LayerUnsupported: the media type, the compression or the algorithm of a digest is not known.
        TooLarge: a limit of the section "layers" is crossed.
    """
    if not is_readable(media_type):
        raise LayerUnsupported(f"{what} has the media type {clean(repr(media_type), 100)}, which is not read")
    blob = _Compressed(pieces, digest, limits, what)
    tar = _Plain(blob, diff_id, limits, what)
    walk = Walk(tar, reading=reading, limits=limits, what=what)
    try:
        walk.run()
        for _ in tar:
            pass
    except (LayerMalformed, LayerUnsupported, TooLarge):
        blob.drain()
        raise
    blob.verify()
    tar.verify()
    return LayerFacts(
        digest=str(digest),
        diff_id=str(diff_id),
        compressed_bytes=blob.count,
        plain_bytes=tar.count,
        entries=tuple(walk.entries),
        bodies=walk.bodies,
        oversized=tuple(walk.oversized),
    )


class _Hashed:
    """Bytes that are counted and hashed as they pass."""

    def __init__(self, digest: Digest, what: str) -> None:
        if digest.algorithm not in _ALGORITHMS:
            raise LayerUnsupported(f"{what} has a digest of the algorithm {clean(digest.algorithm, 40)!r}")
        self.count = 0
        self._digest = digest
        self._hash = hashlib.new(digest.algorithm, usedforsecurity=True)
        self._what = what

    def _pass(self, piece: bytes) -> bytes:
        self.count += len(piece)
        self._hash.update(piece)
        return piece

    def _matches(self) -> bool:
        return self._hash.hexdigest() == self._digest.hex


class _Compressed(_Hashed, Iterator[bytes]):
    """The blob."""

    def __init__(self, pieces: Iterable[bytes], digest: Digest, limits: Limits, what: str) -> None:
        super().__init__(digest, what)
        self._pieces = iter(pieces)
        self._limit = limits.layer_bytes

    def __next__(self) -> bytes:
        piece = self._pass(next(self._pieces))
        if self.count > self._limit:
            raise TooLarge(f"{self._what} is larger than the limit layerBytes, which is {self._limit}")
        return piece

    def drain(self) -> None:
        """Looks at what is left, so that a blob that was damaged on its way is not taken for a bad layer.

        Raises:
            DigestMismatch: it was.
        """
        try:
            for _ in self:
                pass
        except TooLarge:
            return
        self.verify()

    def verify(self) -> None:
        if not self._matches():
            raise DigestMismatch(f"{self._what}: the bytes that came do not have its digest")


class _Plain(_Hashed, Iterator[bytes]):
    """The tar."""

    def __init__(self, blob: _Compressed, diff_id: Digest, limits: Limits, what: str) -> None:
        super().__init__(diff_id, what)
        self._blob = blob
        self._pieces = inflated(blob, limits=limits, what=what)
        self._limits = limits
        self._free = min(limits.layer_ratio_above_bytes, limits.layer_plain_bytes)

    def __next__(self) -> bytes:
        piece = self._pass(next(self._pieces))
        if self.count > self._free:
            self._bound()
        return piece

    def _bound(self) -> None:
        limits, count = self._limits, self.count
        if count > limits.layer_plain_bytes:
            raise TooLarge(
                f"{self._what} is larger than the limit layerPlainBytes when it is decompressed, which is"
                f" {limits.layer_plain_bytes}"
            )
        if count > limits.layer_ratio_above_bytes and count > limits.layer_ratio * self._blob.count:
            raise TooLarge(
                f"{self._what} has {count} bytes in its first {self._blob.count} when they are decompressed, more than"
                f" the limit layerRatio, {limits.layer_ratio}, allows"
            )

    def verify(self) -> None:
        if not self._matches():
            raise DigestMismatch(f"{self._what}: the tar in it does not have the diffID {self._digest}")
