"""Whatever lies on disk, an image is read from it or a RegistryError says why not."""

import asyncio
import contextlib
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.disk import compressed, image, layout_files, saved_files, tar_of
from fakes.registry import AMD64
from portcullis.errors import RegistryError
from portcullis.limits import Limits
from portcullis.model.image import Access, ImageReference, Repository
from portcullis.ports import Registry
from portcullis.registry.archive import DockerArchive
from portcullis.registry.files import Folder
from portcullis.registry.layout import OciLayout

HERE = Repository("docker-archive", "x")
LIMITS = Limits(archive_plain_bytes=1_000_000, archive_entries=50)
ONE = image("1")
SAVED = tar_of(saved_files((b"one", b"two" * 300), "acme/web:1"))
LAID_OUT = tar_of(layout_files([ONE.listed("1")], (ONE,)))

SCALARS = (
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["", "sha256:00", "manifest.json", ONE.digest])
)
KEYS = st.sampled_from(["manifests", "mediaType", "schemaVersion", "digest", "size", "Config", "Layers", "RepoTags"])
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=12,
)


def read(registry: Registry) -> None:
    """All that a collector does; nothing but a RegistryError may come of it."""

    async def everything() -> None:
        found = await registry.resolve(ImageReference(HERE, None, None), Access())
        await registry.referrers(found, None, Access())
        for layer in found.platforms[0].layers:
            async for _ in registry.blob(HERE, layer.digest, 10_000, Access()):
                pass

    with contextlib.suppress(RegistryError):
        asyncio.run(everything())


def read_archive(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.tar"
        path.write_bytes(content)
        read(DockerArchive(path=path, repository=HERE, platforms=(AMD64,), limits=LIMITS))


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([SAVED, LAID_OUT]), st.lists(st.tuples(st.integers(0, 1 << 14), st.binary(max_size=12)), max_size=6)
)
def test_an_archive_with_other_bytes_in_it(content: bytes, changes: list[tuple[int, bytes]]) -> None:
    spoiled = bytearray(content)
    for place, piece in changes:
        spoiled[place % len(spoiled) : place % len(spoiled) + len(piece)] = piece
    read_archive(bytes(spoiled))


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=2000), st.integers(0, 4000))
def test_a_compressed_archive_that_ends_or_goes_on_elsewhere(tail: bytes, kept: int) -> None:
    read_archive(compressed(SAVED)[:kept] + tail)


@settings(max_examples=150, deadline=None)
@given(st.fixed_dictionaries({}, optional={"index.json": TREES, "oci-layout": TREES}))
def test_any_json_in_a_layout(trees: Mapping[str, object]) -> None:
    files = layout_files([ONE.listed("1")], (ONE,)) | {name: json.dumps(tree).encode() for name, tree in trees.items()}
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        read(OciLayout(files=Folder(Path(folder)), repository=HERE, platforms=(AMD64,), limits=LIMITS))


@settings(max_examples=150, deadline=None)
@given(TREES)
def test_any_json_in_manifest_json(tree: object) -> None:
    read_archive(tar_of(saved_files() | {"manifest.json": json.dumps(tree).encode()}))
