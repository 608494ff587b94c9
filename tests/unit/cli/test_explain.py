"""``portcullis explain`` over a manifest, and over a recorded decision."""

import asyncio
import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fakes import decisions
from portcullis.cli.explain import stored_bundle
from portcullis.cli.explainview import covered_json, covered_text
from portcullis.cli.main import app
from portcullis.cli.manifests import Manifest, find_files, read_manifests
from portcullis.cli.requests import local_user, request_of
from portcullis.errors import ConfigError
from portcullis.limits import DEFAULT_LIMITS
from portcullis.server.compose import compose
from portcullis.server.settings import load_settings

pytestmark = pytest.mark.opa

POLICY = """package portcullis.policies.not_shell

import rego.v1

deny contains violation if {
	some c in input.containers
	not good(c)
	violation := {"container": c.name, "msg": "is a shell", "fix": "name it otherwise"}
}

good(c) if c.name != "sh"
"""
POD = """apiVersion: v1
kind: Pod
metadata: {name: tools, namespace: shop}
spec: {containers: [{name: sh, image: "registry.example/a:1"}, {name: web, image: "registry.example/a:1"}]}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "policy.rego").write_text(POLICY)
    (tmp_path / "pod.yaml").write_text(POD)
    (tmp_path / "portcullis.yaml").write_text(
        f"policies: {{builtin: false, folders: [own]}}\naudit: {{database: 'sqlite:///{tmp_path}/audit.db'}}\n"
    )
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ("explain", *arguments), env={"COLUMNS": "120"})


def test_a_manifest(folder: Path) -> None:
    result = run(str(folder / "pod.yaml"), "--config", str(folder / "portcullis.yaml"))
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "Pod shop/tools is refused"
    assert '  container "sh": is a shell.' in lines
    assert any(
        'line 7 `not good(c)`, which holds; line 11 `good(c) if c.name != "sh"` does not' in one for one in lines
    )
    assert '    input.containers[0].name is "sh"' in lines
    assert '  As input: {"containers":[{"name":"sh"}]}' in lines


def test_json_and_one_policy(folder: Path) -> None:
    arguments = (str(folder / "pod.yaml"), "--config", str(folder / "portcullis.yaml"))
    report = json.loads(run(*arguments, "-o", "json", "--policy", "not-shell").stdout)
    (item,) = report["items"]
    (one,) = item["policies"]
    assert (report["kind"], item["verdict"], one["policy"], one["fires"]) == (
        "Explanation",
        "refused",
        "not-shell",
        True,
    )
    assert one["excerpt"] == {"containers": [{"name": "sh"}]}
    assert one["rules"][0]["line"] == 5
    unknown = run(*arguments, "--policy", "nope")
    assert unknown.exit_code == 2
    assert "there is no policy nope" in unknown.stderr


def test_what_refuses_comes_first_under_the_operators_modes_and_the_silent_are_named(folder: Path) -> None:
    for name, condition, said in (
        ("a_warns", 'c.name == "sh"', "W"),
        ("b_silent", "false", "S"),
        ("c_refuses", "true", "R"),
    ):
        (folder / "own" / name).mkdir()
        (folder / "own" / name / "policy.rego").write_text(
            f"package portcullis.policies.{name}\n\nimport rego.v1\n\n"
            f'deny contains {{"msg": "{said}", "container": c.name}} if {{\n'
            f"\tsome c in input.containers\n\t{condition}\n}}\n"
        )
    config = folder / "portcullis.yaml"
    config.write_text(config.read_text().replace("folders: [own]", "folders: [own], modes: {a-warns: warn}"))
    named = run(str(folder / "pod.yaml"), "--config", str(config)).stdout
    titles = [line for line in named.splitlines() if line.endswith(("refuses:", "warns:"))]
    assert titles == ["c-refuses refuses:", "not-shell refuses:", "a-warns warns:"]
    assert "Nothing to say (--all shows what stops each): b-silent" in named.splitlines()
    every = run(str(folder / "pod.yaml"), "--config", str(config), "--all").stdout
    assert "b-silent has nothing to say:" in every.splitlines()
    assert "--all" not in every


def test_policies_that_were_not_asked_are_named_in_one_line(folder: Path) -> None:
    text = POLICY.replace("not_shell", "images").replace("not good(c)", "count(input.images[c.image].platforms) > 3")
    (folder / "own" / "images").mkdir()
    (folder / "own" / "images" / "policy.rego").write_text(text)
    shown = run(str(folder / "pod.yaml"), "--config", str(folder / "portcullis.yaml")).stdout
    assert "Not asked, because others refuse already: images" in shown.splitlines()


def record(folder: Path) -> str:
    """Decides the pod as the webhook would, and keeps the record."""
    settings = load_settings(folder / "portcullis.yaml", os.environ)

    async def decide() -> str:
        async with compose(settings, with_audit=True) as parts:
            (manifest,) = read_manifests(
                find_files([str(folder / "pod.yaml")], DEFAULT_LIMITS), standard_input=None, limits=DEFAULT_LIMITS
            )  # type: ignore[arg-type]
            assert isinstance(manifest, Manifest)
            request = request_of(manifest, namespace="", user=local_user(), limits=DEFAULT_LIMITS)
            decision = await parts.gate.decide(request, parts.clock.monotonic() + 60)
            assert parts.records is not None
            await parts.records.append(decisions.record(decision, kind="Pod", namespace="shop", name="tools"))
            return decision.id

    return asyncio.run(decide())


def test_a_recorded_decision_under_its_own_policies_and_under_a_draft(folder: Path) -> None:
    decision = record(folder)
    (folder / "own" / "policy.rego").write_text(POLICY.replace('!= "sh"', '!= "web"'))
    config = ("--config", str(folder / "portcullis.yaml"))
    recorded = run(decision, *config)
    assert recorded.stdout.startswith("Pod shop/tools was refused"), recorded.stderr
    assert 'container "sh": is a shell' in recorded.stdout
    (folder / "draft").mkdir()
    (folder / "draft" / "policy.rego").write_text(POLICY.replace("not_shell", "draft").replace('!= "sh"', '!= "web"'))
    draft = run(decision, *config, "--policies", str(folder / "draft"), "--policy", "draft")
    assert 'container "web": is a shell' in draft.stdout
    assert run("0123456", *config).exit_code == 2


def test_what_is_covered_is_said_before_what_refuses(folder: Path) -> None:
    config = folder / "portcullis.yaml"
    config.write_text(
        config.read_text()
        + "exceptions:\n  - {id: EX-12, policies: [not-shell], match: {namespaces: [shop]}, reason: soon, owner: dana, "
        "expires: 2199-01-31T00:00:00Z}\n"
    )
    arguments = (str(folder / "pod.yaml"), "--config", str(config))
    lines = run(*arguments).stdout.splitlines()
    assert lines[:3] == ["Pod shop/tools is admitted", "", "not-shell is covered by EX-12 until 2199-01-31T00:00Z"]
    assert "not-shell refuses:" in lines
    (item,) = json.loads(run(*arguments, "-o", "json").stdout)["items"]
    assert item["because"] == "exception"
    assert item["covered"] == [{"policy": "not-shell", "exception": "EX-12", "exceptedUntil": "2199-01-31T00:00:00Z"}]


def test_by_a_grant_both_violations_and_outages() -> None:
    shown = covered_text(decisions.let_in()).plain.splitlines()
    by = "is covered by break-glass:shop/payments-down until 2026-11-24T15:00Z"
    assert shown == [f"image-user {by}", f"scan-required {by}"]
    assert [one["policy"] for one in covered_json(decisions.let_in())] == ["image-user", "scan-required"]


def test_policies_that_are_not_recorded_or_none() -> None:
    with pytest.raises(ConfigError, match="not in the audit log"):
        stored_bundle("sha256:0", None)
    with pytest.raises(ConfigError, match="no policy set"):
        stored_bundle("sha256:0", b'{"sources": 1}')
