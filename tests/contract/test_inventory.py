"""``data.inventory`` in a real OPA: there before it serves, kept true, and there again after a kill and a new set."""

import asyncio
import os
import signal
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fakes import opa
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.ruling import CompiledBundle, Need
from portcullis.policy.inventory import Inventory
from portcullis.policy.opa import OpaEngine
from portcullis.policy.supervisor import OpaSupervisor
from portcullis.server.clock import SystemClock

pytestmark = [pytest.mark.anyio, pytest.mark.opa]

HOSTS = opa.policy(
    "hosts",
    """deny contains sprintf("%s/%s", [namespace, name]) if {
	some namespace, name
	data.inventory.namespace[namespace]["networking.k8s.io/v1"].Ingress[name]
}""",
)
INGRESS = ("networking.k8s.io/v1", "Ingress")


async def seen(engine: OpaEngine, compiled: CompiledBundle) -> list[str]:
    ruling = await engine.evaluate(compiled, ["hosts"], opa.document(), SystemClock().monotonic() + 20)
    assert ruling.judged == {"hosts"}, ruling.failed
    return sorted(hit.msg for hit in ruling.hits)


async def until_seen(engine: OpaEngine, compiled: CompiledBundle, wanted: list[str]) -> None:
    async with asyncio.timeout(10):
        while await seen(engine, compiled) != wanted:
            await asyncio.sleep(0.02)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def test_it_follows_the_cluster_through_restarts_and_new_sets(opa_binary: Path) -> None:
    inventory = Inventory(replace(DEFAULT_LIMITS, inventory_objects=4))
    inventory.put(*INGRESS, "shop", "before", {"spec": {}})
    supervisor = OpaSupervisor(binary=opa_binary, limits=DEFAULT_LIMITS, inventory=inventory)
    engine = OpaEngine(supervisor=supervisor, clock=SystemClock(), limits=DEFAULT_LIMITS)
    try:
        first = await engine.compile(opa.bundle(HOSTS))
        assert first.policies[0].needs >= {Need.INVENTORY}
        assert await seen(engine, first) == ["shop/before"]
        inventory.put(*INGRESS, "other", "a/b~c", {})
        inventory.remove(*INGRESS, "shop", "before")
        await until_seen(engine, first, ["other/a/b~c"])

        os.kill(supervisor.pid, signal.SIGKILL)
        await until(lambda: not supervisor.healthy)
        inventory.put(*INGRESS, "shop", "during", {})
        await until(lambda: supervisor.healthy)
        assert await seen(engine, first) == ["other/a/b~c", "shop/during"]
        inventory.put(*INGRESS, "shop", "after", {})
        await until_seen(engine, first, ["other/a/b~c", "shop/after", "shop/during"])

        other = await engine.compile(opa.bundle(HOSTS, opa.policy("more", 'deny contains "x" if false')))
        assert await seen(engine, other) == ["other/a/b~c", "shop/after", "shop/during"]
        inventory.remove(*INGRESS, "shop", "after")
        await until_seen(engine, other, ["other/a/b~c", "shop/during"])
        await until_seen(engine, first, ["other/a/b~c", "shop/during"])

        for name in "1234":
            inventory.put(*INGRESS, "many", name, {})
        assert inventory.too_large
        await until_seen(engine, other, [])
        for name in "1234":
            inventory.remove(*INGRESS, "many", name)
        await until_seen(engine, other, ["other/a/b~c", "shop/during"])
        assert supervisor.inventory_problem == ""
    finally:
        await supervisor.aclose()


async def test_the_set_that_a_decision_began_with_is_kept_for_it(opa_binary: Path) -> None:
    supervisor = OpaSupervisor(binary=opa_binary, limits=DEFAULT_LIMITS, keep_seconds=0)
    engine = OpaEngine(supervisor=supervisor, clock=SystemClock(), limits=DEFAULT_LIMITS)
    try:
        first = await engine.compile(opa.bundle(opa.policy("hosts", 'deny contains "first"')))
        pid = supervisor.pid
        with engine.hold(first):
            for number in range(3):
                await engine.compile(opa.bundle(opa.policy("hosts", f'deny contains "{number}"')))
            await asyncio.sleep(0.1)
            assert await seen(engine, first) == ["first"]
        await until(lambda: not Path(f"/proc/{pid}").exists())
    finally:
        await supervisor.aclose()


async def test_a_prepared_set_that_is_not_served_changes_nothing_and_leaves_nothing(
    opa_binary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory(prefix="p-") as short:  # as the paths of sockets have to be
        monkeypatch.setattr("tempfile.tempdir", short)
        folder = Path(short)
        async with opa.running(opa_binary) as engine:
            good = await engine.compile(opa.bundle(opa.policy("hosts", 'deny contains "good"')))
            before = names(folder)
            async with engine.prepared(opa.bundle(opa.policy("hosts", 'deny contains "other"'))) as prepared:
                assert prepared.compiled.revision != good.revision
                assert len(names(folder)) == 2
            assert names(folder) == before
            assert await seen(engine, good) == ["good"]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
