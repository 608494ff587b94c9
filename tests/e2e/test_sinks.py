"""Sinks of the running program: dead ones beside living ones, log rotation, and the stop."""

import json
import signal
import socket
import time
from pathlib import Path

import pytest

from fakes.reviews import pod, review
from fakes.webhook import running_webhook
from portcullis.audit.sql import SqlRecords
from portcullis.model.record import RecordFilter

pytestmark = [pytest.mark.anyio, pytest.mark.opa, pytest.mark.usefixtures("opa_binary")]

REVIEWS = 60
CALM = """# METADATA
# title: Refuses nothing
# description: Refuses nothing.
# custom: {severity: low, mode: deny}
package portcullis.policies.calm

import rego.v1

deny contains "never" if input.request.name == "nobody"
"""


async def test_dead_sinks_hold_up_neither_answers_nor_records(tmp_path: Path) -> None:
    folder = tmp_path / "policies" / "calm"
    folder.mkdir(parents=True)
    (folder / "policy.rego").write_text(CALM)
    path = tmp_path / "decisions.jsonl"
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(1)  # takes a connection, and never says a word
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}/v1/logs"
        async with running_webhook(
            tmp_path,
            policies={"builtin": False, "folders": [str(folder.parent)]},
            audit={
                "database": "sqlite:///audit.db",
                "sinks": [{"otlp": {"endpoint": endpoint}}, {"file": {"path": str(path)}}],
            },
            limits={"sinkRecords": 20, "sinkFlushSeconds": 1.0},
        ) as running:
            async with running.connected() as connection:
                for number in range(REVIEWS):
                    started = time.monotonic()
                    body = json.dumps(review(pod("web"), uid=f"u-{number}")).encode()
                    assert (await connection.post(body)).response["allowed"] is True
                    assert time.monotonic() - started < 3
                    if number == REVIEWS // 2:
                        path.rename(tmp_path / "moved.jsonl")
                        running.process.send_signal(signal.SIGHUP)
            assert await running.until_logged("moved files are made anew")
            assert await running.until_logged("a sink of the audit log is down")
            page = (await running.get("/metrics")).body.decode()
            started = time.monotonic()
            assert await running.stop(signal.SIGTERM) == 0
            assert time.monotonic() - started < 15
    dropped = next(
        line for line in page.splitlines() if line.startswith('portcullis_audit_sink_dropped_total{sink="otlp"}')
    )
    assert float(dropped.split()[-1]) >= REVIEWS - 20 - REVIEWS // 2
    assert 'portcullis_audit_sink_dropped_total{sink="file"} 0.0' in page
    down = [line for line in running.lines if line["event"] == "a sink of the audit log is down"]
    assert [line["sink"] for line in down] == ["otlp"]
    told = [
        json.loads(line) for name in ("moved.jsonl", path.name) for line in (tmp_path / name).read_text().splitlines()
    ]
    assert [line["request"]["uid"] for line in told] == [f"u-{number}" for number in range(REVIEWS)]
    store = SqlRecords(url=f"sqlite:///{tmp_path}/audit.db", read_only=True)
    await store.start()
    try:
        kept = await store.search(RecordFilter(limit=1000))
    finally:
        await store.aclose()
    assert [record.uid for record in reversed(kept)] == [f"u-{number}" for number in range(REVIEWS)]
