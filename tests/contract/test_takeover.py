"""Which rulings are taken over from a record, over sets that the real OPA compiled: what a policy depends on leads to
its evaluation, and nothing else does."""

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fakes import opa
from portcullis.decision.modes import Modes, Override
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.decision import Because, Decision, UndecidedPolicy, Verdict, Violation
from portcullis.model.json import JSONObject
from portcullis.model.place import LabelSelector, Place, Scope
from portcullis.model.ruling import CompiledBundle, Mode, Origin, PolicyBundle, PolicySource, RuleHit
from portcullis.policy.bundle import revision_of
from portcullis.policy.compiler import Compiler
from portcullis.policy.fingerprint import code_of
from portcullis.standing import Standing
from portcullis.takeover import Takeover

pytestmark = [pytest.mark.anyio, pytest.mark.opa]

HEAD = "# METADATA\n# title: One\n# custom:\n#   severity: low\n"
ONE = opa.policy(
    "one",
    "import data.portcullis.lib.near\n"
    'deny contains near.say(limit) if input.x > limit\nlimit := data.portcullis.lib.given.of("one").limit',
)
ONE = dataclasses.replace(ONE, text=HEAD + ONE.text)
TWO = opa.policy(
    "two", 'deny contains data.portcullis.lib.aside.text if data.portcullis.parameters.two.on\nwarn contains "w"'
)
NEAR = opa.library("near", 'say(n) := sprintf("%s %d", [data.portcullis.lib.far.word, n])')
FAR = opa.library("far", 'word := "more than"')
ASIDE = opa.library("aside", 'text := "aside"')
GIVEN = opa.library(
    "given", "default all := {}\nall := data.portcullis.parameters\nof(name) := inner(name)\ninner(n) := all[n]"
)
GREEDY = opa.policy("greedy", 'deny contains p if some p, _ in data.portcullis.lib.given.all\nwarn contains "x"')
WITH = opa.policy(
    "with", 'deny contains "x" if input.y with data.portcullis.lib.given.of as data.portcullis.lib.far.word'
)
LOOKS = opa.policy("looks", 'deny contains "x" if count(rego.metadata.chain()) > 9\nwarn contains "x"')
UNIT = PolicySource(
    "main.rego", 'package main\ndeny contains msg if { input.kind == "Pod"; msg := data.help.text }', Origin.CONFTEST
)
HELP = PolicySource("help.rego", 'package help\ntext := "no pods"', Origin.CONFTEST)

SOURCES = (ONE, TWO, NEAR, FAR, ASIDE, GIVEN, GREEDY, LOOKS, UNIT, HELP)
PARAMETERS: Mapping[str, JSONObject] = {"one": {"limit": 1}, "two": {"on": True}}
ALWAYS = {"looks"}


async def compiled(binary: Path, folder: Path, bundle: PolicyBundle) -> CompiledBundle:
    folder.mkdir()
    compiler = Compiler(binary=binary, limits=DEFAULT_LIMITS, memory_bytes=0, fingerprinted=True)
    found, _ = await compiler.compile(bundle, folder)
    return found


def bundle(sources: Sequence[PolicySource], parameters: Mapping[str, JSONObject]) -> PolicyBundle:
    return PolicyBundle(tuple(sources), parameters, revision_of(sources, parameters))


def replaced(source: PolicySource, old: str, new: str) -> Sequence[PolicySource]:
    assert old in source.text
    other = dataclasses.replace(source, text=source.text.replace(old, new))
    return [other if one is source else one for one in SOURCES]


# What changes, and which policies must be evaluated.
CHANGED: dict[str, tuple[Sequence[PolicySource], Mapping[str, JSONObject], set[str]]] = {
    "nothing": (SOURCES, PARAMETERS, set()),
    "the order of the files": (SOURCES[::-1], PARAMETERS, set()),
    "where the file lies": (
        [dataclasses.replace(one, path=f"elsewhere/{one.path}") for one in SOURCES],
        PARAMETERS,
        set(),
    ),
    "the policy": (replaced(ONE, "input.x > limit", "input.x >= limit"), PARAMETERS, {"one"}),
    "a library that it uses": (replaced(NEAR, "%s %d", "%s: %d"), PARAMETERS, {"one"}),
    "a library that this one uses": (replaced(FAR, "more than", "over"), PARAMETERS, {"one"}),
    "a library of another policy": (replaced(ASIDE, '"aside"', '"beside"'), PARAMETERS, {"two"}),
    "METADATA": (replaced(ONE, "severity: low", "severity: high"), PARAMETERS, set()),
    "a comment that is no row": (replaced(FAR, '"more than"', '"more than" # words'), PARAMETERS, {"one"}),
    "another policy": ([*SOURCES, opa.policy("three", 'deny contains "3"')], PARAMETERS, set()),
    "a policy less": ([one for one in SOURCES if one is not TWO], PARAMETERS, set()),
    "its parameters": (SOURCES, {**PARAMETERS, "one": {"limit": 2}}, {"one", "greedy"}),
    "true for 1": (SOURCES, {**PARAMETERS, "one": {"limit": True}}, {"one", "greedy"}),
    "none for some": (SOURCES, {"two": {"on": True}}, {"one", "greedy"}),
    "another policy's parameters": (SOURCES, {**PARAMETERS, "two": {"on": 1}}, {"two", "greedy"}),
    "a policy from elsewhere": (replaced(UNIT, '"Pod"', '"Job"'), PARAMETERS, {"main"}),
    "what a policy from elsewhere uses": (replaced(HELP, "no pods", "none"), PARAMETERS, {"main"}),
}


@pytest.fixture(scope="module")
def kept() -> dict[str, CompiledBundle]:
    """The set of the record, compiled once."""
    return {}


async def recorded(kept: dict[str, CompiledBundle], binary: Path, folder: Path) -> CompiledBundle:
    if "it" not in kept:
        kept["it"] = await compiled(binary, folder, bundle(SOURCES, PARAMETERS))
    return kept["it"]


def decision(**fields: Any) -> Decision:
    made: dict[str, Any] = {
        "id": "d",
        "verdict": Verdict.ADMITTED,
        "code": 200,
        "because": Because.JUDGED,
        "message": "",
        "warnings": (),
        "retry_after_seconds": None,
        "violations": (),
        "undecided": (),
        "problems": (),
        "images": (),
        "policy_revision": "",
        "config_revision": "",
        "decided_at": datetime(2026, 1, 1, tzinfo=UTC),
        "elapsed_ms": 0.0,
        "timings": {},
        "document": b"{}",
        **fields,
    }
    return Decision(**made)


def evaluated(takeover: Takeover, compiled: CompiledBundle, made: Decision, namespace: str = "shop") -> set[str]:
    names = [policy.name for policy in compiled.policies]
    return set(names) - takeover.ruling(made, Place(namespace), names).judged


@pytest.mark.parametrize("name", CHANGED)
async def test_what_leads_to_evaluation(
    name: str, kept: dict[str, CompiledBundle], opa_binary: Path, tmp_path: Path
) -> None:
    sources, parameters, wanted = CHANGED[name]
    old = await recorded(kept, opa_binary, tmp_path / "old")
    new = await compiled(opa_binary, tmp_path / "new", bundle(sources, parameters))
    asked = evaluated(Takeover(Standing(old), Standing(new), DEFAULT_LIMITS), new, decision())
    assert asked - {policy.name for policy in new.policies if policy.name not in old.fingerprints} == wanted
    assert asked >= ALWAYS


async def test_a_set_that_was_named_by_another_version(opa_binary: Path, tmp_path: Path) -> None:
    older = dataclasses.replace(bundle((ONE, NEAR, FAR, GIVEN), PARAMETERS), revision="sha256:" + 64 * "0")
    assert (await compiled(opa_binary, tmp_path / "a", older)).fingerprints == {}


async def test_a_function_that_is_no_call_may_read_everything(opa_binary: Path, tmp_path: Path) -> None:
    found = await compiled(opa_binary, tmp_path / "a", bundle((WITH, GIVEN, FAR), {}))
    assert found.fingerprints["with"].parameters is None


async def test_parameters_by_place(kept: dict[str, CompiledBundle], opa_binary: Path, tmp_path: Path) -> None:
    old = await recorded(kept, opa_binary, tmp_path / "old")
    plain = Standing(old)

    def scoped(parameters: Mapping[str, JSONObject], labels: Mapping[str, str] | None = None) -> Standing:
        scope = Scope(("shop",), LabelSelector(labels)) if labels else Scope(("shop",))
        return Standing(old, Modes(overrides=(Override(scope, parameters=parameters),), parameters=PARAMETERS))

    def asked(before: Standing, after: Standing, namespace: str) -> set[str]:
        return evaluated(Takeover(before, after, DEFAULT_LIMITS), old, decision(), namespace) - ALWAYS

    other, same = scoped({"one": {"limit": 5}}), scoped({"one": {"limit": 1}})
    assert asked(plain, other, "shop") == asked(other, plain, "shop") == {"one", "greedy"}
    assert asked(plain, other, "bank") == set()
    assert asked(other, other, "shop") == asked(plain, same, "shop") == {"greedy"}
    assert asked(plain, scoped({"two": {"on": False}}), "shop") == {"two", "greedy"}
    # Labels that are not known: nobody can tell by which parameters.
    assert asked(plain, scoped({"one": {"limit": 1}}, {"team": "shop"}), "shop") == {"one", "greedy"}


async def test_what_the_record_tells(kept: dict[str, CompiledBundle], opa_binary: Path, tmp_path: Path) -> None:
    old = await recorded(kept, opa_binary, tmp_path / "old")
    same = Takeover(Standing(old), Standing(old), DEFAULT_LIMITS)
    found = Violation("one", Mode.AUDIT, "low", "more", container="web", details={"n": 1})
    made = decision(violations=(found, dataclasses.replace(found, policy="two")))
    ruling = same.ruling(made, Place("shop"), ["one", "two", "main"])
    # Of `two`, which has two rules, the rule is not known. The mode of a violation is no rule.
    assert ruling.judged == {"one", "main"}
    assert ruling.hits == (RuleHit("one", Mode.DENY, "more", container="web", details={"n": 1}),)
    waiting = decision(undecided=(UndecidedPolicy("one", Mode.DENY, ()),))
    assert same.ruling(waiting, Place("shop"), ["one", "two"]).judged == {"two"}
    for limits in ({"message_chars": 3}, {"violations": 0}):
        less = Takeover(Standing(old), Standing(old), dataclasses.replace(DEFAULT_LIMITS, **limits))
        assert less.ruling(made, Place("shop"), ["one", "main"]).judged == {"main"}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("# a\n  # b\npackage c # d\n", "package c # d\n"),
        ("package a\n# `b\nx := 1\n#c", "package a\nx := 1"),
        ("#a\nx := `\n# text\n`\n# b", "x := `\n# text\n`\n# b"),
    ],
)
def test_rows_of_comments(text: str, code: str) -> None:
    assert code_of(text) == code
