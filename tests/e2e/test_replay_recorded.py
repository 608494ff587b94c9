"""Issue 7: records judged again by the policies and the configuration that they were judged by flip nothing, whichever
store they are in."""

import json
import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.support import RunningDemo, portcullis
from fakes.postgres import PostgresServer
from portcullis.audit.sql import SqlRecords, open_records
from portcullis.model.decision import Verdict
from portcullis.model.record import AuditRecord, RecordFilter

pytestmark = [pytest.mark.anyio, pytest.mark.opa, pytest.mark.usefixtures("opa_binary"), pytest.mark.timeout(300)]


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty store."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/audit.db"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    with server.database() as database:
        yield server.url(database)


async def filled(source: Path, url: str) -> Sequence[AuditRecord]:
    """Fills the store with the records of the demo, its policies and configurations; the records, oldest first."""
    async with open_records(f"sqlite:///{source}") as demo:
        found = [await demo.get(record.decision.id) for record in await demo.search(RecordFilter(limit=500))]
        with closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as connection:
            kinds = connection.execute("SELECT revision, kind FROM bundles").fetchall()
        contents = [(revision, kind, await demo.bundles.get(revision)) for revision, kind in kinds]
    records = [record for record in reversed(found) if record is not None]
    store = SqlRecords(url=url)
    await store.start()
    try:
        for revision, kind, content in contents:
            assert content is not None
            await store.bundles.put(revision, kind, content)
        await store.append_many(records)
    finally:
        await store.aclose()
    return records


async def add(url: str, record: AuditRecord) -> None:
    store = SqlRecords(url=url)
    await store.start()
    await store.append(record)
    await store.aclose()


def replayed(config: Path) -> tuple[int, Mapping[str, Any]]:
    """Exit code and what is counted."""
    done = portcullis("replay", "--recorded", "--config", str(config), "-o", "json")
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


async def test_recorded_decisions_stand(running_demo: RunningDemo, tmp_path: Path, url: str) -> None:
    records = await filled(running_demo.config.with_name("audit.db"), url)
    config = tmp_path / "portcullis.yaml"
    for key in running_demo.config.parent.glob("*.pub"):
        shutil.copy(key, tmp_path)
    settings = yaml.safe_load(running_demo.config.read_text())
    settings["audit"] = {"database": url, "journal": "journal"}
    config.write_text(yaml.safe_dump(settings))

    code, found = replayed(config)
    judged = [record for record in records if record.decision.document]
    assert (code, found["summary"]["flipped"], found["violations"]["otherwise"]) == (0, 0, 0)
    assert found["summary"]["records"] == len(records)
    assert found["summary"]["inexact"] == len(records) - len(judged)
    assert found["summary"]["same"] == len(judged) > 20
    assert found["rulings"]["evaluated"] > 100
    assert found["rulings"]["takenOver"] == 0

    # That it can tell: a record that says otherwise than its own input.
    refused = next(record for record in judged if record.decision.verdict is Verdict.REFUSED)
    forged = replace(refused.decision, id="forged", verdict=Verdict.ADMITTED, code=200, violations=(), message="")
    await add(url, replace(refused, decision=forged))
    code, found = replayed(config)
    assert (code, found["summary"]["flipped"]) == (1, 1)
    assert found["flips"] == [{"from": "admitted", "to": "refused", "count": 1}]
