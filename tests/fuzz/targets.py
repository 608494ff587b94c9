"""What is thrown at the readers of layers, and what must hold whatever it is. Without any fuzzer: tests run these
functions, too."""

import hashlib
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from portcullis.errors import DigestMismatch, LayerMalformed, LayerUnsupported, TooLarge
from portcullis.inspection.inflate import inflated
from portcullis.inspection.layer import read_layer
from portcullis.inspection.tarwalk import Walk
from portcullis.limits import DEFAULT_LIMITS, KIB, MIB
from portcullis.model.image import Digest

LIMITS = replace(
    DEFAULT_LIMITS,
    layer_bytes=8 * MIB,
    layer_plain_bytes=4 * MIB,
    layer_entries=1000,
    layer_members=1000,
    layer_names_bytes=256 * KIB,
    layer_header_bytes=64 * KIB,
    layer_sparse_regions=100,
    layer_kept_bytes=256 * KIB,
    layer_window_bytes=1 * MIB,
)
KEPT = 8 * KIB
PROBED = 100
STEP = 256 * KIB
"""The longest piece that a decompressor hands out."""


@dataclass(frozen=True, slots=True)
class Length:
    """Marks a file with the number of bytes that it was shown."""

    limit: int = PROBED

    def marks(self, body: bytes) -> tuple[str, ...]:
        return (str(len(body)),)


class Everything:
    """Keeps and probes every file."""

    def keep(self, path: bytes) -> int:
        return KEPT

    def probe(self, path: bytes, mode: int, size: int) -> Length:
        return Length()


def walk_tar(data: bytes) -> None:
    """A tar is walked to its end, or refused; however it is cut, with the same outcome."""
    first, second = (_walked(data, step) for step in (997, 64 * KIB))
    assert first == second


def _walked(data: bytes, step: int) -> object:
    walk = Walk(_cut(data, step), reading=Everything(), limits=LIMITS, what="the layer")
    try:
        walk.run()
        end = ""
    except (LayerMalformed, TooLarge) as error:
        end = f"{type(error).__name__}: {error.message}"
    assert end.isprintable()
    assert len(walk.entries) <= LIMITS.layer_entries
    assert sum(len(one.path) + len(one.link) for one in walk.entries) <= LIMITS.layer_names_bytes
    assert sum(map(len, walk.bodies.values())) <= LIMITS.layer_kept_bytes
    for one in walk.entries:
        assert not {b"", b".", b".."} & set(one.path.split(b"/")) or not one.path
        assert b"\0" not in one.path + one.link
        assert 0 <= one.mode <= 0o7777
        assert 0 <= one.uid < 2**32 - 1
        assert 0 <= one.gid < 2**32 - 1
        assert 0 <= one.size < 2**63
        assert one.marks in {(), (str(min(one.size, PROBED)),)}
    sizes = {one.path: one.size for one in walk.entries}
    assert all(len(body) == sizes[path] <= KEPT for path, body in walk.bodies.items())
    assert all(sizes[path] > KEPT for path in walk.oversized)
    return end, walk.entries, walk.bodies, walk.oversized


def decompress(data: bytes) -> None:
    """A blob is decompressed to its end, or refused, in pieces that have a bound; however it is cut, to the same
    bytes."""
    first, second = (_decompressed(data, step) for step in (997, 1 * MIB))
    assert first == second


def _decompressed(data: bytes, step: int) -> object:
    digest, left = hashlib.sha256(), LIMITS.layer_plain_bytes
    try:
        for piece in inflated(_cut(data, step), limits=LIMITS, what="the layer"):
            assert 0 < len(piece) <= max(STEP, step + 10)
            digest.update(piece[:left])
            left -= len(piece)
            if left < 0:
                return digest.digest()
    except (LayerMalformed, LayerUnsupported, TooLarge) as error:
        # What a damaged stream gives before it is found out depends on how it is cut.
        return type(error)
    return digest.digest()


def read_blob(data: bytes) -> None:
    """A layer whose diffID is another is never read, whatever is in it."""
    try:
        read_layer(
            _cut(data, 64 * KIB),
            media_type="application/vnd.oci.image.layer.v1.tar+gzip",
            digest=Digest(f"sha256:{hashlib.sha256(data).hexdigest()}"),
            diff_id=Digest(f"sha256:{'0' * 64}"),
            reading=Everything(),
            limits=LIMITS,
            what="the layer",
        )
    except (DigestMismatch, LayerMalformed, LayerUnsupported, TooLarge):
        return
    raise AssertionError("a layer was read that has another diffID")


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "tar": walk_tar,
    "decompress": decompress,
    "layer": read_blob,
}


def mended(data: bytes) -> bytes:
    """With right checksums in all blocks that look like headers: or nothing would get past the first."""
    blocks = [data[at : at + 512] for at in range(0, len(data), 512)]
    for number, block in enumerate(blocks):
        if len(block) == 512 and block[257:262] == b"ustar":
            total = sum(block) - sum(block[148:156]) + 8 * 0x20
            blocks[number] = block[:148] + b"%06o\0 " % total + block[156:]
    return b"".join(blocks)


def _cut(data: bytes, step: int) -> "itertools.chain[bytes]":
    return itertools.chain.from_iterable([data[at : at + step]] for at in range(0, len(data), step))
