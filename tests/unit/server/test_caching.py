"""What is remembered, as the server puts it together and shows it."""

import re
from pathlib import Path

import pytest

from fakes.clock import StandingClock
from fakes.pages import OPERATORS as PAGE
from fakes.registry import MemoryRegistry
from portcullis.audit.sql import SqlRecords
from portcullis.errors import ConfigError, Unreachable
from portcullis.limits import Limits
from portcullis.model.image import Access, ImageReference, Repository
from portcullis.registry.facts import CachingRegistry
from portcullis.registry.keychain import StaticKeychain
from portcullis.server.caching import keeping, observe_facts, observe_registry_cache
from portcullis.server.clock import SystemClock
from portcullis.server.settings import load_settings
from portcullis.server.telemetry import Metrics

pytestmark = pytest.mark.anyio

LIMITS = Limits(memory_fact_bytes=8000)
TAGGED = ImageReference(Repository("registry.example", "acme/web"), "1", None)


def values(metrics: Metrics) -> dict[str, float]:
    """What Prometheus reads, by name and label."""
    lines = [line for line in metrics.page().decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def described(name: str) -> bool:
    """Whether the page for operators has the metric, or its end after others that begin alike."""
    return f"`{name}`" in PAGE or any(
        f"`…{name[place.start() :]}`" in PAGE and f"`{name[: place.start()]}_" in PAGE
        for place in re.finditer("_", name)
    )


async def test_a_command_without_a_store_keeps_facts_in_memory() -> None:
    async with keeping(None, clock=SystemClock(), limits=LIMITS) as kept:
        await kept.facts.put("a", b"x")
        assert await kept.facts.get("a") == b"x"
        assert kept.stored is None


async def test_facts_go_to_the_store_and_are_counted(tmp_path: Path) -> None:
    records = SqlRecords(url=f"sqlite:///{tmp_path / 'audit.db'}", limits=LIMITS)
    await records.start()
    metrics = Metrics()
    async with keeping(records, clock=SystemClock(), limits=LIMITS) as kept:
        observe_facts(kept, metrics)
        await kept.facts.put("a", b"x")
        await kept.facts.put("large", b"x" * 2001)
        assert await kept.facts.get("a") == b"x"
    async with keeping(records, clock=SystemClock(), limits=LIMITS) as again:
        assert await again.facts.get("large") == b"x" * 2001
    await records.aclose()
    found = values(metrics)
    assert found['portcullis_facts_hits_total{place="memory"}'] == 1
    assert found['portcullis_facts_hits_total{place="store"}'] == 0
    assert found['portcullis_facts_too_large_total{place="memory"}'] == 1
    assert found['portcullis_facts_kept_total{place="store"}'] == 2
    assert found['portcullis_facts_bytes{place="store"}'] == 2001 + 1 + 2 * 1024
    assert (found["portcullis_facts_waiting_bytes"], found["portcullis_facts_dropped_total"]) == (0, 0)


async def test_what_is_remembered_of_registries_is_counted() -> None:
    memory, metrics, clock = MemoryRegistry(), Metrics(), StandingClock()
    keychain = StaticKeychain(credentials={})
    registry = CachingRegistry(registry=memory, keychain=keychain, clock=clock, limits=LIMITS, stale_seconds=600)
    observe_registry_cache(registry, metrics)
    memory.add_image("registry.example/acme/web", "1")
    await registry.resolve(TAGGED, Access())
    memory.fail("registry.example", Unreachable("down"))
    clock.seconds += 60
    image = await registry.resolve(TAGGED, Access())
    assert image.stale_since is not None
    await registry.aclose()
    found = values(metrics)
    assert found['portcullis_registry_stale_total{fact="tag"}'] == 1
    assert found['portcullis_registry_stale_total{fact="referrers"}'] == 0
    assert found['portcullis_registry_cache_misses_total{cache="tags"}'] == 2
    assert found['portcullis_registry_cache_entries{cache="tags"}'] == 1
    assert found['portcullis_registry_cache_bytes{cache="content"}'] > 0
    assert found["portcullis_registry_fetches_started_total"] == 2
    assert found["portcullis_registry_fetches_failed_total"] == 1
    assert found["portcullis_registry_fetches"] == 0


async def test_every_metric_is_described(tmp_path: Path) -> None:
    metrics = Metrics()
    before = set(values(metrics))
    records = SqlRecords(url=f"sqlite:///{tmp_path / 'audit.db'}", limits=LIMITS)
    async with keeping(records, clock=SystemClock(), limits=LIMITS) as kept:
        observe_facts(kept, metrics)
        observe_registry_cache(
            CachingRegistry(
                registry=MemoryRegistry(),
                keychain=StaticKeychain(credentials={}),
                clock=SystemClock(),
                limits=LIMITS,
            ),
            metrics,
        )
        names = {name.partition("{")[0] for name in set(values(metrics)) - before}
    await records.aclose()
    assert len(names) > 15
    assert {name for name in names if not described(name)} == set()
    assert not described("portcullis_facts_forgotten_total")


def test_the_grace_is_off_unless_it_is_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "portcullis.yaml"
    for text, seconds in (
        ("{}", 0),
        ("registries: {staleSeconds: 3600}", 3600),
        ("registries: {staleSeconds: 0.5}", 0.5),
    ):
        file.write_text(text)
        assert load_settings(file, {}).registries.stale_seconds == seconds


@pytest.mark.parametrize("value", ["-1", "604801", "true", "'60'"])
def test_a_grace_of_more_than_a_week_is_refused(tmp_path: Path, value: str) -> None:
    file = tmp_path / "portcullis.yaml"
    file.write_text(f"registries: {{staleSeconds: {value}}}")
    with pytest.raises(ConfigError, match="staleSeconds"):
        load_settings(file, {})
