"""Sources, libraries, tests and README of policies, from the log and from the files that come with Portcullis."""

from dataclasses import replace
from pathlib import Path

import pytest

from fakes.records import InMemoryBundles
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.ruling import (
    CompiledBundle,
    Constraint,
    Mode,
    Origin,
    PolicyBundle,
    PolicyInfo,
    PolicySource,
)
from portcullis.policy.bundle import builtin_policies, load_bundle
from portcullis.server.compose import bundle_document
from portcullis.server.review.policyfiles import Shelf, Shelves
from portcullis.standing import Standing

pytestmark = pytest.mark.anyio

REVISION = "sha256:set"


def info(name: str) -> PolicyInfo:
    return PolicyInfo(name, f"Title of {name}", "d", "high", Mode.DENY, "", frozenset(), (Mode.DENY,))


def standing(*names: str, revision: str = REVISION) -> Standing:
    return Standing(CompiledBundle(revision, tuple(info(name) for name in names)))


async def shelf(bundle: PolicyBundle | bytes | None, *names: str, builtin: Path | None = None) -> Shelf:
    bundles = InMemoryBundles()
    if bundle is not None:
        await bundles.put(REVISION, "policies", bundle if isinstance(bundle, bytes) else bundle_document(bundle))
    shelves = Shelves(bundles, DEFAULT_LIMITS, (lambda: builtin) if builtin is not None else builtin_policies)
    return await shelves.of(standing(*names))


def bundle(*sources: PolicySource, constraints: tuple[Constraint, ...] = ()) -> PolicyBundle:
    return PolicyBundle(sources, {"k8sallowedrepos.ours": {"repos": ["a/"]}}, REVISION, constraints)


async def test_a_built_in_policy_has_all_its_parts() -> None:
    built_in = load_bundle([builtin_policies()], parameters={}, enabled=["image-user"], limits=DEFAULT_LIMITS)
    found = await shelf(replace(built_in, revision=REVISION), "image-user")
    parts = found.parts["image-user"]
    assert found.problem == ""
    assert [one.path for one in parts.sources] == ["builtin/image-user/policy.rego"]
    assert [one.path for one in parts.tests] == ["builtin/image-user/policy_test.rego"]
    assert "test_root_is_refused" in parts.tests[0].text
    assert "builtin/lib/containers.rego" in [one.path for one in parts.libraries]
    assert all(one.path.startswith("builtin/lib/") for one in parts.libraries)
    assert [section.title for section in parts.page.readme.sections][:2] == ["Bad", "Good"]
    assert "baseline" in [name for name, _ in parts.page.profiles]


async def test_a_policy_of_ones_own_has_its_source_and_what_it_uses() -> None:
    found = await shelf(
        bundle(
            PolicySource("ours/a.rego", "package portcullis.policies.image_user\nx := data.ours.lib.f(1)"),
            PolicySource("ours/lib.rego", "# words\npackage ours.lib\nimport data.ours.more"),
            PolicySource("ours/more.rego", "package ours.more\nf := data.portcullis.policies.other"),
            PolicySource("ours/unused.rego", "package ours.unused"),
            PolicySource("ours/other.rego", "package portcullis.policies.other"),
        ),
        "image-user",
    )
    parts = found.parts["image-user"]
    assert [one.path for one in parts.sources] == ["ours/a.rego"]
    assert [one.path for one in parts.libraries] == ["ours/lib.rego", "ours/more.rego"]
    # The README of the built-in policy of that name is not about this one.
    assert parts.tests == ()
    assert parts.page.readme.sections == ()


async def test_a_constraint_has_its_template_and_itself() -> None:
    constraint = Constraint(
        "k8sallowedrepos.ours", "K8sAllowedRepos", "K8sAllowedRepos", "c.yaml", 1, {"kinds": []}, Mode.DENY
    )
    found = await shelf(
        bundle(
            PolicySource("t.yaml", "package k8sallowedrepos\nviolation[x] { x }", Origin.GATEKEEPER, "K8sAllowedRepos"),
            PolicySource("u.yaml", "package other", Origin.GATEKEEPER, "Other"),
            constraints=(constraint,),
        ),
        "k8sallowedrepos.ours",
    )
    parts = found.parts["k8sallowedrepos.ours"]
    assert [one.path for one in parts.sources] == ["t.yaml"]
    assert '"repos": [' in parts.constraint
    assert '"enforcementAction": "deny"' in parts.constraint


@pytest.mark.parametrize(
    ("stored", "problem"),
    [
        (None, "not got this set"),
        (b"{", "no policy set"),
        (b"[" * 100_000, "no policy set"),
    ],
)
async def test_without_the_set_the_page_says_so(stored: bytes | None, problem: str) -> None:
    found = await shelf(stored, "image-user")
    assert problem in found.problem
    assert found.parts["image-user"].sources == ()
    assert found.parts["image-user"].page.title == "Title of image-user"


async def test_without_the_files_of_built_in_policies_the_rest_is_there(tmp_path: Path) -> None:
    source = PolicySource("builtin/image-user/policy.rego", "package portcullis.policies.image_user")
    found = await shelf(bundle(source), "image-user", builtin=tmp_path / "gone")
    assert [one.path for one in found.parts["image-user"].sources] == ["builtin/image-user/policy.rego"]


async def test_a_name_that_no_file_can_have_is_no_error() -> None:
    found = await shelf(bundle(), "../../etc/passwd")
    assert found.parts["../../etc/passwd"].page.title == "Title of ../../etc/passwd"


async def test_a_set_is_read_once_and_one_that_was_missing_again() -> None:
    bundles = InMemoryBundles()
    shelves = Shelves(bundles, DEFAULT_LIMITS)
    missing = await shelves.of(standing("image-user"))
    await bundles.put(REVISION, "policies", bundle_document(bundle()))
    found = await shelves.of(standing("image-user"))
    assert missing.problem
    assert not found.problem
    assert await shelves.of(standing("image-user")) is found
    assert await shelves.of(standing("image-user", revision="sha256:next")) is not found
