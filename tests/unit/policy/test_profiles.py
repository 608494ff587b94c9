"""Profiles: lists of built-in policies, chosen by one line."""

from pathlib import Path

import pytest

from portcullis.errors import ConfigError
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.ruling import Mode
from portcullis.policy.bundle import builtin_policies, load_bundle
from portcullis.policy.profiles import load_profile, profile_names
from portcullis.server.settings import Settings

PROFILE = """
title: Small
description: Two policies.
policies: {image-user: deny, image-age: warn}
parameters: {image-age: {maxDays: 30, more: 1}}
"""


@pytest.fixture
def library(tmp_path: Path) -> Path:
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "small.yaml").write_text(PROFILE)
    return tmp_path


def test_what_a_profile_says(library: Path) -> None:
    profile = load_profile(library, "small")
    assert profile_names(library) == ("small",)
    assert (profile.title, profile.modes) == ("Small", {"image-user": Mode.DENY, "image-age": Mode.WARN})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("title: a", "description"),
        (PROFILE.replace("deny", "block"), "block"),
        (PROFILE + "more: 1", "more"),
        ("[", "cannot be read"),
        ("[]", "cannot be read"),
    ],
)
def test_a_file_that_is_no_profile(library: Path, text: str, words: str) -> None:
    (library / "profiles" / "small.yaml").write_text(text)
    with pytest.raises(ConfigError, match=words):
        load_profile(library, "small")


def test_a_profile_that_is_not_there(library: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no profile '\.\./small'; there are small"):
        load_profile(library, "../small")


@pytest.mark.parametrize(
    ("own", "modes", "age"),
    [
        ({}, {"image-user": Mode.DENY, "image-age": Mode.WARN}, 30),
        ({"modes": {"image-age": "audit"}}, {"image-user": Mode.DENY, "image-age": Mode.AUDIT}, 30),
        ({"modes": {"*": "audit"}}, {"*": Mode.AUDIT}, 30),
        ({"parameters": {"image-age": {"maxDays": 7}}}, {"image-user": Mode.DENY, "image-age": Mode.WARN}, 7),
    ],
)
def test_what_the_operator_says_goes_before(
    library: Path, own: dict[str, object], modes: dict[str, Mode], age: int
) -> None:
    settings = Settings.from_tree({"policies": own}).with_profile(load_profile(library, "small"))
    assert settings.policies.modes == modes
    assert settings.policies.parameters == {"image-age": {"maxDays": age, "more": 1}}


def names(folders: list[Path], profile: list[str], enabled: list[str]) -> set[str]:
    bundle = load_bundle(folders, parameters={}, enabled=enabled, profile=profile, limits=DEFAULT_LIMITS)
    paths = {source.path.split("/")[1] for source in bundle.sources}
    return paths - {"lib"}


def test_which_policies_count(tmp_path: Path) -> None:
    """Those of the profile, of the operator's folders, and those that are enabled beside them."""
    mine = tmp_path / "mine" / "own"
    mine.mkdir(parents=True)
    (mine / "policy.rego").write_text('package portcullis.policies.own\n\ndeny contains "x"\n')
    folders = [builtin_policies(), tmp_path / "mine"]
    assert names(folders, ["image-user"], []) == {"image-user", "own"}
    assert names(folders, ["image-user", "sbom-packages"], ["image-age"]) == {
        *("image-user", "sbom-packages", "image-age", "own")
    }
