"""Policies that change while the gate runs, with a real OPA."""

import asyncio
import json
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fakes import opa
from fakes.asgi import call
from fakes.callers import by_path
from fakes.live import Life, MemoryMaps, living
from fakes.reviews import UID, review
from portcullis.errors import ClusterError, CompileProblem, PolicyCompileError
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.model.ruling import PolicyBundle
from portcullis.policy.folders import fingerprint, policy_files
from portcullis.server.clock import SystemClock
from portcullis.server.live.lastgood import LastGood
from portcullis.server.live.mapgate import AT_ONCE, PolicyMapHandler
from portcullis.server.live.reloading import Recipe
from portcullis.server.live.sources import Laid, blamed, lay_out

pytestmark = [pytest.mark.anyio, pytest.mark.opa]


def rego(name: str, body: str = 'deny contains "x"') -> str:
    return f"package portcullis.policies.{name}\nimport rego.v1\n{body}\n"


def test_of(name: str, body: str) -> str:
    return (
        f"package portcullis.policies.{name}_test\nimport rego.v1\nimport data.portcullis.policies.{name}\n"
        f"test_it if {body}\n"
    )


test_of.__test__ = False  # type: ignore[attr-defined]


async def test_a_folder_that_changes_is_swapped_in_and_a_broken_one_is_not(opa_binary: Path, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "a.rego").write_text(rego("a"))
    async with living(opa_binary, tmp_path) as life:
        first = life.current.standing
        assert life.names == ["a"]
        (life.folder / "b.rego").write_text(rego("b"))
        await life.until(lambda: life.names == ["a", "b"])
        assert life.reloader.state.problem == ""
        (life.folder / "b.rego").write_text(rego("b", "deny contains"))
        await life.until(lambda: life.reloader.state.problem)
        assert "own/b.rego:4" in life.reloader.state.problem
        assert life.names == ["a", "b"]
        (life.folder / "b.rego").unlink()
        await life.until(lambda: life.names == ["a"])
        assert life.current.standing.compiled.revision == first.compiled.revision
        assert (life.reloader.state.reloads, life.reloader.state.failures) == (2, 1)
        await life.until(lambda: len(life.kept) == 3 and not life.reloader.state.problem)


async def test_tests_that_lie_beside_keep_a_set_out(opa_binary: Path, tmp_path: Path) -> None:
    async with living(opa_binary, tmp_path) as life:
        life.maps.put("m", a=rego("a", 'deny contains "no" if input.x'), a_test=test_of("a", "count(a.deny) == 1"))
        await life.until(lambda: life.maps.error_of("m"))
        assert life.maps.error_of("m") == "a_test.rego:4:1: the test test_it fails"
        assert life.names == []
        life.maps.put("m", a=rego("a"), a_test=test_of("a", "count("))
        await life.until(lambda: "unexpected" in life.maps.error_of("m"))
        life.maps.put("m", a=rego("a"), a_test=test_of("a", "count(a.deny) == 1 with input as {}"))
        await life.until(lambda: life.names == ["a"])
        await life.until(lambda: life.maps.error_of("m") == "")


async def test_tests_without_end_are_cut_off_and_keep_the_set_out(opa_binary: Path, tmp_path: Path) -> None:
    limits = replace(DEFAULT_LIMITS, policy_test_seconds=1.0)
    endless = "count([1 | some a in numbers.range(1, 100000); some b in numbers.range(1, 100000); a == b]) == 1"
    async with living(opa_binary, tmp_path, limits=limits) as life:
        life.maps.put("m", a=rego("a"), a_test=test_of("a", endless))
        await life.until(lambda: "did not end in 1 s" in life.reloader.state.problem)
        assert life.names == []


async def test_only_the_config_map_that_is_to_blame_is_marked_and_the_whole_set_waits_for_it(
    opa_binary: Path, tmp_path: Path
) -> None:
    async with living(opa_binary, tmp_path) as life:
        life.maps.put("good", a=rego("a"))
        await life.until(lambda: life.names == ["a"])
        life.maps.put("bad", b=rego("b", "deny contains input.x.y if {\n"))
        await life.until(lambda: life.maps.error_of("bad"))
        assert life.maps.error_of("bad").startswith("b.rego:")
        assert life.maps.error_of("good") == ""
        assert life.maps.told == [("bad", "PolicyInvalid", f"not in force: {life.maps.error_of('bad')}")]
        life.maps.put("good", a=rego("a"), c=rego("c"))
        await asyncio.sleep(0.5)
        assert life.names == ["a"]
        life.maps.put("bad", b=rego("b"))
        await life.until(lambda: life.names == ["a", "b", "c"])
        await life.until(lambda: len(life.maps.told) == 2)
        assert life.maps.error_of("bad") == ""
        assert life.maps.told[1][:2] == ("bad", "PolicyMended")
        del life.maps.maps["gate", "bad"]
        await life.until(lambda: life.names == ["a", "c"])


async def test_a_package_that_two_places_have_is_the_fault_of_the_second(opa_binary: Path, tmp_path: Path) -> None:
    async with living(opa_binary, tmp_path) as life:
        life.maps.put("a", team=rego("team"))
        await life.until(lambda: life.names == ["team"])
        life.maps.put("b", team=rego("team", "deny contains 1 if false"))
        await life.until(lambda: life.maps.error_of("b"))
        assert "lies in configmaps/gate/a already" in life.maps.error_of("b")


async def test_a_set_that_the_configuration_cannot_stand_with_changes_nothing(opa_binary: Path, tmp_path: Path) -> None:
    async with living(opa_binary, tmp_path, forbidden=["b"]) as life:
        life.maps.put("m", b=rego("b"))
        await life.until(lambda: life.reloader.state.problem == "policies.modes: b")
        assert life.maps.error_of("m") == ""
        assert life.names == []


async def test_config_maps_that_are_not_known_take_no_policy_away(opa_binary: Path, tmp_path: Path) -> None:
    maps = MemoryMaps()
    maps.put("m", a=rego("a"))
    async with living(opa_binary, tmp_path, maps=maps) as life:
        assert life.names == ["a"]
        maps.error = ClusterError("the API server is away")
        await life.until(lambda: life.reloader.state.problem == "the API server is away")
        assert life.names == ["a"]
        maps.error = None
        await life.until(lambda: not life.reloader.state.problem)


async def test_a_start_with_broken_config_maps_begins_with_those_that_were_good(
    opa_binary: Path, tmp_path: Path
) -> None:
    maps = MemoryMaps()
    maps.put("m", a=rego("a", 'deny contains "ä\u2028"'))
    async with living(opa_binary, tmp_path, maps=maps):
        pass
    maps.put("m", a=rego("a", "deny contains"))
    async with living(opa_binary, tmp_path, maps=maps) as life:
        assert life.names == ["a"]
        await life.until(lambda: maps.error_of("m"))
        assert "configmaps/gate/m/a.rego:4" in life.reloader.state.problem
        maps.put("m", b=rego("b"))
        await life.until(lambda: life.names == ["b"])
    (tmp_path / "good.policies").write_text("{}")
    maps.put("m", a=rego("a", "deny contains"))
    with pytest.raises(PolicyCompileError):
        async with living(opa_binary, tmp_path, maps=maps):
            pass


async def test_decisions_in_flight_end_with_the_set_that_they_began_with(opa_binary: Path, tmp_path: Path) -> None:
    maps = MemoryMaps()
    maps.put("m", n=rego("n", 'deny contains "0"'))
    async with living(opa_binary, tmp_path, maps=maps) as life:
        over = asyncio.Event()
        judged: list[str] = []

        async def judge() -> None:
            while not over.is_set():
                standing = life.current()
                with life.engine.hold(standing.compiled):
                    await asyncio.sleep(0.3)
                    until = SystemClock().monotonic() + 20
                    ruling = await life.engine.evaluate(standing.compiled, ["n"], opa.document(), until)
                (hit,) = ruling.hits
                judged.append(hit.msg)

        tasks = [asyncio.create_task(judge()) for _ in range(8)]
        for number in range(1, 11):
            maps.put("m", n=rego("n", f'deny contains "{number}"'))
            await life.until(lambda wanted=number: life.reloader.state.reloads == wanted)
        over.set()
        await asyncio.gather(*tasks)
        assert len(judged) > 16
        assert {"0", "9"} <= set(judged)


def test_mounted_config_maps_are_seen_to_change(tmp_path: Path) -> None:
    """The kubelet swaps the link ``..data`` to another folder."""
    for name, text in (("one", "a"), ("two", "b")):
        (tmp_path / f"..{name}").mkdir()
        (tmp_path / f"..{name}" / "x.rego").write_text(text)
    (tmp_path / "..data").symlink_to("..one")
    (tmp_path / "x.rego").symlink_to("..data/x.rego")
    before = fingerprint([tmp_path], DEFAULT_LIMITS)
    assert before == fingerprint([tmp_path], DEFAULT_LIMITS)
    (tmp_path / "..new").symlink_to("..two")
    (tmp_path / "..new").replace(tmp_path / "..data")
    assert fingerprint([tmp_path], DEFAULT_LIMITS) != before
    assert fingerprint([tmp_path / "gone"], DEFAULT_LIMITS) != fingerprint([tmp_path], DEFAULT_LIMITS)


@pytest.mark.parametrize("limits", [Limits(policy_files=1), Limits(policy_set_bytes=10)])
def test_a_folder_without_end_is_not_read(limits: Limits, tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"{number}.rego").write_text("x" * 10)
    with pytest.raises(PolicyCompileError):
        list(policy_files(tmp_path, limits))
    assert fingerprint([tmp_path], limits) == fingerprint([tmp_path], limits)


def test_what_is_laid_out_and_whom_a_problem_blames(tmp_path: Path) -> None:
    laid = Laid("", {("gate", "m"): {"a.rego": "x", "..": "y", "a/b": "z"}}, {"central": {"p/a.rego": b"1"}})
    folders = lay_out(laid, tmp_path)
    assert [folder.name for folder in folders] == ["configmaps", "bundles"]
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert found == ["bundles/central/p/a.rego", "configmaps/gate/m/a.rego"]
    problems = [
        CompileProblem("configmaps/gate/m/a.rego", 3, 1, "one"),
        CompileProblem("configmaps/gate/m/a.rego", 4, 0, "two"),
        CompileProblem("configmaps/gate/other/a.rego", 1, 1, "x"),
        CompileProblem("builtin/a.rego", 1, 1, "x"),
    ]
    assert blamed(problems, {("gate", "m")}) == {("gate", "m"): "a.rego:3:1: one\na.rego:4: two"}
    assert lay_out(Laid(""), tmp_path) == ()


def test_the_last_good_ones_survive_as_they_are(tmp_path: Path) -> None:
    laid = Laid("key", {("gate", "m"): {"a.rego": "ä\ud800\n"}}, {"central": {"p/a.rego": "ö".encode()}})
    good = LastGood(tmp_path / "x", DEFAULT_LIMITS)
    good.write(Laid("nothing yet"))
    assert good.read() is None
    good.write(laid)
    assert good.read() == Laid("", laid.maps, laid.bundles)
    good.write(Laid("other"))  # all were deleted
    assert good.read() == Laid("")
    (tmp_path / "x").write_text("[]")
    assert good.read() is None
    LastGood(None, DEFAULT_LIMITS).write(laid)


def handler(life: Life, **changes: Any) -> PolicyMapHandler:
    return PolicyMapHandler(
        recipe=changes.pop("recipe", life.recipe),
        engine=life.engine,
        standing=lambda: life.reloader.stands,
        namespaces=["gate"],
        limits=changes.pop("limits", DEFAULT_LIMITS),
        callers=by_path(changes.pop("segment", "")),
    )


def config_map(text: str, labels: Any = None) -> dict[str, Any]:
    metadata = {"name": "m", "namespace": "gate", "labels": labels or {"portcullis.dev/policy": "true"}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"team.rego": text}}


async def asked(
    found: PolicyMapHandler, made: Any, query: bytes = b"timeout=10s", path: str = "/validate-policies", **request: Any
) -> Any:
    body = json.dumps(review(made, **{"name": "m", "namespace": "gate", **request})).encode()
    return (await call(found, path, [body], query=query)).response


def waiting(recipe: Recipe, answered: threading.Event) -> Recipe:
    """The same, but that it loads nothing before ``answered``."""

    def load(folders: Sequence[Path]) -> PolicyBundle:
        answered.wait(30)
        return recipe.load(folders)

    return replace(recipe, load=load)


async def test_a_config_map_is_refused_if_it_does_not_compile_with_what_stands(
    opa_binary: Path, tmp_path: Path
) -> None:
    maps = MemoryMaps()
    maps.put("base", base=rego("base"))
    broken, good = config_map(rego("team", "deny contains input.x if {")), config_map(rego("team"))
    async with living(opa_binary, tmp_path, maps=maps) as life:
        gate = handler(life)
        answer = await asked(gate, broken)
        assert not answer["allowed"]
        assert answer["status"]["code"] == 403
        assert answer["status"]["message"].startswith("[policy-invalid] team.rego:")
        assert await asked(gate, good) == {"uid": UID, "allowed": True}
        taken = await asked(gate, config_map(rego("base")))
        assert "lies in configmaps/gate/base already" in taken["status"]["message"]
        for admitted in (
            await asked(gate, config_map("x", {"other": "true"})),
            await asked(gate, broken, operation="UPDATE", oldObject=broken),
            await asked(gate, {**broken, "kind": "Secret"}),
            await asked(gate, None, operation="DELETE", oldObject=broken),
        ):
            assert admitted == {"uid": UID, "allowed": True}
        elsewhere = await asked(gate, broken, namespace="shop")
        assert "reads no policies from the namespace shop" in elsewhere["warnings"][0]
        answered = threading.Event()
        late = await asked(handler(life, recipe=waiting(life.recipe, answered)), broken, b"timeout=0s")
        answered.set()
        assert late["allowed"]
        assert "not in time" in late["warnings"][0]
        assert life.names == ["base"]
        life.maps.put("other", other=rego("other", "deny contains"))
        await life.until(lambda: life.maps.error_of("other"))
        assert await asked(gate, good) == {"uid": UID, "allowed": True}  # the fault of another is not its own


async def test_for_a_stranger_nothing_is_compiled(opa_binary: Path, tmp_path: Path) -> None:
    broken = config_map(rego("team", "deny contains input.x if {"))
    async with living(opa_binary, tmp_path) as life:
        gate = handler(life, segment="0123456789abcdef")
        for path in ("/validate-policies", "/fedcba9876543210/validate-policies"):
            answer = await asked(gate, broken, path=path)
            assert answer["allowed"]
            assert "did not come the API server's way" in answer["warnings"][0]
        assert not (await asked(gate, broken, path="/0123456789abcdef/validate-policies"))["allowed"]


async def test_what_is_no_review_and_what_is_too_much(opa_binary: Path, tmp_path: Path) -> None:
    async with living(opa_binary, tmp_path) as life:
        gate = handler(life, limits=replace(DEFAULT_LIMITS, review_bytes=20_000))
        assert (await call(gate, "/validate-policies", method="GET")).status == 405
        assert (await call(gate, "/validate-policies", [b"{}"])).status == 400
        assert (await call(gate, "/validate-policies", [b"x" * 30_000])).status == 413
        broken = config_map(rego("team", "deny contains"))
        answers = await asyncio.gather(*(asked(gate, broken) for _ in range(AT_ONCE + 3)))
        assert sum(answer["allowed"] for answer in answers) >= 1
        assert any("too much to do" in answer.get("warnings", [""])[0] for answer in answers)
    for path, ours in {
        "/validate-policies": True,
        "/0123456789abcdef/validate-policies": True,
        "/fedcba9876543210/validate-policies": True,
        "//validate-policies": False,
        "/a/b/validate-policies": False,
        "/validate": False,
    }.items():
        assert gate.serves(path) is ours
