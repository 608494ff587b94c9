"""A private image belongs to the namespaces whose pull secrets open it: the gate end to end, from the request to the
answer, over the real client of registries, a registry that asks for a login, and Secrets of an API server.

Two namespaces, shop and bank; the registry has one account of each, and one image that the account of shop may read.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web

from fakes.apiserver import ApiServer, api_server
from fakes.engine import ScriptedEngine
from fakes.faulty import Answer, Asked, FaultyServer, serve_faulty
from fakes.oci import image_routes
from fakes.registry import AMD64, sha256
from portcullis.admission.workloads import WorkloadReader
from portcullis.cluster.pullsecrets import TYPE, PullSecretPlace, WatchedPullSecrets
from portcullis.decision.modes import Modes
from portcullis.evidence.gather import EvidenceGatherer
from portcullis.evidence.trust import Trust
from portcullis.evidence.verifier import AttestationVerifier
from portcullis.gate import Gate
from portcullis.inspection.catalogue import load_catalogue
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.model.decision import Decision
from portcullis.model.image import Credential
from portcullis.model.request import (
    AdmissionRequest,
    Caller,
    GroupVersionKind,
    GroupVersionResource,
    Operation,
    UserInfo,
)
from portcullis.model.ruling import CompiledBundle, Mode, Need, PolicyInfo
from portcullis.registry.facts import CachingRegistry
from portcullis.registry.hosts import HostRules
from portcullis.registry.http import HttpRegistry
from portcullis.registry.keychain import FirstKeychain, PullSecretKeychain, StaticKeychain
from portcullis.registry.known import KnownContent
from portcullis.registry.pinning import PinningKeychain
from portcullis.standing import Current, Standing

pytestmark = pytest.mark.anyio

SLOW = {"drip": 100_000, "pause": 0.3}
POLICY = PolicyInfo(
    name="image-user",
    title="",
    description="",
    severity="high",
    mode=Mode.DENY,
    docs="",
    needs=frozenset({Need.REQUEST, Need.IMAGE, Need.CONFIG}),
    rules=(Mode.DENY,),
)
STANDING = Standing(CompiledBundle("sha256:p", (POLICY,)), Modes(), config_revision="sha256:c")


class Clock:
    """Real time, which a test may turn on."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> datetime:
        return datetime(2026, 11, 24, 12, 0, tzinfo=UTC)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time() + self.ahead


def basic(account: str) -> str:
    return "Basic " + base64.b64encode(f"{account}:{account}-s3cret".encode()).decode()


def private(server: FaultyServer, readers: set[str], **how: Any) -> None:
    """acme/web:1 for these accounts; 401 for nobody, 403 for others. ``how`` its answers are sent."""
    allowed = {basic(account) for account in readers}

    def guarded(answer: Answer) -> Callable[[Asked], Answer]:
        def route(asked: Asked) -> Answer:
            shown = asked.headers.get("authorization")
            if shown is None:
                return replace(Answer(401, {"WWW-Authenticate": 'Basic realm="r"'}, b"{}"), **how)
            return replace(answer if shown in allowed else Answer(403, {}, b"{}"), **how)

        return route

    for path, answer in image_routes().items():
        assert isinstance(answer, Answer)
        server.routes[path] = guarded(answer)


@dataclass
class World:
    """The gate with its cluster and its registry."""

    cluster: ApiServer
    registry: FaultyServer
    engine: ScriptedEngine
    gate: Gate
    clock: Clock
    secrets: WatchedPullSecrets

    async def log_in(self, namespace: str, account: str, *, name: str = "pull") -> None:
        """Makes or changes the pull secret of a namespace."""
        login = {"auths": {self.registry.host: {"username": account, "password": f"{account}-s3cret"}}}
        data = {".dockerconfigjson": base64.b64encode(json.dumps(login).encode()).decode()}
        self.cluster.put(f"/api/v1/namespaces/{namespace}/secrets", name, kind="Secret", type=TYPE, data=data)
        wanted = data[".dockerconfigjson"]
        await self.until(lambda: self._known(namespace, name) == wanted)

    async def log_out(self, namespace: str) -> None:
        self.cluster.remove(f"/api/v1/namespaces/{namespace}/secrets", "pull")
        await self.until(lambda: self._known(namespace, "pull") is None)

    def _known(self, namespace: str, name: str) -> str | None:
        found = [watch.objects.get((namespace, name)) for watch in self.secrets.watches]
        return next((str(one["config"]) for one in found if one is not None), None)

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(5):
            while not condition():
                await asyncio.sleep(0.005)

    async def ask(self, namespace: str, *, secret: str = "pull", seconds: float = 10.0) -> str:
        """What comes of a pod with the image: "judged" with the digest, else the reason and its words."""
        decision = await self.gate.decide(self._request(namespace, secret), self.clock.monotonic() + seconds)
        return told(decision)

    def _request(self, namespace: str, secret: str) -> AdmissionRequest:
        spec: dict[str, Any] = {"containers": [{"name": "web", "image": f"{self.registry.host}/acme/web:1"}]}
        if secret:
            spec["imagePullSecrets"] = [{"name": secret}]
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": namespace}, "spec": spec}
        return AdmissionRequest(
            uid="u",
            kind=GroupVersionKind("", "v1", "Pod"),
            resource=GroupVersionResource("", "v1", "pods"),
            sub_resource="",
            name="web",
            namespace=namespace,
            operation=Operation.CREATE,
            user=UserInfo("dana"),
            object=pod,
            old_object=None,
            dry_run=False,
            raw={"uid": "u", "operation": "CREATE", "object": pod, "namespace": namespace},
            caller=Caller.PATH,
        )


def told(decision: Decision) -> str:
    assert "s3cret" not in repr(decision)
    if decision.problems:
        return "; ".join(f"{problem.reason}: {problem.msg}" for problem in decision.problems)
    (image,) = decision.images
    return f"judged {image.digest}"


@asynccontextmanager
async def world(operator: str = "", places: tuple[str, ...] = ("shop", "bank")) -> AsyncIterator[World]:
    """``operator``: the account of ``registries.credentials``, if any."""
    async with api_server() as (cluster, client), serve_faulty() as server:
        private(server, {"shop"})
        for place in places:
            for collection in ("secrets", "serviceaccounts"):
                cluster.objects[f"/api/v1/namespaces/{place}/{collection}"] = {}
        listed = [PullSecretPlace(place) for place in places]
        secrets = WatchedPullSecrets(client=client, places=listed, limits=DEFAULT_LIMITS, seconds=2)
        watches = [asyncio.create_task(watch.run()) for watch in secrets.watches]
        clock, engine = Clock(), ScriptedEngine()
        pulling = PullSecretKeychain(secrets=secrets, limits=DEFAULT_LIMITS)
        static = StaticKeychain(
            credentials={server.host: Credential(operator, f"{operator}-s3cret")} if operator else {}
        )
        keychain = PinningKeychain(keychain=FirstKeychain(keychains=[pulling, static]))
        known = KnownContent(keychain=keychain, clock=clock, limits=DEFAULT_LIMITS)
        names = frozenset({server.host})
        http = HttpRegistry(
            keychain=keychain,
            hosts=HostRules(insecure=names, private=names),
            platforms=(AMD64,),
            limits=Limits(flight_seconds=8.0, backoff_seconds=0.01),
            known=known,
        )
        registry = CachingRegistry(
            registry=http, keychain=keychain, clock=clock, limits=DEFAULT_LIMITS, known=known, explain=pulling.explain
        )
        try:
            await asyncio.gather(*[watch.synced.wait() for watch in secrets.watches])
            gate = gate_over(registry, engine, clock)
            yield World(cluster, server, engine, gate, clock, secrets)
        finally:
            for task in watches:
                task.cancel()
            await asyncio.gather(*watches, return_exceptions=True)
            await registry.aclose()
            await http.aclose()


def gate_over(registry: CachingRegistry, engine: ScriptedEngine, clock: Clock) -> Gate:
    trust = Trust(signers=(), rules=())
    verifier = AttestationVerifier(trust=trust, limits=DEFAULT_LIMITS)
    return Gate(
        reader=WorkloadReader(limits=DEFAULT_LIMITS),
        registry=registry,
        gatherer=EvidenceGatherer(
            registry=registry, verifier=verifier, trust=trust, clock=clock, limits=DEFAULT_LIMITS
        ),
        inspector=None,
        catalogue=load_catalogue(()),
        engine=engine,
        standing=Current(STANDING),
        clock=clock,
        limits=DEFAULT_LIMITS,
    )


def digest_of_image() -> str:
    return sha256(next(answer.body for path, answer in image_routes().items() if path.endswith("/1")))


JUDGED = f"judged {digest_of_image()}"


async def test_what_one_namespace_may_pull_is_not_readable_for_another() -> None:
    """First the owner, so that everything is in the caches."""
    async with world() as found:
        await found.log_in("shop", "shop")
        await found.log_in("bank", "bank")
        assert await found.ask("shop") == JUDGED
        asked = len(found.registry.asked)
        assert await found.ask("shop") == JUDGED
        assert len(found.registry.asked) == asked  # remembered, for shop
        refused = await found.ask("bank")
        assert refused.startswith("registry-denied: ")
        assert 'the login of the pull secret "pull" was used' in refused
        nobody = await found.ask("bank", secret="")
        assert nobody.startswith("registry-denied: ")
        assert "the service account default names no pull secret" in nobody
        # No fact of the image came into what bank is judged by.
        documents = json.dumps(found.engine.documents[2:])
        assert digest_of_image() not in documents


async def test_a_denial_of_one_is_not_served_to_the_other() -> None:
    async with world() as found:
        await found.log_in("shop", "shop")
        first = await found.ask("bank", secret="its-own")
        assert 'there is no Secret "its-own" in the namespace bank' in first
        second = await found.ask("shop", secret="not-there")  # both are nobody: one denial serves them, but its words
        assert 'there is no Secret "not-there" in the namespace shop' in second
        assert "bank" not in second
        assert "its-own" not in second
        assert len(found.registry.asked) == 1
        assert await found.ask("shop") == JUDGED


@pytest.mark.parametrize("secret", ["pull", ""])
async def test_both_ask_at_the_same_moment(secret: str) -> None:
    async with world() as found:
        private(found.registry, {"shop"}, **SLOW)
        await found.log_in("shop", "shop")
        await found.log_in("bank", "bank")
        asked = [found.ask("bank", secret=secret), found.ask("shop"), found.ask("bank", secret=secret)] * 3
        answers = await asyncio.gather(*asked)
        assert [answer == JUDGED for answer in answers] == [False, True, False] * 3
        assert all(answer.startswith("registry-denied: ") for answer in answers[::3] + answers[2::3])


async def test_a_secret_that_comes_in_mid_fetch_does_not_open_the_image_for_everybody() -> None:
    """The fetch of shop begins as nobody, whom bank is, too. The registry fails at first; before it is asked again,
    shop gets its pull secret."""
    async with world() as found:
        place = "/v2/acme/web/manifests/1"
        guarded = found.registry.routes[place]
        found.registry.routes[place] = replace(Answer(503, {}, b"{}"), **SLOW)
        early = asyncio.create_task(found.ask("shop"))
        await found.until(lambda: found.registry.asked)
        found.registry.routes[place] = guarded
        joined = asyncio.create_task(found.ask("bank", secret=""))
        await found.log_in("shop", "shop")
        assert (await early).startswith("registry-denied: ")
        assert (await joined).startswith("registry-denied: ")
        assert found.registry.authorizations(place) == [None, None]
        assert await found.ask("shop") == JUDGED
        assert (await found.ask("bank", secret="")).startswith("registry-denied: ")


async def test_a_revoked_secret_counts_no_longer_with_the_next_request() -> None:
    """In the cluster. An account that the registry itself shuts out keeps its tags for tagSeconds."""
    async with world() as found:
        await found.log_in("shop", "shop")
        assert await found.ask("shop") == JUDGED
        await found.log_out("shop")
        assert 'there is no Secret "pull"' in await found.ask("shop")
        await found.log_in("shop", "shop")
        assert await found.ask("shop") == JUDGED
        private(found.registry, set())
        assert await found.ask("shop") == JUDGED
        found.clock.ahead += DEFAULT_LIMITS.tag_seconds + 1
        assert (await found.ask("shop")).startswith("registry-denied: ")


async def test_a_rotated_secret_is_used_at_once() -> None:
    async with world() as found:
        await found.log_in("shop", "bank")
        assert (await found.ask("shop")).startswith("registry-denied: ")
        await found.log_in("shop", "shop")  # the denial was of the other account
        assert await found.ask("shop") == JUDGED


async def test_the_pull_secret_comes_before_the_credential_of_the_operator() -> None:
    async with world(operator="shop") as found:
        await found.log_in("bank", "bank")
        refused = await found.ask("bank")
        assert refused.startswith("registry-denied: ")
        assert 'the login of the pull secret "pull" was used' in refused
        assert await found.ask("bank", secret="") == JUDGED  # what the operator's opens is open to all


async def test_a_namespace_that_is_not_listed_is_told_so() -> None:
    async with world(places=("bank",)) as found:
        found.cluster.put("/api/v1/namespaces/shop/secrets", "pull", kind="Secret", type=TYPE)
        refused = await found.ask("shop")
        assert refused.startswith("registry-denied: ")
        assert "the pull secrets of the namespace shop and of its service accounts are not read" in refused
        assert "pullSecrets in the values of the chart" in refused
        assert not any("/shop/" in request.path for request in found.cluster.asked)


async def test_an_api_server_that_is_silent_is_an_outage_and_not_a_denial() -> None:
    async with world() as found:
        await found.until(lambda: len(found.cluster.watches) == 4)
        found.cluster.faults += [lambda _: web.Response(status=500)] * 20
        refused = await found.ask("shop", secret="unknown")
        assert refused.startswith("credential-unavailable: ")
        assert found.registry.asked == []
