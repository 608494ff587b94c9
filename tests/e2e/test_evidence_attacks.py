"""Attacks on evidence, against the webhook as its own process with its OPA, and a registry that does what it must not.

Of each is asked: what is answered, whether it came before the time that the caller waits, and whether the program goes
on to judge others rightly.
"""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from fakes.faulty import FaultyServer, serve_faulty
from fakes.reviews import pod, review
from fakes.webhook import WebhookProcess, running_webhook
from vectors import attestations as made
from vectors.attacks import Attack, attacks, left_by_an_old_key, many
from vectors.scenes import CRITICAL, Scene, ago, trust_section, write_roots

pytestmark = [pytest.mark.anyio, pytest.mark.opa, pytest.mark.usefixtures("opa_binary")]

ASKED_SECONDS = 10
BUSY_SECONDS = 10
"""For a machine that has other tests to run."""
ENABLED = ["scan-fresh", "scan-required", "scan-severity"]
SEGMENT = "an-unguessable-word-0001"
MOST_MEMORY_KIB = 700 * 1024


@contextlib.asynccontextmanager
async def gate(
    folder: Path, registry: FaultyServer, *, trust: Mapping[str, Any] | None = None, **sections: Any
) -> AsyncIterator[WebhookProcess]:
    """With the policies on scans, of which nothing is changed."""
    write_roots(folder)
    hosts = {registry.host: {"insecure": True, "private": True}}
    async with running_webhook(
        folder,
        registries={"hosts": hosts},
        trust=trust_section(registry.host, **(trust or {})),
        policies={"enabled": ENABLED},
        **{"server": {"pathSegment": SEGMENT}, **sections},
    ) as running:
        yield running


@pytest.fixture
async def registry() -> AsyncIterator[FaultyServer]:
    async with serve_faulty() as server:
        yield server


async def ask(running: WebhookProcess, image: str, *, known: bool = True, **request: Any) -> tuple[int, str]:
    """Code and message of the answer; one that comes too late fails the test. ``known``: as the API server asks."""
    body = json.dumps(review(pod(image), **request)).encode()
    async with asyncio.timeout(ASKED_SECONDS + BUSY_SECONDS):
        reply = await running.post(body, f"{f'/{SEGMENT}' if known else ''}/validate?timeout={ASKED_SECONDS}s")
    if reply.response["allowed"]:
        return 200, ""
    return reply.response["status"]["code"], reply.response["status"]["message"]


def clean(registry: FaultyServer, name: str = "clean") -> Scene:
    scene = Scene(registry.host, name)
    scene.sign(scene.scan())
    registry.routes.update(scene.served())
    return scene


def staged(registry: FaultyServer, attack: Attack) -> Scene:
    scene = Scene(registry.host, attack.name, attack.platforms)
    attack.make(scene)
    registry.routes.update(scene.served())
    return scene


def memory_of(running: WebhookProcess) -> int:
    """The most that the process ever had, in KiB."""
    status = Path(f"/proc/{running.process.pid}/status").read_text()
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    assert found is not None
    return int(found[1])


async def test_each_attack_is_answered_in_time_and_harms_nobody_else(tmp_path: Path, registry: FaultyServer) -> None:
    """One process for all of them, while a registry sends an attestation to it byte by byte."""
    table = attacks()
    scenes = {attack.name: staged(registry, attack) for attack in table}
    good = clean(registry)
    async with gate(tmp_path, registry) as running:
        assert await ask(running, good.written) == (200, "")
        waiting = {
            attack.name: asyncio.create_task(ask(running, scenes[attack.name].written))
            for attack in table
            if attack.slow
        }
        wrong = dict[str, str]()
        for number, attack in enumerate(table):
            task = waiting.get(attack.name)
            code, message = await (task or ask(running, scenes[attack.name].written))
            if code != attack.code or attack.says not in message:
                wrong[attack.name] = f"{code} {message}"
            other = clean(registry, f"clean-{number}")
            if (answer := await ask(running, other.written)) != (200, ""):
                wrong[f"after {attack.name}"] = f"{answer}"
        assert not wrong, json.dumps(wrong, indent=1)
        assert running.process.returncode is None
        assert memory_of(running) < MOST_MEMORY_KIB


async def test_a_signature_of_an_old_form_counts_only_where_the_operator_lets_it(
    tmp_path: Path, registry: FaultyServer
) -> None:
    """Attack "old-form" of the table, which is let in there, with the carriers that this operator uses."""
    scene = Scene(registry.host, "stripped")
    left_by_an_old_key(scene)
    registry.routes.update(scene.served())
    good = clean(registry)
    async with gate(tmp_path, registry, trust={"carriers": ["referrer", "fallback-tag"]}) as running:
        code, message = await ask(running, scene.written)
        assert (code, "nothing is attached to the image" in message) == (403, True), message
        assert await ask(running, good.written) == (200, "")


async def test_to_delete_a_newer_scan_brings_no_older_one_back(tmp_path: Path, registry: FaultyServer) -> None:
    """Only what was asked in earnest is remembered: no dry run, and nobody who does not know the path."""
    scenes = {name: Scene(registry.host, name) for name in ("asked", "dry-run", "anybody")}
    async with gate(tmp_path, registry, limits={"tagSeconds": 0.001}) as running:
        for scene in scenes.values():
            scene.sign(scene.scan(at=ago(hours=2)))
            older = scene.served()
            scene.sign(scene.scan(CRITICAL, at=ago(hours=1)))
            registry.routes.update(scene.served())
            request = {"dryRun": scene.name == "dry-run"}
            known = scene.name != "anybody"
            code, message = await ask(running, scene.written, known=known, **request)
            says = "CVE-2026-0001" if known else "registry-not-allowed"  # a stranger is not even shown the image
            assert (code, says in message) == (403, True), (scene.name, message)
            registry.routes.update(older)
        await running.until_logged("decision", len(scenes))
        assert await ask(running, scenes["dry-run"].written) == (200, "")
        assert await ask(running, scenes["anybody"].written) == (200, "")
        async with asyncio.timeout(ASKED_SECONDS):  # a mark is written beside the answer
            while (answer := await ask(running, scenes["asked"].written))[0] == 200:
                await asyncio.sleep(0.05)
        assert "a newer" in answer[1], answer


async def test_two_hundred_attestations_are_judged_in_time(tmp_path: Path, registry: FaultyServer) -> None:
    """As many as the operator lets be attached, of 300 kB each, by a trusted signer and by a stranger. A slow machine
    may need more than one request for them, each of which is answered in its time and leaves less to do."""
    scenes = {name: Scene(registry.host, name) for name in ("trusted", "stranger")}
    for name, scene in scenes.items():
        for payload in many(scene, 200, 225_000):
            scene.sign(payload, made.CI if name == "trusted" else made.STRANGER)
        registry.routes.update(scene.served())
    good = clean(registry)
    async with gate(tmp_path, registry, limits={"referrers": 200}) as running:
        for name, expected in (("trusted", 200), ("stranger", 403)):
            answers = [await ask(running, scenes[name].written)]
            while answers[-1][0] in (429, 503) and len(answers) < 6:
                answers.append(await ask(running, scenes[name].written))
            assert answers[-1][0] == expected, answers
            assert await ask(running, good.written) == (200, "")
        assert memory_of(running) < MOST_MEMORY_KIB
