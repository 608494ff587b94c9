"""Spans of a review: below one another across tasks, few, and none where nobody asks for them."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

import pytest

from portcullis.errors import NotFound
from portcullis.spans import NO_SPAN, Span, Trace, span

pytestmark = pytest.mark.anyio


async def test_without_a_trace_nothing_is_kept() -> None:
    with span("registry", host="registry.example") as one:
        one.set(status=200)
        assert one is NO_SPAN
    assert NO_SPAN.attributes == {}


async def test_spans_lie_below_one_another_also_in_other_tasks() -> None:
    ended: list[Span] = []

    async def image(number: int) -> None:
        with span("image", number=number):
            await asyncio.sleep(0)
            with span("registry-request") as one:
                one.set(status=200)

    trace = Trace(ended=ended.append, spans=100, trace_id=7, parent_id=9)
    with trace.review("review", started_ago=0.5), span("registry"):
        async with asyncio.TaskGroup() as group:
            for number in range(2):
                group.create_task(image(number))
    by_id = {one.span_id: one for one in ended}
    assert {one.trace_id for one in ended} == {7}
    roads = []
    for one in ended:
        names, at = [one.name], one.parent_id
        while at in by_id:
            names.append(by_id[at].name)
            at = by_id[at].parent_id
        assert at == 9
        roads.append("/".join(reversed(names)))
    assert sorted(roads) == [
        "review",
        "review/registry",
        *["review/registry/image"] * 2,
        *["review/registry/image/registry-request"] * 2,
    ]
    root = ended[-1]
    assert 5e8 < root.ended - root.started < 60e9
    assert all(root.started <= one.started <= one.ended <= root.ended for one in ended)
    assert [one.attributes for one in ended if one.name == "registry-request"] == [{"status": 200}] * 2


async def test_why_it_failed_is_a_code_and_never_a_message() -> None:
    ended: list[Span] = []
    with contextlib.suppress(NotFound, ValueError), Trace(ended=ended.append, spans=9).review("review"):
        with contextlib.suppress(ValueError), span("one"):
            raise ValueError("secret")
        with span("two"):
            raise NotFound("secret")
    assert [(one.name, one.problem) for one in ended] == [
        ("one", "ValueError"),
        ("two", "image-not-found"),
        ("review", "image-not-found"),
    ]


async def test_there_are_no_more_than_so_many_and_the_rest_is_counted() -> None:
    ended: list[Span] = []
    trace = Trace(ended=ended.append, spans=3)
    with trace.review("review"):
        for _ in range(10):
            with span("registry-request"):
                pass
    assert (len(ended), trace.dropped) == (3, 8)


async def test_a_stream_that_is_closed_by_another_task_ends_its_span() -> None:
    """As the event loop closes a generator that was not read to its end."""
    ended: list[Span] = []

    async def blob() -> AsyncGenerator[int, None]:
        with span("registry-request"):
            for number in range(9):
                yield number

    with Trace(ended=ended.append, spans=9).review("review"):
        stream = blob()
        assert await anext(stream) == 0
        await asyncio.create_task(stream.aclose())
        assert [(one.name, one.problem) for one in ended] == [("registry-request", "GeneratorExit")]
    assert ended[-1].name == "review"


async def test_what_outlives_the_review_ends_its_span_and_begins_no_other() -> None:
    """A fetch that goes on in the background; a task that stays for good."""
    ended: list[Span] = []
    go = asyncio.Event()

    async def fetch() -> None:
        with span("flight"):
            await go.wait()
            with span("late"):
                pass

    trace = Trace(ended=ended.append, spans=9)
    with trace.review("review"):
        task = asyncio.create_task(fetch())
        await asyncio.sleep(0)
    go.set()
    await task
    assert [one.name for one in ended] == ["review", "flight"]
    assert trace.dropped == 0
