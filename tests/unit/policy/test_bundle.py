"""Policy sets from folders: what is taken, what is refused, and what the revision is of."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from portcullis.errors import PolicyCompileError
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.model.ruling import PolicyBundle
from portcullis.policy.bundle import builtin_policies, load_bundle, policy_name

A = 'package portcullis.policies.image_a\ndeny contains "a"\n'
B = 'package portcullis.policies.b\ndeny contains "b"\n'
SHARED = "package portcullis.lib.shared\none := 1\n"


def write(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    folder.mkdir(exist_ok=True)
    return folder


def load(*folders: Path, limits: Limits = DEFAULT_LIMITS, **options: Any) -> PolicyBundle:
    return load_bundle(folders, **{"parameters": {}, "enabled": None, "limits": limits, **options})


def paths(bundle: PolicyBundle) -> list[str]:
    return [source.path for source in bundle.sources]


def test_what_is_taken(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "mine",
        {
            "b/policy.rego": f"# a comment\n\n{B}",
            "b/policy_test.rego": "package x",
            "b/README.md": "text",
            "a/policy.rego": A,
            "a/more.rego": A,
            "lib/shared.rego": SHARED,
            ".git/x.rego": "package x",
            "..2026_01/x.rego": "package x",
        },
    )
    bundle = load(folder)
    assert paths(bundle) == ["mine/a/more.rego", "mine/a/policy.rego", "mine/b/policy.rego", "mine/lib/shared.rego"]
    assert bundle.sources[1].text == A


def test_a_mounted_config_map(tmp_path: Path) -> None:
    write(tmp_path / "mounted", {"..2026_11_24/a.rego": A})
    (tmp_path / "mounted" / "..data").symlink_to("..2026_11_24")
    (tmp_path / "mounted" / "a.rego").symlink_to("..data/a.rego")
    assert paths(load(tmp_path / "mounted")) == ["mounted/a.rego"]


def test_the_builtin_policies() -> None:
    bundle = load(builtin_policies())
    assert {policy_name(name) for name in map(package, bundle.sources) if policy_name(name)} == {
        "image-age",
        "image-base",
        "image-build-tools",
        "image-history",
        "image-leftovers",
        "image-libc",
        "image-ownership",
        "image-package-manager",
        "image-pinned",
        "image-secrets",
        "image-setuid",
        "image-shell",
        "image-signed",
        "image-size",
        "image-source",
        "image-user",
        "lint-required",
        "pod-privileges",
        "provenance",
        "sbom-required",
        "scan-fresh",
        "scan-known-exploited",
        "scan-required",
        "scan-severity",
        "vex-trusted",
    }
    assert all(path.startswith("builtin/") for path in paths(bundle))


def package(source: Any) -> list[str]:
    (line,) = [line for line in source.text.splitlines() if line.startswith("package ")]
    return str(line).removeprefix("package ").split(".")


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"x.rego": "# c\n\npackage portcullis.policies"}, "x.rego:3: package portcullis.policies is neither"),
        ({"x.rego": "package portcullis.policies.a.b"}, "is neither"),
        ({"x.rego": "package portcullis.gate"}, "is neither"),
        ({"x.rego": "package portcullis.library"}, "is neither"),
        ({"x.rego": "package\nportcullis.policies.a"}, "must begin with"),
        ({"x.rego": 'package portcullis.policies["a"]'}, "must begin with"),
        ({"x.rego": "import rego.v1\npackage portcullis.policies.a"}, "x.rego:1: must begin with"),
        ({"x.rego": "deny if true"}, "must begin with"),
        ({"x.rego": ""}, "x.rego: holds no package"),
        ({"x.rego": b"package portcullis.policies.a\n\n\xff"}, "x.rego:3: not UTF-8"),
        ({"one/x.rego": A, "two/x.rego": A}, "two/x.rego:1: package portcullis.policies.image_a lies in mine/one"),
        ({"one/x.rego": SHARED, "two/x.rego": SHARED}, "lies in mine/one already"),
    ],
)
def test_what_is_refused(tmp_path: Path, files: dict[str, str | bytes], words: str) -> None:
    with pytest.raises(PolicyCompileError) as caught:
        load(write(tmp_path / "mine", files))
    assert words in str(caught.value)


def test_a_policy_of_one_folder_is_not_changed_by_another(tmp_path: Path) -> None:
    one, two = write(tmp_path / "one", {"x.rego": A}), write(tmp_path / "two", {"y.rego": A})
    with pytest.raises(PolicyCompileError, match=r"two/y\.rego.* lies in one already"):
        load(one, two)


def test_folders_of_one_name_are_told_apart(tmp_path: Path) -> None:
    one, two = write(tmp_path / "1" / "mine", {"x.rego": A}), write(tmp_path / "2" / "mine", {"x.rego": B})
    assert paths(load(one, two)) == ["mine/x.rego", "mine-2/x.rego"]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PolicyCompileError, match="nowhere: the folder cannot be read: No such file"):
        load(tmp_path / "nowhere")


def test_links_in_circles_and_pipes(tmp_path: Path) -> None:
    circle = write(tmp_path / "circle", {})
    (circle / "again").symlink_to(circle)
    with pytest.raises(PolicyCompileError, match="nested more than 10 deep"):
        load(circle)
    pipe = write(tmp_path / "pipe", {})
    os.mkfifo(pipe / "x.rego")
    with pytest.raises(PolicyCompileError, match="not a regular file"):
        load(pipe)


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        ({"policy_bytes": len(A) - 1}, "policyBytes"),
        ({"policy_set_bytes": len(A) + len(B) - 1}, "policySetBytes"),
        ({"policies": 1}, "the limit policies is 1"),
        ({"policy_files": 2}, "policyFiles"),
    ],
)
def test_bounds(tmp_path: Path, bounds: dict[str, int], words: str) -> None:
    folder = write(tmp_path / "mine", {"a/x.rego": A, "b/x.rego": B})
    exact = replace(DEFAULT_LIMITS, policy_bytes=len(A), policy_set_bytes=len(A) + len(B), policies=2, policy_files=3)
    assert len(load(folder, limits=exact).sources) == 2
    (folder / "c").mkdir()
    (folder / "c" / "x.rego").write_text("package portcullis.lib.c", encoding="utf-8")
    with pytest.raises(PolicyCompileError, match=words):
        load(folder, limits=replace(DEFAULT_LIMITS, **bounds))


def test_enabled(tmp_path: Path) -> None:
    folder = write(tmp_path / "mine", {"a/x.rego": A, "b/x.rego": B, "lib/x.rego": SHARED})
    parameters = {"image-a": {"x": 1}, "b": {"y": 2}}
    bundle = load(folder, enabled=["image-a"], parameters=parameters)
    assert paths(bundle) == ["mine/a/x.rego", "mine/lib/x.rego"]
    assert bundle.parameters == {"image-a": {"x": 1}}
    assert load(folder, enabled=[]) == load(folder)
    wrong: list[dict[str, Any]] = [{"enabled": ["image_a"]}, {"parameters": {"image_a": {}}}, {"enabled": ["b", "c"]}]
    for options in wrong:
        with pytest.raises(PolicyCompileError, match="there is no policy named"):
            load(folder, **options)


def test_a_policy_that_counts_only_on_request(tmp_path: Path) -> None:
    head = "# METADATA\n# title: x\n# custom:\n#   onRequest: true\n"
    folder = write(tmp_path / "mine", {"a/x.rego": A, "b/x.rego": head + B})
    assert paths(load(folder)) == ["mine/a/x.rego"]
    assert paths(load(folder, enabled=["b"])) == ["mine/b/x.rego"]
    assert paths(load(folder, enabled=["image-a", "b"])) == ["mine/a/x.rego", "mine/b/x.rego"]
    named = load(folder, parameters={"b": {"x": 1}})
    assert paths(named) == ["mine/a/x.rego", "mine/b/x.rego"]
    assert named.parameters == {"b": {"x": 1}}
    assert paths(load(folder, parameters={"b": {"x": 1}}, enabled=["image-a"])) == ["mine/a/x.rego"]
    with pytest.raises(PolicyCompileError, match="there is no policy named"):
        load(folder, enabled=["c"])


@pytest.mark.parametrize(
    "head",
    [
        "#   onRequest: true\n",
        "# METADATA\n# custom:\n#   onRequest: false\n",
        "# METADATA\n# description: onRequest: true\n",
        "# METADATA\n# custom:\n#   onRequest: true, or so\n",
    ],
)
def test_nothing_else_leaves_a_policy_out(tmp_path: Path, head: str) -> None:
    after = B + "\n\n# METADATA\n# custom:\n#   onRequest: true\n"
    assert len(load(write(tmp_path / "mine", {"a/x.rego": A, "b/x.rego": head + after})).sources) == 2


def test_the_revision(tmp_path: Path) -> None:
    files = {"a/x.rego": A, "b/x.rego": B}
    folder = write(tmp_path / "1" / "mine", files)
    same = load(folder).revision
    assert same == load(folder).revision
    assert same == load(write(tmp_path / "elsewhere" / "mine", files)).revision, "where it lies is nothing"
    assert same.startswith("sha256:")
    assert len(same) == 71
    others = [
        load(folder, parameters={"b": {"x": 1}}).revision,
        load(folder, parameters={"b": {"x": 2}}).revision,
        load(folder, parameters={"b": {"x": "1"}}).revision,
        load(folder, enabled=["b"]).revision,
        load(write(tmp_path / "2" / "mine", {**files, "b/x.rego": B + "\n"})).revision,
        load(write(tmp_path / "3" / "mine", {"a/x.rego": A, "b/y.rego": B})).revision,
        load(write(tmp_path / "4" / "mine", {**files, "lib/x.rego": SHARED})).revision,
    ]
    assert len({same, *others}) == 8
    nested = MappingProxyType({"b": MappingProxyType({"x": MappingProxyType({"z": 1})})})
    assert load(folder, parameters=nested).revision == load(folder, parameters={"b": {"x": {"z": 1}}}).revision
    for bad in (float("nan"), object(), {1, 2}):
        with pytest.raises(PolicyCompileError, match="not JSON"):
            load(folder, parameters={"b": {"x": bad}})
