"""Credentials that are lent: kept until shortly before their end, asked for once, and not for ever."""

import asyncio

import pytest

from portcullis.errors import CredentialUnavailable, Denied, RegistryError
from portcullis.limits import Limits
from portcullis.model.image import Credential
from portcullis.registry.leases import Lease, Leases

pytestmark = pytest.mark.anyio


class Lender:
    """Lends a new password each time; waits for ``open`` first."""

    def __init__(self, seconds: float = 1000.0) -> None:
        self.seconds = seconds
        self.asked: list[str] = []
        self.failure: Exception | None = None
        self.open = asyncio.Event()
        self.open.set()
        self.now = 0.0

    async def borrow(self, key: str) -> Lease:
        self.asked.append(key)
        await self.open.wait()
        if self.failure is not None:
            raise self.failure
        return Lease(Credential(key, str(len(self.asked))), self.seconds)

    def leases(self, **limits: float) -> Leases:
        bounds = Limits(**limits)  # type: ignore[arg-type]
        return Leases(borrow=self.borrow, lender="the cloud", limits=bounds, clock=lambda: self.now)


@pytest.mark.parametrize(
    ("seconds", "alive", "dead"), [(43200.0, 42899.0, 42901.0), (1000.0, 899.0, 901.0), (0.0, -1.0, 0.0)]
)
async def test_a_credential_is_kept_until_shortly_before_its_end(seconds: float, alive: float, dead: float) -> None:
    lender = Lender(seconds)
    leases = lender.leases()
    assert await leases.get("r") == Credential("r", "1")
    lender.now = alive
    assert await leases.get("r") == Credential("r", "1")
    lender.now = dead
    assert await leases.get("r") == Credential("r", "2")


async def test_who_asks_at_once_shares_one_flight_by_registry() -> None:
    lender = Lender()
    leases = lender.leases()
    found = await asyncio.gather(*(leases.get(key) for key in "aabab"))
    assert sorted(lender.asked) == ["a", "b"]
    assert found[0] == found[1] == found[3]
    assert found[2] == found[4] != found[0]


async def test_a_flight_outlives_who_began_it() -> None:
    """At a deadline of an admission nobody waits any more; the next one finds the credential."""
    lender = Lender()
    leases = lender.leases()
    lender.open.clear()
    impatient = asyncio.create_task(leases.get("r"))
    await asyncio.sleep(0)
    patient = asyncio.create_task(leases.get("r"))
    await asyncio.sleep(0)
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    lender.open.set()
    assert await patient == Credential("r", "1")
    assert lender.asked == ["r"]


@pytest.mark.parametrize("failure", [Denied("no"), CredentialUnavailable("not now")])
async def test_a_failure_is_remembered_for_a_moment(failure: RegistryError) -> None:
    lender = Lender()
    leases = lender.leases(failure_seconds=5.0)
    lender.failure = failure
    seen = []
    for _ in range(2):
        with pytest.raises(type(failure), match=failure.message) as caught:
            await leases.get("r")
        seen.append(caught.value)
    assert lender.asked == ["r"]
    assert len({id(one) for one in (*seen, failure)}) == 3
    lender.failure, lender.now = None, 5.1
    assert await leases.get("r") == Credential("r", "2")


async def test_garbage_that_a_client_stumbles_over_is_an_outage() -> None:
    """Nothing else than RegistryError crosses the port, and nothing of the answer is told."""
    lender = Lender()
    lender.failure = KeyError("hunter2")
    with pytest.raises(CredentialUnavailable, match=r"the cloud for r cannot be read \(KeyError\)") as caught:
        await lender.leases().get("r")
    assert "hunter2" not in caught.value.message


async def test_a_lender_that_never_answers() -> None:
    lender = Lender()
    lender.open.clear()
    with pytest.raises(
        CredentialUnavailable, match=r"the cloud .*registry.* limit credentialSeconds of 0\.05"
    ) as caught:
        await lender.leases(credential_seconds=0.05).get("registry")
    assert caught.value.retryable


async def test_no_more_registries_than_the_limit() -> None:
    """The longest unused is forgotten; and no more are asked for at once."""
    lender = Lender()
    leases = lender.leases(credential_entries=2)
    for key in "abac":
        await leases.get(key)
    await leases.get("a")
    assert lender.asked == ["a", "b", "c"]
    lender.open.clear()
    flights = [asyncio.create_task(leases.get(key)) for key in "xy"]
    await asyncio.sleep(0)
    with pytest.raises(CredentialUnavailable, match="limit credentialEntries of 2"):
        await leases.get("z")
    lender.open.set()
    await asyncio.gather(*flights)


async def test_closing_ends_what_is_under_way() -> None:
    lender = Lender()
    leases = lender.leases()
    lender.open.clear()
    waiting = asyncio.create_task(leases.get("r"))
    await asyncio.sleep(0)
    await leases.aclose()
    with pytest.raises(CredentialUnavailable, match="shut-down"):
        await waiting
