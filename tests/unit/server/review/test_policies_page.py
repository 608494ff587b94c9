"""The pages of policies, over a real store."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from fakes.auditlog import ABSENT, EXCEPTION, HOSTILE, OUTAGE, Scene, days, scene, undecided, violation
from fakes.review import post
from portcullis.model.decision import Violation
from portcullis.model.ruling import CompiledBundle, Mode
from portcullis.server.review.policies import _address_of
from portcullis.standing import Standing
from unit.server.review.figuring import NOBODY, SHOP, changed, info, page, pages, text_of

pytestmark = pytest.mark.anyio


async def test_policies_in_force_and_those_that_only_the_log_has(tmp_path: Path) -> None:
    async with pages(tmp_path) as app:
        answered = await page(app, "/policies")
        assert answered.status == 200
        shown = text_of(answered)
        assert "4 policies in force" in shown
        assert "image-user Title of image-user" in shown
        assert shown.index("Only in the log") < shown.index("scan-required")
        # The page of each, the hostile one as well.
        for link in re.findall(r'href="(/policies/[^"]+)"', answered.body.decode()):
            assert (await page(app, link)).status == 200, link


async def test_a_policy_with_all_its_parts(tmp_path: Path) -> None:
    async with pages(tmp_path) as app:
        answered = await page(app, "/policies/image-shell")
        assert answered.status == 200
        shown = text_of(answered)
        for words in (
            "Title of image-shell",
            "the image's digest, contents of layers",
            "in the namespace legacy",
            "policies.namespaces.legacy.image-shell",
            "EX-12 ends in 6 days",
            "EX-40 until",
            "package portcullis.policies.image_shell",
            "builtin/image-shell/policy_test.rego",
            "builtin/lib/containers.rego",
            "Parameters",
            "1 excepted",
        ):
            assert words in shown, words
        assert 'href="/policies/image-build-tools"' not in answered.body.decode()


async def test_violations_lead_to_namespaces_and_images(tmp_path: Path) -> None:
    async with pages(tmp_path) as app:
        shown = text_of(await page(app, "/policies/image-user"))
        assert "Top namespaces" in shown
        assert "registry.acme.dev/many/part-25:1" in shown
        few = text_of(await page(app, "/policies/image-user", reader=SHOP))
        assert "shop 2 platform 1" in shown
        assert "shop 2 platform" not in few
        assert "shop 2" in few
        assert "So it is in your namespaces: Namespace Mode shop deny" in few


async def test_a_reader_of_few_namespaces_is_told_of_no_others(tmp_path: Path) -> None:
    async with pages(tmp_path) as app:
        shown = text_of(await page(app, "/policies/image-shell", reader=SHOP))
        assert "in the namespace legacy" not in shown
        assert "EX-12" not in shown
        assert "EX-3 ended" in shown
        nothing = text_of(await page(app, "/policies/image-shell", reader=NOBODY))
        assert "It found nothing in the last 30 days." in nothing


async def test_a_policy_that_is_gone_has_its_record(tmp_path: Path) -> None:
    async with pages(tmp_path) as app:
        answered = await page(app, "/policies/scan-required")
        assert answered.status == 200
        assert "This policy is no longer in force" in text_of(answered)
        assert "What if this were deny" not in text_of(answered)


@pytest.mark.parametrize("name", ["never-heard-of", "..%2F..%2Fetc", "%00", "a" * 2000, quote("{{ 7*7 }}")])
async def test_a_policy_that_nobody_knows_is_not_there(tmp_path: Path, name: str) -> None:
    async with pages(tmp_path) as app:
        answered = await page(app, f"/policies/{name}")
        assert answered.status == 404
        assert "There is no such policy here" in text_of(answered)
        assert (await post(app, f"/policies/{name}/what-if")).status == 404


async def test_what_an_attacker_wrote_is_text(tmp_path: Path) -> None:
    async with pages(tmp_path) as app:
        for address in ("/policies", f"/policies/{quote(HOSTILE)}", "/policies/image-user"):
            answered = await page(app, address)
            assert answered.status == 200
            assert b"<script>alert" not in answered.body
            assert "\u202e" not in answered.body.decode()


async def test_a_constraint_that_is_not_supported_says_so(tmp_path: Path) -> None:
    odd = info("k8s.odd", unsupported="it is written in CEL", description="", category="", needs=frozenset())
    standing = Standing(CompiledBundle("sha256:other", (odd,)))
    async with pages(tmp_path, current=lambda: standing) as app:
        shown = text_of(await page(app, "/policies/k8s.odd"))
        assert "Not supported it is written in CEL" in shown
        assert "nothing: it reads the request alone" in shown
        assert "The source is not there" in shown
        assert "Its METADATA has no description." in shown


@pytest.mark.parametrize(
    ("address", "here"),
    [
        ("../image-shell/README.md", "/policies/image-shell"),
        ("../image-shell/README.md#parameters", "/policies/image-shell"),
        ("../README.md#what-lies-in-layers", None),
        ("../../docs/catalogue.md", None),
        ("#parameters", None),
        ("https://kubernetes.io/docs/", "https://kubernetes.io/docs/"),
    ],
)
def test_links_of_a_readme_lead_to_pages_or_nowhere(address: str, here: str | None) -> None:
    assert _address_of(address) == here


# -- what if it were deny ---------------------------------------------------------------------------------------------


def pinned(*violations: Violation, name: str = "checkout", minutes: int = 10, **more: Any) -> Scene:
    image = days()[-1].record.decision.images
    made = scene(f"{name} {minutes}", at=timedelta(minutes=minutes), name=name, violations=violations, **more)
    return changed(made, images=image)


WARNED = violation("image-pinned", Mode.WARN)
AUDITED = violation("image-pinned", Mode.AUDIT)
COVERED = violation("image-pinned", Mode.WARN, **EXCEPTION)


@pytest.mark.parametrize(
    ("scenes", "answer"),
    [
        pytest.param([pinned()], "Nothing more would have been refused.", id="nothing was found"),
        pytest.param([pinned(WARNED)], "1 more decision would have been refused.", id="warned"),
        pytest.param(
            [pinned(WARNED), pinned(AUDITED, name="cart"), pinned(AUDITED, minutes=20)],
            "3 more decisions would have been refused.",
            id="warned and audited",
        ),
        pytest.param([pinned(COVERED)], "Nothing more would have been refused.", id="an exception covers it"),
        pytest.param(
            [pinned(COVERED, WARNED)], "1 more decision would have been refused.", id="an exception covers half of it"
        ),
        pytest.param([pinned(WARNED, dry_run=True)], "Nothing more would have been refused.", id="a dry run"),
        pytest.param(
            [pinned(WARNED, violation("image-user", Mode.DENY))],
            "Nothing more would have been refused.",
            id="another policy refuses already",
        ),
        pytest.param(
            [pinned(undecided=undecided(OUTAGE, "image-pinned", mode=Mode.WARN))],
            "0 more decisions would have been refused, and 1 held up because facts were missing.",
            id="an outage",
        ),
        pytest.param(
            [pinned(undecided=undecided(ABSENT, "image-pinned", mode=Mode.AUDIT))],
            "1 more decision would have been refused.",
            id="an image that is not there",
        ),
    ],
)
async def test_what_if_it_were_deny(tmp_path: Path, scenes: list[Scene], answer: str) -> None:
    async with pages(tmp_path, scenes) as app:
        answered = await post(app, "/policies/image-pinned/what-if")
        assert answered.status == 200
        shown = text_of(answered)
        assert answer in shown


async def test_the_answer_names_workloads_and_says_how_it_was_found(tmp_path: Path) -> None:
    scenes = [pinned(WARNED), pinned(WARNED, minutes=20), pinned(AUDITED, name="cart", namespace="tools")]
    async with pages(tmp_path, scenes) as app:
        shown = text_of(await post(app, "/policies/image-pinned/what-if"))
        assert "Deployment checkout shop 2 0" in shown
        assert "Deployment cart tools 1 0" in shown
        assert "Of 3 admitted decisions" in shown
        assert "Found from the record alone" in shown
        assert "3 decisions were judged by another set of policies" in shown


@pytest.mark.parametrize("name", ["image-pinned", "//evil.example", HOSTILE])
async def test_the_address_of_an_answer_leads_back_to_the_policy(tmp_path: Path, name: str) -> None:
    async with pages(tmp_path, [pinned()]) as app:
        answered = await page(app, f"/policies/{quote(name)}/what-if")
        assert answered.status == 303
        assert answered.headers["location"] == f"/policies/{quote(name)}#what-if"


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ((Mode.DENY, Mode.WARN), "At most 1 more decision would have been refused"),
        ((Mode.WARN,), "Nothing would change. The policy has no rule deny"),
    ],
)
async def test_rules_that_stay_what_they_are(tmp_path: Path, rules: tuple[Mode, ...], words: str) -> None:
    standing = Standing(CompiledBundle("sha256:other", (info("image-pinned", rules=rules),)))
    async with pages(tmp_path, [pinned(WARNED)], current=lambda: standing) as app:
        assert words in text_of(await post(app, "/policies/image-pinned/what-if"))
