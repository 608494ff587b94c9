"""Events about refusals: made once, counted on by everybody, within what the API server takes."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web

from fakes.eventserver import event_server
from portcullis.cluster.events import NOTE_BYTES, Events, cut_lines, name_of
from portcullis.errors import ClusterError
from portcullis.model.notice import Notice, ObjectReference

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
OWNER = ObjectReference("apps/v1", "ReplicaSet", "shop", "web-59575fd9f", "2813934a")
NOTICE = Notice(OWNER, "image-user", "Refused", "1 policy refuses Pod shop/web:\n[image-user] root\nDecision d-1", NOON)


async def test_the_first_makes_it_and_all_others_count_on() -> None:
    async with event_server() as (server, client):
        one, other = (Events(client=client, instance=name, seconds=2) for name in ("gate-1", "gate-2"))
        await one.write(NOTICE, count=1, last=NOON)
        (event,) = server.events
        assert (event["type"], event["reason"], event["action"]) == ("Warning", "Refused", "Admitting")
        assert (event["reportingController"], event["reportingInstance"]) == ("portcullis", "gate-1")
        assert event["regarding"] == {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "namespace": "shop",
            "name": "web-59575fd9f",
            "uid": "2813934a",
        }
        assert (event["eventTime"], event["note"]) == ("2026-11-27T12:00:00.000000Z", NOTICE.note)
        assert "series" not in event

        await other.write(NOTICE, count=3, last=NOON + timedelta(seconds=9, microseconds=5))
        await one.write(replace(NOTICE, note="of another pod", first=NOON + timedelta(hours=1)), count=1, last=NOON)
        (event,) = server.events
        assert event["series"] == {"count": 5, "lastObservedTime": "2026-11-27T12:00:00.000000Z"}
        assert event["note"] == NOTICE.note


@pytest.mark.parametrize("count", [1, 2])
async def test_writers_at_once_lose_nothing(count: int) -> None:
    async with event_server() as (server, client):
        async with asyncio.TaskGroup() as group:
            for number in range(3):
                writer = Events(client=client, instance=f"gate-{number}", seconds=5)
                group.create_task(writer.write(NOTICE, count=count, last=NOON))
        (event,) = server.events
        assert event["times"] == 3 * count


@pytest.mark.parametrize(
    "change",
    [{"cause": "image-shell"}, {"reason": "Undecided"}, {"regarding": replace(OWNER, uid="another")}],
    ids=lambda change: next(iter(change)),
)
async def test_what_differs_is_another_event(change: dict[str, str]) -> None:
    async with event_server() as (server, client):
        writer = Events(client=client, instance="gate", seconds=2)
        await writer.write(NOTICE, count=1, last=NOON)
        await writer.write(replace(NOTICE, **change), count=1, last=NOON)
        assert [event["times"] for event in server.events] == [1, 1]


async def test_one_about_a_node_is_in_default() -> None:
    async with event_server() as (server, client):
        node = ObjectReference("v1", "Node", "", "worker-1", "77")
        await Events(client=client, instance="gate", seconds=2).write(
            replace(NOTICE, regarding=node), count=1, last=NOON
        )
        (event,) = server.events
        assert event["metadata"]["namespace"] == "default"
        assert "namespace" not in event["regarding"]


@pytest.mark.parametrize(
    ("status", "words"), [(403, "answered 403"), (500, "answered 500"), (409, "others change it all the time")]
)
async def test_what_fails_is_said(status: int, words: str) -> None:
    async with event_server() as (server, client):
        await Events(client=client, instance="gate", seconds=2).write(NOTICE, count=1, last=NOON)
        server.faults += [lambda _: None, lambda _: web.json_response({}, status=status)] * 4
        with pytest.raises(ClusterError, match=f"ReplicaSet shop/web-59575fd9f cannot be written: .*{words}"):
            await Events(client=client, instance="gate", seconds=2).write(NOTICE, count=1, last=NOON)


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("web", "web."),
        ("a" * 253, "a" * 200 + "."),
        ("system:web", "portcullis."),
        ("a..b", "portcullis."),
        ("", "port"),
    ],
)
def test_the_name_is_one_that_the_api_server_takes(name: str, begins: str) -> None:
    made = name_of(replace(NOTICE, regarding=replace(OWNER, name=name)))
    assert made.startswith(begins)
    assert len(made) <= 253


LINE = "[image-user] container web runs as root. Set USER."


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("short\nDecision d", "short\nDecision d"),
        ("\n".join(["head", *[LINE] * 50, "Decision d"]), "\n".join(["head", *[LINE] * 19, "…", "Decision d"])),
        ("ä" * 2000 + "\nDecision d", "ä" * 504 + "\n…\nDecision d"),
        ("x" * 3000, "x" * 1024),
        ("head\n" + "ä" * 2000, "head\n" + "ä" * 509),
    ],
    ids=["short", "by lines", "one long line", "one line", "a last line that is too long"],
)
def test_the_note_has_the_first_lines_and_the_decision(text: str, shown: str) -> None:
    assert cut_lines(text, NOTE_BYTES) == shown
    assert len(shown.encode()) <= NOTE_BYTES
