"""This replica's part in what replicas share; whole runs stand in tests/property/test_rotation.py."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fakes.cluster import WEBHOOK, MemoryConfigurations, MemoryStore
from portcullis.cluster.certificate import CertificateFolder
from portcullis.cluster.certificateissuing import certificate_pem, general_names, make_authority, read_certificates
from portcullis.cluster.certificatestate import Terms
from portcullis.cluster.registration import Registration, Written
from portcullis.errors import ClusterError, ConfigError
from portcullis.server.registrar import store_of
from portcullis.server.segments import PathSegments
from portcullis.server.settings import Settings
from portcullis.server.sharing import (
    FOREIGN_SECONDS,
    REMEMBERED_SECONDS,
    SETTLE_SECONDS,
    Sharing,
    Store,
    sharing_of,
    tls_of,
)

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


@dataclass
class Clock:
    seconds: float = 0.0

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds


class Bench:
    """One replica, a store, and a webhook configuration."""

    def __init__(self, store: Store | None = None) -> None:
        self.clock = Clock()
        self.store = store or MemoryStore()
        self.cluster = MemoryConfigurations(
            found=Registration("uid", {WEBHOOK: b""}, {}, paths={WEBHOOK: ""}, version="0")
        )
        self.sharing = self.replica()

    def given(self, read: Callable[[], bytes]) -> Sharing:
        """Of a replica whose certificate is not made here."""
        terms = Terms(names=None, path=True)
        return Sharing(terms=terms, segments=PathSegments(shared=True), clock=self.clock, given=read)

    def replica(self) -> Sharing:
        terms = Terms(names=general_names(["gate.svc"]), path=True)
        return Sharing(terms=terms, segments=PathSegments(shared=True), clock=self.clock)

    async def look(self, sharing: Sharing | None = None) -> None:
        sharing = sharing or self.sharing
        found = await self.cluster.read()
        wanted = await sharing.step(self.store, found)
        assert wanted is not None
        if found is not None:
            changed = await self.cluster.write(found, Written(wanted.ca_bundle, wanted.segment))
            assert changed is not None
            sharing.read_back(changed)

    @property
    def bundle(self) -> bytes:
        assert self.cluster.found is not None
        return self.cluster.found.ca_bundles[WEBHOOK]


async def test_nothing_is_served_before_it_is_trusted() -> None:
    bench = Bench()
    with pytest.raises(ConfigError, match="no certificate yet"):
        bench.sharing.current(NOW)
    await bench.sharing.step(bench.store, await bench.cluster.read())
    assert (bench.sharing.pair, bench.sharing.problem) == (None, "the cluster does not trust the certificate yet")
    changed: list[int] = []
    bench.sharing.on_change = lambda: changed.append(1)
    await bench.look()
    assert bench.sharing.current(NOW) == bench.sharing.pair
    assert (bench.sharing.problem, changed) == ("", [1])


async def test_where_nobody_calls_it_is_served_at_once() -> None:
    bench = Bench()
    bench.cluster.found = None
    await bench.look()
    assert bench.sharing.pair is not None
    assert bench.sharing.problem == ""


async def test_a_folder_is_a_store_too(tmp_path: Path) -> None:
    bench = Bench(CertificateFolder(tmp_path))
    await bench.look()
    kept = (await bench.store.read()).content
    assert read_certificates(kept["ca.crt"]) == read_certificates(bench.bundle)
    other = bench.replica()
    await bench.look(other)
    assert other.pair == bench.sharing.pair
    stored = await bench.store.read()
    assert await bench.store.write(stored, {**stored.content, "ca.key": b"one"}) is not None
    assert await bench.store.write(stored, {**stored.content, "ca.key": b"other"}) is None
    assert (tmp_path / "ca.key").read_bytes() == b"one"


async def test_a_ca_that_the_store_does_not_have_goes_after_ten_minutes() -> None:
    """Nobody plants a CA for good by writing into the webhook configuration once."""
    bench = Bench()
    await bench.look()
    own, foreign = bench.bundle, certificate_pem(make_authority(NOW).certificate)
    assert bench.cluster.found is not None
    bench.cluster.found = replace(bench.cluster.found, ca_bundles={WEBHOOK: own + foreign})
    await bench.look()
    assert bench.bundle == own + foreign
    bench.clock.seconds += FOREIGN_SECONDS
    await bench.look()
    assert bench.bundle == own


async def test_the_ca_of_a_given_certificate_is_written_too() -> None:
    """Beside those that stand there, as long as an upgrade takes: replicas from before it are called as well."""
    bench = Bench()
    await bench.look()
    own, file = bench.bundle, certificate_pem(make_authority(NOW).certificate)
    after = bench.given(lambda: file)
    for sharing, first in ((after, file), (bench.sharing, own), (after, file)):
        await bench.look(sharing)
        assert bench.bundle == first + (own + file).replace(first, b"")
        assert not sharing.problem
    file = certificate_pem(make_authority(NOW).certificate)  # another one is in the file
    await bench.look(after)
    assert bench.bundle.startswith(file)
    bench.clock.seconds += FOREIGN_SECONDS
    await bench.look(after)
    assert bench.bundle == file
    assert after.alone(await bench.cluster.read()).ca_bundle == file


async def test_a_new_word_is_called_by_once_every_replica_knows_it() -> None:
    bench = Bench()
    assert isinstance(bench.store, MemoryStore)
    await bench.look()
    assert bench.cluster.found is not None
    (old,) = bench.cluster.found.segments
    bench.store.rotate = "now"
    await bench.look()
    new = bench.store.content["path"].decode()
    for seconds, expected in ((0.0, old), (SETTLE_SECONDS - 0.1, old), (0.1, new)):
        bench.clock.seconds += seconds
        await bench.look()
        assert bench.cluster.found.segments == (expected,)
        accepted = [word for word in (old, new, "0123456789abcdef") if bench.sharing.segments.accepts(word.encode())]
        assert accepted == [old, new]
    bench.clock.seconds += REMEMBERED_SECONDS / 2
    await bench.look()
    bench.clock.seconds += REMEMBERED_SECONDS
    await bench.look()
    assert not bench.sharing.segments.accepts(old.encode())


async def test_a_store_that_cannot_be_read_takes_nothing_away() -> None:
    bench = Bench()
    assert isinstance(bench.store, MemoryStore)
    await bench.look()
    pair = bench.sharing.pair
    bench.store.error = ClusterError("no right")
    with pytest.raises(ClusterError):
        await bench.look()
    assert bench.sharing.pair == pair


CLUSTER = {"webhook": {"name": "gate"}}


def managed(**section: Any) -> dict[str, Any]:
    return {"server": {"tls": {"selfManaged": section}}}


@pytest.mark.parametrize(
    ("tree", "certifies", "names_path", "store"),
    [
        ({}, False, False, None),
        ({"server": {"tls": {"selfManaged": {"directory": "/tls"}}}}, False, False, CertificateFolder),
        (
            {"server": {"tls": {"selfManaged": {"directory": "/tls"}}}, "cluster": CLUSTER},
            True,
            False,
            CertificateFolder,
        ),
        ({"server": {"tls": {"selfManaged": {"secret": "a"}}}, "cluster": CLUSTER}, True, False, str),
        ({"cluster": {**CLUSTER, "caller": {"pathSecret": "a"}}}, False, True, str),
    ],
)
def test_what_the_configuration_says(tree: dict[str, Any], certifies: bool, names_path: bool, store: Any) -> None:
    settings = Settings.from_tree(tree)
    sharing = sharing_of(settings, Clock())
    assert (sharing.certifies, sharing.names_path) == (certifies, names_path)
    assert sharing.segments.told_apart is names_path
    assert bool(sharing.problem) is (certifies or names_path)
    found = store_of(settings, lambda name: name)  # type: ignore[arg-type, return-value]
    assert found is None if store is None else isinstance(found, store)


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"server": {"tls": {"selfManaged": {}}}}, "either directory or secret"),
        ({"server": {"tls": {"selfManaged": {"directory": "/tls", "secret": "a"}}}}, "either directory or secret"),
        ({"server": {"tls": {"selfManaged": {"secret": "a"}}}}, "selfManaged.secret needs cluster.webhook"),
        ({"server": {"tls": {"selfManaged": {"secret": "A"}}}, "cluster": CLUSTER}, "selfManaged.secret"),
        (
            {"server": {"tls": {"selfManaged": {"directory": "/t", "caDays": 9, "leafDays": 9}}}},
            "leafDays is less than",
        ),
        ({"cluster": {"caller": {"pathSecret": "a"}}}, "caller.pathSecret needs webhook"),
        (
            {
                "server": {"tls": {"selfManaged": {"secret": "a"}}},
                "cluster": {**CLUSTER, "caller": {"pathSecret": "b"}},
            },
            "name one Secret",
        ),
    ],
)
def test_a_contradiction_is_an_error(tree: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Settings.from_tree(tree)


async def test_tls_begins_without_a_certificate_and_takes_it_up() -> None:
    settings = Settings.from_tree({"server": {"tls": {"selfManaged": {"secret": "a"}}}, "cluster": CLUSTER})
    bench = Bench()
    bench.sharing = sharing = sharing_of(settings, bench.clock)
    tls = tls_of(settings, sharing, bench.clock)
    assert tls.state.missing
    assert "no certificate yet" in tls.state.problem
    await bench.look()
    await tls.refresh()
    assert (tls.state.missing, tls.state.problem) == (False, "")
    assert tls.state.not_after == NOW + timedelta(days=90)
