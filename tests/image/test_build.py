"""How the image comes about: what is checked on the way, and what a change costs."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from image.buildah import Buildah, Built, Layer
from image.support import BAIT, say

MIB = 1 << 20


def show(tag: str, layers: list[Layer]) -> None:
    say(f"layers of {tag}, MiB as pulled and as files:")
    for layer, what in zip(layers, ["the base", *(one.step.split()[-1] for one in layers[1:])], strict=True):
        say(f"  {layer.compressed / MIB:7.1f} {layer.size / MIB:7.1f}  {layer.diff_id[7:19]}  {what}")
    say(f"  {sum(one.compressed for one in layers) / MIB:7.1f} {sum(one.size for one in layers) / MIB:7.1f}  in all")


def test_another_opa_is_refused(buildah: Buildah, context: Path, arguments: Mapping[str, str]) -> None:
    wrong = {name: "0" * 64 if name.startswith("OPA_SHA256_") else value for name, value in arguments.items()}
    done = buildah.build(context, "refused", wrong, target="opa")
    assert not done.succeeded
    assert "opa: FAILED" in done.log
    assert "1 computed checksum did NOT match" in done.log


def test_an_architecture_without_a_pin_is_refused(
    buildah: Buildah, context: Path, arguments: Mapping[str, str]
) -> None:
    done = buildah.build(context, "refused", {**arguments, "TARGETARCH": "s390x"}, target="opa")
    assert not done.succeeded
    assert "no OPA is pinned for s390x" in done.log


def test_only_what_is_let_in_is_sent_to_the_build(
    buildah: Buildah, context: Path, arguments: Mapping[str, str], tmp_path: Path
) -> None:
    """A Dockerfile that copies all it is given."""
    other = shutil.copytree(context, tmp_path / "context")
    (other / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    assert all((other / bait).exists() for bait in BAIT)
    done = buildah.build(other, "all", {})
    assert done.succeeded, done.log
    with buildah.mounted(done.tag) as root:
        found = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    assert found.isdisjoint(BAIT)
    assert {path.split("/")[0] for path in found} == {
        *("LICENSE", "README.md", "docs", "policies", "pyproject.toml", "tests", "uv.lock", "webhook")
    }
    assert {path for path in found if path.startswith("docs/")} == {"docs/reasons.md"}
    assert {path for path in found if path.startswith("tests/")} == {"tests/tools/install.py", "tests/tools/uv.py"}


def test_the_same_source_builds_nothing(
    buildah: Buildah, built: Built, context: Path, arguments: Mapping[str, str]
) -> None:
    again = buildah.build(context, "again", arguments)
    assert again.succeeded, again.log[-4000:]
    assert buildah.layers(again.tag) == buildah.layers(built.tag)
    assert "Building wheel" in built.log
    assert "Building wheel" not in again.log


def test_a_change_of_code_rebuilds_one_small_layer(
    buildah: Buildah, built: Built, context: Path, arguments: Mapping[str, str], tmp_path: Path
) -> None:
    changed = shutil.copytree(context, tmp_path / "context")
    with (changed / "webhook" / "portcullis" / "gate.py").open("a") as source:
        source.write("\nCHANGED = True\n")
    done = buildah.build(changed, "changed", arguments)
    assert done.succeeded, done.log[-4000:]
    before, after = buildah.layers(built.tag), buildah.layers(done.tag)
    show(built.tag, before)
    show(done.tag, after)
    assert before[:-1] == after[:-1]
    assert before[-1].diff_id != after[-1].diff_id
    assert "/opt/portcullis/app" in after[-1].step
    assert after[-1].compressed < sum(layer.compressed for layer in after) / 20
    with buildah.mounted(done.tag) as root:
        assert "CHANGED" in (root / "opt/portcullis/app/portcullis/gate.py").read_text()
