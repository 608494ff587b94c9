"""Replicas that share a certificate, in any interleaving: nobody who trusts the CA bundle of the webhook configuration
is ever shown a leaf of another CA.

The replicas are the real registrar with the real state machine; only the objects are in memory, and each request
to them has a seam before and after it. A run is a list of events: a replica goes on to its next seam, or to the end of
its look; it crashes at a seam and starts anew with another clock; time passes; somebody spoils the Secret or asks for
a new CA; the API server is away. After each event every handshake is tried that could be made then: of each ready
replica, with each CA bundle that an API server may still have, by clocks that are ten minutes off.
"""

import functools
import math
from collections.abc import Coroutine, Generator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes.cluster import WEBHOOK
from portcullis.cluster.certificateissuing import Lives, general_names, holds, issued_by, read_certificates
from portcullis.cluster.certificatestate import Content, Stored, Terms
from portcullis.cluster.ownpod import Namespace
from portcullis.cluster.registration import PIN_WEBHOOK, POLICY_WEBHOOK, Registration, Written, path_of
from portcullis.errors import ClusterError
from portcullis.server.following import Follower
from portcullis.server.health import Report
from portcullis.server.registrar import Registrar
from portcullis.server.segments import PathSegments
from portcullis.server.sharing import SETTLE_SECONDS, Sharing

START = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
LAG = 10.0
"""Seconds for which an API server may go on with the webhook configuration that it had."""
SKEW = timedelta(minutes=10)
LIVES = Lives(timedelta(days=9), timedelta(days=3))
AWAY_DAYS = 0.9
"""A third of a leaf's life is a day."""
POLL = 6.0
"""Seconds in which each replica looks again; only the words of paths hang on it."""
SPOILT = ("ca.crt", "ca.key", "next.crt", "next.key", "tls.crt", "tls.key", "path", "rotated")
REPLICAS = 3


class Seam:
    """Where a replica may be held, or end."""

    def __await__(self) -> Generator[None, None, None]:
        yield


@dataclass
class World:
    """The objects, and the time."""

    seconds: float = 0.0
    away: bool = False
    content: Content = field(default_factory=dict)
    rotate: str = ""
    registration: Registration = field(
        default_factory=lambda: Registration(
            "uid", dict.fromkeys((WEBHOOK, POLICY_WEBHOOK), b""), {}, paths={WEBHOOK: "", POLICY_WEBHOOK: ""}
        )
    )
    pinning: Registration = field(
        default_factory=lambda: Registration("uid-pinning", {PIN_WEBHOOK: b""}, {}, paths={PIN_WEBHOOK: ""})
    )
    history: list[tuple[float, Registration]] = field(default_factory=list)
    """What was replaced of the first, and when."""

    async def _asked(self) -> None:
        await Seam()
        if self.away:
            raise ClusterError("the API server is away")

    def recent(self) -> list[Registration]:
        """What an API server may have."""
        return [self.registration, *(old for until, old in self.history if self.seconds - until <= LAG)]

    def spoil(self, changed: dict[str, bytes]) -> None:
        self.content = {**self.content, **changed}


class Configurations:
    def __init__(self, world: World) -> None:
        self.world = world

    async def read(self) -> Registration:
        await self.world._asked()
        found = self.world.registration
        await Seam()
        return found

    async def write(self, found: Registration, written: Written) -> Registration | None:
        world = self.world
        await world._asked()
        changed = None
        if found.version == world.registration.version:
            changed = _changed(found, written, str(len(world.history) + 1))
            world.history.append((world.seconds, world.registration))
            world.registration = changed
        await Seam()
        return changed


class Pinning:
    """The object that follows."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def read(self) -> Registration:
        await self.world._asked()
        return self.world.pinning

    async def write(self, found: Registration, written: Written) -> Registration | None:
        await self.world._asked()
        if found.version != self.world.pinning.version:
            return None
        self.world.pinning = _changed(found, written, f"{found.version}+")
        return self.world.pinning


def _changed(found: Registration, written: Written, version: str) -> Registration:
    assert written.ca_bundle is not None
    return replace(
        found,
        version=version,
        ca_bundles=dict.fromkeys(found.ca_bundles, written.ca_bundle),
        paths={webhook: path_of(webhook, written.segment) for webhook in found.paths},
        owners=frozenset({"uid-home"}),
    )


class Secret:
    def __init__(self, world: World) -> None:
        self.world = world

    async def read(self) -> Stored:
        await self.world._asked()
        found = Stored(self.world.content, self.world.rotate, self.world.content)
        await Seam()
        return found

    async def write(self, stored: Stored, content: Content) -> Stored | None:
        await self.world._asked()
        if stored.found is not self.world.content:
            return None
        self.world.content = dict(content)
        written = Stored(self.world.content, self.world.rotate, self.world.content)
        await Seam()
        return written


class Home:
    async def leaving(self) -> bool:
        return False

    async def namespace(self) -> Namespace:
        return Namespace("portcullis-system", "uid-home")


class Replica:
    """One process, whose clock is ``skew`` off."""

    def __init__(self, world: World, skew: timedelta) -> None:
        self.world = world
        self.skew = skew
        self.segments = PathSegments(shared=True)
        self.sharing = Sharing(
            terms=Terms(names=general_names(["gate"]), lives=LIVES, path=True), segments=self.segments, clock=self
        )
        self.registrar = Registrar(
            configurations=Configurations(world),
            sharing=self.sharing,
            store=Secret(world),
            release=Home(),
            stand_down=False,
            settle_seconds=5.0,
            clock=self,
            pinning=Follower(Pinning(world)),
        )
        self.looking: Coroutine[Any, Any, bool] | None = None
        self.began = self.looked = -math.inf
        self.born = world.seconds

    def now(self) -> datetime:
        return START + timedelta(seconds=self.world.seconds) + self.skew

    def monotonic(self) -> float:
        return self.world.seconds

    async def examine(self) -> Report:
        return Report(True, ())

    def step(self) -> bool:
        """On to the next seam; whether the look is at its end."""
        if self.looking is None:
            self.looking = self.registrar.look(self.examine)
            self.began = self.world.seconds
        try:
            self.looking.send(None)
        except StopIteration:
            self.looking = None
            if not self.world.away:
                self.looked = self.began
            return True
        return False

    def look(self) -> None:
        while not self.step():
            pass

    def end(self) -> None:
        if self.looking is not None:
            self.looking.close()

    @property
    def ready(self) -> bool:
        return not self.registrar.problem


class Run:
    def __init__(self, skews: list[int]) -> None:
        self.world = World()
        self.replicas = [Replica(self.world, SKEW * skew) for skew in skews]

    def everybody(self) -> None:
        for replica in self.replicas:
            replica.look()
            self.check()

    def pass_time(self, seconds: float) -> None:
        """In which nobody looks: time is short, or the API server is away."""
        self.world.seconds += seconds
        self.check()

    def days(self, days: int) -> None:
        """As they go by: everybody looks, again and again."""
        self.calm()
        for _ in range(days * 2):
            self.world.seconds += 43_200
            for _ in range(3):
                self.everybody()
                self.pass_time(SETTLE_SECONDS)

    def calm(self) -> None:
        """A while in which everybody looks; a look that was held comes to its end in the first round."""
        for _ in range(2):
            self.everybody()
            self.pass_time(SETTLE_SECONDS)
        self.everybody()

    def outage(self, days: float) -> None:
        """Between two of them there is a while."""
        self.calm()
        self.world.away = True
        self.pass_time(days * 43_200)
        self.everybody()
        self.pass_time(days * 43_200)
        self.world.away = False
        self.calm()

    def crash(self, number: int, skew: int) -> None:
        self.replicas[number].end()
        self.replicas[number] = Replica(self.world, SKEW * skew)

    def check(self) -> None:
        time = START + timedelta(seconds=self.world.seconds)
        for replica in self.replicas:
            if not replica.ready:
                continue
            assert replica.sharing.pair is not None
            leaf = certificates(replica.sharing.pair.certificate_pem)[0]
            for registration in self.world.recent():
                for webhook, pem in registration.ca_bundles.items():
                    bundle = certificates(pem)
                    if not bundle:
                        continue  # before the first; nobody is called then
                    for skew in (-SKEW, SKEW):
                        assert holds(leaf, time + skew)
                        trusted = [one for one in bundle if holds(one, time + skew)]
                        assert any(signed(leaf, one) for one in trusted), (replica.skew, webhook)
                    word = registration.paths[webhook].split("/")[1]
                    # One that has only just come does not know the word before.
                    aged = self.world.seconds - replica.born > LAG or registration is self.world.registration
                    if aged and self.world.seconds - replica.looked <= POLL:
                        assert replica.segments.accepts(word.encode()), (replica.skew, webhook)


@functools.lru_cache(1000)
def certificates(pem: bytes) -> list[x509.Certificate]:
    return read_certificates(pem)


@functools.lru_cache(1000)
def signed(leaf: x509.Certificate, authority: x509.Certificate) -> bool:
    return issued_by(leaf, authority)


numbers = st.integers(0, REPLICAS - 1)
skews = st.sampled_from([-1, 0, 1])
EVENTS = st.one_of(
    st.tuples(st.just("step"), numbers),
    st.tuples(st.just("step"), numbers),
    st.tuples(st.just("look"), numbers),
    st.tuples(st.just("look"), numbers),
    st.tuples(st.just("crash"), numbers, skews),
    st.tuples(st.just("everybody")),
    st.tuples(st.just("pass_time"), st.sampled_from([0.5, 5.0, SETTLE_SECONDS, 60.0])),
    st.tuples(st.just("days"), st.integers(1, 4)),
    st.tuples(st.just("outage"), st.sampled_from([0.0001, 0.1, AWAY_DAYS])),
    st.tuples(st.just("rotate"), st.text("abc", max_size=3)),
    st.tuples(st.just("empty")),
    st.tuples(st.just("spoil"), st.dictionaries(st.sampled_from(SPOILT), st.binary(max_size=8), min_size=1)),
    st.tuples(st.just("swap"), st.sampled_from(SPOILT), st.sampled_from(SPOILT)),
)


def happens(run: Run, event: tuple[Any, ...]) -> None:
    what, *given_ = event
    world = run.world
    if what in ("step", "look"):
        getattr(run.replicas[given_[0]], what)()
    elif what == "rotate":
        world.rotate = given_[0]
    elif what == "empty":
        world.content = {}
    elif what == "spoil":
        world.spoil(given_[0])
    elif what == "swap":
        one, other = given_
        world.spoil({one: world.content.get(other, b""), other: world.content.get(one, b"")})
    else:
        getattr(run, what)(*given_)
    run.check()


def follows(run: Run) -> None:
    first, second = run.world.registration, run.world.pinning
    assert set(second.ca_bundles.values()) == set(first.ca_bundles.values())
    assert (second.segments, second.owners) == (first.segments, first.owners)
    assert all(not replica.registrar.pinning.problem for replica in run.replicas)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(skews, min_size=REPLICAS, max_size=REPLICAS), st.lists(EVENTS, max_size=30))
def test_every_handshake_succeeds(skews: list[int], events: list[tuple[Any, ...]]) -> None:
    run = Run(skews)
    try:
        run.everybody()
        for event in events:
            happens(run, event)
        # And whatever happened, it ends well.
        run.calm()
        run.calm()
        assert all(replica.ready for replica in run.replicas)
        follows(run)
    finally:
        for replica in run.replicas:
            replica.end()
