"""OCI image layouts on disk: what is found in them, and what they cannot make the program read."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from fakes.disk import (
    REF_NAME,
    Image,
    attached_to,
    image,
    index_of,
    layout_files,
    manifest_of,
    platform_of,
    referred,
    write_files,
)
from fakes.oci import config_bytes
from fakes.registry import AMD64, ARM64, INDEX, MANIFEST, sha256
from portcullis.errors import DigestMismatch, Malformed, NotFound, RegistryError, TooLarge, Unreachable
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.model.evidence import CarrierKind
from portcullis.model.image import Access, Digest, ImageReference, Repository, ResolvedImage
from portcullis.registry.files import PIECE_BYTES, Folder
from portcullis.registry.layout import OciLayout

pytestmark = pytest.mark.anyio

NOBODY = Access()
HERE = Repository("oci-layout", "build/web")
REGCLIENT = Path(__file__).parents[4] / "shared/data/oci-layout-regclient"


def reference(tag: str | None = None, digest: Digest | None = None) -> ImageReference:
    return ImageReference(HERE, tag, digest)


def opened(folder: Path, limits: Limits = DEFAULT_LIMITS) -> OciLayout:
    return OciLayout(files=Folder(folder), repository=HERE, platforms=(AMD64, ARM64), limits=limits)


async def resolve(folder: Path, tag: str | None = None, digest: Digest | None = None) -> ResolvedImage:
    return await opened(folder).resolve(reference(tag, digest), NOBODY)


def write(folder: Path, *entries: Mapping[str, Any], images: tuple[Image, ...]) -> Path:
    return write_files(folder, layout_files(entries, images))


async def read(layout: OciLayout, digest: Digest, limit: int = 1 << 30) -> list[bytes]:
    return [piece async for piece in layout.blob(HERE, digest, limit, NOBODY)]


class TestNames:
    ONE, TWO = image("1"), image("2")

    async def test_the_only_image_needs_no_name(self, tmp_path: Path) -> None:
        write(tmp_path, self.ONE.listed("1.4"), images=(self.ONE,))
        found = await resolve(tmp_path)
        assert (found.digest, found.reference.tag, found.is_index) == (self.ONE.digest, None, False)
        assert found.platforms[0].config.user == "1"

    async def test_an_image_with_two_names_is_one(self, tmp_path: Path) -> None:
        write(tmp_path, self.ONE.listed("1.4"), self.ONE.listed("latest"), images=(self.ONE,))
        assert (await resolve(tmp_path)).digest == self.ONE.digest

    async def test_of_several_one_must_be_named(self, tmp_path: Path) -> None:
        write(tmp_path, self.ONE.listed("one"), self.TWO.listed(), images=(self.ONE, self.TWO))
        assert (await resolve(tmp_path, "one")).digest == self.ONE.digest
        assert (await resolve(tmp_path, None, self.TWO.digest)).platforms[0].config.user == "2"
        with pytest.raises(NotFound, match=f"has 2 images, and none was named: it has one, @{self.TWO.digest}"):
            await resolve(tmp_path)
        with pytest.raises(NotFound, match="has no image three: it has one"):
            await resolve(tmp_path, "three")

    async def test_many_names_are_cut_and_counted(self, tmp_path: Path) -> None:
        images = tuple(image(str(number)) for number in range(12))
        write(tmp_path, *(one.listed(f"v{number}") for number, one in enumerate(images)), images=images)
        with pytest.raises(NotFound, match=r"v9 and 2 more$"):
            await resolve(tmp_path)

    async def test_one_name_for_two_images_names_neither(self, tmp_path: Path) -> None:
        write(tmp_path, self.ONE.listed("one"), self.TWO.listed("one"), images=(self.ONE, self.TWO))
        with pytest.raises(Malformed, match="calls 2 images one"):
            await resolve(tmp_path, "one")

    @pytest.mark.parametrize("asked", ["acme/web:1", "docker.io/acme/web:1", "1"])
    async def test_the_whole_name_counts_as_well(self, asked: str, tmp_path: Path) -> None:
        """As containerd and docker save write it."""
        names = {"io.containerd.image.name": "docker.io/acme/web:1", REF_NAME: "1"}
        write(tmp_path, self.ONE.listed(annotations=names), images=(self.ONE,))
        assert (await resolve(tmp_path, asked)).digest == self.ONE.digest

    async def test_what_is_attached_to_an_image_is_no_second_one(self, tmp_path: Path) -> None:
        """By its type, by its name, and where index.json says neither, by its subject."""
        kinds = [attached_to(self.ONE, b"%d" % number) for number in range(3)]
        tag = f"sha256-{self.ONE.digest.hex}"
        entries = [
            kinds[0].listed(artifactType="application/example"),
            kinds[1].listed(f"{tag}.att"),
            kinds[2].listed(),
        ]
        write(tmp_path, *entries, self.ONE.listed(), images=(self.ONE, *kinds))
        assert (await resolve(tmp_path)).digest == self.ONE.digest

    async def test_an_empty_layout_has_no_image(self, tmp_path: Path) -> None:
        write(tmp_path, images=())
        with pytest.raises(NotFound, match=r"has no image$"):
            await resolve(tmp_path)

    async def test_a_digest_that_nothing_lists_is_read_all_the_same(self, tmp_path: Path) -> None:
        write(tmp_path, self.ONE.listed(), images=(self.ONE, self.TWO))
        assert (await resolve(tmp_path, "1.4", self.TWO.digest)).platforms[0].config.user == "2"

    async def test_another_repository_is_not_here(self, tmp_path: Path) -> None:
        write(tmp_path, self.ONE.listed(), images=(self.ONE,))
        layout, other = opened(tmp_path), Repository("registry.example", "build/web")
        found = await resolve(tmp_path)
        elsewhere = ResolvedImage(
            ImageReference(other, "1", None), found.digest, found.media_type, False, found.platforms
        )
        with pytest.raises(NotFound):
            await layout.resolve(elsewhere.reference, NOBODY)
        with pytest.raises(NotFound):
            await layout.referrers(elsewhere, None, NOBODY)
        with pytest.raises(NotFound):
            await layout.manifest(other, found.digest, NOBODY)
        with pytest.raises(NotFound):
            await anext(layout.blob(other, found.digest, 1000, NOBODY))


class TestPlatforms:
    ONE, TWO = image("1"), image("2", platform=ARM64)
    LISTED = (ONE.listed(**platform_of(AMD64)), TWO.listed(**platform_of(ARM64)))

    async def test_an_index_gives_the_wanted_platforms(self, tmp_path: Path) -> None:
        index = index_of(self.LISTED, (self.ONE, self.TWO))
        write(tmp_path, index.listed("1"), images=(index,))
        found = await resolve(tmp_path, "1")
        assert (found.digest, found.media_type, found.is_index) == (index.digest, INDEX, True)
        assert [(one.platform, one.config.user) for one in found.platforms] == [(AMD64, "1"), (ARM64, "2")]

    async def test_an_index_in_an_index(self, tmp_path: Path) -> None:
        index = index_of(self.LISTED, (self.ONE, self.TWO))
        outer = index_of([index.listed()], (index,))
        write(tmp_path, outer.listed("1"), images=(outer,))
        found = await resolve(tmp_path, "1")
        assert (found.digest, len(found.platforms)) == (outer.digest, 2)

    async def test_platforms_that_the_layout_lacks_are_left_out(self, tmp_path: Path) -> None:
        """docker save writes the whole index and the one platform that was pulled."""
        index = index_of(self.LISTED, (self.TWO,))
        write(tmp_path, index.listed("1"), images=(index,))
        assert [one.platform for one in (await resolve(tmp_path, "1")).platforms] == [ARM64]

    async def test_a_layout_with_none_of_them_is_no_image_without_platforms(self, tmp_path: Path) -> None:
        index = index_of(self.LISTED, ())
        write(tmp_path, index.listed("1"), images=(index,))
        with pytest.raises(NotFound, match="lists images for linux/amd64, linux/arm64, and has none of them"):
            await resolve(tmp_path, "1")

    async def test_the_size_that_an_index_names_must_be_that_of_the_child(self, tmp_path: Path) -> None:
        wrong = self.ONE.listed(**platform_of(AMD64)) | {"size": 5}
        index = index_of([wrong], (self.ONE,))
        write(tmp_path, index.listed("1"), images=(index,))
        with pytest.raises(Malformed, match="is listed with 5"):
            await resolve(tmp_path, "1")


class TestReferrers:
    ONE, TWO = image("1"), image("2")

    async def referrers(self, folder: Path, limits: Limits = DEFAULT_LIMITS, kind: str | None = None) -> Any:
        layout = opened(folder, limits)
        found = await layout.resolve(reference(None, self.ONE.digest), NOBODY)
        carrier, listed = await layout.referrers(found, kind, NOBODY)
        assert carrier is CarrierKind.REFERRER
        return listed

    async def test_are_found_by_their_subject_at_any_depth(self, tmp_path: Path) -> None:
        top, deep, other = attached_to(self.ONE, b"top"), attached_to(self.ONE, b"deep"), attached_to(self.TWO, b"x")
        fallback = index_of([deep.listed(), other.listed()], (deep, other))
        entries = (self.ONE.listed(), self.TWO.listed(), top.listed(), fallback.listed(f"sha256-{self.ONE.digest.hex}"))
        write(tmp_path, *entries, images=(self.ONE, self.TWO, top, fallback))
        assert await self.referrers(tmp_path) == (referred(top), referred(deep))
        assert await self.referrers(tmp_path, kind="application/other") == ()

    async def test_one_that_is_listed_twice_counts_once(self, tmp_path: Path) -> None:
        top = attached_to(self.ONE, b"top")
        again = index_of([top.listed(), self.ONE.listed()], (top,))
        write(tmp_path, self.ONE.listed(), top.listed(), again.listed(), images=(self.ONE, top, again))
        assert await self.referrers(tmp_path) == (referred(top),)

    async def test_the_type_is_that_of_the_configuration_where_none_is_named(self, tmp_path: Path) -> None:
        subject = {"mediaType": MANIFEST, "digest": self.ONE.digest, "size": len(self.ONE.content)}
        top = manifest_of(config_bytes("9"), subject=subject, annotations={"a": "b"})
        write(tmp_path, self.ONE.listed("1"), top.listed("2"), images=(self.ONE, top))
        (listed,) = await self.referrers(tmp_path)
        assert listed.artifact_type == "application/vnd.oci.image.config.v1+json"
        assert listed.annotations == {"a": "b"}

    async def test_one_that_cannot_be_read_may_be_the_one_that_says_no(self, tmp_path: Path) -> None:
        top = attached_to(self.ONE, b"top")
        files = layout_files([self.ONE.listed(), top.listed()], (self.ONE, top))
        write_files(tmp_path, files | {f"blobs/sha256/{top.digest.hex}": b"{}"})
        with pytest.raises(DigestMismatch):
            await self.referrers(tmp_path)

    async def test_what_is_not_there_or_no_manifest_is_passed_over(self, tmp_path: Path) -> None:
        gone, odd = attached_to(self.ONE, b"top"), self.TWO.listed() | {"mediaType": "application/vnd.example"}
        write(tmp_path, self.ONE.listed(), gone.listed(), odd, images=(self.ONE,))
        assert await self.referrers(tmp_path) == ()

    async def test_more_than_the_limit_are_refused(self, tmp_path: Path) -> None:
        found = [attached_to(self.ONE, b"%d" % number) for number in range(3)]
        write(tmp_path, self.ONE.listed(), *(one.listed() for one in found), images=(self.ONE, *found))
        assert len(await self.referrers(tmp_path, Limits(referrers=3))) == 3
        with pytest.raises(TooLarge, match="the limit referrers is 2"):
            await self.referrers(tmp_path, Limits(referrers=2))


class TestBounds:
    ONE = image("1")

    async def test_more_manifests_than_the_limit_are_refused_in_the_index(self, tmp_path: Path) -> None:
        write(tmp_path, *(image(str(number)).listed() for number in range(3)), images=())
        with pytest.raises(TooLarge, match="the limit layoutManifests is 2"):
            await opened(tmp_path, Limits(layout_manifests=2)).resolve(reference("1"), NOBODY)

    async def test_and_below_it(self, tmp_path: Path) -> None:
        children = [attached_to(self.ONE, b"%d" % number) for number in range(3)]
        index = index_of([one.listed() for one in children], children)
        write(tmp_path, self.ONE.listed("1"), index.listed("2"), images=(self.ONE, index))
        layout = opened(tmp_path, Limits(layout_manifests=4))
        found = await layout.resolve(reference("1"), NOBODY)
        with pytest.raises(TooLarge, match="layoutManifests"):
            await layout.referrers(found, None, NOBODY)

    async def test_manifests_and_the_index_have_a_size(self, tmp_path: Path) -> None:
        write(tmp_path, self.ONE.listed(), images=(self.ONE,))
        size = len((tmp_path / "index.json").read_bytes())
        with pytest.raises(TooLarge, match=f"index.json has more bytes than the limit manifestBytes of {size - 1}"):
            await opened(tmp_path, Limits(manifest_bytes=size - 1)).resolve(reference(), NOBODY)
        with pytest.raises(TooLarge, match="manifestBytes"):
            await opened(tmp_path, Limits(manifest_bytes=len(self.ONE.content) - 1)).manifest(
                HERE, self.ONE.digest, NOBODY
            )

    async def test_configurations_too(self, tmp_path: Path) -> None:
        write(tmp_path, self.ONE.listed(), images=(self.ONE,))
        with pytest.raises(TooLarge, match="the limit configBytes is 10"):
            await opened(tmp_path, Limits(config_bytes=10)).resolve(reference(), NOBODY)

    async def test_a_blob_comes_in_pieces_up_to_its_limit(self, tmp_path: Path) -> None:
        content = os.urandom(PIECE_BYTES * 2 + 5)
        write_files(tmp_path, {f"blobs/sha256/{sha256(content).hex}": content})
        layout = opened(tmp_path)
        pieces = await read(layout, sha256(content), len(content))
        assert [len(piece) for piece in pieces] == [PIECE_BYTES, PIECE_BYTES, 5]
        assert b"".join(pieces) == content
        with pytest.raises(TooLarge):
            await read(layout, sha256(content), len(content) - 1)

    async def test_a_file_that_grows_is_read_to_its_limit(self, tmp_path: Path) -> None:
        """The size that was looked at before is not believed."""
        path = write_files(tmp_path, {f"blobs/sha256/{'0' * 64}": b"a" * PIECE_BYTES}) / "blobs/sha256" / ("0" * 64)
        reading = opened(tmp_path).blob(HERE, Digest(f"sha256:{'0' * 64}"), PIECE_BYTES, NOBODY)
        await anext(reading)
        with path.open("ab") as stream:
            stream.write(b"more")
        with pytest.raises(TooLarge):
            await anext(reading)


def spoiled(name: str, content: bytes) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / name).write_bytes(content)

    return spoil


def removed(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


ONE = image("1")
MANIFEST_FILE = f"blobs/sha256/{ONE.digest.hex}"
CONFIG_FILE = f"blobs/sha256/{Digest(json.loads(ONE.content)['config']['digest']).hex}"


@pytest.mark.parametrize(
    ("spoil", "error", "says"),
    [
        (removed("oci-layout"), NotFound, "/oci-layout is not there"),
        (removed("index.json"), NotFound, "/index.json is not there"),
        (removed(MANIFEST_FILE), NotFound, f"/{MANIFEST_FILE} is not there"),
        (removed(CONFIG_FILE), NotFound, f"/{CONFIG_FILE} is not there"),
        (spoiled("oci-layout", b'{"imageLayoutVersion":"2.0.0"}'), Malformed, "imageLayoutVersion '2.0.0'"),
        (spoiled("oci-layout", b"{}"), Malformed, "imageLayoutVersion ''"),
        (spoiled("oci-layout", b" " * 5000), TooLarge, "more bytes than the 4096"),
        (spoiled("index.json", b"[]"), Malformed, "index.json is no JSON object"),
        (spoiled("index.json", b'{"schemaVersion":1,"manifests":[]}'), Malformed, "is no OCI index"),
        (spoiled(MANIFEST_FILE, ONE.content + b" "), DigestMismatch, "other bytes"),
        (spoiled(CONFIG_FILE, b"{}"), DigestMismatch, "other bytes"),
    ],
)
async def test_each_part_must_be_there_and_be_what_it_is(
    spoil: Callable[[Path], None], error: type[RegistryError], says: str, tmp_path: Path
) -> None:
    write(tmp_path, ONE.listed(), images=(ONE,))
    spoil(tmp_path)
    with pytest.raises(error) as raised:
        await resolve(tmp_path)
    assert says in raised.value.message


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"mediaType": INDEX}, "says that it is"),
        ({"mediaType": "application/vnd.example"}, "says that it is"),
        ({"size": 5}, "is listed with 5"),
    ],
)
async def test_an_image_is_what_the_index_lists_it_as(change: Mapping[str, Any], says: str, tmp_path: Path) -> None:
    write(tmp_path, ONE.listed() | change, images=(ONE,))
    with pytest.raises(Malformed, match=says):
        await resolve(tmp_path)


async def test_a_layer_that_was_changed_is_told_at_its_end(tmp_path: Path) -> None:
    write_files(tmp_path, {f"blobs/sha256/{sha256(b'layer').hex}": b"LAYER"})
    with pytest.raises(DigestMismatch):
        await read(opened(tmp_path), sha256(b"layer"))


class TestOutside:
    """Nothing but the folder is read, whatever its files say."""

    @pytest.mark.parametrize("link", [MANIFEST_FILE, "blobs/sha256", "blobs", "index.json", "oci-layout"])
    async def test_no_symbolic_link_is_followed(self, link: str, tmp_path: Path) -> None:
        """Also not one to a good file: step 1 breaks here."""
        write(tmp_path / "layout", ONE.listed(), images=(ONE,))
        path = tmp_path / "layout" / link
        path.rename(tmp_path / "moved")
        path.symlink_to(tmp_path / "moved")
        with pytest.raises(Malformed, match="symbolic link"):
            await resolve(tmp_path / "layout")

    async def test_the_folder_itself_may_be_one(self, tmp_path: Path) -> None:
        write(tmp_path / "layout", ONE.listed(), images=(ONE,))
        (tmp_path / "link").symlink_to(tmp_path / "layout")
        assert (await resolve(tmp_path / "link")).digest == ONE.digest

    async def test_a_named_pipe_does_not_stop_the_program(self, tmp_path: Path) -> None:
        write(tmp_path, ONE.listed(), images=(ONE,))
        (tmp_path / "index.json").unlink()
        os.mkfifo(tmp_path / "index.json")
        with pytest.raises(Malformed, match="no regular file"):
            await resolve(tmp_path)

    async def test_a_folder_is_no_file(self, tmp_path: Path) -> None:
        write(tmp_path, ONE.listed(), images=(ONE,))
        (tmp_path / "index.json").unlink()
        (tmp_path / "index.json").mkdir()
        with pytest.raises(Malformed, match="no regular file"):
            await resolve(tmp_path)

    @pytest.mark.parametrize("digest", ["sha256:../../../etc/passwd", "sha256:" + "A" * 64, "md5:" + "0" * 32, "../x"])
    async def test_what_is_no_digest_is_no_path(self, digest: str, tmp_path: Path) -> None:
        layout = opened(tmp_path)
        with pytest.raises(Malformed):
            await read(layout, Digest(digest))
        with pytest.raises(Malformed):
            await layout.manifest(HERE, Digest(digest), NOBODY)

    async def test_a_file_is_no_layout(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(Malformed, match=r"file is no folder$"):
            await resolve(tmp_path / "file")
        with pytest.raises(NotFound, match=r"none is not there$"):
            await resolve(tmp_path / "none")

    async def test_a_name_that_the_system_does_not_take(self, tmp_path: Path) -> None:
        with pytest.raises(Unreachable, match="cannot be read"):
            await resolve(tmp_path / ("x" * 300))


@pytest.mark.skipif(not REGCLIENT.exists(), reason="the sample data is not beside the checkout")
async def test_a_layout_of_other_tools() -> None:
    """regclient's test data: named images, artifacts with subjects, fall-back tags."""
    layout = opened(REGCLIENT)
    index = json.loads((REGCLIENT / "index.json").read_bytes())["manifests"]
    for entry in index:
        manifest = await layout.manifest(HERE, Digest(entry["digest"]), NOBODY)
        assert (manifest.media_type, len(manifest.content)) == (entry["mediaType"], entry["size"])
    image = await layout.resolve(reference("v2"), NOBODY)
    assert image.is_index
    _, listed = await layout.referrers(image, None, NOBODY)
    (tagged,) = [one for one in index if one.get("annotations") == {REF_NAME: f"sha256-{image.digest.hex}"}]
    fallback = json.loads((await layout.manifest(HERE, Digest(tagged["digest"]), NOBODY)).content)
    assert {one.digest for one in listed} == {one["digest"] for one in fallback["manifests"]}
