"""Files of a replica beside the audit log, and the whole gate over a PostgreSQL."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fakes.pages import OPERATORS
from fakes.postgres import PASSWORD, PostgresServer
from fakes.records import a_record
from fakes.reviews import pod, request
from portcullis.audit.sql import SqlRecords, open_records
from portcullis.cli.main import app
from portcullis.errors import ConfigError, RecordsError
from portcullis.model.decision import Verdict
from portcullis.model.record import RecordFilter
from portcullis.server.auditfiles import journal_path, last_good_path
from portcullis.server.auditsections import Audit
from portcullis.server.compose import compose
from portcullis.server.settings import load_settings

POSTGRES = "postgresql://gate@127.0.0.1/audit"


@pytest.mark.parametrize(
    ("audit", "journal", "last_good"),
    [
        (Audit(database="sqlite:////s/audit.db"), "/s/audit.db.journal", "/s/audit.db.policies"),
        (Audit(database="sqlite:////s/audit.db", journal=Path("/j/x")), "/j/x", "/s/audit.db.policies"),
        (Audit(database=POSTGRES, journal=Path("/j/x")), "/j/x", "/j/x.policies"),
    ],
)
def test_where_they_lie(audit: Audit, journal: str, last_good: str) -> None:
    assert journal_path(audit) == Path(journal)
    assert last_good_path(audit) == Path(last_good)


@pytest.mark.parametrize(
    ("audit", "told"), [(Audit(), "audit.database is missing"), (Audit(database=POSTGRES), "audit.journal is missing")]
)
def test_what_only_the_operator_knows(audit: Audit, told: str) -> None:
    for path in (journal_path, last_good_path):
        with pytest.raises(ConfigError, match=told):
            path(audit)


@pytest.mark.anyio
async def test_what_operators_are_told_to_run(postgres: PostgresServer) -> None:
    """docs/operators-audit-log.md: the gate's user owns its database and nothing else; the reader's reads."""
    page = OPERATORS.replace("ROLE portcullis ", "ROLE portcullis_gate ").replace(
        "OWNER portcullis ", "OWNER portcullis_gate "
    )
    making, reading = re.findall(r"```sql\n(.*?)```", page.partition("### PostgreSQL")[2], re.DOTALL)

    def run(text: str, database: str = "postgres") -> None:
        for statement in text.strip().split(";\n"):
            postgres.execute(statement.removesuffix(";"), database=database)

    try:
        run(making)
        gate = SqlRecords(url=postgres.url("portcullis", user="portcullis_gate", password="a long one"))
        await gate.start()
        run(reading, "portcullis")
        await gate.append(a_record())
        await gate.aclose()
        url = postgres.url("portcullis", user="portcullis_reader", password="another one")
        async with open_records(url) as reader:
            assert len(await reader.search(RecordFilter())) == 1
        with pytest.raises(RecordsError, match="permission denied for database"):
            async with open_records(postgres.url("portcullis")):
                pytest.fail("another user gets in")
    finally:
        postgres.drop("portcullis")
        for role in ("portcullis_gate", "portcullis_reader"):
            postgres.execute(f"DROP ROLE IF EXISTS {role}")


@pytest.mark.anyio
@pytest.mark.opa
@pytest.mark.usefixtures("opa_binary")
async def test_the_gate_and_the_commands_over_postgresql(
    postgres: PostgresServer, postgres_url: str, tmp_path: Path
) -> None:
    """Decided, recorded, listed, shown, and judged again to the same end."""
    (tmp_path / "password").write_text(PASSWORD)
    database = postgres.url(postgres_url.rpartition("/")[2], password="")
    configuration = tmp_path / "portcullis.yaml"
    configuration.write_text(
        f"audit: {{database: '{database}', passwordFile: password, journal: state/journal}}\n"
        "policies: {modes: {'*': warn, image-user: deny}}\n"
    )
    async with compose(load_settings(configuration, {}), with_audit=True) as parts:
        assert parts.records is not None
        decision = await parts.gate.decide(request(pod("not//an image")), parts.clock.monotonic() + 20)
        await parts.records.append(a_record(decision, kind="Pod"))
        assert parts.records.counters.journaled == 0
    assert decision.verdict is Verdict.REFUSED
    assert (tmp_path / "state" / "journal").is_file()

    async def told(*command: str) -> dict[str, Any]:
        arguments = [*command, "--config", str(configuration), "-o", "json"]
        done = await asyncio.to_thread(CliRunner().invoke, app, arguments)
        assert done.exit_code == 0, done.output
        tree: dict[str, Any] = json.loads(done.stdout)
        return tree

    (item,) = (await told("audit", "list", "--verdict", "refused"))["items"]
    assert item["id"] == decision.id
    shown = await told("audit", "show", decision.id[:8])
    assert shown["record"]["input"] == json.loads(decision.document)
    replayed = await told("replay", "--recorded")
    assert replayed["summary"] == {"records": 1, "same": 1, "flipped": 0, "inexact": 0}
    verified = await told("audit", "verify")
    assert verified["kind"]
