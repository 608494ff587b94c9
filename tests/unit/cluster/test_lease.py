"""The Lease of the replicas, over an API server in memory; tests/e2e/test_recheck.py asks the real one."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio.client import ApiClient

from fakes.apiserver import ApiServer, api_server
from fakes.clock import StandingClock
from portcullis.cluster.lease import Lease
from portcullis.errors import ClusterError

pytestmark = pytest.mark.anyio

LEASES = "/apis/coordination.k8s.io/v1/namespaces/home/leases"
LASTS = 30


class Replica:
    """One that looks at the Lease by a clock of its own."""

    def __init__(self, client: ApiClient, holder: str, starts: float = 1_000_000.0, lasts: int = LASTS) -> None:
        self.clock = StandingClock(starts)
        self.lease = Lease(
            client=client,
            namespace="home",
            name="gate-recheck",
            holder=holder,
            clock=self.clock,
            lasts=lasts,
        )


def made(server: ApiServer, **content: Any) -> None:
    server.put(LEASES, "gate-recheck", **{"kind": "Lease", "apiVersion": "coordination.k8s.io/v1", **content})


def spec(server: ApiServer) -> dict[str, Any]:
    found: dict[str, Any] = server.objects[LEASES]["gate-recheck"]["spec"]
    return found


@pytest.fixture
async def served() -> AsyncIterator[tuple[ApiServer, ApiClient]]:
    async with api_server() as found:
        made(found[0])
        yield found


async def test_an_empty_one_is_taken_and_renewed(served: tuple[ApiServer, ApiClient]) -> None:
    server, client = served
    made(server, metadata={"labels": {"app": "gate"}})
    one = Replica(client, "a")
    assert not one.lease.held
    assert await one.lease.take()
    assert spec(server) == {
        "holderIdentity": "a",
        "leaseDurationSeconds": LASTS,
        "acquireTime": "1970-01-12T13:46:40.000000Z",
        "renewTime": "1970-01-12T13:46:40.000000Z",
        "leaseTransitions": 0,
    }
    assert server.objects[LEASES]["gate-recheck"]["metadata"]["labels"] == {"app": "gate"}
    one.clock.seconds += 10
    assert await one.lease.take()
    assert spec(server)["acquireTime"] == "1970-01-12T13:46:40.000000Z"
    assert spec(server)["renewTime"] == "1970-01-12T13:46:50.000000Z"
    assert (one.lease.held_seconds, one.lease.leader) == (20, "a")


@pytest.mark.parametrize("ahead", [-86_400.0, 0.0, 86_400.0])
async def test_another_waits_by_its_own_clock_since_the_last_change(
    served: tuple[ApiServer, ApiClient], ahead: float
) -> None:
    """Whose clock says what of the day does not matter."""
    server, client = served
    one, other = Replica(client, "a"), Replica(client, "b", 1_000_000 + ahead)
    assert await one.lease.take()
    other.clock.seconds += 3600  # it starts an hour after the last change, of which it cannot know
    assert not await other.lease.take()
    other.clock.seconds += LASTS - 1
    assert not await other.lease.take()
    one.clock.seconds += LASTS
    assert await one.lease.take()  # nobody took it meanwhile
    other.clock.seconds += 1
    assert not await other.lease.take()  # it has changed
    other.clock.seconds += LASTS - 1
    assert not await other.lease.take()
    other.clock.seconds += 1
    assert await other.lease.take()
    assert (spec(server)["holderIdentity"], spec(server)["leaseTransitions"]) == ("b", 1)
    assert not await one.lease.take()
    assert (one.lease.held, one.lease.leader) == (False, "b")


async def test_who_cannot_renew_gives_up_before_others_may_take_it(served: tuple[ApiServer, ApiClient]) -> None:
    server, client = served
    one, other = Replica(client, "a"), Replica(client, "b")
    assert await one.lease.take()
    assert not await other.lease.take()
    server.forbidden = lambda _: True
    for _ in range(2):
        one.clock.seconds += 9
        with pytest.raises(ClusterError, match="home/gate-recheck cannot be read: the API server answered 403"):
            await one.lease.take()
        assert one.lease.held
    one.clock.seconds += 2
    assert not one.lease.held
    server.forbidden = lambda _: False
    other.clock.seconds += 20
    assert not await other.lease.take()
    assert await one.lease.take()


async def test_of_two_that_read_the_same_one_takes_it(served: tuple[ApiServer, ApiClient]) -> None:
    server, client = served
    other = Replica(client, "b")

    def quicker(request: web.Request) -> None:
        """The one writes between the read and the write of the other."""
        assert request.method == "PUT"
        made(server, spec={"holderIdentity": "a", "leaseDurationSeconds": LASTS})

    server.faults = [lambda _: None, quicker]
    assert not await other.lease.take()
    assert (spec(server)["holderIdentity"], other.lease.held) == ("a", False)


async def test_a_holder_whose_label_was_changed_meanwhile_goes_on(served: tuple[ApiServer, ApiClient]) -> None:
    server, client = served
    one = Replica(client, "a")
    assert await one.lease.take()

    def relabelled(request: web.Request) -> None:
        made(server, spec=spec(server), metadata={"labels": {"app": "gate"}})

    server.faults = [lambda _: None, relabelled]
    assert await one.lease.take()
    assert await one.lease.take()
    assert server.objects[LEASES]["gate-recheck"]["metadata"]["labels"] == {"app": "gate"}


async def test_one_that_was_given_up_is_taken_at_once(served: tuple[ApiServer, ApiClient]) -> None:
    server, client = served
    one, other = Replica(client, "a"), Replica(client, "b")
    assert await one.lease.take()
    assert not await other.lease.take()
    await one.lease.give_up()
    assert not one.lease.held
    assert spec(server)["holderIdentity"] == ""
    assert await other.lease.take()
    await one.lease.give_up()
    assert spec(server)["holderIdentity"] == "b"


@pytest.mark.parametrize("lasts", [10**9, 0, -5, None, "long", 301])
async def test_nobody_keeps_it_for_longer_than_five_minutes(served: tuple[ApiServer, ApiClient], lasts: object) -> None:
    server, client = served
    made(server, spec={"holderIdentity": "x", "leaseDurationSeconds": lasts})
    one = Replica(client, "a")
    assert not await one.lease.take()
    one.clock.seconds += 299
    assert not await one.lease.take()
    one.clock.seconds += 1
    assert await one.lease.take()


@pytest.mark.parametrize("content", [None, "text", [], {"holderIdentity": 5, "leaseTransitions": "many"}])
async def test_what_holds_nonsense_is_nobodys(served: tuple[ApiServer, ApiClient], content: object) -> None:
    server, client = served
    made(server, spec=content)
    assert await Replica(client, "a").lease.take()
    assert (spec(server)["holderIdentity"], spec(server)["leaseTransitions"]) == ("a", 0)


async def test_one_that_is_not_there_is_made_by_others(served: tuple[ApiServer, ApiClient]) -> None:
    server, client = served
    server.remove(LEASES, "gate-recheck")
    with pytest.raises(ClusterError, match=r"cluster\.recheck\.lease: the Lease home/gate-recheck is not there; make"):
        await Replica(client, "a").lease.take()
    assert server.made == []


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (web.json_response({"kind": "Status"}, status=403), "the API server answered 403 Forbidden"),
        (web.json_response({"kind": "Lease"}), "the API server answered no Lease"),
        (web.json_response(["Lease"]), "the API server answered no Lease"),
        (web.Response(body=b"{"), "Expecting"),
        (web.Response(body=b" " * (256 * 1024 + 1)), "it has more than 262144 bytes"),
    ],
)
@pytest.mark.parametrize("verb", ["read", "changed"])
async def test_what_goes_wrong_is_one_kind_of_error(
    served: tuple[ApiServer, ApiClient], answer: web.Response, words: str, verb: str
) -> None:
    server, client = served
    copied = web.Response(body=answer.body, status=answer.status, content_type=answer.content_type)
    server.faults = [lambda _: copied] if verb == "read" else [lambda _: None, lambda _: copied]
    with pytest.raises(ClusterError, match=f"home/gate-recheck cannot be {verb}: .*{words}"):
        await Replica(client, "a").lease.take()
