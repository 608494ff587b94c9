"""Names of images on disk, and inspect with them."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fakes.disk import (
    Image,
    attached_to,
    compressed,
    image,
    layout_files,
    manifest_of,
    saved_files,
    tar_of,
    write_files,
)
from fakes.registry import AMD64, config_document, image_config
from portcullis.cli.main import app
from portcullis.cli.ondisk import is_on_disk, parse_on_disk
from portcullis.errors import InvalidReference
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.model.image import Digest, HistoryEntry, ImageReference, Repository
from portcullis.reference.parse import parse_reference

DIGEST = Digest("sha256:" + "ab" * 32)


@pytest.mark.parametrize(
    ("text", "repository", "tag", "digest"),
    [
        ("oci-layout:build/web", ("oci-layout", "build/web"), None, None),
        ("oci-layout:/srv/web:1.4", ("oci-layout", "/srv/web"), "1.4", None),
        (f"oci-layout:web@{DIGEST}", ("oci-layout", "web"), None, DIGEST),
        (f"oci-layout:web:1.4@{DIGEST}", ("oci-layout", "web"), "1.4", DIGEST),
        ("oci-layout:/home/me@work/web:1", ("oci-layout", "/home/me@work/web"), "1", None),
        ("oci-layout:Über Web:1", ("oci-layout", "Über Web"), "1", None),
        ("docker-archive:web.tar", ("docker-archive", "web.tar"), None, None),
        ("docker-archive:web.tar:acme/web:1.4", ("docker-archive", "web.tar"), "acme/web:1.4", None),
        ("docker-archive:web.tar:localhost:5000/web:1", ("docker-archive", "web.tar"), "localhost:5000/web:1", None),
    ],
)
def test_a_name_is_kind_path_and_what_it_is_called_there(
    text: str, repository: tuple[str, str], tag: str | None, digest: Digest | None
) -> None:
    assert is_on_disk(text)
    assert parse_on_disk(text, DEFAULT_LIMITS) == ImageReference(Repository(*repository), tag, digest)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("oci-layout:", "names no path: write oci-layout:PATH"),
        ("docker-archive::web:1", "names no path"),
        (f"oci-layout:@{DIGEST}", "names no path"),
        ("oci-layout:web:", "has a colon at its end"),
        ("oci-layout:web@sha256:abc", "is no digest"),
        ("oci-layout:web@sha512:" + "ab" * 32, "is no digest"),
        ("oci-layout:a\0b", "no text in UTF-8"),
        ("oci-layout:a\udcffb", "no text in UTF-8"),
        ("oci-layout:" + "x" * 2000, "limits.referenceChars is 1024"),
    ],
)
def test_what_is_no_such_name(text: str, says: str) -> None:
    with pytest.raises(InvalidReference, match=says):
        parse_on_disk(text, DEFAULT_LIMITS)


@pytest.mark.parametrize("text", ["oci-layout", "oci-layout/web:1", "docker.io/oci-layout:1", "web:1", "oci-layoutx:a"])
def test_other_names_are_those_of_images_in_registries(text: str) -> None:
    assert not is_on_disk(text)


@pytest.mark.parametrize("kind", ["oci-layout", "docker-archive"])
def test_no_reference_names_such_a_registry(kind: str) -> None:
    """So no trust rule, mirror or credential that is written for a host can mean it by chance."""
    reference = parse_reference(f"{kind}/web:1", limits=Limits())
    assert reference.repository == Repository("docker.io", f"{kind}/web")


HISTORY = (
    HistoryEntry("COPY . /app # buildkit", False),
    HistoryEntry("USER 1000", True),
)


def built() -> Image:
    return manifest_of(config_document(image_config("1000", history=HISTORY), AMD64))


class TestInspect:
    @pytest.fixture(params=["layout", "archive", "gzip", "saved"])
    def place(self, request: pytest.FixtureRequest, tmp_path: Path) -> str:
        one = built()
        files = layout_files([one.listed("1.4")], (one,))
        if request.param == "layout":
            return f"oci-layout:{write_files(tmp_path / 'web', files)}"
        content = tar_of(saved_files(user="1000") if request.param == "saved" else files)
        path = tmp_path / "web.tar"
        path.write_bytes(compressed(content) if request.param == "gzip" else content)
        return f"docker-archive:{path}"

    def test_gives_the_policy_input(self, place: str) -> None:
        result = CliRunner().invoke(app, ["inspect", place, "-o", "json"])
        tree = json.loads(result.stdout)
        facts = tree["images"][place]
        kind, _, path = place.partition(":")
        assert (tree["kind"], facts["registry"], facts["repository"], facts["tag"]) == ("PolicyInput", kind, path, None)
        (platform,) = facts["platforms"]
        assert (platform["platform"], platform["user"]["uid"]) == ("linux/amd64", 1000)
        assert facts["attestations"] == []
        assert not [one for one in facts["problems"] if one["stage"] in {"reference", "registry", "evidence"}]

    def test_shows_it(self, place: str) -> None:
        text = CliRunner().invoke(app, ["inspect", place]).stdout
        for words in ("a single image", "linux/amd64", "1000", "not root", "none is attached"):
            assert words in text

    def test_gives_the_history_as_a_dockerfile(self, tmp_path: Path) -> None:
        one = built()
        write_files(tmp_path, layout_files([one.listed("1.4")], (one,)))
        result = CliRunner().invoke(app, ["inspect", f"oci-layout:{tmp_path}:1.4", "--dockerfile"])
        assert (result.exit_code, result.stdout) == (0, "COPY . /app\nUSER 1000\n")

    def test_shows_what_is_attached(self, tmp_path: Path) -> None:
        """An artifact that is no attestation is shown as refused, as one in a registry is."""
        one = built()
        top = attached_to(one, b"{}")
        write_files(tmp_path, layout_files([one.listed("1.4"), top.listed()], (one, top)))
        text = CliRunner().invoke(app, ["inspect", f"oci-layout:{tmp_path}"]).stdout
        assert "✗ rejected" in text
        assert "attestation-unsupported" in text

    def test_says_what_it_does_not_find(self, tmp_path: Path) -> None:
        one = image()
        write_files(tmp_path, layout_files([one.listed("1.4")], (one,)))
        for place in (f"oci-layout:{tmp_path}:2", f"oci-layout:{tmp_path}/none", f"docker-archive:{tmp_path}/none"):
            result = CliRunner().invoke(app, ["inspect", place, "--dockerfile"])
            assert result.exit_code == 2
            assert "image-not-found" in result.stdout
