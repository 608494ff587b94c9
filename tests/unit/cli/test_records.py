"""Audit records as JSON and as an account to read."""

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console, RenderableType

from fakes.decisions import VIOLATION, decision, let_in, record, refused, undecided
from portcullis.cli.records import reasons_text, record_view, records_table
from portcullis.model.decision import Because, Decision, Verdict
from portcullis.model.request import Caller
from portcullis.server.recordjson import record_json


def shown(what: RenderableType, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(what)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_record_as_json() -> None:
    tree = json.loads(json.dumps(record_json(record(), document=False)))
    assert tree["id"] == "7c4f5a3e-0f5b-4a39-9c55-0f6d1f6f2b1d"
    assert tree["decidedAt"] == "2026-11-24T12:30:15.250000Z"
    assert tree["user"] == {"username": "dana@example.test", "groups": ["shop-developers", "system:authenticated"]}
    assert (tree["verdict"], tree["caller"], tree["dryRun"]) == ("refused", "path", False)
    assert tree["timings"]["registry"] == 8.0
    assert "input" not in tree


def test_the_judged_input_is_in_it_where_asked_for() -> None:
    assert record_json(record(), document=True)["input"] == {"request": {"uid": "u-1"}}
    assert record_json(record(decision(document=b"")), document=True)["input"] is None


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (refused(), "image-user"),
        (undecided(), "registry-unreachable"),
        (decision(), ""),
        (decision(because=Because.UNCHANGED), "unchanged"),
        (decision(violations=refused().violations[:1]), "image-pinned (not enforced)"),
    ],
)
def test_the_reason_in_few_words(made: Decision, words: str) -> None:
    assert reasons_text(made).plain == words


def test_the_list_shows_what_sets_a_request_apart() -> None:
    text = shown(records_table([record(operation="UPDATE", sub_resource="scale", dry_run=True)], 200), 200)
    joined = " ".join(text.split())
    assert "2026-11-24 12:30:15" in joined
    assert "update, scale, dry run" in joined
    assert "7c4f5a3e" in joined


def test_what_a_stranger_sent_is_not_taken_for_what_somebody_asked() -> None:
    claimed = "who says to be dana@example.test"
    assert claimed in shown(records_table([record(sampled=True)], 200), 200)
    assert claimed not in shown(records_table([record()], 200), 200)


@pytest.mark.parametrize("width", [80, 100, 140])
def test_the_list_keeps_to_its_width(width: int) -> None:
    long = record(name="a" * 200, namespace="n" * 60, username="system:serviceaccount:kube-system:" + "x" * 100)
    assert all(len(line) <= width for line in shown(records_table([long], width), width).splitlines())


@pytest.mark.parametrize("width", [80, 100, 140])
def test_the_list_keeps_names_whole(width: int) -> None:
    scans = decision(verdict=Verdict.REFUSED, violations=(replace(VIOLATION, policy="scan-required"),))
    text = shown(records_table([record(scans, username="dana@example.test")], width), width)
    for word in ("2026-11-24", "12:30:15", "dana@example.test", "scan-required"):
        assert word in text


def test_the_account_tells_who_asked_what_and_why_it_was_answered_so() -> None:
    text = " ".join(shown(record_view(record())).split())
    for words in (
        "✗ refused Deployment shop/checkout",
        "dana@example.test (shop-developers, system:authenticated)",
        "CREATE deployments (apps/v1)",
        "403, judged, after 12.3 ms",
        "the API server, by the secret path",
        "sha256:" + "ab" * 32,
        "runs as root",
        "→ set USER",
        "registry 8.0",
    ):
        assert words in text


def test_the_account_of_break_glass_says_which_grant_until_when_and_why() -> None:
    text = " ".join(shown(record_view(record(let_in()))).split())
    for words in (
        "✓ admitted",
        "200, break-glass, after",
        "Break-glass break-glass:shop/payments-down until 2026-11-24T15:00Z the scanner is down",
    ):
        assert words in text
    assert "Break-glass" not in shown(record_view(record()))


def test_the_account_says_when_the_sender_was_not_known() -> None:
    assert "anybody who reaches the webhook" in " ".join(shown(record_view(record(caller=Caller.UNVERIFIED))).split())


def test_hostile_text_cannot_steer_the_terminal() -> None:
    evil = "\x1b[2J\u202e"
    bad = record(
        username=evil, name=evil, groups=(evil,), uid=evil, webhook_version=evil, resource=evil, sub_resource=evil
    )
    text = shown(record_view(bad)) + shown(records_table([bad], 100))
    assert not set("\x1b\u202e") & set(text)
