"""Layers written down by hand, for tests of what is made of them."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

from portcullis.inspection.catalogue import Catalogue, load_catalogue
from portcullis.inspection.contents import Missing, inspect_image
from portcullis.inspection.layerfacts import Entry, EntryKind, LayerFacts
from portcullis.inspection.packages import compact
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.model.contents import Contents
from portcullis.model.image import Descriptor, Digest, HistoryEntry, ImageConfig, Platform, PlatformImage

GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
BUILT_IN = load_catalogue([])


def file(
    path: str,
    *,
    mode: int = 0o644,
    uid: int = 0,
    gid: int = 0,
    size: int = 10,
    marks: Sequence[str] = (),
    capability: bytes = b"",
) -> Entry:
    return Entry(path.encode(), EntryKind.FILE, mode, uid, gid, size=size, marks=tuple(marks), capability=capability)


def program(path: str, *, size: int = 1000) -> Entry:
    return file(path, mode=0o755, size=size)


def folder(path: str, *, mode: int = 0o755, uid: int = 0, gid: int = 0) -> Entry:
    return Entry(path.encode(), EntryKind.FOLDER, mode, uid, gid)


def symlink(path: str, target: str) -> Entry:
    return Entry(path.encode(), EntryKind.SYMLINK, 0o777, 0, 0, link=target.encode())


def hard_link(path: str, target: str, *, mode: int = 0o644, uid: int = 0, gid: int = 0) -> Entry:
    return Entry(path.encode(), EntryKind.HARD_LINK, mode, uid, gid, link=target.encode())


def whiteout(path: str) -> Entry:
    above, slash, name = path.rpartition("/")
    return file(f"{above}{slash}.wh.{name}", size=0)


def opaque(path: str) -> Entry:
    return file(f"{path}/.wh..wh..opq" if path else ".wh..wh..opq", size=0)


def digest_of(text: str) -> Digest:
    return Digest(f"sha256:{hashlib.sha256(text.encode()).hexdigest()}")


def layer(*entries: Entry, bodies: Mapping[str, bytes] | None = None, name: str = "") -> LayerFacts:
    """A layer with these entries. A file among ``bodies`` that has no entry gets one at the end."""
    kept = {path.encode(): body for path, body in (bodies or {}).items()}
    there = {entry.path for entry in entries}
    more = [file(path, size=len(body)) for path, body in (bodies or {}).items() if path.encode() not in there]
    every = (*entries, *more)
    digest = digest_of(name or repr(every))
    return LayerFacts(
        digest=digest,
        diff_id=digest_of(digest),
        compressed_bytes=sum(entry.size for entry in every) // 2,
        plain_bytes=sum(entry.size + 512 for entry in every),
        entries=every,
        bodies=kept,
    )


EMPTY_CONFIG = ImageConfig(
    user="",
    created=None,
    entrypoint=(),
    cmd=(),
    working_dir="",
    env_names=(),
    exposed_ports=(),
    volumes=(),
    labels={},
    healthcheck=(),
    history=(),
)


def image(layers: Sequence[LayerFacts], *, history: Sequence[tuple[str, bool]] = (), **config: object) -> PlatformImage:
    """``history`` holds lines and whether they made no layer; ``config`` are fields of ImageConfig."""
    lines = tuple(HistoryEntry(line, empty) for line, empty in history)
    return PlatformImage(
        platform=Platform("linux", "amd64"),
        digest=digest_of("manifest"),
        config_digest=digest_of("config"),
        config=replace(EMPTY_CONFIG, history=lines, **config),  # type: ignore[arg-type]
        layers=tuple(Descriptor(GZIP, Digest(facts.digest), facts.compressed_bytes) for facts in layers),
    )


def look(
    *layers: LayerFacts,
    history: Sequence[tuple[str, bool]] = (),
    catalogue: Catalogue = BUILT_IN,
    limits: Limits = DEFAULT_LIMITS,
    **config: object,
) -> Contents:
    """The contents of an image of these layers, whose bodies all are there."""
    compacted = [compact(facts, limits=limits) for facts in layers]
    found = inspect_image(
        layers=compacted, image=image(compacted, history=history, **config), catalogue=catalogue, limits=limits
    )
    assert not isinstance(found, Missing)
    return found
