"""The commands in one process: usage, errors in words, exit codes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from typer.testing import CliRunner, Result

from portcullis.cli.main import app

COMMANDS = tuple(
    "serve demo check test lint explain replay inspect dockerfile report verify attest pages audit exceptions health "
    "schema version".split()
)
CONFIG_MAP = '{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}}'
PRIVILEGED = """
apiVersion: v1
kind: Pod
metadata: {name: shell}
spec:
  hostNetwork: true
  containers: [{name: sh, image: registry.example/acme/sh:1, securityContext: {privileged: true}}]
"""


def run(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, arguments, input=stdin, env={"COLUMNS": "120"})


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert len(result.output.splitlines()) > 4


def test_help_lists_every_command_in_a_whole_sentence() -> None:
    output = run("--help").output
    for command in COMMANDS:
        (line,) = [line for line in output.splitlines() if line.startswith(f"  {command} ")]
        assert line.endswith("."), line
        assert not line.endswith("..."), line


def test_light_commands_load_no_heavy_library() -> None:
    code = (
        "import sys; from portcullis.cli.main import app; "
        "print([m for m in ('aiohttp', 'fastapi', 'sqlalchemy', 'uvicorn', 'pydantic', 'cryptography', 'opa_client')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n", done.stderr


def test_schema_is_a_json_schema() -> None:
    assert json.loads(run("schema").stdout)["title"] == "Portcullis policy input"
    assert json.loads(run("schema", "config").stdout)["title"] == "portcullis.yaml"
    assert run("schema", "-o", "json").stdout == run("schema").stdout
    assert run("schema", "nonsense").exit_code == 2


def test_version_as_json() -> None:
    tree = json.loads(run("version", "-o", "json").stdout)
    assert (tree["apiVersion"], tree["kind"]) == ("portcullis.dev/v1", "Version")
    assert tree["version"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("check", "none.yaml"), "no such file"),
        (("check", "-", "--config", "none.yaml"), "cannot be read"),
        (("inspect", "docker-archive:"), "names no path"),
        (("inspect", "a", "--dockerfile", "-o", "json"), "is a text and no JSON"),
        (("attest", "oci-layout:x", "--predicate", "x", "--type", "vuln", "--key", "x"), "oci-layout is no registry"),
        (("attest", "a", "--predicate", "x", "--type", "vuln", "--key", "none.pem"), "none.pem"),
        (("attest", "a", "--predicate", "x", "--type", "what", "--key", "none.pem"), "no predicate type"),
        (("audit", "list"), "no audit log is configured"),
        (("audit", "list", "--since", "never"), "is no time"),
        (("audit", "show", "x"), "an id of a decision"),
    ],
)
def test_a_mistake_is_one_block_of_words(arguments: tuple[str, ...], says: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert says in result.stderr
    assert result.stdout == ""


def test_a_wrong_configuration_names_line_and_key(tmp_path: Path) -> None:
    config = tmp_path / "portcullis.yaml"
    config.write_text("policies: {}\nservr: {}\n")
    result = run("check", "-", "--config", str(config), stdin=CONFIG_MAP)
    assert result.exit_code == 2
    assert f"{config}:2: servr" in result.stderr


@pytest.mark.opa
@pytest.mark.usefixtures("opa_binary")
class TestCheck:
    """Over the real policies; what needs no registry."""

    def test_a_kind_without_a_pod_is_admitted(self) -> None:
        result = run("check", "-", "-o", "json", stdin=CONFIG_MAP)
        assert result.exit_code == 0, result.output
        (decision,) = json.loads(result.stdout)["decisions"]
        assert (decision["source"], decision["verdict"], decision["namespace"]) == ("-#0", "admitted", "default")

    def test_what_the_request_alone_shows_is_refused_without_a_registry(self) -> None:
        result = run("check", "-", "-o", "json", stdin=PRIVILEGED)
        assert result.exit_code == 1, result.output
        (decision,) = json.loads(result.stdout)["decisions"]
        assert {one["policy"] for one in decision["violations"]} >= {"pod-privileges"}
        assert decision["images"] == [{"written": "registry.example/acme/sh:1", "digest": ""}]

    def test_many_objects_come_out_in_order(self, tmp_path: Path) -> None:
        kinds = [f'{{"apiVersion": "v1", "kind": "Kind{number}", "metadata": {{}}}}' for number in range(60)]
        (tmp_path / "many.json").write_text("\n".join(kinds))
        result = run("check", str(tmp_path), "-o", "json")
        decisions = json.loads(result.stdout)["decisions"]
        assert [one["kind"] for one in decisions] == [f"Kind{number}" for number in range(60)]

    def test_what_cannot_be_read_is_undecided_beside_the_rest(self) -> None:
        result = run("check", "-", stdin=f"{CONFIG_MAP}\n---\n- a list\n")
        assert result.exit_code == 2
        assert "1 admitted, 0 refused, 1 undecided" in result.stdout
        assert "manifest-malformed" in result.stdout

    def test_nothing_to_check_is_no_success(self, tmp_path: Path) -> None:
        result = run("check", str(tmp_path), "-o", "json")
        assert result.exit_code == 2
        assert json.loads(result.stdout)["decisions"] == []
        assert "nothing to check" in result.stderr


@pytest.mark.parametrize(
    ("broken", "says"),
    [("key.pem", "key.pem: the file holds no PEM of a private key"), ("report.json", "report.json: ")],
)
def test_attest_names_the_file_that_is_wrong_before_a_registry_is_asked(
    broken: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    for name, content in {"key.pem": pem, "report.json": b"{}", broken: b"[1"}.items():
        Path(name).write_bytes(content)
    result = run("attest", "registry.invalid/x:1", "--predicate", "report.json", "--type", "vuln", "--key", "key.pem")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {says}")


@pytest.mark.parametrize("arguments", [("check", "-"), ("inspect", "a"), ("serve",), ("audit", "list")])
def test_the_configuration_may_be_named_by_the_environment(arguments: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "named.yaml"
    path.write_text("sever: {}")
    result = CliRunner().invoke(app, arguments, input=CONFIG_MAP, env={"PORTCULLIS_CONFIG": str(path)})
    assert result.exit_code == 2
    assert f"{path}:1: sever: there is no such key; did you mean server?" in result.output
