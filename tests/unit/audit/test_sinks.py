"""Sinks: real files, a real pipe, a real collector; slow, full, gone and back."""

import contextlib
import json
import logging
import os
import resource
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from fakes.collector import collecting
from fakes.records import a_decision, a_record
from portcullis.audit.sinks.lines import FileSink, StdoutSink
from portcullis.audit.sinks.otlp import OtlpSink
from portcullis.audit.sinks.outlet import Outlet, Sink, SinkError
from portcullis.errors import ConfigError
from portcullis.limits import Limits
from portcullis.model.decision import Verdict
from portcullis.model.record import AuditRecord

LIMITS = Limits(sink_flush_seconds=3.0)


def record(number: int, document: bytes = b'{"n":1}') -> AuditRecord:
    return a_record(a_decision(f"d-{number}", document=document))


def ids(path: Path) -> list[str]:
    return [json.loads(line)["decision_id"] for line in path.read_text().splitlines()]


def until(done: Callable[[], bool]) -> None:
    for _ in range(1000):
        if done():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come about")


class Scripted:
    """A sink that hangs or fails as long as the test says."""

    def __init__(self) -> None:
        self.free = threading.Event()
        self.failing = False
        self.got: list[str] = []
        self.closed = False
        self.free.set()

    def write(self, records: Sequence[AuditRecord]) -> None:
        self.free.wait()
        if self.failing:
            raise SinkError("no")
        self.got += [one.decision.id for one in records]

    def close(self) -> None:
        self.closed = True


@contextlib.contextmanager
def outlet(sink: Sink, limits: Limits = LIMITS):  # type: ignore[no-untyped-def]
    one = Outlet("test", sink, limits)
    try:
        yield one
    finally:
        one.close()


def test_order_is_kept_and_nothing_is_lost_at_the_end() -> None:
    sink = Scripted()
    with outlet(sink) as one:
        for number in range(1000):
            one.offer(record(number))
    assert sink.got == [f"d-{number}" for number in range(1000)]
    assert (sink.closed, one.dropped) == (True, 0)


@pytest.mark.parametrize(
    ("limits", "kept"),
    [(replace(LIMITS, sink_records=10), 10), (replace(LIMITS, sink_bytes=5 * (4096 + 1000)), 5)],
)
def test_a_sink_that_hangs_holds_nobody_up(limits: Limits, kept: int, caplog: pytest.LogCaptureFixture) -> None:
    sink = Scripted()
    sink.free.clear()
    with outlet(sink, limits) as one:
        one.offer(record(0, b"x" * 1000))
        until(lambda: one._bytes == 0)
        started = time.monotonic()
        for number in range(1, 101):
            one.offer(record(number, b"x" * 1000))
        assert time.monotonic() - started < 0.5
        assert one.dropped == 100 - kept
        sink.free.set()
        until(lambda: len(sink.got) == kept + 1)
        one.offer(record(200))
        until(lambda: "d-200" in sink.got)
    assert sink.got == ["d-0", *(f"d-{number}" for number in range(1, kept + 1)), "d-200"]
    said = [(line.levelname, line.message, line.__dict__.get("lost")) for line in caplog.records]
    assert said == [
        ("ERROR", "a sink of the audit log is down", None),
        ("WARNING", "a sink of the audit log is up again", 100 - kept),
    ]


def test_a_sink_that_fails_gets_everything_when_it_is_back(caplog: pytest.LogCaptureFixture) -> None:
    sink = Scripted()
    sink.failing = True
    with outlet(sink) as one:
        for number in range(20):
            one.offer(record(number))
        until(lambda: bool(caplog.records))
        sink.failing = False
    assert sink.got == [f"d-{number}" for number in range(20)]
    assert len([line for line in caplog.records if line.levelno == logging.ERROR]) == 1


def test_a_sink_that_never_comes_back_does_not_keep_the_program(caplog: pytest.LogCaptureFixture) -> None:
    sink = Scripted()
    sink.free.clear()
    one = Outlet("test", sink, replace(LIMITS, sink_flush_seconds=0.2))
    for number in range(300):
        one.offer(record(number))
    started = time.monotonic()
    one.close()
    assert time.monotonic() - started < 2
    assert one.dropped >= 300 - 256
    assert caplog.records[-1].message == "a sink of the audit log did not get the last records"
    sink.free.set()


def test_lines_on_a_pipe_that_nobody_reads_for_a_while() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    sink = StdoutSink(document=True, descriptor=writing)
    os.close(writing)
    with outlet(sink) as one:
        for number in range(300):
            one.offer(record(number, b'{"n":"' + b"x" * 1000 + b'"}'))
        time.sleep(0.1)
        with os.fdopen(reading, "rb") as pipe:
            lines = [json.loads(pipe.readline()) for _ in range(300)]
    assert [line["decision_id"] for line in lines] == [f"d-{number}" for number in range(300)]
    assert {line["input"]["n"] for line in lines} == {"x" * 1000}


def test_a_reader_that_goes_and_a_closed_output() -> None:
    reading, writing = os.pipe()
    sink = StdoutSink(document=False, descriptor=writing)
    os.close(writing)
    os.close(reading)
    with pytest.raises(SinkError, match="Broken pipe"):
        sink.write([record(1)])
    sink.close()
    with pytest.raises(ConfigError, match="standard output is closed"):
        StdoutSink(document=False, descriptor=writing)


def test_files_are_rotated(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "decisions.jsonl"
    sink = FileSink(path, document=False, size=5000, files=3)
    for number in range(0, 40, 4):
        sink.write([record(number + more) for more in range(4)])
    sink.close()
    names = sorted(one.name for one in path.parent.iterdir())
    assert names == ["decisions.jsonl", "decisions.jsonl.1", "decisions.jsonl.2"]
    kept = [*ids(path.with_name("decisions.jsonl.2")), *ids(path.with_name("decisions.jsonl.1")), *ids(path)]
    assert kept == [f"d-{number}" for number in range(40 - len(kept), 40)]
    assert all(one.stat().st_size <= 5000 for one in path.parent.iterdir())
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_one_file_begins_anew_and_a_long_line_has_a_file_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    sink = FileSink(path, document=True, size=3000, files=1)
    for number in range(10):
        sink.write([record(number)])
    assert 0 < len(ids(path)) < 4
    sink.write([record(10, b'"' + b"x" * 10_000 + b'"'), record(11)])
    sink.close()
    assert ids(path) == ["d-11"]
    assert [one.name for one in tmp_path.iterdir()] == ["a.jsonl"]


def test_a_file_that_log_rotation_has_moved_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    sink = FileSink(path, document=False, size=10**6, files=5)
    sink.write([record(1)])
    path.rename(tmp_path / "moved")
    sink.write([record(2)])
    path.unlink()
    sink.write([record(3)])
    sink.close()
    assert (ids(tmp_path / "moved"), ids(path)) == (["d-1"], ["d-3"])


def test_a_line_that_a_crash_cut_off_is_ended(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"decision_id": "d-0"}\n{"cut')
    sink = FileSink(path, document=False, size=10**6, files=5)
    sink.write([record(1)])
    sink.close()
    lines = path.read_text().splitlines()
    assert (lines[1], json.loads(lines[2])["decision_id"]) == ('{"cut', "d-1")


def test_a_full_disk_leaves_no_half_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    sink = FileSink(path, document=False, size=10**6, files=5)
    sink.write([record(1)])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # No file may grow beyond this; Python ignores the signal, so that writing fails with EFBIG.
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 1500, hard))
    try:
        with pytest.raises(SinkError, match="File too large"):
            sink.write([record(number) for number in range(2, 10)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert ids(path) == ["d-1"]
    sink.write([record(2)])
    sink.close()
    assert ids(path) == ["d-1", "d-2"]


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be written: Is a directory"):
        FileSink(tmp_path, document=False, size=10**6, files=5)


def test_a_collector_gets_what_the_record_says(tmp_path: Path) -> None:
    headers = tmp_path / "headers"
    headers.write_text("authorization: Bearer one\n\n")
    with collecting() as collector:
        sink = OtlpSink(collector.url, document=True, headers_file=headers)
        refused = replace(record(2), decision=replace(record(2).decision, verdict=Verdict.REFUSED, code=403))
        sink.write([record(1), refused])
        headers.write_text("authorization: Bearer two\n")
        sink.write([record(3)])
        sink.close()
    first, second, third = collector.received
    body = json.loads(first.body.string_value)
    assert (body["decision_id"], body["input"]) == ("d-1", {"n": 1})
    assert [(one.severity_text, one.event_name) for one in collector.received] == [
        ("INFO", "portcullis.decision"),
        ("WARN", "portcullis.decision"),
        ("INFO", "portcullis.decision"),
    ]
    attributes = {one.key: one.value for one in second.attributes}
    assert attributes["verdict"].string_value == "refused"
    assert attributes["code"].int_value == 403
    assert third.time_unix_nano == int(record(3).decision.decided_at.timestamp() * 1e9)
    assert collector.resources[0]["service.name"] == "portcullis"
    assert [one["authorization"] for one in collector.headers] == ["Bearer one", "Bearer two"]


def test_a_collector_that_is_down_gets_everything_later(caplog: pytest.LogCaptureFixture) -> None:
    with collecting() as collector:
        collector.status = 400
        with outlet(OtlpSink(collector.url, document=False)) as one:
            for number in range(300):
                one.offer(record(number))
            until(lambda: collector.asked >= 2)
            collector.status = 200
            until(lambda: len(collector.received) >= 300)
        assert [json.loads(got.body.string_value)["decision_id"] for got in collector.received] == [
            f"d-{number}" for number in range(300)
        ]
    assert [line.message for line in caplog.records] == [
        "a sink of the audit log is down",
        "a sink of the audit log is up again",
    ]


@pytest.mark.parametrize(("text", "problem"), [("no colon", "headers:1: name: value"), (None, "cannot be read")])
def test_headers_that_cannot_be_used(tmp_path: Path, text: str | None, problem: str) -> None:
    path = tmp_path / "headers"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=problem):
        OtlpSink("http://127.0.0.1:1/v1/logs", document=False, headers_file=path)
