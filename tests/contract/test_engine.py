"""The Engine port over real OPAs: supervised ones of ours, and ones that others run, alone and behind a token."""

import asyncio
import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from fakes import opa
from fakes.remoteopa import OtherOpa
from portcullis.errors import (
    CompileProblem,
    EngineMalformed,
    EngineTimeout,
    EngineUnavailable,
    PolicyCompileError,
)
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.json import JSONObject
from portcullis.model.ruling import CompiledBundle, Mode, Need, Origin, PolicySource, Rego, RuleHit, Ruling
from portcullis.policy.bundle import builtin_policies, load_bundle
from portcullis.policy.opa import OpaEngine
from portcullis.policy.supervisor import OpaSupervisor
from portcullis.server.clock import SystemClock

pytestmark = [pytest.mark.anyio, pytest.mark.opa]

NAMES = opa.policy("names", "deny contains c.name if some c in input.containers")
EXPENSIVE = opa.policy(
    "expensive",
    'deny contains "x" if { some a in numbers.range(1, 30000); some b in numbers.range(1, 30000); a + b < 0 }',
)
DOCUMENT = opa.document(containers=[{"name": "web"}])


Running = Callable[..., AbstractAsyncContextManager[OpaEngine]]


@pytest.fixture(scope="module")
def others(opa_binary: Path) -> Iterator[dict[str, OtherOpa]]:
    """All tests share them, as gates of several versions do."""
    started = {"remote": OtherOpa(opa_binary), "authorized": OtherOpa(opa_binary, authorized=True, unix=True)}
    yield started
    for other in started.values():
        other.close()


@pytest.fixture(params=["supervised", "remote", "authorized"])
def running(request: pytest.FixtureRequest, opa_binary: Path, others: dict[str, OtherOpa]) -> Running:
    """Makes engines over one kind of OPA."""
    other = others.get(request.param)
    return functools.partial(opa.running, opa_binary) if other is None else functools.partial(opa.sharing, other)


def soon(seconds: float = 20.0) -> float:
    return SystemClock().monotonic() + seconds


async def judge(engine: OpaEngine, compiled: CompiledBundle, document: bytes = DOCUMENT, *names: str) -> Ruling:
    asked = names or tuple(policy.name for policy in compiled.policies)
    ruling = await engine.evaluate(compiled, asked, document, soon())
    failed = {failure.policy for failure in ruling.failed}
    assert ruling.judged | failed == set(asked)
    assert not ruling.judged & failed
    return ruling


def messages(ruling: Ruling) -> list[str]:
    return [hit.msg for hit in ruling.hits]


def reasons(ruling: Ruling) -> dict[str, str]:
    return {failure.policy: failure.reason for failure in ruling.failed}


async def eventually(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether a process of that number runs (a zombie that nobody has waited for does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def replaced(supervisor: OpaSupervisor, pid: int) -> bool:
    """Whether another process than that one serves."""
    return supervisor.pid not in (0, pid)


# -- compile ------------------------------------------------------------


async def test_compiled_policies_say_what_they_are(opa_binary: Path) -> None:
    source = PolicySource(
        "image-user/policy.rego",
        textwrap.dedent(
            """\
            # METADATA
            # title: Images run as a non-root user
            # description: The process must not be uid 0.
            # custom:
            #   {severity: high, mode: warn, docs: "https://example.test/image-user",
            #   category: image, exceptions: forbidden, readsSecrets: true}
            package portcullis.policies.image_user

            deny contains "root" if { some c in input.containers; not c.user.root == false }
            audit contains "seen"
            """
        ),
    )
    async with opa.running(opa_binary) as engine:
        bundle = opa.bundle(source, NAMES)
        compiled = await engine.compile(bundle)
    assert compiled.revision == bundle.revision
    policy, other = compiled.policies
    assert (policy.name, policy.title, policy.severity) == ("image-user", "Images run as a non-root user", "high")
    assert (policy.mode, policy.docs) == (Mode.WARN, "https://example.test/image-user")
    assert policy.description == "The process must not be uid 0."
    assert (policy.category, policy.exceptions_forbidden, policy.reads_secrets) == ("image", True, True)
    assert policy.rules == (Mode.DENY, Mode.AUDIT)
    assert policy.needs == {Need.REQUEST, Need.IMAGE, Need.CONFIG, Need.USER}
    assert (other.name, other.title, other.severity, other.mode) == ("names", "names", "medium", Mode.DENY)
    assert other.needs == {Need.REQUEST}
    assert (other.category, other.exceptions_forbidden, other.reads_secrets) == ("", False, False)
    assert (other.origin, other.rego, other.unsupported) == (Origin.NATIVE, Rego.V1, "")


BROKEN: dict[str, tuple[str, int, int, str]] = {
    "network": ('deny contains "x" if {\n\thttp.send({"url": "http://a"})\n}', 3, 2, "http.send"),
    "network-by-with": (
        'deny contains "x" if bad with count as http.send\nbad if count(input.containers) == 1',
        2,
        40,
        "http",
    ),
    "lookup": ('deny contains "x" if net.lookup_ip_addr("a")', 2, 22, "net.lookup_ip_addr"),
    "runtime": ('deny contains "x" if opa.runtime().env.HOME', 2, 22, "opa.runtime"),
    "random": ('deny contains "x" if rand.intn("a", 2) == 1', 2, 22, "rand.intn"),
    "remote-schema": ('deny contains "x" if json.match_schema({}, {})[0]', 2, 22, "json.match_schema"),
    "old-rego": ('deny[msg] { msg := "x" }', 2, 1, "`if` keyword is required"),
    "syntax": ('deny contains "x" if {\n\tinput.a ==\n}', 4, 1, "unexpected"),
    "unused": ('deny contains "x" if {\n\ty := 1\n}', 3, 2, "assigned var y unused"),
    "unsafe": ("deny contains x if input.a", 2, 15, "unsafe"),
    "no-set": ('deny := {"x"}', 2, 1, "deny must be a set"),
    "boolean": ("deny if input.a", 2, 1, "deny must be a set"),
    "object": ('a := 1\ndeny["x"] := 1', 3, 1, "deny must be a set"),
    "nested": ('deny.a contains "x"', 2, 1, "deny must be a set"),
    "function": ("warn(x) := x", 2, 1, "warn must be a set"),
    "no-verdict": ("denied contains 1", 1, 1, "defines none of deny, warn, audit"),
    "stranger-data": ('deny contains "x" if data.kubernetes.a', 2, 1, "data.kubernetes.a is out of reach"),
    "other-policy": ('deny contains "x" if data.portcullis.policies.names.deny', 2, 1, "out of reach"),
    "wrapper": ('deny contains "x" if data.portcullis.call.evaluate', 2, 1, "out of reach"),
    "no-such-library": (
        'a := 1\ndeny contains "x" if {\n\tnot data.portcullis.lib.nothing.here\n}',
        4,
        1,
        "data.portcullis.lib.nothing.here does not exist",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_policy_is_refused_with_its_place(opa_binary: Path, name: str) -> None:
    body, row, column, words = BROKEN[name]
    async with opa.running(opa_binary) as engine:
        with pytest.raises(PolicyCompileError) as caught:
            await engine.compile(opa.bundle(NAMES, opa.policy("broken", body)))
    first = caught.value.problems[0]
    assert words in first.message
    assert (first.file, first.row, first.column) == ("broken.rego", row, column)
    assert "broken.rego:" in str(caught.value)


BAD_METADATA = {
    "severity": ("severity: terrible", "severity"),
    "mode": ("mode: refuse", "mode"),
    "needs": ("needs: [everything]", "needs"),
    "docs": ("docs: javascript:alert(1)", "docs"),
    "exceptions": ("exceptions: allowed", "exceptions"),
    "exceptions-null": ("exceptions:", "exceptions"),
    "secrets": ("readsSecrets: maybe", "readsSecrets"),
    "category": ("category: [image]", "category"),
    "request": ("onRequest: 1", "onRequest"),
    "request-not-seen": ("onRequest: true # not now", "onRequest"),
}


@pytest.mark.parametrize("name", BAD_METADATA)
async def test_bad_metadata_is_refused_with_its_place(opa_binary: Path, name: str) -> None:
    line, key = BAD_METADATA[name]
    text = f'# METADATA\n# title: A\n# custom:\n#   {line}\npackage portcullis.policies.a\ndeny contains "x"\n'
    async with opa.running(opa_binary) as engine:
        with pytest.raises(PolicyCompileError, match=f"METADATA of policy a: {key}") as caught:
            await engine.compile(opa.bundle(PolicySource("a.rego", text)))
    (problem,) = caught.value.problems
    assert (problem.file, problem.row) == ("a.rego", 4)


async def test_a_package_outside_is_refused(opa_binary: Path) -> None:
    stranger = PolicySource("x.rego", "package system.authz\nallow := true")
    async with opa.running(opa_binary) as engine:
        with pytest.raises(PolicyCompileError):
            await engine.compile(opa.bundle(NAMES, stranger))


async def test_the_names_of_sources_do_not_reach_the_file_system(opa_binary: Path, tmp_path: Path) -> None:
    source = replace(NAMES, path=f"../../../..{tmp_path}/\x1b[31mescaped.rego")
    broken = replace(source, text="package portcullis.policies.names\nnonsense nonsense")
    async with opa.running(opa_binary) as engine:
        assert messages(await judge(engine, await engine.compile(opa.bundle(source)))) == ["web"]
        with pytest.raises(PolicyCompileError) as caught:
            await engine.compile(opa.bundle(broken))
    assert list(tmp_path.iterdir()) == []
    assert "\x1b" not in str(caught.value)


async def test_a_broken_set_leaves_the_old_one_serving(opa_binary: Path) -> None:
    supervisor = OpaSupervisor(binary=opa_binary, limits=DEFAULT_LIMITS)
    engine = OpaEngine(supervisor=supervisor, clock=SystemClock(), limits=DEFAULT_LIMITS)
    try:
        good = await engine.compile(opa.bundle(NAMES))
        for broken in (opa.policy("names", "deny contains"), opa.policy("names", "deny := 1")):
            with pytest.raises(PolicyCompileError):
                await engine.compile(opa.bundle(broken))
            assert supervisor.healthy
            assert supervisor.revision == good.revision
            assert messages(await judge(engine, good)) == ["web"]
    finally:
        await supervisor.aclose()


async def test_a_new_set_replaces_the_old_one_which_ends_its_requests(opa_binary: Path) -> None:
    supervisor = OpaSupervisor(binary=opa_binary, limits=DEFAULT_LIMITS, keep_seconds=0)
    engine = OpaEngine(supervisor=supervisor, clock=SystemClock(), limits=DEFAULT_LIMITS)
    try:
        first = await engine.compile(opa.bundle(NAMES, EXPENSIVE))
        old = supervisor.pid
        running = asyncio.create_task(engine.evaluate(first, ["expensive"], DOCUMENT, soon(3)))
        await asyncio.sleep(0.1)
        second = await engine.compile(opa.bundle(opa.policy("names", 'deny contains "new"')))
        assert supervisor.revision == second.revision != first.revision
        assert messages(await judge(engine, second)) == ["new"]
        assert alive(old), "its request goes on"
        with pytest.raises(EngineTimeout):
            await running
        await eventually(lambda: not alive(old))
        with pytest.raises(EngineUnavailable):
            await judge(engine, first, DOCUMENT, "names")
        assert messages(await judge(engine, second)) == ["new"]
    finally:
        await supervisor.aclose()


async def test_requests_that_began_with_the_old_set_are_judged_by_it(running: Running) -> None:
    async with running() as engine:
        first = await engine.compile(opa.bundle(NAMES))
        second = await engine.compile(opa.bundle(opa.policy("names", 'deny contains "new"')))
        assert messages(await judge(engine, first)) == ["web"]
        assert messages(await judge(engine, second)) == ["new"]


async def test_no_policies_at_all(running: Running) -> None:
    async with running() as engine:
        compiled = await engine.compile(opa.bundle())
        assert compiled.policies == ()
        assert await engine.evaluate(compiled, [], DOCUMENT, soon()) == Ruling(judged=frozenset(), hits=())


async def test_too_many_policies(running: Running) -> None:
    limits = replace(DEFAULT_LIMITS, policies=1)
    async with running(limits) as engine:
        with pytest.raises(PolicyCompileError, match="the limit policies is 1"):
            await engine.compile(opa.bundle(NAMES, EXPENSIVE))


@pytest.mark.parametrize(
    "bounds", [{"policy_tree_bytes": 100}, {"compile_seconds": 0.0001}, {"engine_start_seconds": 0.0001}]
)
async def test_bounds_of_compiling(opa_binary: Path, bounds: dict[str, float]) -> None:
    async with opa.running(opa_binary, replace(DEFAULT_LIMITS, **bounds)) as engine:  # type: ignore[arg-type]
        with pytest.raises((EngineMalformed, EngineUnavailable)):
            await engine.compile(opa.bundle(NAMES))


async def test_the_policies_that_come_with_it_compile(opa_binary: Path) -> None:
    on_request: dict[str, JSONObject] = {"sbom-packages": {}}
    bundle = load_bundle([builtin_policies()], parameters=on_request, enabled=None, limits=DEFAULT_LIMITS)
    async with opa.running(opa_binary) as engine:
        compiled = await engine.compile(bundle)
    needs = {policy.name: policy.needs for policy in compiled.policies}
    request, image = {Need.REQUEST}, {Need.REQUEST, Need.IMAGE}
    assert needs == {
        "image-age": image | {Need.CONFIG},
        "image-base": image | {Need.CONFIG, Need.CONTENTS},
        "image-build-tools": image | {Need.CONFIG, Need.CONTENTS},
        "image-history": image | {Need.CONFIG},
        "image-leftovers": image | {Need.CONFIG, Need.CONTENTS},
        "image-libc": image | {Need.CONTENTS},
        "image-ownership": image | {Need.CONTENTS},
        "image-package-manager": image | {Need.CONFIG, Need.CONTENTS},
        "image-pinned": request,
        "image-secrets": image | {Need.CONFIG, Need.CONTENTS},
        "image-setuid": image | {Need.CONFIG, Need.CONTENTS},
        "image-shell": image | {Need.CONFIG, Need.CONTENTS},
        "image-signed": image | {Need.ATTESTATIONS},
        "image-size": image | {Need.CONFIG, Need.CONTENTS},
        "image-source": request,
        "image-user": image | {Need.CONFIG, Need.USER},
        "lint-required": image | {Need.ATTESTATIONS},
        "pod-privileges": request,
        "provenance": image | {Need.ATTESTATIONS},
        "sbom-packages": image | {Need.ATTESTATIONS, Need.COMPONENTS},
        "sbom-required": image | {Need.ATTESTATIONS},
        "scan-fresh": image | {Need.ATTESTATIONS},
        "scan-known-exploited": image | {Need.ATTESTATIONS},
        "scan-required": image | {Need.ATTESTATIONS},
        "scan-severity": image | {Need.ATTESTATIONS},
        "vex-trusted": image | {Need.ATTESTATIONS},
    }


# -- evaluate ------------------------------------------------------------


async def test_hits_as_the_author_wrote_them(running: Running) -> None:
    full = opa.policy(
        "full",
        """
        deny contains {
            "msg": "m", "container": "c", "image": "i", "digest": "d", "platform": "p", "field": "f", "fix": "x",
            "details": {"a": [1]},
        }
        warn contains "plain"
        audit contains {"msg": "nothing known", "digest": null}
        """,
    )
    async with running() as engine:
        ruling = await judge(engine, await engine.compile(opa.bundle(full)))
    assert ruling.hits == (
        RuleHit("full", Mode.DENY, "m", "c", "i", "d", "p", "f", "x", {"a": [1]}),
        RuleHit("full", Mode.WARN, "plain"),
        RuleHit("full", Mode.AUDIT, "nothing known"),
    )


async def test_only_the_policies_that_are_asked(running: Running) -> None:
    async with running() as engine:
        compiled = await engine.compile(opa.bundle(NAMES, opa.policy("other-one", 'deny contains "other"')))
        assert messages(await judge(engine, compiled, DOCUMENT, "other-one")) == ["other"]
        assert messages(await judge(engine, compiled, DOCUMENT, "names")) == ["web"]
        assert sorted(messages(await judge(engine, compiled))) == ["other", "web"]


async def test_a_policy_that_is_not_there(running: Running) -> None:
    async with running() as engine:
        compiled = await engine.compile(opa.bundle(NAMES))
        ruling = await judge(engine, compiled, DOCUMENT, "names", 'x"] := 1', "names2")
    assert ruling.judged == {"names"}
    assert reasons(ruling) == {'x"] := 1': "policy-undefined", "names2": "policy-undefined"}


async def test_the_clock_of_policies_is_that_of_the_document(running: Running) -> None:
    source = opa.policy(
        "clock",
        'deny contains sprintf("%d %d %v", [time.now_ns(), data.portcullis.lib.clock.now, same])\n'
        "same := time.parse_rfc3339_ns(input.time.now) == time.now_ns()",
    )
    shared = opa.library("clock", "now := time.now_ns()")
    async with running() as engine:
        compiled = await engine.compile(opa.bundle(source, shared))
        ruling = await judge(engine, compiled, opa.document("2001-09-09T03:46:40.123456+02:00"))
    assert messages(ruling) == ["1000000000123456000 1000000000123456000 true"]


async def test_libraries_see_the_document(running: Running) -> None:
    source = opa.policy("a", "import data.portcullis.lib.a\ndeny contains a.name(1)")
    shared = opa.library("a", "name(_) := input.containers[0].name")
    async with running() as engine:
        assert messages(await judge(engine, await engine.compile(opa.bundle(source, shared)))) == ["web"]


async def test_parameters(running: Running) -> None:
    source = opa.policy("a-b", 'deny contains data.portcullis.parameters["a-b"].words[_]')
    bundle = opa.bundle(source, parameters={"a-b": {"words": ["one", "two"]}})
    async with running() as engine:
        assert messages(await judge(engine, await engine.compile(bundle))) == ["one", "two"]


async def test_parameters_of_a_question_take_the_place_of_the_bundles(opa_binary: Path) -> None:
    """For the policies that it names, wholly; for the next question the bundle's count again."""
    word = 'deny contains data.portcullis.parameters["{0}"].words[_]'
    sources = [opa.policy(name, word.format(name)) for name in ("a-b", "other", "none")]
    bundle = opa.bundle(*sources, parameters={"a-b": {"words": ["one"], "more": 1}, "other": {"words": ["two"]}})
    async with opa.running(opa_binary) as engine:
        compiled = await engine.compile(bundle)
        names = ("a-b", "other", "none")
        changed: dict[str, JSONObject] = {"a-b": {"words": ["three"]}, "none": {"words": ["four"]}}
        ruling = await engine.evaluate(compiled, names, DOCUMENT, soon(), changed)
        assert sorted(messages(ruling)) == ["four", "three", "two"]
        assert sorted(messages(await judge(engine, compiled))) == ["one", "two"]


FAILING: dict[str, tuple[str, str]] = {
    "builtin": ('deny contains "x" if to_number(input.containers[0].name) > 1', "to_number"),
    "builtin-negated": ('deny contains "x" if not json.unmarshal(input.containers[0].name).a', "unmarshal"),
    "conflict": ('f(x) := 1 if x\nf(x) := 2 if x\ndeny contains "x" if f(true) == 1', "multiple outputs"),
    "complete-conflict": ('v := c if some c in [1, 2]\ndeny contains "x" if v == 1', "multiple outputs"),
    "number": ("deny contains 7", "a number"),
    "null": ("deny contains null", "null"),
    "boolean": ("deny contains true", "a boolean"),
    "list": ('deny contains ["x"]', "a list"),
    "no-msg": ('deny contains {"container": "a"}', "without msg"),
    "empty-msg": ('deny contains ""', "without msg"),
    "msg-number": ('deny contains {"msg": 7}', "msg is a number"),
    "field-number": ('deny contains {"msg": "a", "container": 7}', "container is a number"),
    "details-text": ('deny contains {"msg": "a", "details": "b"}', "details are a text"),
    "unknown-key": ('deny contains {"msg": "a", "contaner": "b"}', "contaner"),
    "long": ('deny contains concat("", ["x" | some _ in numbers.range(1, 2001)])', "messageChars"),
    "many": ('deny contains sprintf("%d", [x]) if some x in numbers.range(1, 1001)', "limit violations is 1000"),
    "warn-too": ('deny contains "x"\nwarn contains 7', "warn holds a number"),
}


async def test_a_policy_that_fails_does_not_take_the_others_with_it(running: Running) -> None:
    sources = [opa.policy(name, body) for name, (body, _) in FAILING.items()]
    async with running() as engine:
        ruling = await judge(engine, await engine.compile(opa.bundle(NAMES, *sources)))
    assert ruling.judged == {"names"}
    assert messages(ruling) == ["web"]
    assert reasons(ruling) == dict.fromkeys(FAILING, "policy-failed")
    said = {failure.policy: failure.message for failure in ruling.failed}
    assert {name for name, (_, words) in FAILING.items() if words not in said[name]} == set()


async def test_an_answer_over_the_limit_is_the_fault_of_its_policy(running: Running) -> None:
    long = opa.policy("long", 'deny contains concat("", ["x" | some _ in numbers.range(1, 1500)])')
    async with running(replace(DEFAULT_LIMITS, engine_answer_bytes=1000)) as engine:
        ruling = await judge(engine, await engine.compile(opa.bundle(NAMES, long)))
    assert messages(ruling) == ["web"]
    assert reasons(ruling) == {"long": "policy-failed"}
    assert "engineAnswerBytes" in ruling.failed[0].message


async def test_what_OPA_says_is_cleaned(running: Running) -> None:  # noqa: N802 - its name
    source = opa.policy("a", 'deny contains "x" if to_number(input.containers[0].name) > 1')
    hostile = opa.document(containers=[{"name": "\x1b[31m\u202e" + "y" * 10_000}])
    async with running() as engine:
        ruling = await judge(engine, await engine.compile(opa.bundle(source)), hostile)
    assert ruling.failed[0].reason == "policy-failed"
    assert ruling.failed[0].message.isprintable()
    assert len(ruling.failed[0].message) <= 500


BAD_DOCUMENTS = {
    "empty": b"",
    "no-time": b"{}",
    "no-zone": b'{"time":{"now":"2026-01-02T03:04:05"}}',
    "breaks-out": b'{"time":{"now":"2026-01-02T03:04:05Z"}},"evaluate":[]',
    "cut": b'{"time":{"now":"2026-01-02T03:04:05Z"},"containers":[',
    "list": b"[]",
    "deep": b'{"time":{"now":"2026-01-02T03:04:05Z"},"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
}


@pytest.mark.parametrize("name", BAD_DOCUMENTS)
async def test_a_document_that_is_none(opa_binary: Path, name: str) -> None:
    async with opa.running(opa_binary) as engine:
        compiled = await engine.compile(opa.bundle(NAMES))
        with pytest.raises(EngineMalformed):
            await judge(engine, compiled, BAD_DOCUMENTS[name])


@pytest.mark.parametrize("engine_bytes", [DEFAULT_LIMITS.engine_bytes, 1])
async def test_twenty_at_once(running: Running, engine_bytes: int) -> None:
    """With hardly any room they are judged one after the other, and all of them are."""
    async with running(replace(DEFAULT_LIMITS, engine_bytes=engine_bytes)) as engine:
        compiled = await engine.compile(opa.bundle(NAMES))
        documents = [opa.document(containers=[{"name": f"c{number}"}]) for number in range(20)]
        rulings = await asyncio.gather(*(judge(engine, compiled, document) for document in documents))
    assert [messages(ruling) for ruling in rulings] == [[f"c{number}"] for number in range(20)]


# -- time and failure ------------------------------------------------------------


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def test_the_deadline_stops_the_evaluation_inside_OPA(opa_binary: Path) -> None:  # noqa: N802 - its name
    supervisor = OpaSupervisor(binary=opa_binary, limits=DEFAULT_LIMITS)
    engine = OpaEngine(supervisor=supervisor, clock=SystemClock(), limits=DEFAULT_LIMITS)
    try:
        compiled = await engine.compile(opa.bundle(NAMES, EXPENSIVE))
        with pytest.raises(EngineTimeout):
            await engine.evaluate(compiled, ["names", "expensive"], DOCUMENT, soon(0.3))
        assert messages(await judge(engine, compiled, DOCUMENT, "names")) == ["web"]
        assert engine.evaluations == {"engine-timeout": 1, "ok": 1}
        assert (engine.seconds.count, engine.waiting) == (2, 0)
        before = processor_seconds(supervisor.pid)
        await asyncio.sleep(1)
        assert processor_seconds(supervisor.pid) - before < 0.5, "it goes on evaluating"
        with pytest.raises(EngineTimeout):
            await engine.evaluate(compiled, ["names"], DOCUMENT, soon(-1))
    finally:
        await supervisor.aclose()


async def test_OPA_dies_and_comes_back(opa_binary: Path) -> None:  # noqa: N802 - its name
    supervisor = OpaSupervisor(binary=opa_binary, limits=DEFAULT_LIMITS)
    engine = OpaEngine(supervisor=supervisor, clock=SystemClock(), limits=DEFAULT_LIMITS)
    try:
        compiled = await engine.compile(opa.bundle(NAMES, EXPENSIVE))
        for _ in range(2):
            pid = supervisor.pid
            running = asyncio.create_task(engine.evaluate(compiled, ["expensive"], DOCUMENT, soon()))
            await asyncio.sleep(0.1)
            os.kill(pid, signal.SIGKILL)
            with pytest.raises(EngineUnavailable):
                await running
            with pytest.raises(EngineUnavailable):
                await judge(engine, compiled, DOCUMENT, "names")
            await eventually(functools.partial(replaced, supervisor, pid))
            assert supervisor.healthy
            assert messages(await judge(engine, compiled, DOCUMENT, "names")) == ["web"]
        assert supervisor.restarts >= 2
    finally:
        await supervisor.aclose()


async def test_nothing_is_left_after_closing(opa_binary: Path) -> None:
    supervisor = OpaSupervisor(binary=opa_binary, limits=DEFAULT_LIMITS)
    engine = OpaEngine(supervisor=supervisor, clock=SystemClock(), limits=DEFAULT_LIMITS)
    pids = []
    for words in ("one", "two", "three"):
        compiled = await engine.compile(opa.bundle(opa.policy("names", f'deny contains "{words}"')))
        pids.append(supervisor.pid)
    await supervisor.aclose()
    assert [pid for pid in pids if alive(pid)] == []
    assert not supervisor.healthy
    with pytest.raises(EngineUnavailable):
        await judge(engine, compiled)
    await supervisor.aclose()


async def test_OPA_is_reached_by_nobody_else(opa_binary: Path) -> None:  # noqa: N802 - its name
    supervisor = OpaSupervisor(binary=opa_binary, limits=DEFAULT_LIMITS)
    engine = OpaEngine(supervisor=supervisor, clock=SystemClock(), limits=DEFAULT_LIMITS)
    try:
        await engine.compile(opa.bundle(NAMES))
        environment = Path(f"/proc/{supervisor.pid}/environ").read_bytes()
        assert {item.partition(b"=")[0] for item in environment.split(b"\0") if item} == {b"TZ", b"GOMEMLIMIT"}
        arguments = Path(f"/proc/{supervisor.pid}/cmdline").read_bytes().decode().split("\0")
        address = arguments[arguments.index("--addr") + 1]
        socket = Path(address.removeprefix("unix://"))
        assert socket.parent.stat().st_mode & 0o077 == 0
        assert socket.stat().st_mode & 0o077 == 0
    finally:
        await supervisor.aclose()
    assert not socket.parent.exists()


ORPHAN = """
import asyncio, sys, time
from pathlib import Path
from fakes import opa
async def main():
    async with opa.running(Path(sys.argv[1])) as engine:
        await engine.compile(opa.bundle(opa.policy("a", 'deny contains "x"')))
        print(engine._supervisor.pid, flush=True)
        time.sleep(60)
asyncio.run(main())
"""


async def test_OPA_dies_with_us_even_when_we_are_killed(opa_binary: Path) -> None:  # noqa: N802 - its name
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{root / 'tests'}:{root / 'webhook'}"}
    room = tempfile.TemporaryDirectory()  # what is killed cannot tidy up; paths of pytest's are too long for sockets
    environment["TMPDIR"] = room.name
    with (
        room,
        subprocess.Popen(
            [sys.executable, "-c", ORPHAN, str(opa_binary)], stdout=subprocess.PIPE, env=environment
        ) as process,
    ):
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert alive(pid)
        process.kill()
        await eventually(lambda: not alive(pid))


async def test_without_OPA(tmp_path: Path) -> None:  # noqa: N802 - its name
    async with opa.running(tmp_path / "opa") as engine:
        with pytest.raises(EngineUnavailable, match=r"opa\.binary"):
            await engine.compile(opa.bundle(NAMES))


@pytest.mark.parametrize("script", ["#!/bin/sh\nexit 3\n", "#!/bin/sh\necho '{}'\n", "not a program"])
async def test_a_program_that_is_not_OPA(tmp_path: Path, script: str) -> None:  # noqa: N802 - its name
    binary = tmp_path / "opa"
    binary.write_text(script, encoding="utf-8")
    binary.chmod(0o755)
    async with opa.running(binary) as engine:
        with pytest.raises((EngineUnavailable, EngineMalformed)):
            await engine.compile(opa.bundle(NAMES))


async def test_problems_are_printed_as_compilers_do() -> None:
    problem = CompileProblem("a.rego", 3, 4, "wrong")
    assert json.dumps(str(problem)) == '"a.rego:3:4: wrong"'
