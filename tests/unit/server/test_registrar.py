"""The webhook configuration follows the life of the program."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fakes.cluster import WEBHOOK, MemoryConfigurations
from portcullis.cluster.registration import Registration
from portcullis.errors import ClusterError
from portcullis.server.health import Report
from portcullis.server.registrar import UNASKED_SECONDS, Registrar

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
EARLIER = "2026-11-24T11:59:50Z"
CA = b"-----BEGIN CERTIFICATE-----\n"
GONE = ClusterError("the API server is away")


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
class Bench:
    folder: Path
    cluster: MemoryConfigurations = field(default_factory=MemoryConfigurations)
    hand: Hand = field(default_factory=Hand)
    deleted: bool = True
    unknown: bool = False

    async def leaving(self) -> bool:
        if self.unknown:
            raise GONE
        return self.deleted

    def registrar(self, *, stand_down: bool = True, ca: bool = True, active: bool = True) -> Registrar:
        (self.folder / "ca.crt").write_bytes(CA)
        return Registrar(
            configurations=self.cluster if active else None,
            ca_file=self.folder / "ca.crt" if ca else None,
            leaving=self.leaving if stand_down else None,
            settle_seconds=5.0,
            clock=self.hand,
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
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def stopped(bench: Bench) -> dict[str, str]:
    assert bench.cluster.found is not None
    return dict(bench.cluster.found.stopped)


async def test_the_ca_is_written_once_and_then_the_replica_is_trusted(bench: Bench) -> None:
    registrar = bench.registrar()
    assert registrar.problem
    async with bench.watched(registrar):
        assert bench.cluster.found == Registration("uid-1", {WEBHOOK: CA}, {})
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
        assert bench.cluster.found == Registration("uid-2", {WEBHOOK: CA}, {})
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
        assert (bench.cluster.written, registrar.problem, registrar.registered) == (0, "", True)


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


async def test_a_ca_that_cannot_be_renewed_there_makes_it_unready_again(bench: Bench) -> None:
    registrar = bench.registrar()
    async with bench.watched(registrar):
        (bench.folder / "ca.crt").write_bytes(b"another")

        async def refuse(*_: object, **__: object) -> None:
            raise GONE

        bench.cluster.write = refuse  # type: ignore[method-assign]
        await looks()
        assert registrar.problem == GONE.message


async def test_an_orderly_stop_stops_the_webhooks_and_nothing_starts_them_again(bench: Bench) -> None:
    registrar = bench.registrar()
    async with bench.watched(registrar):
        registrar.reported()
        bench.hand.seconds += 60
        await registrar.stop()
        await looks()
        assert stopped(bench) == {WEBHOOK: "2026-11-24T12:00:00Z"}
        assert bench.cluster.found is not None
        assert bench.cluster.found.ca_bundles == {WEBHOOK: CA}


@pytest.mark.parametrize("why", ["told not to", "none is there", "no cluster", "away", "the pod stays", "nobody knows"])
async def test_a_stop_that_stops_no_webhooks_is_a_stop_all_the_same(bench: Bench, why: str) -> None:
    registrar = bench.registrar(stand_down=why != "told not to", active=why != "no cluster")
    if why == "none is there":
        bench.cluster.found = None
    if why == "away":
        bench.cluster.error = GONE
    bench.deleted = why != "the pod stays"
    bench.unknown = why == "nobody knows"
    await registrar.stop()
    assert bench.cluster.written == 0


async def test_the_webhooks_are_called_again_once_the_cluster_knows_that_we_are_ready(bench: Bench) -> None:
    bench.cluster.found = Registration("uid-1", {WEBHOOK: b"old"}, {WEBHOOK: EARLIER})
    bench.hand.ready = False
    registrar = bench.registrar()
    async with bench.watched(registrar):
        # The CA first; since when they are stopped stays as it was.
        assert bench.cluster.found == Registration("uid-1", {WEBHOOK: CA}, {WEBHOOK: EARLIER})
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
    bench.cluster.found = Registration("uid-1", {WEBHOOK: CA}, {WEBHOOK: EARLIER})
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
    bench.cluster.found = Registration("uid-1", {WEBHOOK: CA}, {WEBHOOK: EARLIER})
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
