"""``portcullis pages`` with the real OPA: pages of an author's policies, and those of the built-in ones."""

import json
import subprocess
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from portcullis.cli.main import app
from portcullis.policy.pages.readme import read_readme
from portcullis.server.settings import load_settings

pytestmark = pytest.mark.opa

ROOT = Path(__file__).resolve().parents[3]
BUILTIN = sorted(path.parent.name for path in ROOT.glob("policies/*/policy.rego"))

POLICY = """# METADATA
# title: Images come with a team label
# custom:
#   severity: low
#   mode: warn
#   onRequest: {on_request}
#   exceptions: forbidden
#   category: teams
package portcullis.policies.{package}

import rego.v1

import data.portcullis.lib.containers

deny contains containers.violation(i, {{"msg": "no"}}) if some i in containers.all
"""


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["pages", *arguments], env={"COLUMNS": "200"})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two policies: one with README and tests, one that counts on request."""
    policies = tmp_path / "my-policies"
    for name, on_request in (("team_label", "false"), ("on_request", "true")):
        place = policies / name.replace("_", "-")
        place.mkdir(parents=True)
        (place / "policy.rego").write_text(POLICY.format(package=name, on_request=on_request))
    (policies / "team-label" / "README.md").write_text("# team-label\n\nAsk [the other](../on-request/README.md).\n")
    (policies / "team-label" / "policy_test.rego").write_text("package portcullis.policies.team_label_test\n")
    (policies / "README.md").write_text("# ours\n\nThe policies of the platform team.\n")
    (policies / "profiles").mkdir()
    (policies / "profiles" / "strict.yaml").write_text(
        "title: Strict\ndescription: Ours.\npolicies: {team-label: deny}\n"
    )
    return policies


def written(output: Path) -> set[str]:
    return {path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file()}


def test_pages_of_ones_own_policies(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "site"
    done = run(str(folder), "--output", str(output))
    assert done.exit_code == 0, done.output
    assert written(output) == {"index.html", "policies/team-label.html", "policies/on-request.html"}
    index, page = ((output / name).read_text() for name in ("index.html", "policies/team-label.html"))
    for words in ("The policies of the platform team.", "on request", "strict: deny", "teams"):
        assert words in index
    for words in (
        "Ask <a ",
        'href="on-request.html"',
        "team-label/policy_test.rego",
        "forbids exceptions",
        "strict (deny)",
    ):
        assert words in page


def test_the_folder_of_one_policy(folder: Path, tmp_path: Path) -> None:
    done = run(str(folder / "team-label"), "--output", str(tmp_path), "--format", "markdown")
    assert done.exit_code == 0, done.output
    assert "Ask [the other](" in (tmp_path / "policies" / "team-label.md").read_text()
    assert "Ask" not in (tmp_path / "policies.md").read_text()


def test_check_and_what_is_gone(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "site"
    arguments = (str(folder), "--output", str(output), "--format", "markdown")
    assert run(*arguments, "--check").exit_code == 1
    assert not output.exists()
    assert run(*arguments).exit_code == 0
    assert run(*arguments, "--check").exit_code == 0

    (folder / "on-request" / "policy.rego").unlink()
    (output / "policies" / "mine.md").write_text("not one of its pages")
    result = run(*arguments, "--check")
    assert result.exit_code == 1
    assert "policies/on-request.md" in result.output
    assert "2 pages in" in run(*arguments).output
    assert written(output) == {"policies.md", "policies/team-label.md", "policies/mine.md"}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("team-label/policy.rego", "package portcullis.policies.team_label\n\nx := ", "policy.rego:3"),
        ("team-label/README.md", "x" * (1024 * 1024 + 1), "policyBytes"),
        ("team-label/README.md", b"\xff", "not UTF-8"),
        ("profiles/strict.yaml", "[]", "the profile strict cannot be read"),
        ("profiles/strict.yaml", "a: b: c", "the profile strict cannot be read"),
    ],
)
def test_what_is_wrong_is_told_with_its_file(
    folder: Path, tmp_path: Path, name: str, content: str | bytes, said: str
) -> None:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    done = run(str(folder), "--output", str(tmp_path / "site"))
    assert done.exit_code == 2
    assert said in done.output
    assert not (tmp_path / "site").exists()


def test_no_policy_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = run(str(tmp_path / "empty"), "--output", str(tmp_path / "site"))
    assert (done.exit_code, "there is no policy" in done.output) == (2, True)
    assert run(str(tmp_path / "none"), "--output", str(tmp_path / "site")).exit_code == 2


def test_the_pages_of_the_builtin_policies_are_up_to_date() -> None:
    done = run(str(ROOT / "policies"), "--output", str(ROOT / "docs"), "--format", "markdown", "--check")
    assert done.exit_code == 0, f"{done.output}\n`make docs` mends it"
    assert {path.stem for path in (ROOT / "docs" / "policies").iterdir()} == set(BUILTIN)


def snippets(name: str) -> Iterator[dict[str, Any]]:
    """The YAML of the page under "In portcullis.yaml"."""
    readme = read_readme((ROOT / "docs" / "policies" / f"{name}.md").read_text("utf-8"))
    (text,) = (section.text for section in readme.sections if section.title == "In portcullis.yaml")
    for block in text.split("```yaml\n")[1:]:
        yield yaml.safe_load(block.partition("```")[0])


@pytest.mark.parametrize("name", BUILTIN)
def test_what_the_pages_tell_to_configure_is_a_configuration(name: str, tmp_path: Path) -> None:
    whole: dict[str, Any] = {"policies": {}}
    for one in snippets(name):
        for section, content in one.items():
            if section == "policies":
                whole["policies"].update(content)
            else:
                whole[section] = content
    assert whole["policies"]["modes"]
    path = tmp_path / "portcullis.yaml"
    path.write_text(json.dumps(whole, default=datetime.isoformat))
    settings = load_settings(path, {})
    assert name in settings.policies.modes
    assert [policy for one in settings.exceptions for policy in one.policies] == [name]


def test_the_defaults_of_parameters_are_those_of_the_policies(opa_binary: Path, tmp_path: Path) -> None:
    """By the shape that each policy declares, and none is left out."""
    said = {
        name: {one.name: yaml.safe_load(one.default) for one in readme.parameters if one.default}
        for name in BUILTIN
        if (readme := read_readme((ROOT / "policies" / name / "README.md").read_text("utf-8")))
    }
    query = '{name: object.get(data.portcullis.policies[name], "shape", {}) | data.portcullis.policies[name]}'
    done = subprocess.run(
        [
            opa_binary,
            "eval",
            "--format",
            "values",
            "--data",
            ROOT / "policies",
            "--ignore",
            "*_test.rego,*.json,*.yaml",
            query,
        ],
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout
    shapes = {name.replace("_", "-"): shape for name, shape in json.loads(done.stdout)[0].items()}
    assert set(shapes) == set(BUILTIN)
    for name, shape in shapes.items():
        defaults = {key: kind.get("default") for key, kind in shape.items()}
        if name == "scan-severity":
            # Its limit of critical findings is laid below what the operator gives.
            defaults["max"] = {"critical": 0, **defaults["max"]}
        assert {key: value for key, value in defaults.items() if key in said[name]} == said[name], name
