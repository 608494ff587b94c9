"""``exceptions list``: what is let through, until when, and how much that was."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest
from typer.testing import CliRunner

from fakes.grants import REASON, GrantServer, grant, kubeconfig_of, put
from fakes.records import a_decision, a_record
from portcullis.audit.sql import SqlRecords
from portcullis.cli import exceptions
from portcullis.cli.main import app
from portcullis.model.decision import Verdict

CONFIGURATION = """
audit: {database: "sqlite:///audit.db"}
exceptions:
  - id: EX-12
    policies: [image-shell, image-user]
    match: {namespaces: [legacy], images: ["registry.example/old/**"]}
    reason: moves to distroless in January
    owner: payments@example.com
    expires: 2126-01-31T00:00:00Z
  - id: EX-1
    policies: [image-user]
    match: {kinds: [Job]}
    reason: was short
    owner: ops@example.com
    expires: 2026-01-31T00:00:00Z
"""


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    path = tmp_path / "portcullis.yaml"
    path.write_text(CONFIGURATION)
    return path


async def fill(database: Path, days: list[float], exception: str) -> None:
    store = SqlRecords(url=f"sqlite:///{database}")
    await store.start()
    for ago in days:
        decision = a_decision(denied=["image-user"], decided_at=datetime.now(UTC) - timedelta(days=ago))
        excepted = tuple(replace(one, exception=exception) for one in decision.violations)
        await store.append(a_record(replace(decision, violations=excepted)))
    await store.append(a_record(a_decision(denied=["image-user"], decided_at=datetime.now(UTC))))
    await store.aclose()


def listed(configuration: Path, *more: str) -> list[dict[str, object]]:
    done = CliRunner().invoke(app, ["exceptions", "list", "--config", str(configuration), "-o", "json", *more])
    assert done.exit_code == 0, done.output
    tree = json.loads(done.stdout)
    assert tree["kind"] == "ExceptionList"
    items: list[dict[str, object]] = tree["items"]
    return items


def test_owner_expiry_and_use(configuration: Path) -> None:
    anyio.run(fill, configuration.parent / "audit.db", [0.1, 2, 30], "EX-12")
    active, ended = listed(configuration)
    assert (active["id"], active["owner"], active["active"]) == ("EX-12", "payments@example.com", True)
    assert active["match"] == {"namespaces": ["legacy"], "images": ["registry.example/old/**"]}
    assert (active["decisions"], active["moreDecisions"]) == (2, False)
    assert active["lastUsed"] is not None
    assert (ended["active"], ended["decisions"], ended["lastUsed"]) == (False, 0, None)
    assert listed(configuration, "--since", "60d")[0]["decisions"] == 3


def test_more_than_are_counted(configuration: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exceptions, "COUNTED", 2)
    anyio.run(fill, configuration.parent / "audit.db", [0.1, 0.2, 0.3], "EX-12")
    active, _ = listed(configuration)
    assert (active["decisions"], active["moreDecisions"]) == (2, True)


def test_without_an_audit_log_the_use_is_not_known(configuration: Path) -> None:
    configuration.write_text(CONFIGURATION.replace('audit: {database: "sqlite:///audit.db"}', ""))
    assert [one["decisions"] for one in listed(configuration)] == [None, None]


def test_as_a_table(configuration: Path) -> None:
    anyio.run(fill, configuration.parent / "audit.db", [0.1], "EX-12")
    command = ["exceptions", "list", "--config", str(configuration)]
    done = CliRunner().invoke(app, command, env={"COLUMNS": "120"})
    assert done.exit_code == 0, done.output
    for words in ("EX-12", "image-shell, image-user", "payments@example.com", "2126-01-31", "ended", "kinds: Job"):
        assert words in done.stdout


async def fill_grants(database: Path) -> None:
    """What a grant let through, and who made it, and one of the name before, and tried to."""
    await fill(database, [0.1, 0.2], "break-glass:shop/now")
    store = SqlRecords(url=f"sqlite:///{database}")
    await store.start()
    made, tried = a_decision(), replace(a_decision(), verdict=Verdict.REFUSED, code=403)
    told = (
        ("old@example.test", "CREATE", made),
        ("eve@example.test", "CREATE", made),
        ("ops@example.test", "DELETE", made),
        ("bob@example.test", "CREATE", tried),
    )
    for number, (who, operation, decision) in enumerate(told):
        named = {"kind": "BreakGlass", "namespace": "shop", "name": "now", "username": who, "operation": operation}
        await store.append(replace(a_record(replace(decision, id=f"grant-{number}")), **named))
    await store.aclose()


def test_grants_of_the_cluster_with_who_made_them_and_what_they_let_through(
    configuration: Path, tmp_path: Path
) -> None:
    anyio.run(fill_grants, configuration.parent / "audit.db")
    server = GrantServer()
    put(server, "shop", "now", grant())
    put(server, "bank", "wrong", grant(policies=[]))
    with kubeconfig_of(server, tmp_path) as kubeconfig:
        command = ["exceptions", "list", "--config", str(configuration), "--kubeconfig", str(kubeconfig)]
        done = CliRunner().invoke(app, [*command, "-o", "json"])
        assert done.exit_code == 0, done.output
        tree = json.loads(done.stdout)
        shown = CliRunner().invoke(app, command, env={"COLUMNS": "120"}).stdout
    assert [one["id"] for one in tree["items"]] == ["EX-12", "EX-1"]
    wrong, now = tree["grants"]
    assert (now["id"], now["active"], now["madeBy"]) == ("break-glass:shop/now", True, "eve@example.test")
    assert (now["decisions"], now["moreDecisions"], now["reason"]) == (2, False, REASON)
    assert (wrong["active"], wrong["madeBy"], wrong["decisions"]) == (False, "", 0)
    assert "spec.policies" in wrong["invalid"]
    for words in ("EX-12", "Break-glass", "shop/now", "eve@example.test", "2 h left", "counts for nothing"):
        assert words in shown


def test_a_cluster_is_asked_where_the_configuration_lets_grants_count(
    configuration: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    webhook = "cluster: {webhook: {name: portcullis}, breakGlass: true}\n"
    configuration.write_text(webhook + CONFIGURATION)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    done = CliRunner().invoke(app, ["exceptions", "list", "--config", str(configuration)])
    assert done.exit_code == 2
    assert "no file that KUBECONFIG names exists" in done.stderr


def test_none_at_all(tmp_path: Path) -> None:
    (tmp_path / "portcullis.yaml").write_text("policies: {}")
    done = CliRunner().invoke(app, ["exceptions", "list", "--config", str(tmp_path / "portcullis.yaml")])
    assert (done.exit_code, done.stdout) == (0, "")


def test_the_log_is_searched_by_exception(configuration: Path) -> None:
    anyio.run(fill, configuration.parent / "audit.db", [0.1], "EX-12")
    command = ["audit", "list", "--config", str(configuration), "-o", "json", "--exception"]
    for exception, count in (("EX-12", 1), ("EX-1", 0)):
        done = CliRunner().invoke(app, [*command, exception])
        items = json.loads(done.stdout)["items"]
        assert len(items) == count
        assert all(one["violations"][0]["exception"] == exception for one in items)
