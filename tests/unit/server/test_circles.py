"""What the gate needs and would itself keep from starting is found and named."""

import io
import json
from typing import Any

import pytest

from portcullis.cluster.registration import Reach
from portcullis.server.circles import Circles, services
from portcullis.server.settings import Settings
from portcullis.server.telemetry import Metrics, configure_logging

pytestmark = pytest.mark.anyio

DATABASE = {"database": "postgresql://gate@db.stores.svc:5432/gate?sslmode=disable", "journal": "/j"}


@pytest.mark.parametrize(
    ("tree", "found"),
    [
        ({}, []),
        ({"audit": {"database": "sqlite:///audit.db"}}, []),
        ({"audit": DATABASE}, [("audit.database", "stores")]),
        ({"opa": {"address": "https://opa.policy.svc.cluster.local:8181"}}, [("opa.address", "policy")]),
        ({"opa": {"address": "unix:///run/opa.sock"}}, []),
        ({"registries": {"default": "registry.images.svc:5000"}}, [("registries.default", "images")]),
        ({"registries": {"allowed": ["registry.images.svc", "registry.example"]}}, [("registries.allowed", "images")]),
        ({"registries": {"hosts": {"r-0.r.images.svc:5000": {}}}}, [("registries.hosts", "images")]),
        (
            {"registries": {"mirrors": {"docker.io": ["m.images.svc/hub", {"endpoint": "n.more.svc.acme.internal"}]}}},
            [("registries.mirrors.docker.io", "images"), ("registries.mirrors.docker.io", "more")],
        ),
        ({"registries": {"proxy": {"https": "http://proxy.edge.svc:3128"}}}, [("registries.proxy.https", "edge")]),
        (
            {"policies": {"bundles": [{"name": "b", "url": "https://bundles.policy.svc/b.tar.gz"}]}},
            [("policies.bundles.0.url", "policy")],
        ),
        (
            {"audit": {"sinks": [{"stdout": {}}, {"otlp": {"endpoint": "https://otel.tracing.svc:4318/v1/logs"}}]}},
            [("audit.sinks.1.otlp.endpoint", "tracing")],
        ),
        (
            {"telemetry": {"traces": {"endpoint": "https://otel.tracing.svc:4318/v1/traces"}}},
            [("telemetry.traces.endpoint", "tracing")],
        ),
        (
            {"trust": {"repositories": [{"images": ["a.example/**"], "repository": "r.images.svc/attestations"}]}},
            [("trust.repositories.0", "images")],
        ),
        # Names of others that look alike.
        ({"registries": {"allowed": ["svc.example", "images.svc", "svc", "10.96.0.7:5000", "a.svcx.example"]}}, []),
    ],
)
def test_services_are_known_by_their_names(tree: dict[str, Any], found: list[tuple[str, str]]) -> None:
    assert [(one.key, one.namespace) for one in services(Settings.from_tree(tree))] == found


async def test_what_is_found_is_shown_counted_and_logged_once() -> None:
    log, metrics, reaches = io.StringIO(), Metrics(), list[Reach]()
    configure_logging(log)
    circles = Circles(Settings.from_tree({"audit": DATABASE}), lambda: reaches)
    circles.observe(metrics)
    check = circles.check()
    assert not check.decisive

    def count() -> float | None:
        return metrics.registry.get_sample_value("portcullis_circles")

    assert (await check.probe(), count()) == ("", 0)
    reaches += [Reach("Ignore"), Reach(exempt=frozenset({"stores"}))]
    assert (await check.probe(), count()) == ("", 0)
    reaches.append(Reach(exempt=frozenset({"kube-system"})))
    for _ in range(2):
        assert (await check.probe()).startswith("audit.database names db.stores.svc in the namespace stores: the webh")
        assert count() == 1
    reaches.clear()
    assert (await check.probe(), count()) == ("", 0)
    (line,) = [json.loads(line) for line in log.getvalue().splitlines()]
    assert (line["event"], line["key"]) == ("gate and dependency wait for each other", "audit.database")
