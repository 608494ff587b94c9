"""Why a policy refuses, or does not: by the real OPA's trace."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fakes import opa
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.model.ruling import PolicyBundle
from portcullis.policy.explaining.excerpt import leaves, project, shrink
from portcullis.policy.explaining.explain import Explained, Explainer
from portcullis.policy.explaining.trace import read_steps
from portcullis.policy.opa import OpaEngine
from portcullis.policy.supervisor import OpaSupervisor
from portcullis.server.clock import SystemClock

pytestmark = [pytest.mark.anyio, pytest.mark.opa]

ROOT = """import rego.v1

deny contains violation if {
	some c in input.containers
	not nonroot(c)
	violation := {"container": c.name, "msg": "runs as root", "fix": "set USER"}
}

deny contains violation if {
	some c in input.containers
	c.kind == "volume"
	violation := {"container": c.name, "msg": "is a volume", "fix": "f"}
}

nonroot(c) if c.user.root == false
"""
BROKEN = 'import rego.v1\ndeny contains "x" if to_number(input.containers[0].name) == 1\n'


def container(name: str, *, root: object, kind: str = "container") -> dict[str, Any]:
    return {"name": name, "kind": kind, "pinned": True, "image": "a", "user": {"root": root, "uid": 7, "name": ""}}


def document(*containers: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "time": {"now": "2026-11-24T12:00:00.000000Z"},
        "containers": list(containers),
        "images": {"a": {"tag": "1"}, "b": {"tag": "2"}},
        "workload": {"name": "w"},
    }


async def explained(binary: Path, body: str, tree: Mapping[str, Any], limits: Limits = DEFAULT_LIMITS) -> Explained:
    bundle: PolicyBundle = opa.bundle(opa.policy("one", body))
    supervisor = OpaSupervisor(binary=binary, limits=limits)
    try:
        clock = SystemClock()
        engine = OpaEngine(supervisor=supervisor, clock=clock, limits=limits)
        compiled = await engine.compile(bundle)
        explainer = Explainer(
            engine=engine,
            tracer=supervisor,
            clock=clock,
            limits=limits,
            bundle=bundle,
            compiled=compiled,
            document=json.dumps(tree).encode(),
            parameters={},
        )
        return await explainer.explain(compiled.policies[0])
    finally:
        await supervisor.aclose()


async def test_a_policy_that_fires(opa_binary: Path) -> None:
    one = await explained(opa_binary, ROOT, document(container("fine", root=False), container("web", root=True)))
    assert [hit.container for hit in one.hits] == ["web"]
    fires, quiet = one.rules
    assert (fires.fired, fires.line.row, quiet.fired) == (1, 4, 0)
    assert [(c.line.row, c.line.text, c.held) for c in fires.conditions] == [
        (5, "some c in input.containers", True),
        (6, "not nonroot(c)", True),
    ]
    assert [line.text for line in fires.conditions[1].because] == ["nonroot(c) if c.user.root == false"]
    assert one.excerpt == {"containers": [{"name": "web", "kind": "container", "user": {"root": True}}]}
    assert ("input.containers[0].user.root", True) in one.read


async def test_a_policy_that_does_not(opa_binary: Path) -> None:
    one = await explained(opa_binary, ROOT, document(container("fine", root=False)))
    assert one.hits == ()
    assert one.excerpt is None
    first, second = one.rules
    assert [(c.line.row, c.held) for c in first.conditions] == [(6, False)]
    assert [line.row for line in first.conditions[0].because] == [16]
    assert [(c.line.text, c.held) for c in second.conditions] == [('c.kind == "volume"', False)]


async def test_a_policy_that_gives_no_ruling(opa_binary: Path) -> None:
    one = await explained(opa_binary, BROKEN, document(container("x", root=True)))
    assert "to_number" in one.failure
    assert one.rules == ()


async def test_a_trace_that_is_too_long_is_told(opa_binary: Path) -> None:
    limits = dataclasses.replace(DEFAULT_LIMITS, explain_bytes=1000)
    one = await explained(opa_binary, ROOT, document(container("web", root=True)), limits)
    assert "explainBytes (1000)" in one.note
    assert one.rules == ()
    assert one.excerpt is not None


def test_lines_of_a_trace() -> None:
    lines = (
        "query:1       Enter data.x = _",
        "00003.rego:14     | | Fail c.user.root = false",
        ".../bundle/00012.rego:7 | Enter data.p.deny",
        "gate.rego:3 | Eval x",
        "nonsense",
    )
    assert [(step.spot, step.depth, step.step) for step in read_steps(lines)] == [
        (None, 0, "Enter"),
        ((3, 14), 2, "Fail"),
        ((12, 7), 1, "Enter"),
        (None, 1, "Eval"),
    ]


def test_only_what_is_read_is_kept() -> None:
    tree = document(container("web", root=True))
    read = {"input.containers", "input.containers[_]", "input.containers[_].user", "input.containers[_].user.root"}
    assert project(tree, read) == {"containers": [{"user": {"root": True}}]}
    assert project(tree, {"input.images[_].tag"}) == {"images": {"a": {"tag": "1"}, "b": {"tag": "2"}}}
    assert list(leaves({"a": {"b.c": []}})) == [('input.a["b.c"]', [])]


async def test_elements_are_taken_away_and_fields_of_records_stay() -> None:
    tree = document(*(container(str(number), root=number == 2) for number in range(5)))

    async def same(small: Mapping[str, Any]) -> bool:
        return any(one["user"]["root"] is True for one in small["containers"])

    small, whole = await shrink(tree, same)
    assert whole
    assert [one["name"] for one in small["containers"]] == ["2"]
    assert small["images"] == {}
    assert small["containers"][0]["pinned"] is True
