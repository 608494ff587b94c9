"""Break-glass with everything down at once: the registry, the policy engine and the database. A review in, its answer
out, and the record in the journal; tests/e2e/test_break_glass.py shows the same in a cluster."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fakes.asgi import call
from fakes.callers import by_path
from fakes.engine import ScriptedEngine
from fakes.records import SystemClock
from fakes.registry import MemoryRegistry
from fakes.reviews import pod, review
from portcullis.audit.journal import Journal
from portcullis.audit.redact import Redactor
from portcullis.audit.sql import SqlRecords
from portcullis.audit.writer import AuditLog
from portcullis.decision.grants import Grants
from portcullis.errors import EngineUnavailable
from portcullis.limits import Limits
from portcullis.model.grant import Grant
from portcullis.model.record import AuditRecord
from portcullis.server.app import Webhook
from portcullis.server.recording import Recorder
from portcullis.server.sampling import Sampling
from portcullis.server.telemetry import Metrics
from portcullis.server.validate import ReviewHandler
from portcullis.standing import Current
from unit.test_gate import IMAGE, Bench, Clock
from unit.test_gate_grants import GRANT, Unreached

pytestmark = pytest.mark.anyio

LIMITS = Limits(append_seconds=0.2)


@dataclass
class Running:
    """What answers, with its journal."""

    webhook: Webhook
    journal: Journal
    metrics: Metrics

    async def ask(self) -> Any:
        answered = await call(self.webhook, "/validate", [json.dumps(review(pod(IMAGE))).encode()])
        return answered.response

    def kept(self) -> list[AuditRecord]:
        return [entry.record for entry in self.journal.read(records=100, size=2**20).entries]


@asynccontextmanager
async def all_down(folder: Path, *grants: Grant) -> AsyncIterator[Running]:
    bench = Bench(engine=ScriptedEngine(error=EngineUnavailable("OPA is not there")), registry=MemoryRegistry())
    bench.grants = lambda _: Grants(grants)
    clock, metrics, standing = SystemClock(), Metrics(), Current(bench.standing())
    store = SqlRecords(url="postgresql://gate@127.0.0.1:1/gate?sslmode=disable", limits=LIMITS)
    journal = Journal(path=folder / "journal", limits=LIMITS)
    log = AuditLog(store=store, journal=journal, limits=LIMITS, clock=clock)
    await log.start()
    recorder = Recorder(
        records=log,
        clock=clock,
        metrics=metrics,
        standing=standing,
        text=Redactor().text,
        sampling=Sampling(verifying=False, per_minute=60, clock=clock, metrics=metrics),
        also=lambda _: None,
    )
    gate = bench.gate(Unreached(bench.registry))
    handler = ReviewHandler(
        gate=gate, recorder=recorder, clock=clock, limits=LIMITS, metrics=metrics, callers=by_path()
    )
    try:
        yield Running(Webhook(reviews=handler, maps=None, standing=standing), journal, metrics)
    finally:
        await log.aclose()


async def test_a_grant_lets_in_and_the_journal_says_so(tmp_path: Path) -> None:
    async with all_down(tmp_path, GRANT) as running:
        answer = await running.ask()
        (record,) = running.kept()
    assert answer["allowed"]
    assert answer["auditAnnotations"].items() >= {"break-glass": GRANT.id, "verdict": "admitted"}.items()
    assert answer["warnings"][0].startswith("[break-glass] shop/down until 2026-11-24T13:00Z: lets 3 policies")
    assert (record.decision.because, record.decision.grants, record.name) == ("break-glass", (GRANT,), "web")
    assert record.decision.id == answer["auditAnnotations"]["decision-id"]
    decided = {"verdict": "admitted", "code": "200", "because": "break-glass"}
    assert running.metrics.registry.get_sample_value("portcullis_decisions_total", decided) == 1


@pytest.mark.parametrize(
    "grants",
    [
        (),
        (replace(GRANT, covers_problems=False),),
        (replace(GRANT, images=("registry.example/other/**",)),),
        (replace(GRANT, expires=Clock().now() - timedelta(seconds=1)),),
    ],
    ids=["none", "for violations alone", "for another image", "one that has ended"],
)
async def test_without_one_that_holds_it_is_an_outage(tmp_path: Path, grants: tuple[Grant, ...]) -> None:
    async with all_down(tmp_path, *grants) as running:
        answer = await running.ask()
        (record,) = running.kept()
    assert (answer["allowed"], answer["status"]["code"]) == (False, 503)
    assert "break-glass" not in answer["auditAnnotations"]
    assert record.decision.grants == ()
