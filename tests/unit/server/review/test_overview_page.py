"""The overview, over a real store."""

from datetime import timedelta
from pathlib import Path

import pytest

from fakes.auditlog import NOON, scene
from portcullis.server.health import Checked, Report
from portcullis.server.review.installation import Checkpoint, Installation, Root
from unit.server.review.figuring import NOBODY, SHOP, page, pages, text_of

pytestmark = pytest.mark.anyio

INSTALLED = Installation(
    certificate_until=NOON + timedelta(days=300),
    policies_since=NOON - timedelta(hours=5),
    roots=(Root("public", NOON - timedelta(days=120), True), Root("private", NOON - timedelta(days=900), False)),
    waiting=12,
    checkpoint=Checkpoint("c0ffee", 4711, NOON - timedelta(minutes=4), signed=False),
)


async def ill() -> Report:
    checked = (
        Checked("certificate", True, True, "until 2027"),
        Checked("opa", False, True, "OPA serves another policy set"),
        Checked("audit", False, False, "the store does not answer"),
    )
    return Report(False, (), checked)


async def test_the_last_day_in_numbers(tmp_path: Path) -> None:
    async with pages(tmp_path) as app:
        answered = await page(app, "/")
        assert answered.status == 200
        shown = text_of(answered)
        assert "Refused by policies" in shown
        assert "Held up by outages 2" in shown
        assert "Admitted by break-glass 1" in shown
        assert "oncall@acme.dev" in shown
        assert "1 outages (503)" in shown
        assert "1 pending (429)" in shown


@pytest.mark.parametrize(("within", "dry"), [("24h", 0), ("7d", 1), ("30d", 1)])
async def test_longer_times_have_more(tmp_path: Path, within: str, dry: int) -> None:
    async with pages(tmp_path) as app:
        shown = text_of(await page(app, f"/?within={within}"))
        assert ("1 dry run is not counted here" in shown) is bool(dry)
        assert ("Admitted by exceptions 1" in shown) is (within == "30d")


async def test_a_time_that_is_not_offered_is_said(tmp_path: Path) -> None:
    async with pages(tmp_path) as app:
        answered = await page(app, "/?within=1y")
        assert answered.status == 400
        assert "within=1y is none of 24h, 7d, 30d" in text_of(answered)


async def test_what_is_wrong_stands_at_the_top(tmp_path: Path) -> None:
    async with pages(tmp_path, health=ill, installed=lambda: INSTALLED) as app:
        shown = text_of(await page(app, "/"))
        begins = shown[: shown.index("Decisions by verdict")]
        assert "opa failed OPA serves another policy set" in begins
        assert "audit is degraded the store does not answer" in begins
        assert "12 records wait in the journal" in begins
        assert "until 2027-09-20 12:00:00" in shown
        assert "private: newest key 2 years ago outdated" in shown
        assert "public: newest key 4 months ago private" in shown
        assert "at record 4,711 of the chain c0ffee, not signed" in shown


async def test_exceptions_that_end_soon_or_ended_are_told_and_others_are_not(tmp_path: Path) -> None:
    async with pages(tmp_path) as app:
        shown = text_of(await page(app, "/"))
        assert "EX-12 ends in 6 days" in shown
        assert "EX-3 ended 2 days ago" in shown
        assert "EX-40" not in shown


async def test_a_reader_of_few_namespaces_sees_numbers_of_these_and_nothing_of_the_installation(tmp_path: Path) -> None:
    async with pages(tmp_path, health=ill, installed=lambda: INSTALLED) as app:
        answered = await page(app, "/?within=30d", reader=SHOP)
        shown = text_of(answered)
        assert "EX-3" in shown
        assert "EX-12" not in shown
        assert "registry.acme.dev/old" not in shown
        for words in ("platform", "legacy", "The gate itself", "OPA serves", "wait in the journal", "c0ffee"):
            assert words not in shown, words
        nothing = text_of(await page(app, "/?within=30d", reader=NOBODY))
        assert "Decisions 0" in nothing
        assert "No decisions in the last 30 days." in nothing
        assert "Nobody broke the glass" in nothing


async def test_an_empty_log_is_no_empty_page(tmp_path: Path) -> None:
    async with pages(tmp_path, [scene("long ago", at=timedelta(days=40), name="checkout")]) as app:
        shown = text_of(await page(app, "/"))
        assert "No decisions in the last 24 hours." in shown
        assert "No outages in the last 24 hours" in shown
        assert "Nothing was refused in the last 24 hours." in shown
