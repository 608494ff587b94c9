"""`audit verify` and `audit prune` as commands: what they say, and what they exit with."""

import asyncio
import json
import zlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from typer.testing import CliRunner, Result

from fakes.chains import KEY, OTHER_KEY, tamper, url_of, written
from portcullis.audit.checkpoints import Signed, Signer
from portcullis.cli.main import app


class Place:
    """A log of five records of which four are old, its configuration and keys."""

    def __init__(self, folder: Path) -> None:
        self.database = folder / "audit.db"
        self.config = folder / "portcullis.yaml"
        self.public = folder / "public.pem"
        self.other = folder / "other.pem"
        self.lines = folder / "log"
        private = folder / "key.pem"
        private.write_bytes(KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        for key, path in ((KEY, self.public), (OTHER_KEY, self.other)):
            path.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        self.config.write_text(f'audit: {{database: "{url_of(self.database)}", checkpoints: {{keyFile: {private}}}}}')
        signed = asyncio.run(written(url_of(self.database), 5, every=2, signer=Signer(KEY)))
        self.publish(signed)

    def publish(self, signed: list[Signed]) -> None:
        lines = [json.dumps({"event": "audit checkpoint", "checkpoint": one.tree()}) for one in signed]
        self.lines.write_text("\n".join(lines))

    def run(self, *arguments: str) -> Result:
        given = ("audit", *arguments, "--config", str(self.config))
        return CliRunner().invoke(app, given, env={"COLUMNS": "120"})


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_log_that_is_proven_exits_with_0(place: Place) -> None:
    result = place.run("verify", "--key", str(place.public), "--checkpoints", str(place.lines))
    assert result.exit_code == 0
    assert "proven  5 records in 1 chain:" in result.stdout
    tree = json.loads(place.run("verify", "--key", str(place.public), "-o", "json").stdout)
    assert (tree["kind"], tree["verdict"], tree["records"], tree["findings"]) == ("AuditVerification", "proven", 5, [])
    assert tree["chains"][0]["signedThrough"] == 5


def test_a_log_that_was_changed_exits_with_1_and_names_the_record(place: Place) -> None:
    tamper(place.database, "UPDATE decisions SET body = replace(body, 'jane', 'john') WHERE id = 'd-3'")
    result = place.run("verify")
    assert result.exit_code == 1
    for words in ("tampered with", "changed", "of gate-0, position 3", "decision d-3, 2026-03-01T12:00:03Z"):
        assert words in result.stdout
    (finding,) = json.loads(place.run("verify", "-o", "json").stdout)["findings"]
    assert (finding["what"], finding["position"], finding["decision"]) == ("changed", 3, "d-3")


def test_an_end_that_was_cut_off_is_known_by_what_was_published(place: Place) -> None:
    tamper(place.database, "DELETE FROM decisions WHERE position > 2", "DELETE FROM checkpoints WHERE position > 2")
    assert place.run("verify", "--key", str(place.public)).exit_code == 0
    result = place.run("verify", "--checkpoints", str(place.lines))
    assert result.exit_code == 1
    assert "records 3 to 5 are missing at the end" in result.stdout
    chain = json.loads(place.run("verify", "-o", "json").stdout)["chains"][0]["chain"]
    assert place.run("verify", "--checkpoints", str(place.lines), "--lost", chain).exit_code == 0


def test_what_cannot_be_checked_exits_with_2(place: Place) -> None:
    result = place.run("verify", "--key", str(place.other))
    assert result.exit_code == 2
    assert "not verified" in result.stdout
    assert "keys that were not given" in result.stdout.replace("\n", " ")
    for arguments in (("--key", "none.pem"), ("--checkpoints", "none")):
        failed = place.run("verify", *arguments)
        assert (failed.exit_code, failed.stdout) == (2, "")
        assert "cannot be read" in failed.stderr


def test_a_policy_set_that_is_another_is_found(place: Place) -> None:
    rows = "INSERT INTO bundles (revision, kind, content) VALUES ('sha256:a', 'configuration', ?), ('b', 'policies', ?)"
    tamper(place.database, rows, values=[zlib.compress(b"{}"), zlib.compress(b"[]")])
    result = place.run("verify", "-o", "json")
    assert result.exit_code == 1
    assert [one["what"] for one in json.loads(result.stdout)["findings"]] == ["bundle", "bundle"]


def test_pruning_says_what_goes_and_leaves_a_log_that_is_proven(place: Place) -> None:
    before = "2026-03-01T12:00:03.5Z"
    planned = place.run("prune", "--before", before, "--dry-run")
    assert planned.exit_code == 0
    assert "3 records from before 2026-03-01T12:00:03Z would go" in planned.stdout
    assert json.loads(place.run("verify", "-o", "json").stdout)["records"] == 5
    tree = json.loads(place.run("prune", "--before", before, "-o", "json").stdout)
    assert (tree["kind"], tree["records"], tree["inputs"], tree["dryRun"]) == ("AuditPrune", 3, 3, False)
    assert [(one["first"], one["through"]) for one in tree["chains"]] == [(1, 3)]
    assert tree["checkpoints"][0]["prunedThrough"]["position"] == 3
    result = place.run("verify", "--key", str(place.public), "--checkpoints", str(place.lines), "-o", "json")
    assert (result.exit_code, json.loads(result.stdout)["records"]) == (0, 2)


def test_pruning_by_size(place: Place) -> None:
    assert "nothing goes" in place.run("prune", "--keep-gibibytes", "1").stdout
    tree = json.loads(place.run("prune", "--keep-gibibytes", "1", "-o", "json", "--dry-run").stdout)
    assert (tree["records"], tree["before"]) == (0, None)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "say what goes"),
        (("--before", "90d", "--keep-gibibytes", "1"), "say what goes"),
        (("--before", "never"), "is no time"),
    ],
)
def test_what_is_to_go_must_be_said(place: Place, arguments: tuple[str, ...], words: str) -> None:
    result = place.run("prune", *arguments)
    assert result.exit_code == 2
    assert words in result.stderr


@pytest.mark.parametrize("command", [("verify",), ("prune", "--before", "1d")])
def test_neither_makes_a_log(place: Place, command: tuple[str, ...]) -> None:
    place.database.unlink()
    assert place.run(*command).exit_code == 2
    assert not place.database.exists()
