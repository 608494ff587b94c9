"""Fixtures, judged by the real gate and the real OPA with facts from policies/testdata."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from fakes.disk import saved_files, tar_of
from fakes.records import a_decision, a_record
from portcullis.cli.testing.fixtures import read_fixtures
from portcullis.cli.testing.judging import FixtureJudge, judging
from portcullis.limits import DEFAULT_LIMITS
from portcullis.policy.bundle import builtin_policies
from portcullis.policy.testing.results import Outcome, Result
from portcullis.server.recordjson import record_json

pytestmark = [pytest.mark.anyio, pytest.mark.opa]

WEB = "registry.example/acme/web:1.4"
POLICY = """# METADATA
# title: Teams are named
# description: A namespace says whose it is.
# custom: {severity: low, mode: deny}
package portcullis.policies.team_label

import rego.v1

deny contains "the namespace names no team" if not input.namespace.labels.team

deny contains "strict is set" if data.portcullis.parameters["team-label"].strict
"""


def testdata(name: str) -> dict[str, Any]:
    tree: dict[str, Any] = json.loads((builtin_policies() / "testdata" / f"{name}.json").read_text())
    return tree


testdata.__test__ = False  # type: ignore[attr-defined]


def recorded(name: str, **changes: Any) -> dict[str, Any]:
    """What `inspect -o json` prints, of the first image of a document, under the name WEB."""
    document = testdata(name)
    image = {**next(iter(document["images"].values())), **changes}
    time, containers = document["time"], document["containers"]
    kinds = {"apiVersion": "portcullis.dev/v1", "kind": "PolicyInput"}
    return {**kinds, "time": time, "containers": containers, "images": {WEB: image}}


def pod(image: str = WEB, **context: Any) -> dict[str, Any]:
    container = {"name": "web", "image": image, "securityContext": context}
    spec = {"containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": spec}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fixtures")
    policies = folder / "policies" / "team-label"
    policies.mkdir(parents=True)
    (policies / "policy.rego").write_text(POLICY)
    for name in ("clean", "tools", "missing-image"):
        (folder / f"{name}.json").write_text(json.dumps(recorded(name)))
    (folder / "pod.yaml").write_text(yaml.safe_dump_all([pod(), pod("registry.example/acme/other:1")]))
    return folder


@pytest.fixture(scope="module")
async def judge(opa_binary: Path, folder: Path) -> AsyncIterator[FixtureJudge]:
    """One judge, whose fixtures name the same policies, so that one OPA serves them all."""
    async with judging(folders=[folder / "policies"], builtin=True, binary=opa_binary, limits=DEFAULT_LIMITS) as made:
        yield made


POLICIES = ["image-user", "image-build-tools", "image-shell", "team-label", "pod-privileges"]
LABELLED = {"name": "shop", "labels": {"team": "payments"}}


async def result(judge: FixtureJudge, folder: Path, **said: Any) -> Result:
    fixture = {
        "apiVersion": "portcullis.dev/v1",
        "kind": "PolicyFixture",
        "name": "case",
        "policies": POLICIES,
        "namespace": LABELLED,
        "expect": {"verdict": "admitted"},
        **said,
    }
    path = folder / "fixture.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in fixture.items() if value is not None}))
    (read,) = read_fixtures(path, DEFAULT_LIMITS)
    return await judge.judge(read)


GOOD: Mapping[str, Mapping[str, Any]] = {
    "clean": {"manifest": pod(), "facts": ["clean.json"]},
    "inline facts": {"manifest": pod(), "facts": [recorded("clean")]},
    "a file with several objects": {"manifest": "pod.yaml#0", "facts": ["clean.json"]},
    "facts under another name": {
        "manifest": pod("other.example/web:2"),
        "facts": [{"path": "clean.json", "image": "other.example/web:2"}],
    },
    "no pod, no facts": {"manifest": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}},
    "tools": {
        "manifest": pod(),
        "facts": ["tools.json"],
        "expect": {
            "verdict": "refused",
            "code": 403,
            "violations": [
                {"policy": "image-build-tools", "container": "web", "image": WEB, "mode": "deny", "count": 1},
                {"policy": "image-shell", "msg": {"matches": "^has a shell"}},
            ],
        },
    },
    "the pod's own user": {
        "manifest": pod(runAsUser=0),
        "facts": ["clean.json"],
        "expect": {"violations": [{"policy": "image-user", "msg": {"matches": r"\(runAsUser\)"}}]},
    },
    "modes": {
        "manifest": pod(),
        "facts": ["tools.json"],
        "modes": {"image-build-tools": "warn", "image-shell": "audit"},
        "expect": {"verdict": "admitted", "violations": [{"policy": "image-build-tools", "mode": "warn"}]},
    },
    "parameters": {
        "manifest": pod(),
        "facts": [recorded("clean")],
        "parameters": {"team-label": {"strict": True}},
        "expect": {"violations": [{"policy": "team-label", "msg": "strict is set"}]},
    },
    "labels of the namespace": {
        "manifest": pod(),
        "facts": ["clean.json"],
        "namespace": {"name": "shop"},
        "expect": {"violations": [{"policy": "team-label", "msg": "the namespace names no team"}]},
    },
    "an exception": {
        "manifest": pod(runAsUser=0),
        "facts": ["clean.json"],
        "exceptions": [
            {
                "id": "EX-1",
                "policies": ["image-user"],
                "match": {"namespaces": ["shop"]},
                "reason": "moves",
                "owner": "a@acme.dev",
                "expires": "2027-01-31T00:00:00Z",
            }
        ],
        "expect": {
            "verdict": "admitted",
            "code": 200,
            "violations": [{"policy": "image-user", "mode": "deny", "exception": "EX-1"}],
        },
    },
    "an exception covers what nobody expects": {
        "manifest": pod(runAsUser=0),
        "facts": ["clean.json"],
        "exceptions": [
            {
                "id": "EX-1",
                "policies": ["image-user"],
                "match": {"namespaces": ["shop"]},
                "reason": "moves",
                "owner": "a@acme.dev",
                "expires": "2027-01-31T00:00:00Z",
            }
        ],
        "expect": {"violations": []},
    },
    "an exception that is over": {
        "manifest": pod(runAsUser=0),
        "facts": ["clean.json"],
        "time": "2027-01-31T00:00:00Z",
        "exceptions": [
            {
                "id": "EX-1",
                "policies": ["image-user"],
                "match": {"namespaces": ["shop"]},
                "reason": "moves",
                "owner": "a@acme.dev",
                "expires": "2027-01-31T00:00:00Z",
            }
        ],
        "expect": {"verdict": "refused"},
    },
    "an outage": {
        "manifest": pod(),
        "facts": ["missing-image.json"],
        "expect": {"verdict": "refused", "undecided": ["image-user", "image-build-tools", "image-shell"]},
    },
}


@pytest.mark.parametrize("name", GOOD)
async def test_verdicts(judge: FixtureJudge, folder: Path, name: str) -> None:
    found = await result(judge, folder, **GOOD[name])
    assert found.outcome is Outcome.PASSED, f"{found.message}\n" + "\n".join(found.diff)


async def test_labels_that_nobody_says_leave_a_policy_undecided(judge: FixtureJudge, folder: Path) -> None:
    expect = {"verdict": "undecided", "code": 503, "undecided": ["team-label"]}
    found = await result(judge, folder, manifest=pod(), facts=["clean.json"], namespace=None, expect=expect)
    assert found.outcome is Outcome.PASSED, found.message


WRONG: Mapping[str, tuple[Mapping[str, Any], tuple[str, ...], tuple[str, ...]]] = {
    "verdict": (
        {"verdict": "admitted", "code": 200},
        ("the verdict is refused, not admitted", "the code is 403, not 200"),
        ("- verdict: admitted", "+ verdict: refused"),
    ),
    "one that is not there": (
        {"violations": [{"policy": "image-user"}, {"policy": "image-build-tools"}, {"policy": "image-shell"}]},
        ("there is no violation image-user",),
        ("- image-user",),
    ),
    "one too many": (
        {"violations": [{"policy": "image-build-tools"}]},
        ("unexpected violations: 1, of image-shell",),
        ("+ deny image-shell container",),
    ),
    "count": (
        {"violations": [{"policy": "image-build-tools", "count": 2}, {"policy": "image-shell"}]},
        ("there are 1 violations image-build-tools, not 2",),
        ("- image-build-tools × 2", "+ deny image-build-tools"),
    ),
    "message": (
        {"violations": [{"policy": "image-build-tools", "msg": "has none"}, {"policy": "image-shell"}]},
        ("there is no violation image-build-tools: has none",),
        ("- image-build-tools: has none", "+ deny image-build-tools"),
    ),
    "undecided": (
        {"undecided": ["image-user"]},
        ("image-user was judged, and should be undecided",),
        ("- undecided image-user",),
    ),
}


@pytest.mark.parametrize("name", WRONG)
async def test_what_is_not_as_expected_is_said(judge: FixtureJudge, folder: Path, name: str) -> None:
    expect, says, shows = WRONG[name]
    found = await result(judge, folder, manifest=pod(), facts=["tools.json"], expect=expect)
    assert found.outcome is Outcome.FAILED
    for words in says:
        assert words in found.message
    for line in shows:
        assert any(shown.startswith(line) for shown in found.diff), found.diff


BROKEN: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "an image without facts": (
        {"manifest": pod("registry.example/acme/api:1"), "facts": ["clean.json"]},
        f"no facts are recorded of registry.example/acme/api:1 (there are those of {WEB})",
    ),
    "no facts at all": ({"manifest": pod()}, f"no facts are recorded of {WEB} (there are those of none)"),
    "no file": ({"manifest": pod(), "facts": ["none.json"]}, "none.json: there is no such file"),
    "no manifest": ({"manifest": "none.yaml"}, "none.yaml: there is no such file"),
    "several objects": ({"manifest": "pod.yaml", "facts": ["clean.json"]}, "holds 2 objects; name one"),
    "no object": ({"manifest": {"kind": "Pod"}}, "without apiVersion"),
    "no facts": ({"manifest": pod(), "facts": [{"kind": "Pod"}]}, "portcullis inspect -o json is expected"),
    "facts twice": ({"manifest": pod(), "facts": ["clean.json", "tools.json"]}, "has facts already"),
    "a fact that is missing": (
        {"manifest": pod(), "facts": [{"time": {"now": "2026-11-24T12:00:00Z"}, "images": {WEB: {"digest": None}}}]},
        "'attestations' is missing: recorded by another version",
    ),
    "an unknown fact": ({"manifest": pod(), "facts": [recorded("clean", colour="red")]}, "'colour' is not known"),
    "no time": ({"manifest": pod(), "facts": [{**recorded("clean"), "time": {}}]}, "time.now is missing"),
    "a wrong time": ({"manifest": pod(), "facts": ["clean.json"], "time": "today"}, "write 2026-11-24T12:00:00Z"),
    "a policy that is not there": (
        {"manifest": pod(), "facts": ["clean.json"], "modes": {"image-usr": "warn"}},
        "did you mean image-user?",
    ),
    "a wrong exception": (
        {"manifest": pod(), "facts": ["clean.json"], "exceptions": [{"id": "EX-1"}]},
        "exceptions.0",
    ),
    "no decision": ({"decision": {"record": {}}}, "portcullis audit show ID -o json prints one"),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_what_a_fixture_lacks_is_said(judge: FixtureJudge, folder: Path, name: str) -> None:
    said, says = BROKEN[name]
    found = await result(judge, folder, **said)
    assert found.outcome is Outcome.BROKEN, found.message
    assert says in found.message


async def test_facts_that_were_not_recorded_leave_a_policy_undecided(judge: FixtureJudge, folder: Path) -> None:
    """A recorded decision holds what its own policies needed."""
    facts = recorded("clean")
    for platform in facts["images"][WEB]["platforms"]:
        platform["contents"]["status"] = "skipped"
    expect = {"verdict": "refused", "undecided": ["image-build-tools", "image-shell"]}
    found = await result(judge, folder, manifest=pod(), facts=[facts], expect=expect)
    assert found.outcome is Outcome.PASSED, f"{found.message}\n" + "\n".join(found.diff)
    found = await result(judge, folder, manifest=pod(), facts=[facts], expect={"undecided": []})
    assert "facts-not-recorded" in "\n".join(found.diff)


async def test_ages_follow_the_time_of_the_fixture(judge: FixtureJudge, folder: Path) -> None:
    said = {"manifest": pod(), "facts": ["clean.json"], "policies": ["scan-fresh"]}
    found = await result(judge, folder, **said)
    assert found.outcome is Outcome.PASSED, found.message
    expect = {"violations": [{"policy": "scan-fresh"}]}
    found = await result(judge, folder, **said, time="2027-11-24T12:00:00Z", expect=expect)
    assert found.outcome is Outcome.PASSED, found.message


def decided(name: str, **problem: Any) -> dict[str, Any]:
    """What `audit show -o json` prints."""
    document = testdata(name)
    request = {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "name": "web",
        "namespace": "shop",
        "operation": "CREATE",
        "userInfo": {"username": "ada"},
        "object": pod(next(iter(document["images"]))),
    }
    problems = [problem] if problem else []
    record = {"id": "x", "problems": problems, "input": {**document, "request": request}}
    return {"apiVersion": "portcullis.dev/v1", "kind": "AuditRecord", "record": record}


async def test_recorded_decisions_are_judged_again(judge: FixtureJudge, folder: Path) -> None:
    (folder / "decision.json").write_text(json.dumps(decided("tools")))
    expect = {"violations": [{"policy": "image-build-tools"}, {"policy": "image-shell"}]}
    found = await result(judge, folder, decision="decision.json", expect=expect)
    assert found.outcome is Outcome.PASSED, found.message
    found = await result(judge, folder, decision=decided("clean"))
    assert found.outcome is Outcome.PASSED, found.message


async def test_what_was_pending_is_pending_again(judge: FixtureJudge, folder: Path) -> None:
    tree = decided("clean")
    (image,) = tree["record"]["input"]["images"]
    problem = {"stage": "inspection", "reason": "inspection-pending", "retryable": True, "msg": "still"}
    tree["record"]["input"]["images"][image]["problems"] = [problem]
    tree["record"]["problems"] = [{**problem, "pending": True, "image": image}]
    expect = {"verdict": "undecided", "code": 429}
    found = await result(judge, folder, decision=tree, expect=expect)
    assert found.outcome is Outcome.PASSED, found.message


async def test_what_inspect_prints_is_a_fixtures_facts(judge: FixtureJudge, folder: Path) -> None:
    saved = folder / "web.tar"
    saved.write_bytes(tar_of(saved_files((tar_of({"app/web": b"hello"}),), "acme/web:1.4")))
    command = [sys.executable, "-m", "portcullis", "inspect", f"docker-archive:{saved}", "-o", "json"]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (folder / "inspected.json").write_bytes(done.stdout)
    facts = [{"path": "inspected.json", "image": WEB}]
    expect = {"undecided": [], "violations": [{"policy": "image-user", "container": "web"}]}
    found = await result(judge, folder, manifest=pod(runAsUser=0), facts=facts, expect=expect)
    again = await result(judge, folder, manifest=pod(), facts=facts, expect={"violations": [], "undecided": []})
    assert (found.outcome, again.outcome) == (Outcome.PASSED, Outcome.PASSED), f"{found.message}{again.message}"


async def test_what_audit_show_prints_is_a_fixtures_decision(judge: FixtureJudge, folder: Path) -> None:
    document = decided("tools")["record"]["input"]
    shown = record_json(a_record(a_decision(document=json.dumps(document).encode())), document=True)
    tree = {"apiVersion": "portcullis.dev/v1", "kind": "AuditRecord", "record": shown}
    (folder / "shown.json").write_text(json.dumps(tree, ensure_ascii=True))
    expect = {"violations": [{"policy": "image-build-tools"}, {"policy": "image-shell"}]}
    found = await result(judge, folder, decision="shown.json", expect=expect)
    assert found.outcome is Outcome.PASSED, found.message
