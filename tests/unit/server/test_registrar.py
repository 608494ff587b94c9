"""The webhook configuration follows the life of the program."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest

from fakes.cluster import WEBHOOK, MemoryConfigurations, MemoryStore
from portcullis.cluster.certificateissuing import general_names, read_certificates
from portcullis.cluster.certificatestate import Terms
from portcullis.cluster.ownpod import Namespace
from portcullis.cluster.registration import BREAK_GLASS_WEBHOOK, PIN_WEBHOOK, POLICY_WEBHOOK, Registration
from portcullis.errors import ClusterError
from portcullis.server.following import Follower
from portcullis.server.health import Report
from portcullis.server.registrar import STOP_ATTEMPTS, UNASKED_SECONDS, Registrar
from portcullis.server.segments import PathSegments
from portcullis.server.sharing import SETTLE_SECONDS, Sharing

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
EARLIER = "2026-11-24T11:59:50Z"
GONE = ClusterError("the API server is away")
HOME = Namespace("portcullis-system", "uid-home")


@dataclass
class Hand:
    """A clock that the test moves, and a readiness that it sets."""

    seconds: float = 100.0
    ready: bool = True

    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return self.seconds

    async def examine(self) -> Report:
        return Report(self.ready, ())


@dataclass
class Release:
    """As cluster.ownpod.OwnPod."""

    deleted: bool = True
    unknown: bool = False
    readable: bool = True

    async def leaving(self) -> bool:
        if self.unknown:
            raise GONE
        return self.deleted

    async def namespace(self) -> Namespace:
        if not self.readable:
            raise GONE
        return HOME


@dataclass
class Bench:
    cluster: MemoryConfigurations = field(default_factory=MemoryConfigurations)
    store: MemoryStore = field(default_factory=MemoryStore)
    hand: Hand = field(default_factory=Hand)
    release: Release = field(default_factory=Release)

    @property
    def ca(self) -> bytes:
        return self.store.content["ca.crt"]

    def found(self, uid: str = "uid-1", **changed: object) -> Registration:
        """What the webhook configuration is once it was looked after."""
        now = self.cluster.found
        assert now is not None
        return replace(Registration(uid, {WEBHOOK: self.ca}, {}, owners=frozenset({HOME.uid})), version=now.version)

    pinning: MemoryConfigurations = field(
        default_factory=lambda: MemoryConfigurations(
            Registration("uid-pinning", {PIN_WEBHOOK: b""}, {}, paths={PIN_WEBHOOK: ""})
        )
    )

    def registrar(
        self, *, stand_down: bool = True, ca: bool = True, active: bool = True, path: bool = False
    ) -> Registrar:
        terms = Terms(names=general_names(["localhost"]) if ca else None, path=path)
        return Registrar(
            configurations=self.cluster if active else None,
            sharing=Sharing(terms=terms, segments=PathSegments(shared=path), clock=self.hand),
            store=self.store if ca or path else None,
            release=self.release,
            stand_down=stand_down,
            settle_seconds=5.0,
            clock=self.hand,
            pinning=Follower(self.pinning),
        )

    @contextlib.asynccontextmanager
    async def watched(self, registrar: Registrar) -> AsyncIterator[None]:
        """The registrar at its work, which took a few looks already."""
        watching = asyncio.create_task(registrar.watch(self.hand.examine, poll=0.005, hurry=0.005))
        try:
            await looks()
            yield
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)


async def looks() -> None:
    await asyncio.sleep(0.05)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def stopped(bench: Bench) -> dict[str, str]:
    assert bench.cluster.found is not None
    return dict(bench.cluster.found.stopped)


async def test_the_ca_is_written_once_and_then_the_replica_is_trusted(bench: Bench) -> None:
    registrar = bench.registrar()
    assert registrar.problem
    async with bench.watched(registrar):
        assert bench.cluster.found == bench.found()
        assert (registrar.problem, registrar.registered, bench.cluster.written) == ("", True, 1)


async def test_an_object_that_was_made_anew_gets_the_ca_again(bench: Bench) -> None:
    registrar = bench.registrar()
    async with bench.watched(registrar):
        bench.cluster.found = None
        await looks()
        assert (registrar.problem, registrar.registered) == ("", False)
        assert "nothing calls this gate" in registrar.remark
        bench.cluster.found = Registration("uid-2", {WEBHOOK: b""}, {})
        await looks()
        assert bench.cluster.found == bench.found("uid-2")
        assert registrar.registered


async def test_a_fault_of_ours_does_not_end_the_looking(bench: Bench) -> None:
    found, bench.cluster.found = bench.cluster.found, Registration("uid-1", None, {})  # type: ignore[arg-type]
    registrar = bench.registrar()
    async with bench.watched(registrar):
        bench.cluster.found = found
        await looks()
        assert registrar.registered


async def test_a_certificate_of_others_is_left_to_them(bench: Bench) -> None:
    registrar = bench.registrar(ca=False)
    async with bench.watched(registrar):
        assert bench.cluster.found is not None
        assert bench.cluster.found.ca_bundles == {WEBHOOK: b""}
        assert (registrar.problem, registrar.registered) == ("", True)


async def test_what_cannot_be_written_makes_the_replica_unready(bench: Bench) -> None:
    bench.cluster.error = GONE
    registrar = bench.registrar()
    async with bench.watched(registrar):
        assert registrar.problem == GONE.message
        bench.cluster.error = None
        await looks()
        assert registrar.problem == ""


async def test_an_api_server_that_goes_away_later_does_not(bench: Bench) -> None:
    registrar = bench.registrar()
    async with bench.watched(registrar):
        bench.cluster.error = GONE
        await looks()
        assert (registrar.problem, registrar.remark) == ("", GONE.message)


async def test_who_is_trusted_no_more_is_not_ready(bench: Bench) -> None:
    registrar = bench.registrar()
    async with bench.watched(registrar):

        async def refuse(*_: object) -> None:
            return None

        bench.cluster.write = refuse  # type: ignore[assignment]
        bench.cluster.found = Registration("uid-1", {WEBHOOK: b"of others"}, {})
        await looks()
        assert registrar.problem == "the cluster does not trust the certificate yet"
        assert not registrar.registered


async def test_an_orderly_stop_stops_the_webhooks_and_nothing_starts_them_again(bench: Bench) -> None:
    registrar = bench.registrar()
    async with bench.watched(registrar):
        registrar.reported()
        bench.hand.seconds += 60
        await registrar.stop()
        await looks()
        assert stopped(bench) == {WEBHOOK: "2026-11-24T12:00:00Z"}
        assert bench.cluster.found is not None
        assert bench.cluster.found.ca_bundles == {WEBHOOK: bench.ca}


@pytest.mark.parametrize("why", ["told not to", "none is there", "no cluster", "away", "the pod stays", "nobody knows"])
async def test_a_stop_that_stops_no_webhooks_is_a_stop_all_the_same(bench: Bench, why: str) -> None:
    registrar = bench.registrar(stand_down=why != "told not to", active=why != "no cluster")
    if why == "none is there":
        bench.cluster.found = None
    if why == "away":
        bench.cluster.error = GONE
    bench.release.deleted = why != "the pod stays"
    bench.release.unknown = why == "nobody knows"
    await registrar.stop()
    assert bench.cluster.written == 0


async def test_the_webhooks_are_called_again_once_the_cluster_knows_that_we_are_ready(bench: Bench) -> None:
    bench.cluster.found = Registration("uid-1", {WEBHOOK: b""}, {WEBHOOK: EARLIER})
    bench.hand.ready = False
    registrar = bench.registrar()
    async with bench.watched(registrar):
        # The CA first; since when they are stopped stays as it was.
        assert bench.cluster.found == replace(bench.found(), stopped={WEBHOOK: EARLIER})
        assert (registrar.problem, registrar.registered) == ("", False)
        bench.hand.ready = True
        registrar.reported()
        bench.hand.seconds += 4.9
        await looks()
        assert stopped(bench)
        bench.hand.seconds += 0.1
        await looks()
        assert not stopped(bench)
        assert registrar.registered


async def test_who_was_not_ready_in_between_starts_counting_anew(bench: Bench) -> None:
    bench.cluster.found = Registration("uid-1", {WEBHOOK: b""}, {WEBHOOK: EARLIER})
    registrar = bench.registrar()
    async with bench.watched(registrar):
        registrar.reported()
        bench.hand.ready = False
        await looks()
        bench.hand.ready = True
        bench.hand.seconds += 10
        await looks()
        assert stopped(bench)
        registrar.reported()
        bench.hand.seconds += 5
        await looks()
        assert not stopped(bench)


async def test_where_nobody_asks_whether_we_are_ready_they_are_called_again_all_the_same(bench: Bench) -> None:
    bench.cluster.found = Registration("uid-1", {WEBHOOK: b""}, {WEBHOOK: EARLIER})
    async with bench.watched(bench.registrar()):
        bench.hand.seconds += UNASKED_SECONDS - 0.1
        await looks()
        assert stopped(bench)
        bench.hand.seconds += 0.1
        await looks()
        assert not stopped(bench)


@pytest.mark.parametrize("since", ["", "once", "9999-99-99T00:00:00Z"])
async def test_a_time_that_cannot_be_read_is_taken_for_now(bench: Bench, since: str) -> None:
    bench.cluster.found = Registration("uid-1", {WEBHOOK: b""}, {WEBHOOK: since})
    async with bench.watched(bench.registrar()):
        assert stopped(bench) == {WEBHOOK: "2026-11-24T12:00:00Z"}


async def test_a_stop_says_again_what_stands_and_gives_way_to_others(bench: Bench) -> None:
    """What a field manager leaves out is taken away from the object."""
    registrar = bench.registrar(path=True)
    bench.cluster.found = Registration("uid-1", {WEBHOOK: b""}, {}, paths={WEBHOOK: ""})
    async with bench.watched(registrar):
        before = bench.cluster.found
    assert before is not None
    write, refusals = bench.cluster.write, [None] * (STOP_ATTEMPTS - 1)

    async def overtaken(*given: object) -> Registration | None:
        return refusals.pop() if refusals else await write(*given)  # type: ignore[arg-type]

    bench.cluster.write = overtaken  # type: ignore[method-assign]
    await registrar.stop()
    assert stopped(bench)
    assert bench.cluster.found is not None
    assert replace(bench.cluster.found, stopped={}, version="") == replace(before, version="")


async def test_a_stop_that_is_always_overtaken_ends(bench: Bench) -> None:
    async def overtaken(*_: object) -> None:
        return None

    bench.cluster.write = overtaken  # type: ignore[assignment]
    await bench.registrar().stop()
    assert bench.cluster.written == 0


async def test_each_webhook_gets_the_path_that_counts(bench: Bench) -> None:
    webhooks = (WEBHOOK, POLICY_WEBHOOK, BREAK_GLASS_WEBHOOK)
    bench.cluster.found = Registration("uid-1", dict.fromkeys(webhooks, b""), {}, paths=dict.fromkeys(webhooks, ""))
    registrar = bench.registrar(path=True)
    async with bench.watched(registrar):
        word = bench.store.content["path"].decode()
        assert bench.cluster.found is not None
        assert len(word) >= 32
        assert bench.cluster.found.paths == {
            WEBHOOK: f"/{word}/validate",
            POLICY_WEBHOOK: f"/{word}/validate-policies",
            BREAK_GLASS_WEBHOOK: f"/{word}/validate-break-glass",
        }
        assert registrar.registered


async def test_the_namespace_is_the_owner_where_it_may_be_read(bench: Bench) -> None:
    bench.release.readable = False
    async with bench.watched(bench.registrar()):
        assert bench.cluster.found is not None
        assert (bench.cluster.found.owners, bench.cluster.found.ca_bundles) == (frozenset(), {WEBHOOK: bench.ca})
        bench.release.readable = True
        await looks()
        assert bench.cluster.found.owners == {HOME.uid}


async def test_a_ca_that_is_asked_for_signs_once_everybody_knows_it(bench: Bench) -> None:
    registrar = bench.registrar()
    async with bench.watched(registrar):
        first = read_certificates(bench.ca)
        leaf = bench.store.content["tls.crt"]
        bench.store.rotate = "now"
        await looks()
        bundle = read_certificates(bench.ca)
        assert (bundle[:1], len(bundle)) == (first, 2)
        assert bench.cluster.found is not None
        assert bench.cluster.found.ca_bundles == {WEBHOOK: bench.ca}
        assert bench.store.content["tls.crt"] == leaf
        bench.hand.seconds += SETTLE_SECONDS
        await looks()
        assert bench.store.content["tls.crt"] != leaf
        assert read_certificates(bench.ca) == bundle
        assert not bench.store.content.get("next.key")


# -- the object by which tags are pinned -------------------------------------------------------------------------


async def test_it_gets_what_the_other_one_gets(bench: Bench) -> None:
    registrar = bench.registrar(path=True)
    bench.cluster.found = Registration("uid-1", {WEBHOOK: b""}, {WEBHOOK: EARLIER}, paths={WEBHOOK: ""})
    assert registrar.pinning.problem
    async with bench.watched(registrar):
        word = bench.store.content["path"].decode()
        # That the other one is stopped is no affair of this one, which refuses nothing.
        assert bench.pinning.found == Registration(
            "uid-pinning",
            {PIN_WEBHOOK: bench.ca},
            {},
            version="1",
            paths={PIN_WEBHOOK: f"/{word}/mutate"},
            owners=frozenset({HOME.uid}),
        )
        assert registrar.pinning.problem == ""
        await looks()
        assert bench.pinning.written == 1
        await registrar.stop()
        assert bench.pinning.written == 1


async def test_it_has_a_new_ca_before_that_signs(bench: Bench) -> None:
    async with bench.watched(bench.registrar()):
        bench.store.rotate = "now"
        await looks()
        assert bench.pinning.found is not None
        assert (bench.pinning.found.ca_bundles, len(read_certificates(bench.ca))) == ({PIN_WEBHOOK: bench.ca}, 2)
        leaf = bench.store.content["tls.crt"]
        bench.hand.seconds += SETTLE_SECONDS
        await looks()
        assert bench.store.content["tls.crt"] != leaf
        assert bench.pinning.found.ca_bundles == {PIN_WEBHOOK: bench.ca}


@pytest.mark.parametrize("why", ["there is none", "it may not be read", "it may not be written", "always overtaken"])
async def test_without_it_all_else_goes_on(bench: Bench, why: str) -> None:
    """A right that is missing, a deleted object: the gate is ready, registered, and has its CA changed in time."""

    async def no(*_: object) -> None:
        if why != "always overtaken":
            raise GONE

    whole = bench.pinning.found
    write = bench.pinning.write
    if why == "there is none":
        bench.pinning.found = None
    elif why == "it may not be read":
        bench.pinning.error = GONE
    else:
        bench.pinning.write = no  # type: ignore[assignment]
    registrar = bench.registrar()
    async with bench.watched(registrar):
        assert (registrar.problem, registrar.registered, not registrar.pinning.problem) == ("", True, False)
        leaf = bench.store.content["tls.crt"]
        bench.store.rotate = "now"
        await looks()
        bench.hand.seconds += SETTLE_SECONDS
        await looks()
        assert (bench.store.content["tls.crt"] != leaf, registrar.problem) == (True, "")
        bench.pinning.found, bench.pinning.error, bench.pinning.write = whole, None, write  # type: ignore[method-assign]
        await looks()
        assert bench.pinning.found is not None
        assert bench.pinning.found.ca_bundles == {PIN_WEBHOOK: bench.ca}
        assert not registrar.pinning.problem


async def test_where_no_tags_are_pinned_there_is_none(bench: Bench) -> None:
    registrar = bench.registrar()
    registrar.pinning = Follower()
    async with bench.watched(registrar):
        assert (registrar.registered, registrar.pinning.active, registrar.pinning.problem) == (True, False, "")
        assert bench.pinning.written == 0


async def test_it_follows_also_where_the_other_one_is_gone(bench: Bench) -> None:
    bench.cluster.found = None
    registrar = bench.registrar()
    async with bench.watched(registrar):
        assert bench.pinning.found is not None
        assert bench.pinning.found.ca_bundles == {PIN_WEBHOOK: bench.ca}
        assert (registrar.registered, registrar.pinning.problem) == (False, "")
