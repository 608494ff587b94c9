"""The pages of what runs, over a real store."""

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from fakes.auditlog import HOSTILE, NOON, Scene, image, scene
from fakes.running import a_moved_tag, a_result, a_round, a_whole_round
from portcullis.audit.findings import SqlFindings
from portcullis.audit.ledger import SqlLedger
from portcullis.audit.sql import SqlRecords
from portcullis.limits import Limits
from portcullis.model.decision import Because
from portcullis.model.grant import Grant
from portcullis.model.running import Condition, Rejudged
from portcullis.server.review.app import create_review_app
from portcullis.server.review.reader import Reader
from unit.server.review.figuring import NOBODY, SHOP, page, parts_over, text_of

pytestmark = pytest.mark.anyio

LIMITS = Limits(append_seconds=30.0, store_seconds=30.0, read_seconds=20.0)
HOUR = timedelta(hours=1)
DIGEST = "sha256:" + "cd" * 32
GRANT = Grant(
    namespace="shop",
    name="urgent",
    uid="uid-1",
    policies=("image-user",),
    images=("registry.example/web:*",),
    digests=(),
    covers_problems=False,
    reason="Payments are down, INC-4711",
    created=NOON - HOUR,
    expires=NOON + 2 * HOUR,
)
OTHER = replace(GRANT, namespace="bank", name="vault", reason="Nobody else's business", expires=NOON + HOUR)

FAILING = a_result("checkout", Condition.FAILING, policies=["image-user"], images=[("registry.example/web:1", DIGEST)])
MOVED = a_result("cart", Condition.FAILING, moved=[a_moved_tag(running="bb", decision_id="decision-1")])
UNKNOWN = a_result("db", Condition.UNKNOWN, policies=["scan-required"], namespace="bank")
URGENT = a_result("urgent", Condition.BREAK_GLASS, policies=["image-user"], break_glass=GRANT.id)
LET_IN = a_result("vault", Condition.FAILING, policies=["image-shell"], break_glass=OTHER.id, namespace="bank")
EXCEPTED = a_result("old", Condition.EXCEPTED, policies=["image-user"], namespace="bank")
GOOD = a_result("good", images=[("registry.example/db:1", "sha256:ee")])
EVERYTHING = (FAILING, MOVED, UNKNOWN, URGENT, LET_IN, EXCEPTED, GOOD)


@asynccontextmanager
async def running(
    folder: Path, results: Sequence[Rejudged] | None = EVERYTHING, scenes: Sequence[Scene] = (), **fields: Any
) -> AsyncIterator[Any]:
    """The application over a round that ended ten minutes ago; without results no round has ended."""
    records = SqlRecords(url=f"sqlite:///{folder}/audit.db", limits=LIMITS)
    await records.start()
    findings = SqlFindings(records=records, limits=LIMITS)
    try:
        await records.append_many([one.record for one in scenes])
        if results is not None:
            await a_whole_round(findings, results, started_at=fields.pop("started_at", NOON - timedelta(minutes=20)))
        values = {"findings": findings, "round_every": HOUR, "limits": LIMITS, **fields}
        yield create_review_app(await parts_over(SqlLedger(records=records, limits=LIMITS), **values))
    finally:
        await records.aclose()


def names_of(answered: Any) -> list[str]:
    """Of the workloads in the order of the page."""
    return re.findall(r'<a href="/running/[^/"]+/[^/"]+/([^/"]+)">', answered.body.decode())


# -- the list ------------------------------------------------------------------------------------------------------


async def test_everything_that_runs_the_worst_first(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        answered = await page(app, "/running")
        assert answered.status == 200
        assert names_of(answered) == ["vault", "cart", "checkout", "db", "urgent", "old", "good"]
        shown = text_of(answered)
        for words in (
            "As of the round that ended 10 minutes ago",
            "Failing 3",
            "Unknown 1",
            "Break-glass 1",
            "Excepted 1",
            "Warned 0",
            "Good 1",
            "7 workloads, the worst first",
            "let in by break-glass",
            "tag moved",
            "tag-moved",
            "break-glass:shop/urgent covers image-user",
            "EX-1 excepts image-user",
        ):
            assert words in shown, words
        assert "21 pods" in shown
        assert "by 5 requests to registries" in shown


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("condition=failing", ["vault", "cart", "checkout"]),
        ("namespace=shop", ["cart", "checkout", "urgent", "good"]),
        ("policy=image-user", ["checkout", "urgent", "old"]),
        (f"image={quote(DIGEST)}", ["checkout"]),
        ("image=registry.example/db", ["good"]),
        ("only=moved", ["cart"]),
        ("only=break-glass", ["vault", "urgent"]),
        ("kind=Deployment&name=db", ["db"]),
        ("condition=good&namespace=bank", []),
    ],
)
async def test_filters(tmp_path: Path, query: str, expected: list[str]) -> None:
    async with running(tmp_path) as app:
        answered = await page(app, f"/running?{query}")
        assert answered.status == 200
        assert names_of(answered) == expected
        if not expected:
            assert "Nothing runs that is like that" in text_of(answered)


async def test_figures_keep_the_other_filters(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        answered = await page(app, "/running?condition=failing&namespace=shop")
        assert "Failing 2" in text_of(answered)
        assert "Unknown 0" in text_of(answered)
        body = answered.body.decode()
        assert 'href="/running?condition=good&amp;namespace=shop"' in body
        assert 'href="/running?namespace=shop" title="A policy in mode deny is violated' in body


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("colour=red", "there is no filter 'colour'"),
        ("condition=bad", "one of failing, unknown, break-glass, excepted, warned, good is expected"),
        ("only=both", "one of moved, break-glass is expected"),
        ("namespace=a&namespace=b", "namespace is given twice"),
        (f"name={'x' * 300}", "at most 253 characters"),
    ],
)
async def test_a_filter_that_cannot_be_used_is_said(tmp_path: Path, query: str, says: str) -> None:
    async with running(tmp_path) as app:
        answered = await page(app, f"/running?{query}")
        assert answered.status == 400
        assert says in text_of(answered)
        assert names_of(answered) == []


async def test_what_a_form_sends_becomes_an_address_without_empty_filters(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        answered = await page(app, "/running?condition=&namespace=shop&policy=")
        assert (answered.status, answered.headers["location"]) == (303, "/running?namespace=shop")


async def test_a_thousand_workloads_are_read_page_by_page(tmp_path: Path) -> None:
    many = [a_result(f"w{number:04}", Condition.FAILING, policies=["image-user"]) for number in range(1000)]
    async with running(tmp_path, many) as app:
        seen: list[str] = []
        address = "/running?condition=failing"
        for _ in range(3):
            answered = await page(app, address)
            assert len(answered.body) < 200_000
            assert "1,000 workloads, the worst first; 50 on this page" in text_of(answered)
            seen += names_of(answered)
            following = re.search(r'rel="next" href="([^"]+)"', answered.body.decode())
            assert following
            address = following[1].replace("&amp;", "&")
        assert seen == [f"w{number:04}" for number in range(150)]


async def test_a_page_that_is_none_of_ours_is_said(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        answered = await page(app, "/running?after=nonsense")
        assert answered.status == 400
        assert "Begin with the first page" in text_of(answered)


# -- rounds --------------------------------------------------------------------------------------------------------


async def test_before_the_first_round_the_page_says_so(tmp_path: Path) -> None:
    async with running(tmp_path, None) as app:
        assert "No round has ended yet" in text_of(await page(app, "/running"))
        assert "is not known yet: no round has ended" in text_of(await page(app, "/"))
    async with running(tmp_path, None, round_every=None) as app:
        shown = text_of(await page(app, "/running"))
        assert "What runs is not judged again" in shown
        assert "recheck.enabled" in shown
        assert "What runs" not in text_of(await page(app, "/"))


async def test_the_first_round_is_said_to_go_on(tmp_path: Path) -> None:
    async with running(tmp_path, None) as app:
        await app.state.parts.findings.begin(a_round(started_at=NOON - timedelta(minutes=3)))
        assert "The first round goes on It began 3 minutes ago" in text_of(await page(app, "/running"))


async def test_results_of_a_round_are_shown_while_the_next_goes_on(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        await app.state.parts.findings.begin(a_round("second", started_at=NOON - timedelta(minutes=1)))
        answered = await page(app, "/running")
        assert "the next one began 1 minute ago" in text_of(answered)
        assert len(names_of(answered)) == 7


@pytest.mark.parametrize(("hours", "every", "old"), [(2, HOUR, False), (4, HOUR, True), (1, None, True)])
async def test_old_results_are_said_to_be_old(tmp_path: Path, hours: int, every: timedelta | None, old: bool) -> None:
    async with running(tmp_path, started_at=NOON - hours * HOUR, round_every=every) as app:
        for address in ("/running", "/running/shop/Deployment/good"):
            assert ("What is shown here is old" in text_of(await page(app, address))) is old
        assert ("by a round that ended long ago" in text_of(await page(app, "/"))) is old


async def test_a_part_of_the_cluster_that_could_not_be_read_is_said(tmp_path: Path) -> None:
    async with running(tmp_path, None) as app:
        findings = app.state.parts.findings
        await findings.begin(a_round(started_at=NOON - timedelta(minutes=20)))
        ended = a_round(started_at=NOON - timedelta(minutes=20), ended=True)
        await findings.finish(replace(ended, unreachable="bank: pods: 403"))
        shown = text_of(await page(app, "/running"))
        assert "A part of the cluster could not be read bank: pods: 403." in shown
        assert "Nothing runs Exempt" in shown
        few = text_of(await page(app, "/running", reader=SHOP))
        assert "A part of the cluster could not be read" in few
        assert "bank" not in few


# -- one workload --------------------------------------------------------------------------------------------------


async def test_a_workload_with_what_counted(tmp_path: Path) -> None:
    async with running(tmp_path, scenes=[scene("let in", at=HOUR, name="checkout")]) as app:
        answered = await page(app, "/running/shop/Deployment/checkout")
        assert answered.status == 200
        shown = text_of(answered)
        for words in (
            "Deployment shop/checkout fails: it violates image-user.",
            "image-user Title of image-user refuses",
            "runs as root",
            "Pods: checkout-1, checkout-2 and 1 more",
            "1 policy found nothing",
            "Newest decisions on it",
            "All decisions on this workload",
        ):
            assert words in shown, words
        body = answered.body.decode()
        assert f"/images/{quote(DIGEST)}" in body
        assert 'href="/decisions/' in body
        assert "The answer, as it was sent" not in shown


async def test_a_tag_that_has_moved_shows_both_digests_and_the_admission(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        body = (await page(app, "/running/shop/Deployment/cart")).body.decode()
        for address in ("/images/sha256%3Aaa", "/images/sha256%3Abb", "/decisions/decision-1"):
            assert f'href="{address}"' in body, address


async def test_what_break_glass_let_in_names_the_grant_and_who_used_it(tmp_path: Path) -> None:
    used = scene(
        "used", at=HOUR, name="urgent-6d9", kind="Pod", username="oncall@acme.dev", because=Because.BREAK_GLASS
    )
    violation = replace(FAILING.decision.violations[0], exception=GRANT.id)
    decision = replace(used.record.decision, violations=(violation,))
    used = Scene(used.title, replace(used.record, decision=decision))
    async with running(tmp_path, scenes=[used], grants=lambda: [GRANT]) as app:
        shown = text_of(await page(app, "/running/shop/Deployment/urgent"))
        for words in (
            "Stands by a grant for an emergency",
            "break-glass:shop/urgent, ends 2026-11-24 14:00:00",
            "reported until the workload is gone",
            "Payments are down, INC-4711",
            "Decisions by that grant",
            "oncall@acme.dev",
            "Covered by the grant break-glass:shop/urgent",
        ):
            assert words in shown, words
        assert "Let in by a grant for an emergency" in text_of(await page(app, "/running/bank/Deployment/vault"))


async def test_versions_of_a_workload_stand_on_one_page(tmp_path: Path) -> None:
    new = replace(FAILING, key="new", condition=Condition.GOOD, decision=GOOD.decision, count=1, pods=("checkout-new",))
    async with running(tmp_path, [FAILING, new]) as app:
        answered = await page(app, "/running/shop/Deployment/checkout")
        shown = text_of(answered)
        assert "4 pods of 2 versions" in shown
        assert "1 pod of 4" in shown
        assert "checkout-new" in shown
        ids = re.findall(r' id="([^"]+)"', answered.body.decode())
        assert len(ids) == len(set(ids))


async def test_what_was_not_kept_is_counted(tmp_path: Path) -> None:
    async with running(tmp_path, [replace(FAILING, omitted=12)]) as app:
        shown = text_of(await page(app, "/running/shop/Deployment/checkout"))
        assert "12 more findings of this group were not kept (limits.findingBytes)" in shown


@pytest.mark.parametrize("address", ["/running/shop/Deployment/nobody", "/running/-/Deployment/checkout"])
async def test_a_workload_that_does_not_run_is_said(tmp_path: Path, address: str) -> None:
    async with running(tmp_path) as app:
        answered = await page(app, address)
        assert answered.status == 404
        assert "No such workload runs" in text_of(answered)


async def test_hostile_text_stays_text(tmp_path: Path) -> None:
    bad = a_result(
        HOSTILE,
        Condition.FAILING,
        namespace=HOSTILE,
        kind=HOSTILE,
        policies=[HOSTILE],
        images=[(HOSTILE, HOSTILE)],
        break_glass=HOSTILE,
        moved=[replace(a_moved_tag(decision_id=HOSTILE), container=HOSTILE, written=HOSTILE)],
    )
    async with running(tmp_path, [replace(bad, pods=(HOSTILE,), passed=(HOSTILE,))]) as app:
        everything = await page(app, "/running")
        assert everything.status == 200
        (address,) = set(re.findall(r'href="(/running/[^"]+/[^"]+/[^"]+)"', everything.body.decode()))
        for answered in (everything, await page(app, "/"), await page(app, address)):
            assert b"<script>alert" not in answered.body
            assert b"<img" not in answered.body


# -- the overview and images ---------------------------------------------------------------------------------------


async def test_break_glass_stands_first_and_then_what_fails(tmp_path: Path) -> None:
    made = scene("made", at=HOUR, name="urgent", kind="BreakGlass", username="oncall@acme.dev")
    async with running(tmp_path, scenes=[made], grants=lambda: [GRANT, OTHER]) as app:
        shown = text_of(await page(app, "/"))
        in_order = [
            "2 grants in force",
            "bank/vault ends in 1 hour made 1 hour ago",
            "shop/urgent ends in 2 hours by oncall@acme.dev",
            "Payments are down, INC-4711",
            "What break-glass let in still runs",
            "Deployment bank/vault failing let in by break-glass",
            "Deployment shop/urgent break-glass",
            "3 failing",
            "1 unknown",
            "of 7 workloads that run",
            "Decisions by verdict",
        ]
        places = [shown.find(words) for words in in_order]
        assert -1 not in places, in_order[places.index(-1)]
        assert places == sorted(places)


async def test_without_break_glass_nothing_of_it_stands_first(tmp_path: Path) -> None:
    async with running(tmp_path, [GOOD]) as app:
        shown = text_of(await page(app, "/"))
        assert "in force" not in shown
        assert "Nothing that runs fails" in shown
        assert "of 1 workload that runs" in shown


async def test_an_image_says_where_it_runs(tmp_path: Path) -> None:
    asked = scene("asked", at=HOUR, name="checkout", images=[image("registry.example/web:1")])
    (judged,) = asked.record.decision.images
    runs = replace(FAILING, decision=replace(FAILING.decision, images=(judged,)))
    for results, wanted in (([runs, GOOD], ["checkout"]), ([GOOD], [])):
        folder = tmp_path / str(len(results))
        folder.mkdir()
        async with running(folder, results, scenes=[asked]) as app:
            answered = await page(app, f"/images/{judged.digest}")
            assert names_of(answered) == wanted
            assert "Where it runs" in text_of(answered)
            assert ("Nothing runs it, by the round" in text_of(answered)) is (not wanted)


async def test_an_image_that_runs_and_was_never_judged_leads_to_what_runs(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        answered = await page(app, f"/images/{DIGEST}")
        assert (answered.status, answered.headers["location"]) == (303, f"/running?image={quote(DIGEST, safe='')}")


# -- who may see what ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reader", [SHOP, NOBODY], ids=["of one namespace", "of none"])
async def test_nothing_is_told_of_other_namespaces(tmp_path: Path, reader: Reader) -> None:
    mine = reader is SHOP
    async with running(tmp_path, grants=lambda: [GRANT, OTHER]) as app:
        answered = await page(app, "/running", reader=reader)
        assert names_of(answered) == (["cart", "checkout", "urgent", "good"] if mine else [])
        shown = text_of(answered)
        assert f"Failing {2 if mine else 0}" in shown
        assert "requests to registries" not in shown
        overview = text_of(await page(app, "/", reader=reader))
        assert ("1 grant in force" in overview) is mine
        assert ("of 4 workloads that run" in overview) is mine
        assert "image-user for registry.example/web:*" in overview or not mine
        for text in (shown, overview):
            for words in ("vault", "bank", "scan-required", "business", "gate-0"):
                assert words not in text, words
        addresses = (
            "/running/bank/Deployment/db",
            "/running?namespace=bank",
            "/running?name=db",
            "/running?policy=image-shell",
        )
        for address in addresses:
            found = await page(app, address, reader=reader)
            assert names_of(found) == []
            assert found.status == (404 if address.startswith("/running/") else 200)
        assert (await page(app, "/running/shop/Deployment/good", reader=reader)).status == (200 if mine else 404)
