"""What docs/authors.md and the pages for those who come from elsewhere show: Rego, configuration, hooks, pipelines."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command
from typer.testing import CliRunner

from portcullis.cli.main import app
from portcullis.policy.schema import document_schema
from portcullis.server.settings import Settings, load_settings
from unit.policy.test_policies import opa

ROOT = Path(__file__).resolve().parents[3]
LIBRARY = ROOT / "policies" / "lib"
COMING = ("coming-from-gatekeeper", "coming-from-kyverno", "coming-from-policy-controller")
PAGES = ("authors", *COMING)
SECTIONS = frozenset(field.alias or name for name, field in Settings.model_fields.items())


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / "docs" / f"{page}.md").read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def documents(page: str) -> Iterator[dict[str, Any]]:
    for block in blocks(page, "yaml"):
        document = yaml.safe_load(block)
        assert isinstance(document, dict), block
        yield document


@pytest.mark.opa
@pytest.mark.parametrize("page", COMING)
def test_the_examples_compile_and_pass_their_own_tests(opa_binary: Path, tmp_path: Path, page: str) -> None:
    policy, tests = blocks(page, "rego")
    schema = tmp_path / "input.json"
    schema.write_text(json.dumps(document_schema()))
    folder = tmp_path / "my-policies"
    folder.mkdir()
    (folder / "policy.rego").write_text(policy)
    (folder / "policy_test.rego").write_text(tests)
    for arguments in (
        ("fmt", "--diff", "--fail", str(folder)),
        ("check", "--strict", "--schema", str(schema), str(folder / "policy.rego"), str(LIBRARY)),
        ("test", str(folder), str(LIBRARY), "--run", r"portcullis\.policies"),
    ):
        done = opa(opa_binary, *arguments)
        assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    done = opa(opa_binary, "test", str(folder), str(LIBRARY), "--coverage", "--run", r"portcullis\.policies")
    covered = json.loads(done.stdout)["files"]
    assert covered[str(folder / "policy.rego")]["coverage"] > 90


@pytest.mark.parametrize("page", PAGES)
def test_configurations_that_are_shown_are_read(page: str, tmp_path: Path) -> None:
    """Whatever begins with a section of portcullis.yaml."""
    (tmp_path / "my-policies").mkdir()
    found = [one for one in documents(page) if SECTIONS & one.keys()]
    assert found
    for number, document in enumerate(found):
        path = tmp_path / f"{number}.yaml"
        path.write_text(json.dumps(document, default=lambda time: time.isoformat()))
        load_settings(path, {})


@pytest.mark.parametrize("page", PAGES)
def test_no_yaml_is_of_an_unknown_kind(page: str) -> None:
    for document in documents(page):
        ours = document.keys() <= SECTIONS
        assert ours or document.keys() & {"apiVersion", "jobs", "repos", "check-policies"}, document.keys()


@pytest.mark.opa
def test_the_policy_in_the_config_map_compiles(opa_binary: Path, tmp_path: Path) -> None:
    (found,) = [one for one in documents("authors") if one.get("kind") == "ConfigMap"]
    (tmp_path / "policy.rego").write_text(found["data"]["policy.rego"])
    done = opa(opa_binary, "check", "--strict", str(tmp_path))
    assert done.returncode == 0, done.stderr


def command_lines() -> Iterator[str]:
    """In the pipelines, the hooks, and the shell blocks of all pages."""
    for page in PAGES:
        for block in blocks(page, "sh"):
            yield from block.splitlines()
        for document in documents(page):
            jobs = [*document.get("jobs", {}).values(), document.get("check-policies") or {}]
            for job in jobs:
                yield from (step["run"] for step in job.get("steps", ()) if "run" in step)
                yield from job.get("script", ())
    for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text()):
        yield f"{hook['entry']} my-policies"


def test_every_command_that_is_shown_knows_its_options() -> None:
    """Those of the pages are also run, in tests/e2e/test_docs.py; those of pipelines and hooks are not."""
    root = get_command(app)
    shown = set()
    for line in command_lines():
        words = shlex.split(line, comments=True)
        if words[:1] != ["portcullis"]:
            continue
        shown.add(words[1])
        command = root.commands[words[1]]  # type: ignore[attr-defined]
        while hasattr(command, "commands"):
            command = command.commands[words[2]]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if re.match(r"-[a-z-]", word)} <= known, line
    assert shown >= {"test", "lint", "check", "explain", "replay", "pages", "exceptions", "serve", "audit", "inspect"}


def test_the_hooks_are_those_that_the_page_uses() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert all({"id", "name", "entry", "language", "pass_filenames"} <= hook.keys() for hook in hooks)
    (used,) = [one["repos"] for one in documents("authors") if "repos" in one]
    assert [hook["id"] for hook in used[0]["hooks"]] == [hook["id"] for hook in hooks]


@pytest.mark.opa
def test_gatekeepers_example_says_what_is_shown(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "coming-from-gatekeeper.md").read_text("utf-8")
    folder = tmp_path / "gatekeeper"
    folder.mkdir()
    for name, content in re.findall(r"^`gatekeeper/([\w.]+)`:\n\n```yaml\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        (folder / name).write_text(content)
    (shown,) = re.findall(r"^```\n\n```\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    tested = CliRunner().invoke(app, ("test", str(folder)))
    assert tested.exit_code == 0, tested.output
    first, *verdict = shown.split("\n")
    assert tested.stdout.strip() == first
    checked = CliRunner().invoke(
        app, ("check", str(folder / "service.yaml"), "--policies", str(folder)), env={"COLUMNS": "100"}
    )
    assert checked.exit_code == 0, checked.output
    # The folder has another path here, so that words are compared and not columns.
    assert set(" ".join(verdict).split()) - {"gatekeeper/service.yaml#0"} <= set(checked.stdout.split())


def test_the_template_and_its_constraint_go_together() -> None:
    template, constraint, suite, service, _ = documents("coming-from-gatekeeper")
    kind = template["spec"]["crd"]["spec"]["names"]["kind"]
    assert constraint["kind"] == kind
    assert template["metadata"]["name"] == kind.lower()
    name = f"{kind.lower()}.{constraint['metadata']['name']}"
    text = (ROOT / "docs" / "coming-from-gatekeeper.md").read_text("utf-8")
    assert f"`{name}`" in text
    assert f"modes: {{{name}: audit" in text
    assert service["kind"] in constraint["spec"]["match"]["kinds"][0]["kinds"]
    for key in ("template", "constraint"):
        assert f"`gatekeeper/{suite['tests'][0][key]}`:" in text
