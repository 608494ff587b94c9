"""What is remembered, put together, and what is measured of it."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

from portcullis.audit.facts import FactCounters, SqlFacts
from portcullis.audit.marks import LayeredMarks, SqlMarks
from portcullis.audit.memory import LayeredFacts, MemoryFacts, MemoryMarks
from portcullis.audit.sql import SqlRecords
from portcullis.limits import Limits
from portcullis.ports import Clock, Facts, Marks
from portcullis.registry.facts import CachingRegistry
from portcullis.registry.traffic import Traffic
from portcullis.remembering import Remembering
from portcullis.server.telemetry import Metrics

STRANGERS_SHARE: Final = 8
"""What is kept for strangers beside what is kept for others: an eighth of its bytes."""


@dataclass(frozen=True, slots=True)
class KeptFacts:
    """Facts that were derived from images, and marks of scans that were seen. All but what is in memory is None for
    commands that record nothing, where facts end with the program."""

    memory: MemoryFacts
    strangers: MemoryFacts
    """Facts for reviews of strangers; they are never stored."""
    stored: SqlFacts | None = None
    layers: LayeredFacts | None = None
    marks: Marks | None = None
    remembering: Remembering | None = None

    @property
    def facts(self) -> Facts:
        """The one to use."""
        return self.memory if self.layers is None else self.layers


@asynccontextmanager
async def keeping(store: SqlRecords | None, *, clock: Clock, limits: Limits) -> AsyncIterator[KeptFacts]:
    """Facts in memory and, where there is one, in an audit store.

    Args:
        store: is opened and closed by others; it must still be open when the block ends, or what is on its way to it
            is not kept.
    """
    memory = MemoryFacts(limits=limits)
    strangers = MemoryFacts(limits=replace(limits, memory_fact_bytes=limits.memory_fact_bytes // STRANGERS_SHARE))
    if store is None:
        yield KeptFacts(memory, strangers)
        return
    stored = SqlFacts(records=store, clock=clock, limits=limits)
    layers = LayeredFacts(memory=memory, store=stored, limits=limits)
    marks = LayeredMarks(
        memory=MemoryMarks(limits=limits), store=SqlMarks(records=store, clock=clock, limits=limits), limits=limits
    )
    remembering = Remembering(marks=marks, limits=limits)
    try:
        yield KeptFacts(memory, strangers, stored, layers, marks, remembering)
    finally:
        await remembering.aclose()
        await layers.aclose()
        await stored.aclose()


def observe_registry_cache(registry: CachingRegistry, metrics: Metrics) -> None:
    """Binds metrics to what is remembered of registries; they are read when Prometheus asks."""
    counted: dict[str, str] = {
        "hits": "What was asked for and was remembered.",
        "misses": "What was asked for and was not remembered.",
        "evictions": "What was dropped because the room was needed.",
        "too_large": "What was not kept because it takes more than a quarter of the room.",
    }
    for name, text in counted.items():
        metrics.count_by(f"registry_cache_{name}", text, "cache", _counter(registry, name))
    metrics.gauge_by(
        "registry_cache_bytes",
        "Bytes of what is remembered, about.",
        "cache",
        lambda: {name: cache.bytes for name, cache in registry.state().caches.items()},
    )
    metrics.gauge_by(
        "registry_cache_entries",
        "How much is remembered.",
        "cache",
        lambda: {name: cache.entries for name, cache in registry.state().caches.items()},
    )
    fetched: dict[str, tuple[str, Callable[[], float]]] = {
        "started": ("Fetches from registries.", lambda: registry.state().flights.started),
        "joined": ("Waits for a fetch that others began.", lambda: registry.state().flights.joined),
        "failed": ("Fetches that failed.", lambda: registry.state().flights.failed),
        "refused": ("Fetches not begun: too many were under way.", lambda: registry.state().flights.refused),
    }
    for name, (text, read) in fetched.items():
        metrics.count_function(f"registry_fetches_{name}", text, read)
    metrics.gauge("registry_fetches", "Fetches that are under way.").set_function(lambda: registry.state().under_way)
    metrics.count_by(
        "registry_stale",
        "Uses of a stale fact in place of a registry that could not be reached.",
        "fact",
        lambda: {"tag": registry.state().stale_tags, "referrers": registry.state().stale_lists},
    )


def observe_traffic(traffic: Traffic, metrics: Metrics) -> None:
    """Binds metrics to what is asked of registries; they are read when Prometheus asks."""
    metrics.count_each("registry_requests", "Requests to registries.", ("host", "outcome"), lambda: traffic.requests)
    metrics.time_by(
        "registry_request_seconds", "Until the answer of a registry begins.", "host", lambda: traffic.seconds
    )


def observe_facts(kept: KeptFacts, metrics: Metrics) -> None:
    """Binds metrics to kept facts; they are read when Prometheus asks."""
    places: dict[str, MemoryFacts | SqlFacts] = {"memory": kept.memory, "strangers": kept.strangers}
    if kept.stored is not None:
        places["store"] = kept.stored
    counted: dict[str, tuple[str, Callable[[FactCounters], int]]] = {
        "hits": ("Facts that were asked for and are kept.", lambda counters: counters.hits),
        "misses": ("Facts that were asked for and are not kept.", lambda counters: counters.misses),
        "kept": ("Facts that were added.", lambda counters: counters.kept),
        "evicted": ("Facts that were removed because the room was needed.", lambda counters: counters.evicted),
        "too_large": ("Facts that take more than a quarter of the room.", lambda counters: counters.too_large),
        "damaged": ("Facts that were removed because they were damaged.", lambda counters: counters.damaged),
        "failed": ("Facts that could not be read or written.", lambda counters: counters.failed),
    }
    for name, (text, read) in counted.items():
        metrics.count_by(f"facts_{name}", text, "place", _each(places, read))
    metrics.gauge_by(
        "facts_bytes", "Bytes of kept facts.", "place", lambda: {name: place.bytes for name, place in places.items()}
    )
    layers = kept.layers
    if layers is not None:
        metrics.gauge("facts_waiting_bytes", "Bytes of facts that wait for the store.").set_function(
            lambda: layers.waiting_bytes
        )
        metrics.count_function("facts_dropped", "Facts that did not get into the store.", lambda: layers.dropped)


def _counter(registry: CachingRegistry, name: str) -> Callable[[], Mapping[str, float]]:
    return lambda: {cache: getattr(state.counters, name) for cache, state in registry.state().caches.items()}


def _each(
    places: Mapping[str, MemoryFacts | SqlFacts], read: Callable[[FactCounters], int]
) -> Callable[[], Mapping[str, float]]:
    return lambda: {name: read(place.counters) for name, place in places.items()}
