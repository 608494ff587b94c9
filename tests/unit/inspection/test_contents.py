"""From layers to contents: the user by a passwd that moves about, what is still to be read, and how it is kept."""

import gzip
import io
import tarfile
from dataclasses import replace

import msgspec
import pytest
from isal import isal_zlib

from fakes.layerfacts import BUILT_IN, GZIP, file, folder, hard_link, image, layer, look, program, symlink, whiteout
from portcullis.errors import LayerMalformed, TooLarge
from portcullis.inspection.contents import Missing, decode_contents, encode_contents, inspect_image
from portcullis.inspection.layer import read_layer
from portcullis.inspection.layerfacts import LayerFacts, pack, unpack
from portcullis.inspection.packages import compact
from portcullis.inspection.reading import CatalogueReading
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.model.contents import Contents, FindingClass
from portcullis.model.image import Digest, UserSource
from unit.inspection.tars import sha256

PASSWD = b"root:x:0:0::/:/bin/sh\napp:x:1000:1000::/:/bin/sh\n"
EVIL = b"app:x:0:0::/:/bin/sh\n"
ETC = {"etc/passwd": PASSWD}


def inspected(*layers: LayerFacts, user: str = "app") -> Contents | Missing:
    return inspect_image(layers=layers, image=image(layers, user=user), catalogue=BUILT_IN, limits=DEFAULT_LIMITS)


class TestUser:
    """The user comes from the passwd that a container sees (1): the merged one, through its links, and its content is
    that of the very entry (2). What is not known for certain is asked for, or refused (3)."""

    @pytest.mark.parametrize(
        ("layers", "uid"),
        [
            ([layer(bodies=ETC)], 1000),
            ([layer(bodies=ETC), layer(bodies={"etc/passwd": EVIL})], 0),
            ([layer(bodies=ETC), layer(whiteout("etc/passwd"))], None),
            ([layer(bodies=ETC), layer(file("etc/.wh..wh..opq"))], None),
            ([layer(bodies={**ETC, "data/passwd": EVIL}), layer(symlink("etc/passwd", "/data/passwd"))], 0),
            ([layer(bodies={**ETC, "data/passwd": EVIL}), layer(symlink("etc/passwd", "../../data/passwd"))], 0),
            ([layer(bodies={**ETC, "data/passwd": EVIL}), layer(symlink("etc", "data"))], 0),
            ([layer(symlink("etc/passwd", "nowhere"))], None),
            ([layer(symlink("etc/passwd", "passwd"))], None),
            ([layer(folder("etc/passwd"))], None),
            ([layer(file("etc/passwd", size=0))], None),
        ],
    )
    def test_the_merged_passwd_counts(self, layers: list[LayerFacts], uid: int | None) -> None:
        found = inspected(*layers)
        assert isinstance(found, Contents)
        assert found.user is not None
        assert found.user.uid == uid
        assert found.user.source is (UserSource.UNRESOLVED if uid is None else UserSource.PASSWD)
        assert found.user.root is (None if uid is None else uid == 0)

    def test_a_hard_link_has_the_content_of_its_target(self) -> None:
        facts = layer(file("data/p", size=len(EVIL)), hard_link("etc/passwd", "data/p"), bodies={"data/p": EVIL})
        found = inspected(facts)
        assert isinstance(found, Contents)
        assert found.user is not None
        assert found.user.root is True

    def test_a_body_that_was_not_kept_is_asked_for(self) -> None:
        below = layer(file("data/passwd"))
        assert inspected(below, layer(symlink("etc/passwd", "/data/passwd"))) == Missing(
            {below.digest: frozenset({b"data/passwd"})}
        )

    def test_bodies_of_several_layers(self) -> None:
        below, above = layer(file("a/passwd")), layer(file("b/group"), symlink("etc/passwd", "/a/passwd"))
        above = msgspec.structs.replace(above, entries=(*above.entries, symlink("etc/os-release", "/b/group")))
        assert inspected(below, above) == Missing(
            {below.digest: frozenset({b"a/passwd"}), above.digest: frozenset({b"b/group"})}
        )

    def test_a_link_to_a_file_that_its_layer_has_twice(self) -> None:
        """The body that was kept is that of the last entry, the link leads to the first."""
        entries = (file("data/p", size=9), hard_link("etc/passwd", "data/p"), file("data/p", size=len(PASSWD)))
        with pytest.raises(LayerMalformed, match="several times"):
            inspected(layer(*entries, bodies={"data/p": PASSWD}))

    def test_a_repeated_entry_counts_as_its_last(self) -> None:
        found = inspected(layer(file("etc/passwd", size=9), file("etc/passwd", size=len(PASSWD)), bodies=ETC))
        assert isinstance(found, Contents)
        assert found.user is not None
        assert found.user.uid == 1000

    @pytest.mark.parametrize(
        ("path", "limit"), [("etc/passwd", "userDatabaseBytes"), ("etc/os-release", "osReleaseBytes")]
    )
    def test_one_that_is_too_long(self, path: str, limit: str) -> None:
        facts = msgspec.structs.replace(layer(file(path)), oversized=(path.encode(),))
        with pytest.raises(TooLarge, match=f"limit {limit}"):
            inspected(facts)


class TestSystem:
    def test_os_release(self) -> None:
        bodies = {"usr/lib/os-release": b"ID=alpine\nVERSION_ID=3.19\n"}
        assert look(layer(symlink("etc/os-release", "../usr/lib/os-release"), bodies=bodies)).os.id == "alpine"
        assert look(layer(bodies=bodies)).os.version_id == "3.19"
        assert look(layer(bodies={**bodies, "etc/os-release": b"ID=mine\n"})).os.id == "mine"
        assert look(layer(file("a"))).os.id == ""

    @pytest.mark.parametrize(
        ("name", "distroless"),
        [("app/server", True), ("bin/bash", False), ("usr/bin/apt-get", False), ("usr/bin/curl", True)],
    )
    def test_distroless_is_what_has_neither_shell_nor_package_manager(self, name: str, distroless: bool) -> None:
        assert look(layer(program(name))).os.distroless is distroless


def test_layers_and_sums() -> None:
    below = layer(file("a", size=5), hard_link("b", "a"), symlink("c", "a"), folder("d"))
    above = layer(file("e", size=7), whiteout("c"))
    contents = look(below, above, history=[("one", False), ("two", False)])
    assert (contents.files, contents.bytes) == (3, 12)
    assert [(one.files, one.bytes, one.created_by) for one in contents.layers] == [
        (3, below.plain_bytes, "one"),
        (1, above.plain_bytes, "two"),
    ]
    assert contents.layers[0].media_type == GZIP
    assert contents.layers[0].diff_id == below.diff_id


def test_an_image_without_layers() -> None:
    contents = look(history=[("ENV DB_PASSWORD=hunter2", True)])
    assert (contents.files, contents.bytes, contents.layers) == (0, 0, ())
    assert len(contents.findings[FindingClass.SECRETS]) == 1


class TestKeeping:
    CONTENTS = look(
        layer(program("bin/sh"), folder("l/site-packages/a-1.dist-info"), file("app/x", uid=5), bodies=ETC),
        layer(file("root/.env")),
        history=[("one", False), ("two", False)],
        user="app",
    )

    def test_there_and_back(self) -> None:
        back = decode_contents(encode_contents(self.CONTENTS))
        assert back == self.CONTENTS
        assert isinstance(back.layers[0].digest, Digest)
        assert list(back.findings) == list(FindingClass)

    @pytest.mark.parametrize("content", [b"", b"x", encode_contents(CONTENTS)[:-3], encode_contents(CONTENTS) + b"x"])
    def test_what_is_none(self, content: bytes) -> None:
        with pytest.raises(ValueError, match="contents"):
            decode_contents(content)

    def test_another_shape(self) -> None:
        with pytest.raises(ValueError, match="cannot be read"):
            decode_contents(isal_zlib.compress(msgspec.msgpack.encode({"files": "many"})))


KEY = b"-----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY-----\n"
FILES = {
    "etc/passwd": PASSWD,
    "etc/os-release": b"ID=debian\nVERSION_ID=12\n",
    "var/lib/dpkg/status": b"Package: base\nStatus: install ok installed\nVersion: 1\n",
    "app/tls.key": KEY,
    "app/tls.pem": b"-----BEGIN CERTIFICATE-----\n",
}


def from_bytes(limits: Limits) -> Contents:
    """The real walk with the real reading, of a layer as tarfile writes it."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name, body in FILES.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    plain = target.getvalue()
    blob = gzip.compress(plain)
    facts = read_layer(
        [blob],
        media_type=GZIP,
        digest=sha256(blob),
        diff_id=sha256(plain),
        reading=CatalogueReading(catalogue=BUILT_IN, limits=limits),
        limits=limits,
        what="a layer",
    )
    layers = [unpack(pack(compact(facts, limits=limits)))]
    found = inspect_image(layers=layers, image=image(layers, user="app"), catalogue=BUILT_IN, limits=limits)
    assert isinstance(found, Contents)
    return found


def test_from_the_bytes_of_a_layer() -> None:
    found = from_bytes(DEFAULT_LIMITS)
    assert found.user is not None
    assert (found.user.uid, found.os.id) == (1000, "debian")
    assert [one.path for one in found.findings[FindingClass.SECRETS]] == ["/app/tls.key"]
    assert [one.name for one in found.packages or ()] == ["base"]


@pytest.mark.parametrize(
    ("limits", "problem"),
    [
        (replace(DEFAULT_LIMITS, user_database_bytes=20), "limit userDatabaseBytes"),
        (replace(DEFAULT_LIMITS, os_release_bytes=20), "limit osReleaseBytes"),
    ],
)
def test_bodies_over_their_caps(limits: Limits, problem: str) -> None:
    with pytest.raises(TooLarge, match=problem):
        from_bytes(limits)


def test_a_package_database_over_its_cap_is_a_fault() -> None:
    found = from_bytes(replace(DEFAULT_LIMITS, package_database_bytes=20))
    assert found.packages is None
    assert "limit packageDatabaseBytes, which is 20" in found.package_faults[0]


def test_content_beyond_what_is_probed_is_not_seen() -> None:
    assert from_bytes(replace(DEFAULT_LIMITS, probed_bytes=20)).findings[FindingClass.SECRETS] == ()
