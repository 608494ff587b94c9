"""The images of the demo are what registries, runtimes and scanners take for images."""

import gzip
import hashlib
import io
import json
import tarfile
from datetime import UTC, datetime

import pytest

from portcullis.cli.demo.images import AMD64, ARM64, INDEX, LAYER, Image, app_layer, base_layer, image, index
from portcullis.cli.demo.samples import SAMPLES, build

CREATED = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def make(user: str = "10001") -> Image:
    return image(
        [base_layer(), app_layer("web", "1.4")],
        platform=AMD64,
        user=user,
        created=CREATED,
        entrypoint=["/app/web"],
        labels={"org.opencontainers.image.title": "web"},
    )


def blobs_of(built: Image) -> dict[str, bytes]:
    return {blob.digest: blob.content for blob in (*built.blobs, *built.manifests)}


def test_the_same_arguments_give_the_same_bytes() -> None:
    assert make().digest == make().digest
    assert make("0").digest != make().digest


def test_every_descriptor_names_a_blob_by_its_digest_and_size() -> None:
    built = make()
    manifest = json.loads(built.root.content)
    held = blobs_of(built)
    for descriptor in (manifest["config"], *manifest["layers"]):
        content = held[descriptor["digest"]]
        assert descriptor["size"] == len(content)
        assert descriptor["digest"] == f"sha256:{hashlib.sha256(content).hexdigest()}"


def test_diff_ids_are_those_of_the_uncompressed_layers() -> None:
    built = make()
    held = blobs_of(built)
    manifest = json.loads(built.root.content)
    config = json.loads(held[manifest["config"]["digest"]])
    layers = [gzip.decompress(held[layer["digest"]]) for layer in manifest["layers"]]
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(tar).hexdigest()}" for tar in layers]
    filling = [entry for entry in config["history"] if not entry.get("empty_layer")]
    assert len(filling) == len(layers)


def test_layers_hold_files_of_no_machine() -> None:
    layer = base_layer()
    assert layer.blob.media_type == LAYER
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(layer.blob.content))) as archive:
        entries = archive.getmembers()
    assert "etc/os-release" in [entry.name for entry in entries]
    assert {(entry.mtime, entry.uname, entry.gname) for entry in entries} == {(0, "", "")}


@pytest.mark.parametrize(("user", "expected"), [("10001", "10001"), ("app", "app"), ("", None)])
def test_the_user_is_that_of_the_configuration(user: str, expected: str | None) -> None:
    built = make(user)
    config = json.loads(blobs_of(built)[built.image_ids[AMD64]])
    assert config["config"].get("User") == expected
    assert (config["architecture"], config["os"]) == ("amd64", "linux")


def test_an_index_lists_its_platforms() -> None:
    both = index([(AMD64, make()), (ARM64, make("0"))])
    document = json.loads(both.root.content)
    assert document["mediaType"] == INDEX
    assert [child["platform"]["architecture"] for child in document["manifests"]] == ["amd64", "arm64"]
    held = blobs_of(both)
    assert all(len(held[child["digest"]]) == child["size"] for child in document["manifests"])
    assert both.manifests[-1] is both.root


def test_every_sample_is_an_image_of_its_own() -> None:
    built = build(SAMPLES, CREATED)
    assert len({one.digest for one in built.values()}) == len(SAMPLES)
    assert {len(sample.users) for sample in SAMPLES} == {1, 2}
