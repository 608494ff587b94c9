"""The inventory is whole or not there, and what is watched can be seen."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fakes.apiserver import api_server
from portcullis.audit.redact import Redactor
from portcullis.cluster.breakglass import BREAK_GLASSES, STALE_SECONDS, WatchedGrants
from portcullis.cluster.inventory import WatchedKind
from portcullis.cluster.pullsecrets import PullSecretPlace, WatchedPullSecrets
from portcullis.cluster.resources import Resource
from portcullis.cluster.watch import Bounds, Change
from portcullis.cluster.watching import Wanted, Watched
from portcullis.cluster.watching import watching as cluster_watching
from portcullis.errors import ConfigError
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.model.decision import Problem
from portcullis.policy.inventory import Inventory
from portcullis.server.live.watching import Watching
from portcullis.server.settings import load_settings
from portcullis.server.telemetry import Metrics
from portcullis.times import rfc3339

pytestmark = pytest.mark.anyio
PATH = "/api/v1/services"


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


def reason(problem: Problem | None) -> tuple[str, bool]:
    return (problem.reason, problem.retryable) if problem is not None else ("", False)


async def test_the_inventory_is_whole_or_a_problem() -> None:
    inventory = Inventory(DEFAULT_LIMITS)
    watching = Watching(inventory)
    assert watching.inventory_problem("") is None

    def changed(kind: str, changes: Sequence[Change]) -> None:
        for change in changes:
            if change.now is None:
                inventory.remove("v1", kind, *change.key)
            else:
                inventory.put("v1", kind, *change.key, change.now)

    async with api_server() as (server, client):
        server.objects["/api"] = {"v1": {"resources": [{"name": "services", "kind": "Service"}]}}
        server.objects[PATH] = {"a": {"metadata": {"name": "a", "namespace": "shop", "resourceVersion": "1"}}}
        kind = WatchedKind(
            client=client, resource=Resource("", "v1", "services"), bounds=Bounds(1, 10_000), changed=changed
        )
        watching.attach(Watched(None, None, (kind,), (kind.watch,)))
        assert reason(watching.inventory_problem("")) == ("inventory-unavailable", True)
        task = asyncio.create_task(kind.run())
        await until(kind.watch.synced.is_set)
        assert reason(watching.inventory_problem("")) == ("", False)
        assert reason(watching.inventory_problem("OPA has less")) == ("inventory-unavailable", True)
        check = watching.check()
        assert check is not None
        assert (await check.probe(), check.remark()) == ("", "services 1")

        await until(lambda: server.watches)
        added = {"metadata": {"name": "b", "namespace": "shop", "resourceVersion": "9"}}
        server.send(PATH, {"type": "ADDED", "object": added})
        await until(lambda: kind.watch.over)
        assert reason(watching.inventory_problem("")) == ("inventory-too-large", False)
        assert inventory.objects == 0
        assert "exceed the limit objects (1)" in await check.probe()
        metrics = Metrics()
        watching.observe(metrics)
        page = metrics.page().decode()
        assert 'portcullis_watch_objects{resource="services"} 0.0' in page
        assert 'portcullis_watch_lists_total{resource="services"} 1.0' in page
        task.cancel()


async def test_watches_of_one_resource_make_one_series_and_problems_are_few() -> None:
    """Nobody who makes namespaces or Secrets makes series."""
    places = [PullSecretPlace(f"team-{number}", ("a", "b")) for number in range(4)]
    async with api_server() as (server, client):
        secrets = WatchedPullSecrets(client=client, places=places, limits=DEFAULT_LIMITS)
        watching = Watching()
        watching.attach(Watched(None, None, (), secrets.watches, pull_secrets=secrets))
        assert watching.keychain is not None
        metrics, check = Metrics(), watching.check()
        watching.observe(metrics)
        assert check is not None
        said = await check.probe()
        assert said == "; ".join(["not listed yet"] * 5 + ["and 7 more"])
        page = metrics.page().decode()
        assert "team-" not in page
        assert 'portcullis_watch_silent_seconds{resource="secrets"} +Inf' in page
        assert 'portcullis_watch_broken{resource="secrets"} 8.0' in page
        assert 'portcullis_watch_broken{resource="serviceaccounts"} 4.0' in page
        server.put("/api/v1/namespaces/team-0/secrets", "a", kind="Secret", type="Opaque")
        server.forbidden = lambda request: "team-3" in request.path
        tasks = [asyncio.create_task(watch.run()) for watch in secrets.watches]
        await until(lambda: sum(watch.synced.is_set() for watch in secrets.watches) == 9)
        await until(lambda: all(watch.cuts for watch in secrets.watches if watch.resource.namespace == "team-3"))
        assert check.remark() == "secrets 1, serviceaccounts 0"
        page = metrics.page().decode()
        assert 'portcullis_watch_silent_seconds{resource="secrets"} +Inf' in page  # the worst of them
        assert 'portcullis_watch_broken{resource="secrets"} 2.0' in page
        assert 'portcullis_watch_objects{resource="secrets"} 1.0' in page
        assert 'portcullis_watch_lists_total{resource="secrets"} 6.0' in page
        assert "portcullis_pull_secret_lookups_total 0.0" in page
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


NOW = datetime(2026, 11, 27, 18, 0, tzinfo=UTC)


async def test_grants_are_those_in_force_and_the_rest_is_said() -> None:
    instant = [NOW]
    limits = replace(DEFAULT_LIMITS, grants_per_namespace=2)
    async with api_server() as (server, client):
        grants = WatchedGrants(client=client, limits=limits, now=lambda: instant[0])
        watching = Watching(text=Redactor().text)
        assert (watching.grants("shop").all, watching.grants_now(), watching.grants_check()) == ((), (), None)
        watching.attach(Watched(None, None, (), (grants.watch,), grants=grants))
        check, metrics = watching.grants_check(), Metrics()
        watching.observe(metrics)
        assert check is not None
        assert not check.decisive
        assert await check.probe() == "no grant counts: not listed yet"
        assert watching.grants("shop").all == ()

        def put(namespace: str, name: str, reason: str = "payments must go out") -> None:
            metadata = {"namespace": namespace, "creationTimestamp": rfc3339(NOW)}
            spec = {"policies": ["*"], "reason": reason, "expires": rfc3339(NOW + timedelta(hours=1))}
            server.put(BREAK_GLASSES.path, name, metadata=metadata, spec=spec)

        put("shop", "a")
        put("shop", "wrong", "no")
        for name in "xyz":
            put("busy", name)
        task = asyncio.create_task(grants.watch.run())
        await until(lambda: server.watches)
        assert [one.id for one in watching.grants_now()] == ["break-glass:shop/a"]
        assert watching.grants("busy").all == ()
        assert watching.grants("shop") is watching.grants("shop")  # its patterns are read once
        assert check.remark() == "1 in force"
        assert await check.probe() == (
            "busy has more grants than grantsPerNamespace; "
            "shop/wrong grants nothing: spec.reason: a text of 10 to 500 characters is expected"
        )
        page = metrics.page().decode()
        assert "portcullis_grants_in_force 1.0" in page
        assert "portcullis_grants_invalid 1.0" in page
        put("shop", "b", "the door opens with password=hunter2-correct-horse")
        await until(lambda: len(watching.grants("shop").all) == 2)
        assert "hunter2" not in f"{watching.grants('shop').all} {watching.grants_now()}"
        instant[0] = NOW + timedelta(hours=1)
        assert (watching.grants("shop").all, watching.grants_now()) == ((), [])
        instant[0] = NOW
        grants.watch._seen_at = time.monotonic() - STALE_SECONDS
        assert (watching.grants("shop").all, watching.grants_now()) == ((), [])
        assert await check.probe() == "no grant counts: the API server was not heard of for 120 seconds"
        assert "portcullis_grants_in_force 0.0" in metrics.page().decode()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize(
    ("cluster", "words"),
    [
        ("{pullSecrets: [{namespace: shop}]}", "pullSecrets needs webhook, which says that there is a cluster"),
        ("{webhook: {name: a}, pullSecrets: [{namespace: a}, {namespace: a, names: [b]}]}", "namespace a twice"),
        ("{webhook: {name: a}, pullSecrets: [{namespace: A}]}", "pullSecrets.0.namespace"),
        ("{webhook: {name: a}, pullSecrets: [{namespace: a, names: [a/b]}]}", "pullSecrets.0.names.0"),
        ("{webhook: {name: a}, pullSecrets: [{namespaces: a}]}", "namespaces"),
    ],
)
def test_a_slip_in_the_configuration_is_named(cluster: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "portcullis.yaml"
    path.write_text(f"cluster: {cluster}\n")
    with pytest.raises(ConfigError, match=words):
        load_settings(path, {})


async def test_more_watches_than_connections_that_we_may_take() -> None:
    wanted = Wanted(pull_secrets=[PullSecretPlace("a"), PullSecretPlace("b", ("x", "y"))])
    opened = cluster_watching(
        wanted, Limits(pull_secret_watches=4), maps_changed=lambda: None, objects_changed=lambda *_: None
    )
    with pytest.raises(ConfigError, match=r"takes 5 watches, more than the limit pullSecretWatches of 4"):
        async with opened:
            pass


async def test_a_command_waits_until_what_it_needs_was_listed() -> None:
    async with api_server() as (server, client):
        server.objects[BREAK_GLASSES.path] = {}
        grants = WatchedGrants(client=client, limits=DEFAULT_LIMITS)
        watching = Watching()
        assert await watching.listed(0.0) == "", "nothing is watched"
        watching.attach(Watched(None, None, (), (grants.watch,), grants=grants))
        assert "not listed yet" in await watching.listed(0.01)
        listing = asyncio.create_task(grants.watch.run())
        try:
            assert await watching.listed(5.0) == ""
        finally:
            listing.cancel()
            await asyncio.gather(listing, return_exceptions=True)
