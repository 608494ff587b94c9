"""``portcullis audit list``, ``show`` and ``export`` over a log of a handful of records."""

import asyncio
import csv
import io
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from typer.testing import CliRunner, Result

from fakes.records import a_decision, a_record
from portcullis.audit.exporting import EXPORT_COLUMNS
from portcullis.audit.sql import SqlRecords
from portcullis.cli.main import app
from portcullis.model.decision import Because, Verdict
from portcullis.model.record import AuditRecord
from portcullis.model.request import Caller

WINTER = datetime(2026, 1, 10, 23, 30, tzinfo=UTC)
SUMMER = datetime(2026, 7, 10, 12, 0, tzinfo=UTC)

REFUSED = a_record(
    a_decision(
        "aaaaaaaa-0000-4000-8000-000000000001",
        verdict=Verdict.REFUSED,
        code=403,
        denied=["image-user"],
        images=[("reg.example/web:1", "sha256:aa")],
        decided_at=WINTER,
    ),
    name="refused",
)
WAITING = a_record(
    a_decision(
        "aaaaaaaa-0000-4000-8000-000000000002",
        verdict=Verdict.UNDECIDED,
        code=503,
        undecided=["scan-required"],
        decided_at=WINTER + timedelta(hours=1),
    ),
    name="waiting",
    namespace="tools",
    kind="Pod",
    dry_run=True,
)
BROKEN_GLASS = replace(
    a_record(
        replace(a_decision("bbbbbbbb-0000-4000-8000-000000000003", decided_at=SUMMER), because=Because.BREAK_GLASS),
        name="refused",
        username="=cmd|' /C calc'!A0",
    ),
    caller=Caller.UNVERIFIED,
)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    write(tmp_path, [REFUSED, WAITING, BROKEN_GLASS])
    path = tmp_path / "portcullis.yaml"
    path.write_text("audit: {database: 'sqlite:///audit.db'}\n")
    return path


def write(folder: Path, records: list[AuditRecord], *statements: str) -> None:
    async def fill() -> None:
        store = SqlRecords(url=f"sqlite:///{folder}/audit.db")
        await store.start()
        await store.append_many(records)
        for statement in statements:
            await store.change(lambda connection, statement=statement: connection.execute(text(statement)))  # type: ignore[misc]
        await store.aclose()

    asyncio.run(fill())


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def run(config: Path, *arguments: str) -> Result:
    command, *rest = arguments
    return CliRunner(env={"COLUMNS": "120"}).invoke(app, ["audit", command, "--config", str(config), *rest])


def listed(config: Path, *arguments: str) -> list[str]:
    done = run(config, "list", "-o", "json", *arguments)
    assert done.exit_code == 0, done.stderr
    return [item["id"][-1] for item in json.loads(done.stdout)["items"]]


CONDITIONS = [
    ("", "321"),
    ("-n tools", "2"),
    ("--kind Pod", "2"),
    ("--name refused", "31"),
    ("--user jane@example.com", "21"),
    ("--image reg.example/web", "1"),
    ("--digest sha256:aa", "1"),
    ("--policy image-user --mode deny", "1"),
    ("--policy image-user --mode warn", ""),
    ("--exception EX-1", ""),
    ("--verdict undecided", "2"),
    ("--reason registry-unreachable", "2"),
    ("--because break-glass", "3"),
    ("--caller unverified", "3"),
    ("--text ROOT", "1"),
    ("--dry-run", "2"),
    ("--no-dry-run", "31"),
    ("--since 2026-02-01", "3"),
    ("--until 2026-02-01", "21"),
    ("--limit 1", "3"),
]


def test_every_condition(config: Path) -> None:
    for arguments, expected in CONDITIONS:
        assert "".join(listed(config, *arguments.split())) == expected, arguments
        done = run(config, "export", *arguments.split()) if "--limit" not in arguments else None
        if done is not None:
            assert done.exit_code == 0
            ids = [json.loads(line)["decision_id"][-1] for line in done.stdout.splitlines()]
            assert "".join(ids) == expected, arguments


def test_pages_of_a_list(config: Path) -> None:
    first = json.loads(run(config, "list", "-o", "json", "--limit", "2").stdout)
    assert listed(config, "--before", str(first["next"])) == ["1"]
    assert (first["searchedTo"], first["damaged"]) == (None, [])
    done = run(config, "list", "--limit", "2")
    assert f"--before {first['next']}" in done.stderr
    assert "no decision matches" in run(config, "list", "-n", "nowhere").stderr


def test_times_are_local_or_utc(config: Path, berlin: None) -> None:
    winter = run(config, "list", "--until", "2026-03-01").stdout
    assert "When (UTC+01:00)" in winter
    assert "2026-01-11 00:30:00" in winter
    utc = run(config, "list", "--until", "2026-03-01", "--utc").stdout
    assert "When (UTC)" in utc
    assert "2026-01-10 23:30:00" in utc
    both = " ".join(run(config, "list").stdout.split())
    assert "UTC+02:00" in both
    assert "UTC+01:00" in both
    assert "When (" not in both
    shown = run(config, "show", "bbbbbb").stdout
    assert "2026-07-10 14:00:00.000000 UTC+02:00" in shown
    assert json.loads(run(config, "show", "bbbbbb", "-o", "json").stdout)["record"]["decidedAt"].endswith("Z")


def test_a_time_without_a_zone_is_one_of_the_zone_that_is_shown(config: Path, berlin: None) -> None:
    assert listed(config, "--since", "2026-01-11T00:30", "--until", "2026-01-11T01:00") == ["1"]
    assert listed(config, "--utc", "--since", "2026-01-11T00:30", "--until", "2026-01-11T01:00") == ["2"]


def test_a_decision_is_shown_by_the_beginning_of_its_id(config: Path) -> None:
    assert "bbbbbbbb-0000-4000-8000-000000000003" in run(config, "show", "bbbbbb").stdout
    several = run(config, "show", "aaaaaaaa")
    assert several.exit_code == 2
    assert "2 decisions begin with aaaaaaaa" in several.stderr
    assert "aaaaaaaa-0000-4000-8000-000000000002" in several.stderr
    assert "begins with cccccc" in run(config, "show", "cccccc").stderr
    assert "36 hexadecimal digits" in run(config, "show", "zz").stderr


def test_the_place_in_the_chain_is_shown(config: Path) -> None:
    tree = json.loads(run(config, "show", "bbbbbb", "-o", "json").stdout)
    assert tree["chain"]["position"] == 3
    shown = " ".join(run(config, "show", "bbbbbb").stdout.split())
    assert f"3 of {tree['chain']['id']}" in shown
    assert tree["chain"]["hash"] in shown


def test_what_the_previous_decision_said_otherwise(config: Path) -> None:
    shown = run(config, "show", "bbbbbb", "--previous").stdout
    assert REFUSED.decision.id in shown
    assert "- image-user (web): refuses: runs as root" in shown
    tree = json.loads(run(config, "show", "bbbbbb", "--previous", "-o", "json").stdout)
    assert tree["previous"]["id"] == REFUSED.decision.id
    first = run(config, "show", REFUSED.decision.id, "--previous").stdout
    assert "No decision on the same workload came before it" in first


# -- export --------------------------------------------------------------------------------------------------------


def test_json_lines_with_and_without_inputs(config: Path, tmp_path: Path) -> None:
    bare = [json.loads(line) for line in run(config, "export").stdout.splitlines()]
    assert all("input" not in line for line in bare)
    assert all(line["inputHash"].startswith("sha256:") for line in bare)
    target = tmp_path / "out.jsonl"
    done = run(config, "export", "--documents", "--output", str(target))
    assert done.exit_code == 0
    assert "3 decisions" in done.stderr
    lines = [json.loads(line) for line in target.read_text().splitlines()]
    assert [line["decision_id"] for line in lines] == [line["decision_id"] for line in bare]
    assert lines[0]["input"] == {"time": {"now": "2026-03-01T12:00:00Z"}}
    assert target.stat().st_mode & 0o077 == 0
    assert not (tmp_path / "out.jsonl.part").exists()


def test_cells_are_no_formulas(config: Path) -> None:
    done = run(config, "export", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout, newline="")))
    assert tuple(rows[0]) == EXPORT_COLUMNS
    assert [row["verdict"] for row in rows] == ["admitted", "undecided", "refused"]
    assert rows[0]["username"] == "'=cmd|' /C calc'!A0"
    assert run(config, "export", "--format", "csv", "--documents").exit_code == 2


def test_a_damaged_row_stands_there_as_such(config: Path, tmp_path: Path) -> None:
    write(tmp_path, [], "UPDATE decisions SET body = '{' WHERE sequence = 2")
    listing = run(config, "list")
    assert "record 2 is damaged" in listing.stderr
    done = run(config, "export")
    assert done.exit_code == 1
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line.get("sequence") for line in lines] == [3, 2, 1]
    assert "not JSON" in lines[1]["damaged"]
    rows = list(csv.DictReader(io.StringIO(run(config, "export", "--format", "csv").stdout, newline="")))
    assert rows[1]["message"].startswith("damaged: ")
    assert rows[1]["sequence"] == "2"


@pytest.fixture
def large(tmp_path: Path) -> Path:
    write(tmp_path, [a_record() for _ in range(1200)])
    path = tmp_path / "portcullis.yaml"
    path.write_text("audit: {database: 'sqlite:///audit.db'}\n")
    return path


def exporting(config: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "portcullis", "audit", "export", "--config", str(config), *arguments]


def test_a_disk_that_is_full_leaves_whole_lines_and_says_what_is_missing(large: Path, tmp_path: Path) -> None:
    """A limit of the size of files stands for the disk; the rest is exported by what the message says."""
    target = tmp_path / "out.jsonl"
    done = subprocess.run(
        exporting(large, "--output", str(target)),
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000)),
    )
    assert done.returncode == 2, done.stderr
    assert "ended early: cannot write: File too large" in done.stderr
    assert not target.exists()
    lines = (tmp_path / "out.jsonl.part").read_bytes().splitlines(keepends=True)
    assert all(line.endswith(b"}\n") for line in lines)
    before = done.stderr.split("--before ")[1].split()[0]
    rest = run(large, "export", "--before", before).stdout.splitlines()
    sequences = [*(json.loads(line)["sequence"] for line in lines), *(json.loads(line)["sequence"] for line in rest)]
    assert sequences == list(range(1200, 0, -1))


def test_a_full_device_is_an_error(large: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(exporting(large), stdout=full, stderr=subprocess.PIPE, text=True, timeout=120)
    assert done.returncode == 2
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_has_gone_ends_it_quietly(large: Path) -> None:
    with subprocess.Popen(exporting(large), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
        assert process.wait(60) == 141
    assert "error" not in errors.lower()
    assert "Traceback" not in errors


def test_a_file_that_cannot_be_made_is_an_error(config: Path, tmp_path: Path) -> None:
    done = run(config, "export", "--output", str(tmp_path / "no" / "such" / "file"))
    assert done.exit_code == 2
    assert "cannot be written" in done.stderr


def test_nothing_is_left_of_an_export_that_never_began(tmp_path: Path) -> None:
    path = tmp_path / "portcullis.yaml"
    path.write_text("audit: {database: 'sqlite:///audit.db'}\n")
    done = run(path, "export", "--output", str(tmp_path / "out"))
    assert done.exit_code == 2
    assert "there is no audit store" in done.stderr
    assert [found.name for found in tmp_path.iterdir()] == ["portcullis.yaml"]
