"""Finds what the gate needs and would itself keep from starting.

A Service of this cluster, in a namespace whose pods the webhook judges with failurePolicy Fail: once both are down, its
pods are refused until the gate is back, and the gate is not whole without it. Nothing stops for that, since both may be
up for years; it is shown, counted and logged, so that it is mended before.

Only hosts that say so are known to be Services: ``name.namespace.svc``, with the cluster's domain behind it or without.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import urlsplit

import structlog

from portcullis.audit.databaseurl import PostgresAddress, read_address
from portcullis.server.health import Check
from portcullis.server.settings import Settings
from portcullis.server.telemetry import Metrics

_SERVICE: Final = re.compile(r"(?:[^.]+\.)+([a-z0-9-]+)\.svc(?:\..+)?")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Needed:
    """A Service that the configuration names: where, and by which host."""

    key: str
    host: str
    namespace: str


class Reach(Protocol):
    """What is asked of cluster.registration.Reach: one webhook, as the cluster has it."""

    def closed_for(self, namespace: str) -> bool: ...


class Circles:
    """What of ``settings`` lies where the webhook would keep it from starting.

    Args:
        reaches: the webhooks that judge, as the cluster has them; none as long as that is not known.
    """

    def __init__(self, settings: Settings, reaches: Callable[[], Iterable[Reach]]) -> None:
        self._needed = services(settings)
        self._reaches = reaches
        self._told: frozenset[Needed] = frozenset()

    def now(self) -> tuple[Needed, ...]:
        """All of them."""
        reaches = tuple(self._reaches())
        return tuple(one for one in self._needed if any(reach.closed_for(one.namespace) for reach in reaches))

    def check(self) -> Check:
        """Shown, not decisive. Each is logged once, as soon as somebody asks whether the program is ready."""

        async def circles() -> str:
            found = self.now()
            for one in found:
                if one not in self._told:
                    log.warning("gate and dependency wait for each other", key=one.key, host=one.host, problem=HELP)
            self._told = frozenset(found)
            return f"{'; '.join(map(_shown, found))}: {HELP}" if found else ""

        return Check("circles", circles, decisive=False)

    def observe(self, metrics: Metrics) -> None:
        metrics.gauge("circles", "What the gate needs and would keep from starting.").set_function(
            lambda: float(len(self.now()))
        )


HELP: Final = (
    "the webhook judges the pods of that namespace and fails closed, so that neither starts once both are down; add "
    "the namespace to webhook.exemptNamespaces of the chart"
)


def _shown(one: Needed) -> str:
    return f"{one.key} names {one.host} in the namespace {one.namespace}"


def services(settings: Settings) -> tuple[Needed, ...]:
    """The Services of the cluster that ``settings`` names, each once."""
    found: dict[tuple[str, str], Needed] = {}
    for key, host in _hosts(settings):
        service = _SERVICE.fullmatch(host.lower())
        if service is not None:
            found.setdefault((key, host), Needed(key, host, service[1]))
    return tuple(found.values())


def _hosts(settings: Settings) -> Iterator[tuple[str, str]]:
    """Every host that the gate may ask something of, with the key that names it."""
    database = read_address(settings.audit.database) if settings.audit.database else None
    if isinstance(database, PostgresAddress):
        yield "audit.database", database.host
    yield "opa.address", _host_of(settings.opa.address)
    yield from _registries(settings)
    for at, bundle in enumerate(settings.policies.bundles):
        yield f"policies.bundles.{at}.url", _host_of(bundle.url)
    for at, sink in enumerate(settings.audit.sinks):
        if sink.otlp is not None:
            yield f"audit.sinks.{at}.otlp.endpoint", _host_of(sink.otlp.endpoint)
    if settings.telemetry.traces is not None:
        yield "telemetry.traces.endpoint", _host_of(settings.telemetry.traces.endpoint)


def _registries(settings: Settings) -> Iterator[tuple[str, str]]:
    registries = settings.registries
    yield "registries.default", _host_of(f"//{registries.default}")
    for name in registries.allowed:
        yield "registries.allowed", _host_of(f"//{name}")
    for name in registries.hosts:
        yield "registries.hosts", _host_of(f"//{name}")
    for name, mirrors in registries.mirror_endpoints.items():
        for mirror in mirrors:
            yield f"registries.mirrors.{name}", _host_of(f"//{mirror.endpoint}")
    if registries.proxy is not None:
        yield "registries.proxy.https", _host_of(registries.proxy.https)
        yield "registries.proxy.http", _host_of(registries.proxy.http)
    for at, place in enumerate(settings.trust.repositories):
        yield f"trust.repositories.{at}", _host_of(f"//{place.repository}")


def _host_of(address: str) -> str:
    """Of a URL; "" where it has none: a socket, a path, nothing at all."""
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""
