"""Where decisions are recorded: an SQLite database on a claim for one replica, PostgreSQL for more."""

from pathlib import Path
from typing import Any

import pytest

from chart.support import Object, configuration_of, container_of, objects, pod_of, template

URL = "postgresql://gate@db.example:5432/audit?sslmode=verify-full&sslrootcert=system"


def shared(**values: Any) -> dict[str, Any]:
    return {**values, "config": {"audit": {"database": URL}}}


def volumes_of(values: dict[str, Any]) -> dict[str, Object]:
    return {volume["name"]: volume for volume in pod_of(values)["volumes"]}


@pytest.mark.parametrize("replicas", [1, 2, 5])
def test_replicas_share_postgresql_and_roll(replicas: int) -> None:
    values = shared(replicas=replicas)
    spec = objects(values)["Deployment"]["spec"]
    assert spec["replicas"] == replicas
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    assert "PersistentVolumeClaim" not in objects(values)
    assert volumes_of(values)["data"] == {"name": "data", "emptyDir": {"sizeLimit": "5Gi"}}
    audit = configuration_of(values)["audit"]
    assert (audit["database"], audit["journal"]) == (URL, "/var/lib/portcullis/audit.journal")
    assert "passwordFile" not in audit


def test_a_journal_of_ones_own_stays() -> None:
    values = {"config": {"audit": {"database": URL, "journal": "/journal/journal"}}}
    assert configuration_of(values)["audit"]["journal"] == "/journal/journal"


def test_sqlite_belongs_to_one_process() -> None:
    spec = objects()["Deployment"]["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    assert "journal" not in configuration_of()["audit"]


def test_the_password_comes_from_a_secret_and_may_change() -> None:
    """A folder, and no single file of it: the kubelet keeps only whole folders true."""
    values = shared(database={"passwordSecret": {"name": "db", "key": "word"}})
    secret = {"secretName": "db", "items": [{"key": "word", "path": "password"}], "defaultMode": 0o440}
    assert volumes_of(values)["database"] == {"name": "database", "secret": secret}
    (mount,) = [mount for mount in container_of(values)["volumeMounts"] if mount["name"] == "database"]
    assert mount == {"name": "database", "mountPath": "/etc/portcullis/database", "readOnly": True}
    file = Path(configuration_of(values)["audit"]["passwordFile"])
    assert file == Path(mount["mountPath"]) / "password"


NO_SCHEMES_BUT_SQLITE = "sqlite+pysqlite:////var/lib/portcullis/a.db"

CONTRADICTIONS: list[tuple[dict[str, Any], str]] = [
    ({"replicas": 2}, "replicas is 2, but the audit log is an SQLite database"),
    ({"replicas": 2, "config": {"audit": {"database": "sqlite:////x/a.db"}}}, "replicas is 2, but the audit log"),
    ({"replicas": 2, "config": {"audit": {"database": NO_SCHEMES_BUT_SQLITE}}}, "replicas is 2, but the audit log"),
    (
        {"replicas": 2, "config": {"audit": {"database": URL, "replica": "one"}}},
        "replicas is 2, but config.audit.replica gives them one name",
    ),
    (shared(persistence={"existingClaim": "mine"}), "persistence.existingClaim is set, but the audit log is a Postgre"),
    (
        {"config": {"audit": {"database": "postgresql://gate:word@db.example/audit?sslmode=require"}}},
        "config.audit.database has a password in it",
    ),
    ({"database": {"passwordSecret": {"name": "db"}}}, "database.passwordSecret is set, but config.audit.database is"),
    (
        {
            "database": {"passwordSecret": {"name": "db"}},
            "config": {"audit": {"database": URL, "passwordFile": "/x/password"}},
        },
        "database.passwordSecret and config.audit.passwordFile are both set",
    ),
]


@pytest.mark.parametrize(("values", "sentence"), CONTRADICTIONS, ids=lambda part: part if isinstance(part, str) else "")
def test_a_contradiction_is_an_error(values: dict[str, Any], sentence: str) -> None:
    done = template(values=values)
    assert done.returncode == 1
    assert sentence in done.stderr
