"""From the address of the list to a filter of the log, and back."""

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlsplit

import pytest

from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.record import RecordFilter
from portcullis.server.review.decisionsearch import FIELDS, TRAIL, Search, instant, read_search

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def search(address: str, visible: frozenset[str] | None = None) -> Search:
    asked = parse_qsl(urlsplit(address).query, keep_blank_values=True)
    return read_search(asked, visible=visible, now=NOW, limits=DEFAULT_LIMITS)


FILTERS = {
    "text=runs+as+root": {"text": "runs as root"},
    "within=24h": {"since": NOW - timedelta(hours=24)},
    "verdict=refused": {"verdict": "refused"},
    "namespace=shop&name=checkout&kind=Deployment": {"namespace": "shop", "name": "checkout", "kind": "Deployment"},
    "user=jane%40acme.dev": {"username": "jane@acme.dev"},
    "policy=image-user&mode=deny": {"policy": "image-user", "mode": "deny"},
    "image=registry.acme.dev%2Fweb&digest=sha256%3Aab": {"image": "registry.acme.dev/web", "digest": "sha256:ab"},
    "reason=registry-unreachable": {"reason": "registry-unreachable"},
    "exception=EX-12&because=exception": {"exception": "EX-12", "because": "exception"},
    "because=break-glass": {"because": "break-glass"},
    "caller=unverified": {"caller": "unverified"},
    "dryrun=only": {"dry_run": True},
    "dryrun=no": {"dry_run": False},
    "since=2026-11-01T08:30&until=2026-11-02": {
        "since": datetime(2026, 11, 1, 8, 30, tzinfo=UTC),
        "until": datetime(2026, 11, 2, tzinfo=UTC),
    },
    "since=2026-11-01T08:30:00%2B02:00": {"since": datetime(2026, 11, 1, 6, 30, tzinfo=UTC)},
    "namespace=+shop+": {"namespace": "shop"},
    "before=77": {"before": 77},
    "": {},
}


@pytest.mark.parametrize(("address", "expected"), FILTERS.items())
def test_a_filter(address: str, expected: dict[str, object]) -> None:
    found = search(f"?{address}", visible=frozenset({"shop"}))
    assert not found.faults
    assert found.query == RecordFilter(**expected, visible=frozenset({"shop"}), limit=50)  # type: ignore[arg-type]


FAULTS = {
    "namepsace=shop": ("address", "there is no filter 'namepsace'"),
    "namespace=shop&namespace=other": ("address", "namespace is given twice"),
    "verdict=maybe": ("verdict", "one of admitted, refused, undecided is expected"),
    "within=2h": ("within", "one of 15m, 1h, 24h, 7d, 30d, 90d is expected"),
    "within=1h&since=2026-11-01": ("within", "either this or From and To"),
    "since=yesterday": ("since", "a time such as 2026-03-01T12:00 is expected"),
    "since=2026-02-30T00:00": ("since", "a time such as 2026-03-01T12:00 is expected"),
    "since=2026-11-02&until=2026-11-01": ("until", "this is not later than From"),
    "name=a%00b": ("name", "it holds a NUL, which no such thing has"),
    f"name={'x' * 254}": ("name", "at most 253 characters are looked for"),
    "before=-1": ("address", "before='-1' is no cursor of this page"),
    "before=1e3": ("address", "before='1e3' is no cursor of this page"),
    "before=%D9%A1": ("address", "before='\u0661' is no cursor of this page"),
    "before=9999999999999999999": ("address", "before='9999999999999999999' is no cursor of this page"),
    "trail=3-x": ("address", "trail is not of this page"),
    f"trail={'-'.join(['1'] * (TRAIL + 1))}": ("address", "trail is not of this page"),
    "a%E2%80%AEb=1": ("address", "there is no filter 'a\\u202eb'"),
}


@pytest.mark.parametrize(("address", "expected"), FAULTS.items())
def test_what_is_no_filter_is_said(address: str, expected: tuple[str, str]) -> None:
    assert search(f"?{address}").faults == dict([expected])


def test_forms_send_fields_without_a_value() -> None:
    found = search("?text=&namespace=shop&policy=")
    assert found.empty
    assert found.address == "/decisions?namespace=shop"
    assert not search("?namespace=shop").empty


def test_what_is_set_can_be_taken_away_one_by_one() -> None:
    found = search("?verdict=refused&within=7d&user=a%26b")
    assert found.chips == (
        ("Time", "Last 7 days", "/decisions?verdict=refused&user=a%26b"),
        ("Verdict", "Refused", "/decisions?within=7d&user=a%26b"),
        ("User", "a&b", "/decisions?within=7d&verdict=refused"),
    )


def test_pages_forth_and_back() -> None:
    """Each page knows those before it, whatever the log grows by meanwhile."""
    first = search("?namespace=shop")
    second = search(first.older(100, through=150))
    third = search(second.older(50, through=second.through))
    assert (third.before, third.trail, third.through) == (50, (100,), 150)
    assert search(third.newer()) == second
    assert second.newer() == first.address == "/decisions?namespace=shop"
    assert third.file("csv", third.through) == "/decisions/export.csv?namespace=shop&through=150"


def test_an_address_does_not_grow_for_ever() -> None:
    page = search("?namespace=shop")
    for cursor in range(3 * TRAIL, 0, -1):
        page = search(page.older(cursor, through=1000))
    assert len(page.trail) == TRAIL
    assert not page.faults


def test_news_are_of_the_same_filters() -> None:
    found = search("?policy=image-user&before=3&trail=7")
    assert found.news(150) == "/decisions/news?policy=image-user&after=150"
    assert found.news(150, 4) == "/decisions/news?policy=image-user&after=150&known=4"


def test_every_filter_of_the_log_can_be_asked_for() -> None:
    asked = {field.attribute for field in FIELDS.values()} | {"since", "until", "dry_run"}
    others = {"visible", "before", "limit"}
    assert asked - {""} == set(RecordFilter.__dataclass_fields__) - others


@pytest.mark.parametrize("text", ["", "2026", "2026-13-01", "2026-11-01T25:00", "2026-11-01T08:30+01", "now"])
def test_what_is_no_instant(text: str) -> None:
    assert instant(text) is None
