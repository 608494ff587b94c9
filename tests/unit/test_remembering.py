"""What moves a mark, and what does not."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from fakes import samples
from portcullis.errors import RecordsError
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.request import AdmissionRequest, Caller
from portcullis.remembering import Remembering

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
REQUEST: AdmissionRequest = samples.request(samples.SAMPLES["clean"].workload())


class Store:
    """A Marks whose writes can be held up or fail."""

    def __init__(self) -> None:
        self.written: list[Mapping[str, datetime]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.fault = False

    async def get(self, keys: Sequence[str]) -> Mapping[str, datetime]:
        return {}

    async def advance(self, marks: Mapping[str, datetime]) -> None:
        await self.open.wait()
        if self.fault:
            raise RecordsError("the store is down")
        self.written.append(dict(marks))


@pytest.mark.parametrize(
    ("changes", "counts"),
    [
        pytest.param({"caller": Caller.PATH}, True, id="path"),
        pytest.param({"caller": Caller.CERTIFICATE}, True, id="certificate"),
        pytest.param({"caller": Caller.UNVERIFIED}, False, id="anybody"),
        pytest.param({"caller": Caller.LOCAL}, False, id="the-command-line"),
        pytest.param({"caller": Caller.PATH, "dry_run": True}, False, id="dry-run"),
    ],
)
async def test_who_moves_marks(changes: dict[str, object], counts: bool) -> None:
    store = Store()
    remembering = Remembering(marks=store, limits=DEFAULT_LIMITS)
    remembering.note(replace(REQUEST, **changes), {"a": NOW})  # type: ignore[arg-type]
    await remembering.aclose()
    assert store.written == ([{"a": NOW}] if counts else [])


async def test_what_stands_is_not_written_again() -> None:
    store = Store()
    remembering = Remembering(marks=store, limits=DEFAULT_LIMITS)
    for marks in ({"a": NOW}, {"a": NOW}, {"a": NOW - timedelta(hours=1)}, {"a": NOW + timedelta(hours=1), "b": NOW}):
        remembering.note(REQUEST, marks)
        await remembering.aclose()
    assert store.written == [{"a": NOW}, {"a": NOW + timedelta(hours=1), "b": NOW}]


async def test_what_failed_is_written_by_the_next_one() -> None:
    store = Store()
    store.fault = True
    remembering = Remembering(marks=store, limits=DEFAULT_LIMITS)
    remembering.note(REQUEST, {"a": NOW})
    await remembering.aclose()
    assert (store.written, remembering.failed) == ([], 1)
    store.fault = False
    remembering.note(REQUEST, {"a": NOW})
    await remembering.aclose()
    assert store.written == [{"a": NOW}]


async def test_nobody_waits_and_a_store_that_hangs_takes_no_room_without_end() -> None:
    store = Store()
    store.open.clear()
    remembering = Remembering(marks=store, limits=DEFAULT_LIMITS)
    for number in range(1000):
        remembering.note(REQUEST, {str(number): NOW})
    store.open.set()
    await remembering.aclose()
    assert len(store.written) == 100


async def test_the_memory_of_what_stands_is_bounded() -> None:
    store = Store()
    remembering = Remembering(marks=store, limits=replace(DEFAULT_LIMITS, marks=2))
    for number in range(3):
        remembering.note(REQUEST, {str(number): NOW})
        await remembering.aclose()
    remembering.note(REQUEST, {"0": NOW})
    await remembering.aclose()
    assert [list(marks) for marks in store.written] == [["0"], ["1"], ["2"], ["0"]]
