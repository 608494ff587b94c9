"""AuditRecord for pipelines of logs and for spreadsheets."""

import csv
import io
import json
from dataclasses import replace

import pytest

from fakes.decisions import GRANT, decision, let_in, record, refused, undecided
from portcullis.audit.exporting import (
    EXPORT_COLUMNS,
    csv_line,
    export_json,
    export_line,
    export_row,
    guarded,
)
from portcullis.model.decision import Problem, Stage


def test_the_names_are_those_of_opa() -> None:
    tree = export_json(record(refused()), document=True)
    assert tree["decision_id"] == "7c4f5a3e-0f5b-4a39-9c55-0f6d1f6f2b1d"
    assert tree["timestamp"] == "2026-11-24T12:30:15.250000Z"
    assert tree["bundles"]["policies"] == {"revision": "sha256:" + "cd" * 32}
    assert tree["input"] == {"request": {"uid": "u-1"}}
    assert tree["requested_by"] == tree["request"]["username"] == "dana@example.test"
    assert tree["result"]["verdict"] == "refused"
    assert [one["policy"] for one in tree["result"]["violations"]] == ["image-pinned", "image-user"]
    assert tree["metrics"] == {
        "timer_decision_ns": 12_345_600,
        "timer_registry_ns": 8_000_000,
        "timer_policy_ns": 3_500_000,
        "timer_gate_ns": 12_345_600,
    }
    assert tree["inputHash"].startswith("sha256:")


def test_without_the_document_there_is_no_input() -> None:
    bare = record(decision(document=b""))
    assert "input" not in export_json(record())
    assert "input" not in export_json(bare, document=True)
    assert export_json(bare, input_hash="sha256:aa")["inputHash"] == "sha256:aa"


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (b'{"a": 1}', {"a": 1}),
        ('{"a": "\u202e"}'.encode(), {"a": "\u202e"}),
        (b'{"a":\n1}', {"a": 1}),
        (b"\xff\n", "\\xff\n"),
    ],
)
def test_a_line_is_one_line_of_ascii(document: bytes, expected: object) -> None:
    hostile = record(replace(refused(), document=document, message="one\ntwo\u2028\ud800"), name="\x1b[31m")
    line = export_line(hostile, document=True)
    assert line.isascii()
    assert line.count(b"\n") == 1
    tree = json.loads(line)
    assert tree["input"] == expected
    assert tree["result"]["message"] == "one\ntwo\u2028\ud800"


def test_what_a_policy_puts_into_details_is_written_whatever_it_is() -> None:
    (pinned, user) = refused().violations
    odd = replace(refused(), violations=(pinned, replace(user, details={"much": float("inf")})))
    assert json.loads(export_line(record(odd)))["result"]["violations"][1]["details"] == {"much": "inf"}


def test_grants_are_exported_with_what_they_cover() -> None:
    outage_alone = replace(let_in(), violations=())
    (grant,) = export_json(record(outage_alone))["result"]["grants"]
    assert (grant["name"], grant["reason"]) == ("payments-down", GRANT.reason)
    cells = dict(zip(EXPORT_COLUMNS, export_row(record(outage_alone)), strict=True))
    assert (cells["because"], cells["excepted_by"]) == ("break-glass", GRANT.id)


def test_a_row_has_a_cell_for_each_column() -> None:
    cells = dict(zip(EXPORT_COLUMNS, export_row(record(refused())), strict=True))
    assert (cells["verdict"], cells["code"], cells["dry_run"]) == ("refused", "403", "false")
    assert (cells["refused_by"], cells["not_enforced"]) == ("image-user", "image-pinned")
    assert cells["groups"] == "shop-developers; system:authenticated"
    waiting = dict(zip(EXPORT_COLUMNS, export_row(record(undecided())), strict=True))
    assert waiting["reasons"] == "registry-unreachable"


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\nx", "'quoted", "''", "\uff1d1", "plain", "", "a=b", "x\n=1"],
)
def test_a_cell_is_no_formula_and_can_be_read_back(text: str) -> None:
    cell = guarded(text)
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d"))
    assert cell.removeprefix("'") == text
    assert next(csv.reader(io.StringIO(csv_line([cell, "next"]), newline=""))) == [cell, "next"]


@pytest.mark.parametrize("text", ["\x1b[31m", "a\0b", "\ud800", "\x9b31m"])
def test_controls_do_not_reach_a_terminal(text: str) -> None:
    assert "\ufffd" in guarded(text)
    csv_line([guarded(text)]).encode()


def test_what_was_masked_and_what_was_erased() -> None:
    masked = record(replace(refused(), masked=("/request/object/data",), masked_places=1))
    assert export_json(masked)["masked"] == ["/request/object/data"]
    failed = Problem(Stage.ADMISSION, "redaction-failed", retryable=False, msg="too much")
    erased = record(replace(refused(), document=b"", problems=(failed,)))
    assert export_json(erased, document=True)["erased"] == ["/input"]
    assert not {"masked", "erased"} & export_json(record(decision(document=b""))).keys()
