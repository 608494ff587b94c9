"""The list of decisions over a real log: what it shows, what it says where there is nothing, its news, its export."""

import csv
import io
import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from html import unescape
from typing import Any

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from fakes.auditlog import HOSTILE, SCENES
from fakes.records import a_record
from fakes.review import Pages, get, review_parts, text_of
from portcullis.audit.exporting import EXPORT_COLUMNS
from portcullis.errors import RecordsError
from portcullis.model.record import Extent, RecordFilter, RecordPage, Visible
from portcullis.server.review.app import create_review_app
from portcullis.server.review.reader import Reader

pytestmark = pytest.mark.anyio


async def test_nothing_yet(empty: Pages) -> None:
    page = await empty.page("/decisions")
    assert "Nothing has been decided yet" in page
    assert "<table" not in page


async def test_newest_first_by_day_with_verdict_and_why(pages: Pages) -> None:
    page = await pages.page("/decisions")
    assert page.index(SCENES["clean"].decision.id) < page.index(SCENES["an outage"].decision.id)
    assert "Today, <time" in page
    assert "Yesterday, <time" in page
    shown = text_of(page)
    assert "scan-severity trivy found too many vulnerabilities" in shown
    assert "EX-12 excepts image-shell" in shown
    assert "20 decisions, newest first: all there are" in shown
    for kind in ("admitted", "refused", "outage", "pending", "exception", "break-glass", "dry", "unverified"):
        assert f'<span class="badge {kind}">' in page, kind
        assert f'<use href="#i-{kind}"/>' in page, kind


FOUND = {
    "namespace=data": ["train"],
    "kind=DaemonSet": ["agent"],
    "name=orders&namespace=shop": ["orders"],
    "user=oncall%40acme.dev": ["payments"],
    "image=registry.acme.dev%2Fshop%2Fgateway": ["gateway"],
    f"digest={SCENES['refused for vulnerabilities'].decision.images[0].digest}": ["orders"],
    "policy=scan-severity&mode=deny": ["orders", "search", "cart"],
    "verdict=undecided": ["train", "search"],
    "reason=image-not-found": ["cart"],
    "exception=EX-12": ["invoices"],
    "because=break-glass": ["payments"],
    "because=unchanged": ["checkout"],
    "caller=unverified": ["probe"],
    "dryrun=only": ["checkout"],
    "text=openssl+TROVATO": [],
    "text=openssl+critical": ["orders"],
    "within=15m&name=train": [],
    "within=1h&name=train": ["train"],
    "since=2026-11-24T10:00&until=2026-11-24T11:00": ["payments", "cart"],
    "since=2026-11-23T00:00&until=2026-11-23T12:00:01&verdict=refused": ["checkout"],
}


@pytest.mark.parametrize(("filters", "names"), FOUND.items())
async def test_filters(pages: Pages, filters: str, names: list[str]) -> None:
    assert sorted(await pages.names(f"/decisions?{filters}")) == sorted(names)


async def test_filters_that_are_set_are_shown_and_can_be_removed(pages: Pages) -> None:
    page = await pages.page("/decisions?verdict=refused&user=jane%40acme.dev")
    assert '<a class="chip" href="/decisions?verdict=refused"><span class="hidden">Remove </span><b>User</b>' in page
    assert '<option value="refused" selected>' in page
    assert 'value="jane@acme.dev"' in page
    assert re.search(r'<details class="disclosure" open>\s*<summary>More filters', page)


async def test_an_empty_answer_says_what_was_looked_for(pages: Pages) -> None:
    shown = text_of(await pages.page("/decisions?namespace=shop&policy=no-such"))
    assert "Looked for: namespace shop, policy no-such, among 20 decisions since 2026-10-15 12:00:00" in shown


async def test_forms_lead_to_an_address_without_empty_filters(pages: Pages) -> None:
    answered = await pages.get("/decisions?text=&namespace=shop&policy=&within=")
    assert (answered.status, answered.headers["location"]) == (303, "/decisions?namespace=shop")


async def test_what_cannot_be_looked_for_is_said_at_its_field(pages: Pages) -> None:
    answered = await pages.get("/decisions?verdict=maybe&since=%3Cb%3E")
    page = answered.body.decode()
    assert answered.status == 400
    assert 'aria-invalid="true" aria-describedby="e-verdict"' in page
    assert '<a href="#f-since">From (UTC)</a>: <bdi>a time such as' in page
    assert "<b>" not in page.split("<main")[1]
    assert "<table" not in page


@pytest.mark.parametrize("address", ["/decisions?before=0", "/decisions?x=1", "/decisions?before=1&before=2"])
async def test_a_cursor_of_others_is_refused(pages: Pages, address: str) -> None:
    assert (await pages.get(address)).status == 400


async def test_pages_lead_on_and_back(empty: Pages) -> None:
    pages = empty
    await pages.store.append_many([a_record(name=f"n{number}") for number in range(120)])
    first = await pages.page("/decisions")
    (older,) = re.findall(r'rel="next" href="([^"]+)"', first)
    second = await pages.page(unescape(older))
    assert "page 2" in second
    await pages.store.append_many([a_record(name="later")])
    (oldest,) = re.findall(r'rel="next" href="([^"]+)"', second)
    third = await pages.page(unescape(oldest))
    seen = [await pages.names(address) for address in ("/decisions", unescape(older), unescape(oldest))]
    assert [len(names) for names in seen] == [50, 50, 20]
    assert seen[2][-1] == "n0"
    assert 'rel="next"' not in third
    (newer,) = re.findall(r'rel="prev" href="([^"]+)"', third)
    assert await pages.names(unescape(newer)) == seen[1]
    (exported,) = re.findall(r'href="([^"]+csv[^"]*)"', third)
    lines = (await pages.get(unescape(exported))).body.decode().splitlines()
    assert len(lines) == 121, "what came after the first page is not part of what is shown"


async def test_an_old_cursor_behind_the_end(pages: Pages) -> None:
    assert "There are no older decisions" in await pages.page("/decisions?before=1")


async def test_news_are_told_once(pages: Pages) -> None:
    page = await pages.page("/decisions?namespace=shop")
    (address,) = re.findall(r'class="beat" hx-get="([^"]+)"', page)
    assert (await pages.get(unescape(address), part=True)).status == 204
    await pages.store.append_many([a_record(name="new"), a_record(name="elsewhere", namespace="other")])
    told = await pages.get(unescape(address), part=True)
    assert told.status == 200
    assert "1 newer decision – show" in text_of(told.body.decode())
    (again,) = re.findall(r'hx-get="([^"]+)"', told.body.decode())
    assert (await pages.get(unescape(again), part=True)).status == 204


async def test_only_the_newest_page_is_live(pages: Pages) -> None:
    assert 'class="beat"' not in await pages.page("/decisions?before=9")
    assert 'class="beat"' not in await pages.page("/decisions?namespace=no-such")


async def test_hostile_text_is_shown_and_does_nothing(pages: Pages) -> None:
    for address in ("/decisions", f"/decisions?name={'%3Cscript%3E' * 5}&text=%22%27%3E%3Cimg"):
        page = await pages.page(address)
        assert "<script>alert" not in page
        assert "\u202e" not in page
        assert "\0" not in page
        assert "<img" not in page
        assert "49" not in re.findall(r"gnp\.exe(.{0,12})", page)
    assert HOSTILE.startswith("<script>")


async def test_a_reader_of_one_namespace_sees_nothing_of_others(pages: Pages) -> None:
    pages.reader = Reader("omar", "token", frozenset({"data"}))
    assert await pages.names("/decisions") == ["train"]
    assert await pages.names("/decisions?namespace=shop") == []
    assert "among 1 decision since" in text_of(await pages.page("/decisions?namespace=shop"))
    rows = (await pages.get("/decisions/export.jsonl")).body.splitlines()
    assert [json.loads(row)["request"]["namespace"] for row in rows] == ["data"]
    assert (await pages.get("/decisions/news?after=1&namespace=shop", part=True)).status == 204


async def test_a_damaged_record_is_named_and_the_others_are_shown(pages: Pages) -> None:
    broken = SCENES["clean"].decision.id

    def damage(connection: Any) -> None:
        connection.execute(text("UPDATE decisions SET body = 'junk' WHERE sequence = 15"))

    await pages.store.change(damage)
    page = await pages.page("/decisions")
    assert "1 record of this page is damaged" in page
    assert "19 decisions" in page
    answered = await pages.get(f"/decisions/{broken}")
    assert answered.status == 503
    assert "portcullis audit verify" in text_of(answered.body.decode())
    rows = [json.loads(row) for row in (await pages.get("/decisions/export.jsonl")).body.splitlines()]
    assert [row["sequence"] for row in rows] == list(range(20, 0, -1))
    assert [row["sequence"] for row in rows if "damaged" in row] == [15]
    table = (await pages.get("/decisions/export.csv")).body.decode()
    assert table.count("damaged: the record is no record any more") == 1


# -- the export ------------------------------------------------------------------------------------------------------


async def test_a_table_of_exactly_what_is_shown(pages: Pages) -> None:
    page = await pages.page("/decisions?verdict=refused&within=24h")
    (address,) = re.findall(r'href="([^"]+\.csv[^"]*)" download', page)
    answered = await pages.get(unescape(address))
    rows = list(csv.DictReader(io.StringIO(answered.body.decode())))
    assert answered.headers["content-type"].startswith("text/csv")
    assert answered.headers["content-disposition"] == (
        'attachment; filename="portcullis-decisions-20261124T120100Z.csv"'
    )
    assert [row["decision_id"] for row in rows] == re.findall(r'href="/decisions/([0-9a-f-]{36})"', page)
    assert list(rows[0]) == list(EXPORT_COLUMNS)


async def test_json_lines_are_of_the_same_filters(pages: Pages) -> None:
    answered = await pages.get("/decisions/export.jsonl?because=break-glass")
    (line,) = answered.body.splitlines()
    assert json.loads(line)["decision_id"] == SCENES["break-glass"].decision.id


@pytest.mark.parametrize("address", ["/decisions/export.csv?verdict=maybe", "/decisions/export.jsonl?x=1"])
async def test_nothing_is_exported_by_a_filter_that_is_none(pages: Pages, address: str) -> None:
    answered = await pages.get(address)
    assert answered.status == 400
    assert "That cannot be looked for" in answered.body.decode()


class Stops:
    """A Ledger of pages of one record: the search runs out of time, and at the third it fails."""

    def __init__(self, *, fails: bool) -> None:
        self._fails = fails

    async def page(self, query: RecordFilter) -> RecordPage:
        number = query.before or 4
        if number == 2 and self._fails:
            raise RecordsError("the database does not answer")
        records = (replace(a_record(name=f"n{number}"), sequence=number - 1),) if number != 3 else ()
        looked = datetime(2026, 3, 1, tzinfo=UTC)
        return RecordPage(records, number - 1 if number > 2 else None, looked if number == 3 else None)

    async def extent(self, visible: Visible = None) -> Extent:
        return Extent(4, None, None)


async def test_a_search_that_ran_out_of_time_goes_on_until_the_file_is_whole() -> None:
    answered = await get(create_review_app(review_parts(Stops(fails=False))), "/decisions/export.csv")
    rows = list(csv.DictReader(io.StringIO(answered.body.decode())))
    assert [row["name"] for row in rows] == ["n4", "n2"]


async def test_an_export_that_fails_is_broken_off_and_is_no_shorter_file() -> None:
    """Whoever serves it closes the connection before the end of the answer."""
    with capture_logs(), pytest.raises(RuntimeError, match="response already started") as broken:
        await get(create_review_app(review_parts(Stops(fails=True))), "/decisions/export.csv")
    assert isinstance(broken.value.__cause__, RecordsError)


async def test_a_page_says_how_far_the_search_came() -> None:
    answered = await get(create_review_app(review_parts(Stops(fails=False))), "/decisions?name=n&before=3")
    page = answered.body.decode()
    assert "The search ran out of time" in page
    assert '<time datetime="2026-03-01T00:00:00Z">' in page
    assert '<a href="/decisions?name=n&amp;before=2&amp;trail=3">Go on from there</a>' in page


async def test_a_log_that_is_down_is_a_page_that_says_so(pages: Pages) -> None:
    await pages.store.aclose()
    answered = await pages.get("/decisions")
    assert answered.status == 503
    assert "The audit log does not answer" in answered.body.decode()
