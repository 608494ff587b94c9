"""Archives of docker save and its like: both forms, plain and compressed, and what is no such archive."""

import asyncio
import io
import json
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fakes.disk import (
    attached_to,
    compressed,
    image,
    layout_files,
    referred,
    saved_config,
    saved_files,
    tar_of,
)
from fakes.registry import AMD64, ARM64, MANIFEST, sha256
from portcullis.cli.demo.registry import serve_registry
from portcullis.errors import DigestMismatch, Malformed, NotFound, RegistryError, TooLarge
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.model.evidence import CarrierKind
from portcullis.model.image import Access, Digest, ImageReference, Repository, ResolvedImage
from portcullis.registry.archive import DockerArchive

pytestmark = pytest.mark.anyio

NOBODY = Access()
HERE = Repository("docker-archive", "web.tar")
TAR = "application/vnd.oci.image.layer.v1.tar"
LAYERS = (b"one", b"two" * 1000)


def opened(path: Path, limits: Limits = DEFAULT_LIMITS) -> DockerArchive:
    return DockerArchive(path=path, repository=HERE, platforms=(AMD64, ARM64), limits=limits)


def archive(folder: Path, content: bytes, limits: Limits = DEFAULT_LIMITS) -> DockerArchive:
    path = folder / "web.tar"
    path.write_bytes(content)
    return opened(path, limits)


async def resolve(found: DockerArchive, tag: str | None = None, digest: Digest | None = None) -> ResolvedImage:
    return await found.resolve(ImageReference(HERE, tag, digest), NOBODY)


async def read(found: DockerArchive, digest: Digest, limit: int = 1 << 30) -> bytes:
    return b"".join([piece async for piece in found.blob(HERE, digest, limit, NOBODY)])


@pytest.fixture(params=["plain", "gzip"])
def form(request: pytest.FixtureRequest) -> Any:
    return {"plain": bytes, "gzip": compressed}[request.param]


class TestSaved:
    """The form with manifest.json."""

    async def test_an_image_with_its_layers(self, form: Any, tmp_path: Path) -> None:
        found = archive(tmp_path, form(tar_of(saved_files(LAYERS, "acme/web:1", user="1000"))))
        resolved = await resolve(found)
        (platform,) = resolved.platforms
        assert (platform.platform, platform.config.user) == (AMD64, "1000")
        assert platform.config_digest == sha256(saved_config(LAYERS, "1000"))
        assert [(layer.media_type, layer.digest, layer.size) for layer in platform.layers] == [
            (TAR, sha256(LAYERS[0]), 3),
            (TAR, sha256(LAYERS[1]), 3000),
        ]
        assert [await read(found, layer.digest) for layer in platform.layers] == list(LAYERS)
        assert await found.referrers(resolved, None, NOBODY) == (CarrierKind.REFERRER, ())

    async def test_the_manifest_that_is_made_is_the_same_each_time(self, tmp_path: Path) -> None:
        """Byte for byte: whoever compares digests of one archive gets an answer."""
        found = archive(tmp_path, tar_of(saved_files((b"one",))))
        resolved = await resolve(found)
        manifest = await found.manifest(HERE, resolved.digest, NOBODY)
        config = saved_config((b"one",))
        assert manifest.media_type == MANIFEST
        assert sha256(manifest.content) == resolved.digest
        assert manifest.content.decode() == (
            f'{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{"mediaType":'
            f'"application/vnd.oci.image.config.v1+json","digest":"{sha256(config)}","size":{len(config)}}},'
            f'"layers":[{{"mediaType":"{TAR}","digest":"{sha256(b"one")}","size":3}}]}}'
        )
        assert await resolve(found, None, resolved.digest) == ResolvedImage(
            ImageReference(HERE, None, resolved.digest), resolved.digest, MANIFEST, False, resolved.platforms
        )

    async def test_names_are_those_of_the_image(self, tmp_path: Path) -> None:
        found = archive(tmp_path, tar_of(saved_files(LAYERS, "acme/web:1", "acme/web:latest")))
        assert (await resolve(found, "acme/web:1")).digest == (await resolve(found, "acme/web:latest")).digest
        with pytest.raises(NotFound, match="has no image acme/web:2: it has acme/web:1, acme/web:latest"):
            await resolve(found, "acme/web:2")

    async def test_of_two_images_one_must_be_named(self, form: Any, tmp_path: Path) -> None:
        one, two = saved_files(LAYERS, "one:1", user="1"), saved_files((b"two",), "two:1", user="2")
        both = json.loads(one["manifest.json"]) + json.loads(two["manifest.json"])
        found = archive(tmp_path, form(tar_of(one | two | {"manifest.json": json.dumps(both).encode()})))
        assert (await resolve(found, "two:1")).platforms[0].config.user == "2"
        with pytest.raises(NotFound, match="has 2 images, and none was named: it has one:1, two:1"):
            await resolve(found)

    async def test_a_layer_that_two_images_share_may_be_a_link(self, tmp_path: Path) -> None:
        files = saved_files((b"one",))
        (name,) = [name for name in files if name.endswith("layer.tar")]
        content = files.pop(name)
        found = archive(tmp_path, tar_of(files | {"other/layer.tar": content}, {name: "../other/layer.tar"}))
        (layer,) = (await resolve(found)).platforms[0].layers
        assert await read(found, layer.digest) == b"one"

    @pytest.mark.parametrize("target", ["/etc/passwd", "../../../../etc/passwd", "manifest.json/x", "self"])
    async def test_a_link_leads_nowhere_else(self, target: str, tmp_path: Path) -> None:
        files = saved_files((b"one",))
        (name,) = [name for name in files if name.endswith("layer.tar")]
        del files[name]
        found = archive(tmp_path, tar_of(files, {name: name if target == "self" else target}))
        with pytest.raises(NotFound, match=r"layer\.tar'?, which manifest\.json lists"):
            await resolve(found)

    async def test_a_compressed_layer_has_the_digest_of_its_bytes(self, form: Any, tmp_path: Path) -> None:
        """As crane writes them; the diffID still is that of the tar."""
        files = saved_files(LAYERS)
        (name,) = [name for name in files if name.startswith(sha256(LAYERS[1]).hex)]
        packed = compressed(LAYERS[1])
        found = archive(tmp_path, form(tar_of(files | {name: packed})))
        (platform,) = (await resolve(found)).platforms
        first, second = platform.layers
        assert (first.media_type, second.media_type) == (TAR, f"{TAR}+gzip")
        assert (second.digest, second.size) == (sha256(packed), len(packed))
        assert platform.config.diff_ids[1] == sha256(LAYERS[1])
        assert await read(found, second.digest) == packed

    async def test_a_layer_without_its_diff_id_is_told_when_it_is_read(self, tmp_path: Path) -> None:
        files = saved_files((b"one",))
        (name,) = [name for name in files if name.endswith("layer.tar")]
        found = archive(tmp_path, tar_of(files | {name: b"ONE"}))
        (layer,) = (await resolve(found)).platforms[0].layers
        with pytest.raises(DigestMismatch):
            await read(found, layer.digest)


class TestLayoutInside:
    """The form with an OCI layout, which Docker writes from version 25 on."""

    ONE = image("1")
    TOP = attached_to(ONE, b"top")

    def files(self) -> Mapping[str, bytes]:
        return layout_files([self.ONE.listed("1"), self.TOP.listed()], (self.ONE, self.TOP))

    @pytest.mark.parametrize("prefix", ["", "./"])
    async def test_is_read_with_its_own_digests(self, prefix: str, form: Any, tmp_path: Path) -> None:
        found = archive(tmp_path, form(tar_of({f"{prefix}{name}": text for name, text in self.files().items()})))
        resolved = await resolve(found)
        assert resolved.digest == self.ONE.digest
        assert await found.referrers(resolved, None, NOBODY) == (CarrierKind.REFERRER, (referred(self.TOP),))
        assert await read(found, sha256(b"layer")) == b"layer"

    async def test_wins_over_manifest_json_beside_it(self, tmp_path: Path) -> None:
        found = archive(tmp_path, tar_of({**saved_files(LAYERS, "acme/web:1"), **self.files()}))
        assert (await resolve(found)).digest == self.ONE.digest

    async def test_its_blobs_are_hashed_too(self, tmp_path: Path) -> None:
        found = archive(tmp_path, tar_of({**self.files(), f"blobs/sha256/{self.ONE.digest.hex}": b"{}"}))
        with pytest.raises(DigestMismatch):
            await resolve(found)

    async def test_what_it_lacks_is_not_found(self, tmp_path: Path) -> None:
        found = archive(tmp_path, tar_of(self.files()))
        with pytest.raises(NotFound, match=f"has no blobs/sha256/{sha256(b'other').hex}"):
            await read(found, sha256(b"other"))


def changed(**files: object) -> dict[str, bytes]:
    """A saved image with other text in place of some files; None takes one away."""
    texts = {name: json.dumps(value).encode() for name, value in files.items() if value is not None}
    return {name: text for name, text in saved_files(LAYERS).items() if name not in files} | texts


LISTED: dict[str, Any] = json.loads(saved_files(LAYERS)["manifest.json"])[0]


@pytest.mark.parametrize(
    ("files", "error", "says"),
    [
        ({"repositories": b"{}"}, Malformed, "has neither oci-layout nor manifest.json"),
        (changed(**{"manifest.json": {}}), Malformed, "is no list of images"),
        (changed(**{"manifest.json": ["x"]}), Malformed, "is no JSON object"),
        (changed(**{"manifest.json": [LISTED | {"config": "x"}]}), Malformed, "which some readers take for another"),
        (changed(**{"manifest.json": [LISTED | {"Layers": LISTED["Layers"][:1]}]}), Malformed, "has 2 diff_ids"),
        (changed(**{"manifest.json": [LISTED | {"Config": "other.json"}]}), NotFound, "has no 'other.json'"),
        (changed(**{"manifest.json": [LISTED | {"Config": "/etc/passwd"}]}), NotFound, "has no '/etc/passwd'"),
        (changed(**{"manifest.json": [LISTED | {"Layers": ["x", "y"]}]}), NotFound, "has no 'x'"),
        (changed(**{"manifest.json": []}), NotFound, "has no image"),
        (changed(**{LISTED["Config"]: {"config": {"User": 5}}}), Malformed, "User"),
        ({**saved_files(LAYERS), "manifest.json": b"[{]"}, Malformed, "is not JSON"),
    ],
)
async def test_parts_that_do_not_belong_together(
    files: Mapping[str, bytes], error: type[RegistryError], says: str, tmp_path: Path
) -> None:
    with pytest.raises(error) as raised:
        await resolve(archive(tmp_path, tar_of(files)))
    assert says in raised.value.message


class TestDamaged:
    GOOD = tar_of(saved_files(LAYERS))

    @pytest.mark.parametrize(
        ("content", "says"),
        [
            (b"", "no tar archive"),
            (b"PK\x03\x04" + b"x" * 2000, "no tar archive"),
            (b"\x28\xb5\x2f\xfd" + b"x" * 2000, "no tar archive"),
            (GOOD[:700], "no tar archive, or a damaged one"),
            (compressed(GOOD)[:200], "is damaged"),
            (compressed(GOOD)[:100] + b"\xff" * 100, "is damaged"),
            (b"\x1f\x8b\x09\x00" + b"x" * 100, "is damaged"),
        ],
        ids=["empty", "zip", "zstd", "cut", "cut gzip", "bad gzip", "other gzip"],
    )
    async def test_is_malformed(self, content: bytes, says: str, tmp_path: Path) -> None:
        with pytest.raises(Malformed, match=says):
            await resolve(archive(tmp_path, content))

    async def test_a_file_that_was_cut_short_meanwhile(self, tmp_path: Path) -> None:
        found = archive(tmp_path, self.GOOD)
        layer = (await resolve(found)).platforms[0].layers[1]
        (tmp_path / "web.tar").write_bytes(self.GOOD[:600])
        with pytest.raises(Malformed, match="is cut short"):
            await read(found, layer.digest)

    async def test_one_name_twice_is_no_name(self, tmp_path: Path) -> None:
        """Docker takes the last of the two, others the first."""
        stream = io.BytesIO(self.GOOD)
        with tarfile.open(fileobj=stream, mode="a") as again:
            again.addfile(tarfile.TarInfo("manifest.json"))
        with pytest.raises(Malformed, match=r"has manifest\.json twice"):
            await resolve(archive(tmp_path, stream.getvalue()))

    async def test_a_size_below_zero(self, tmp_path: Path) -> None:
        header = bytearray(tarfile.TarInfo("a").tobuf(tarfile.GNU_FORMAT))
        header[124:136] = b"\xff" * 11 + b"\xfe"
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
        with pytest.raises(Malformed, match="negative size"):
            await resolve(archive(tmp_path, bytes(header) + self.GOOD))

    async def test_what_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(NotFound, match="is not there"):
            await resolve(opened(tmp_path / "none.tar"))
        with pytest.raises(Malformed, match="no regular file"):
            await resolve(opened(tmp_path))


class TestBounds:
    async def test_entries(self, tmp_path: Path) -> None:
        content = tar_of(saved_files(LAYERS))
        with pytest.raises(TooLarge, match="more entries than the limit archiveEntries of 3"):
            await resolve(archive(tmp_path, content, Limits(archive_entries=3)))
        assert await resolve(archive(tmp_path, content, Limits(archive_entries=4)))

    async def test_how_far_a_compressed_archive_is_inflated(self, tmp_path: Path) -> None:
        """A small file that inflates to much is left where the limit is; of a plain one nothing is read there."""
        content = tar_of({"zeros": bytes(2_000_000), **saved_files(LAYERS)})
        limits = Limits(archive_plain_bytes=1_000_000)
        with pytest.raises(TooLarge, match="the limit archivePlainBytes of 1000000; gunzip it first"):
            await resolve(archive(tmp_path, compressed(content), limits))
        assert await resolve(archive(tmp_path, content, limits))
        assert await resolve(archive(tmp_path, compressed(content), Limits(archive_plain_bytes=len(content))))

    async def test_names_and_headers(self, tmp_path: Path) -> None:
        with pytest.raises(TooLarge, match="a name or a header of more than 16384 bytes"):
            await resolve(archive(tmp_path, tar_of({"x" * 20_000: b""})))

    @pytest.mark.parametrize(
        ("limits", "says"),
        [
            (Limits(layout_manifests=0), "lists 1 images; the limit layoutManifests is 0"),
            (Limits(image_layers=1), "has 2 layers; the limit imageLayers is 1"),
            (Limits(config_bytes=10), "the limit configBytes is 10"),
            (Limits(manifest_bytes=10), "the limit manifestBytes is 10"),
        ],
    )
    async def test_what_a_registry_is_bounded_in(self, limits: Limits, says: str, tmp_path: Path) -> None:
        with pytest.raises(TooLarge, match=says):
            await resolve(archive(tmp_path, tar_of(saved_files(LAYERS)), limits))

    async def test_a_blob(self, tmp_path: Path) -> None:
        found = archive(tmp_path, tar_of(saved_files(LAYERS)))
        layer = (await resolve(found)).platforms[0].layers[1]
        assert len(await read(found, layer.digest, layer.size)) == layer.size
        with pytest.raises(TooLarge):
            await read(found, layer.digest, layer.size - 1)


async def test_many_that_ask_at_once_open_it_once(tmp_path: Path) -> None:
    """The archive is gone when the first has its answer, and the others have theirs as well."""
    found = archive(tmp_path, tar_of(saved_files(LAYERS)))
    first, *others = await asyncio.gather(*(resolve(found) for _ in range(5)))
    assert others == [first] * 4


@pytest.mark.parametrize("written", ["tarball", "legacy", "oci"])
async def test_archives_of_another_program(written: str, tmp_path: Path) -> None:
    """crane pulls an image from a registry; what it writes has the layers and the configuration of that image."""
    program = shutil.which("crane")
    assert program, "crane is not on PATH: run the tests through `make test`, or run `make tools` and add its folders"
    plain = tar_of({"app/web": b"hello"})
    layer = compressed(plain)
    (tmp_path / "layer.tar.gz").write_bytes(layer)
    place = tmp_path / ("layout" if written == "oci" else "web.tar")

    async def crane(*arguments: str) -> None:
        process = await asyncio.create_subprocess_exec(
            program, *arguments, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )
        _, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()

    async with serve_registry() as host:
        name = f"{host}/acme/web:1"
        await crane("append", "--oci-empty-base", "-f", str(tmp_path / "layer.tar.gz"), "-t", name)
        await crane("pull", f"--format={written}", name, str(place))
    if written == "oci":
        await asyncio.to_thread(_pack, place, tmp_path / "web.tar")
    found = opened(tmp_path / "web.tar")
    (platform,) = (await resolve(found)).platforms
    (described,) = platform.layers
    kept = (f"{TAR}", plain) if written == "legacy" else (f"{TAR}+gzip", layer)
    assert (described.media_type, await read(found, described.digest)) == kept
    assert platform.config.diff_ids == (sha256(plain),)


def _pack(folder: Path, path: Path) -> None:
    with tarfile.open(path, "w") as packed:
        packed.add(folder, arcname=".")
