"""Mirrors: which are asked, with whose credential, and what happens where they fail.

The numbers are those of the rules in mirrors.py.
"""

import asyncio
import base64
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import pytest

from fakes.faulty import Answer, FaultyServer, Route, serve_faulty
from fakes.oci import config_bytes, image_routes, manifest_bytes
from fakes.registry import AMD64, MemoryRegistry, sha256
from portcullis.errors import (
    ConfigError,
    Denied,
    DigestMismatch,
    Malformed,
    NotAllowed,
    NotFound,
    RegistryError,
    Throttled,
    TooLarge,
    Unreachable,
)
from portcullis.limits import Limits
from portcullis.model.evidence import CarrierKind
from portcullis.model.image import (
    Access,
    Anonymous,
    Credential,
    Digest,
    ImageReference,
    Repository,
    ResolvedImage,
)
from portcullis.registry.hosts import HostRules
from portcullis.registry.http import HttpRegistry
from portcullis.registry.keychain import StaticKeychain, fingerprint
from portcullis.registry.mirrors import Mirror, MirrorFingerprints, MirroringRegistry, Mirrors, Place

pytestmark = pytest.mark.anyio

NOBODY = Access()
ORIGIN, FIRST, SECOND = "registry.example", "first.example", "second.example:5000"
WEB = Repository(ORIGIN, "acme/web")
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
LARGE = 10**9
MANIFEST_PATH = "/v2/acme/web/manifests/1"


def names(mirrors: Mirrors, repository: str) -> list[str]:
    host, _, path = repository.partition("/")
    return [str(place.repository) for place in mirrors.places(Repository(host, path))]


@pytest.mark.parametrize(
    ("repository", "places"),
    [
        ("docker.io/library/nginx", ["m.example/library/nginx", "n.example:5000/hub/library/nginx"]),
        ("registry.example/other", ["general.example/other"]),
        ("registry.example/acme/web", ["special.example/cache/web"]),
        ("registry.example/acme/deep/web", ["special.example/cache/deep/web"]),
        ("registry.example/acme", ["special.example/cache"]),
        ("registry.example/acmeevil/web", ["general.example/acmeevil/web"]),
        ("registry.example:5000/acme/web", []),
        ("evil.registry.example/acme/web", []),
        ("registry.example.attacker/acme/web", []),
    ],
)
def test_what_a_name_is_at_its_mirrors(repository: str, places: list[str]) -> None:
    mirrors = Mirrors(
        {
            "docker.io": [Mirror("m.example"), Mirror("n.example:5000/hub/")],
            "registry.example": [Mirror("general.example")],
            "registry.example/acme": [Mirror("special.example/cache")],
        }
    )
    assert names(mirrors, repository) == places


def test_a_mirror_of_a_path_needs_one() -> None:
    with pytest.raises(ConfigError, match="needs a path"):
        Mirrors({"registry.example/acme": [Mirror("m.example")]})


@dataclass
class House:
    """An origin, two mirrors of it in memory, and what asks them."""

    origin: MemoryRegistry = field(default_factory=MemoryRegistry)
    mirror: MemoryRegistry = field(default_factory=MemoryRegistry)
    listed: tuple[Mirror, ...] = (Mirror(FIRST), Mirror(f"{SECOND}/cache"))
    rules: HostRules = field(default_factory=HostRules)
    now: float = 1000.0
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        self.registry = MirroringRegistry(
            origin=self.origin,
            mirror=self.mirror,
            mirrors=Mirrors({ORIGIN: self.listed}),
            hosts=self.rules,
            limits=self.limits,
            clock=lambda: self.now,
        )

    def publish(self, *places: str, user: str = "1") -> ResolvedImage:
        """acme/web:1 at these of origin, first and second; as the origin names it."""
        found = None
        for place in places:
            host, path = {"origin": (ORIGIN, "acme"), "first": (FIRST, "acme"), "second": (SECOND, "cache/acme")}[place]
            memory = self.origin if place == "origin" else self.mirror
            found = memory.add_image(f"{host}/{path}/web", "1", user=user)
        assert found is not None
        return ResolvedImage(self.reference(), found.digest, found.media_type, found.is_index, found.platforms)

    def reference(self, digest: Digest | None = None) -> ImageReference:
        return ImageReference(WEB, "1", digest)

    async def resolve(self, digest: Digest | None = None) -> ResolvedImage:
        return await self.registry.resolve(self.reference(digest), NOBODY)

    async def user(self) -> str:
        return (await self.resolve()).platforms[0].config.user

    def asked(self) -> list[str]:
        """Hosts, in order, since the last time: those of the mirrors, and of the origin in the end."""
        calls = [*self.mirror.calls, *self.origin.calls]
        self.mirror.calls.clear()
        self.origin.calls.clear()
        return [call.split()[1].partition("/")[0] for call in calls]


async def test_the_first_mirror_that_has_it_answers() -> None:
    house = House()
    published = house.publish("first", "second", "origin")
    assert await house.resolve() == published
    assert house.asked() == [FIRST]


async def test_an_image_without_mirrors_is_had_from_its_registry() -> None:
    house = House(listed=())
    published = house.publish("origin")
    assert await house.resolve() == published
    assert house.asked() == [ORIGIN]


FAILURES: Sequence[RegistryError] = [
    Unreachable("no connection"),
    Throttled("too many"),
    NotFound("none"),
    Denied("no"),
    Malformed("nonsense"),
    DigestMismatch("other bytes"),
    TooLarge("huge"),
    NotAllowed("an address that is not public"),
]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda error: type(error).__name__)
async def test_whatever_fails_the_next_is_asked(failure: RegistryError) -> None:
    """3: the next mirror, and the registry itself at last."""
    house = House()
    published = house.publish("first", "second", "origin")
    house.mirror.fail(FIRST, failure)
    assert await house.resolve() == published
    assert house.asked() == [FIRST, SECOND]
    house.mirror.fail(SECOND, failure)
    house.now += 1000
    assert await house.resolve() == published
    assert house.asked() == [FIRST, SECOND, ORIGIN]


@pytest.mark.parametrize("failure", [NotFound("the origin does not have it"), Denied("the origin denies it")])
async def test_the_error_is_that_of_the_registry_itself(failure: RegistryError) -> None:
    house = House()
    house.mirror.fail(FIRST, Unreachable("no connection to first.example"))
    house.mirror.fail(SECOND, Malformed("x" * 5000))
    house.origin.fail(ORIGIN, failure)
    with pytest.raises(RegistryError) as caught:
        await house.resolve()
    assert type(caught.value) is type(failure)
    assert caught.value.message.startswith(
        f"{failure.message}; the mirror first.example failed before "
        "(registry-unreachable: no connection to first.example); the mirror second.example:5000 failed before"
    )
    assert len(caught.value.message) < 1000


async def test_the_time_that_a_registry_asks_for_is_kept() -> None:
    house = House()
    house.origin.fail(ORIGIN, Throttled("busy", retry_after=30.0))
    with pytest.raises(Throttled, match="mirror") as caught:
        await house.resolve()
    assert caught.value.retry_after == 30.0


async def test_manifests_and_small_blobs_fall_back_alike() -> None:
    house = House()
    image = house.publish("second", "origin")
    manifest = await house.registry.manifest(WEB, image.digest, NOBODY)
    assert (manifest.digest, house.asked()) == (image.digest, [image.digest] * 2)
    config = image.platforms[0].config_digest
    content = b"".join([piece async for piece in house.registry.blob(WEB, config, 10**6, NOBODY)])
    assert sha256(content) == config
    with pytest.raises(NotFound, match="the mirror"):
        await house.registry.manifest(WEB, sha256(b"nothing has this"), NOBODY)


async def test_a_mirror_decides_what_a_tag_means() -> None:
    """2"""
    house = House()
    house.publish("first", user="old")
    house.publish("origin", user="new")
    assert await house.user() == "old"


async def test_unless_it_is_asked_by_digest_only() -> None:
    """2"""
    house = House(listed=(Mirror(FIRST, tags=False),))
    old = house.publish("first", user="old")
    house.publish("origin", user="new")
    house.mirror.add_referrer(old_at(FIRST, old), BUNDLE, BUNDLE, b"of the mirror")
    assert await house.user() == "new"
    assert (await house.registry.referrers(old, None, NOBODY))[1] == ()
    assert house.mirror.calls == []
    assert (await house.resolve(old.digest)).platforms[0].config.user == "old"


def old_at(host: str, image: ResolvedImage) -> ResolvedImage:
    reference = ImageReference(Repository(host, "acme/web"), "1", None)
    return ResolvedImage(reference, image.digest, image.media_type, image.is_index, image.platforms)


async def test_attestations_of_a_mirror_count_and_none_says_nothing() -> None:
    """2: a mirror that pulls through often does not know them."""
    house = House(listed=(Mirror(FIRST),))
    image = house.publish("first", "origin")
    there = house.origin.add_referrer(image, BUNDLE, BUNDLE, b"at the origin")
    assert await house.registry.referrers(image, BUNDLE, NOBODY) == (CarrierKind.REFERRER, (there,))
    here = house.mirror.add_referrer(old_at(FIRST, image), BUNDLE, BUNDLE, b"at the mirror")
    assert await house.registry.referrers(image, BUNDLE, NOBODY) == (CarrierKind.REFERRER, (here,))


async def test_a_registry_that_is_closed_is_not_opened_by_its_mirror() -> None:
    """5"""
    house = House(rules=HostRules(allowed=("other.example",)))
    image = house.publish("first", "origin")
    for work in (
        house.resolve(),
        house.registry.referrers(image, None, NOBODY),
        house.registry.manifest(WEB, image.digest, NOBODY),
        _all(house.registry.blob(WEB, image.platforms[0].config_digest, 100, NOBODY)),
        _all(house.registry.blob(WEB, image.platforms[0].config_digest, LARGE, NOBODY)),
    ):
        with pytest.raises(NotAllowed, match=r"registries\.allowed"):
            await work
    assert house.asked() == []


async def test_a_host_that_may_be_private_is_not_asked_for_a_stranger() -> None:
    """6"""
    house = House(rules=HostRules(private=frozenset({FIRST})))
    published = house.publish("first", "second", "origin")
    config = published.platforms[0].config_digest
    stranger = Access(stranger=True)
    assert await house.registry.resolve(house.reference(), stranger) == published
    assert await _all(house.registry.blob(WEB, config, LARGE, stranger))
    asked = house.asked()
    assert (asked[0], len(asked), FIRST in asked) == (SECOND, 2, False)
    assert await house.registry.resolve(house.reference(), NOBODY) == published
    assert house.asked() == [FIRST]

    house = House(rules=HostRules(private=frozenset({ORIGIN})))
    image = house.publish("first", "origin")
    for work in (
        house.registry.resolve(house.reference(), stranger),
        house.registry.referrers(image, None, stranger),
        house.registry.tagged(WEB, "1", stranger),
        house.registry.manifest(WEB, image.digest, stranger),
        _all(house.registry.blob(WEB, config, 100, stranger)),
        _all(house.registry.blob(WEB, config, LARGE, stranger)),
    ):
        with pytest.raises(NotAllowed, match=r"did not show that it comes from the API server"):
            await work
    assert house.asked() == []


async def _all(pieces: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in pieces])


async def test_a_mirror_that_could_not_be_reached_is_passed_over_for_a_while() -> None:
    house = House(listed=(Mirror(FIRST),), limits=Limits(mirror_rest_seconds=60.0))
    house.publish("first", user="mirror")
    house.publish("origin", user="origin")
    house.mirror.fail(FIRST, Unreachable("down"))
    assert await house.user() == "origin"
    house.mirror.fail(FIRST, None)
    house.asked()
    house.now += 59.0
    assert (await house.user(), house.asked()) == ("origin", [ORIGIN])
    house.now += 1.0
    assert (await house.user(), house.asked()) == ("mirror", [FIRST])


@pytest.mark.parametrize("failure", [NotFound("none"), Denied("no"), Malformed("nonsense"), Throttled("busy")])
async def test_one_that_answered_is_not(failure: RegistryError) -> None:
    """What it lacks, it lacks of one image; and whom it asks to wait is the one with that credential."""
    house = House(listed=(Mirror(FIRST),))
    house.publish("origin")
    house.mirror.fail(FIRST, failure)
    for _ in range(2):
        await house.resolve()
        assert house.asked() == [FIRST, ORIGIN]


async def test_one_that_was_passed_over_is_asked_where_the_registry_is_down() -> None:
    house = House(listed=(Mirror(FIRST),))
    house.publish("first", user="mirror")
    house.publish("origin", user="origin")
    house.mirror.fail(FIRST, Unreachable("down"))
    assert await house.user() == "origin"
    house.mirror.fail(FIRST, None)
    house.origin.fail(ORIGIN, Unreachable("down as well"))
    assert await house.user() == "mirror"
    house.origin.fail(ORIGIN, NotFound("gone"))
    house.mirror.fail(FIRST, Unreachable("down"))
    with pytest.raises(NotFound):
        await house.user()


class Hanging(MemoryRegistry):
    """Answers nothing."""

    async def resolve(self, reference: ImageReference, access: Access) -> ResolvedImage:
        self.calls.append(f"resolve {reference}")
        await asyncio.Event().wait()
        raise AssertionError


async def test_a_mirror_that_never_answers_leaves_time_for_the_registry() -> None:
    house = House(mirror=Hanging(), limits=Limits(flight_seconds=0.2))
    house.publish("origin", user="origin")
    assert (await house.user(), house.asked()) == ("origin", [FIRST, SECOND, ORIGIN])
    assert (await house.user(), house.asked()) == ("origin", [ORIGIN])


class Lying(MemoryRegistry):
    """Sends other bytes, and says so at the end, as whoever reads from it does."""

    async def blob(self, repository: Repository, digest: Digest, limit: int, access: Access) -> AsyncIterator[bytes]:
        self.calls.append(f"blob {repository}")
        yield b"other bytes"
        raise DigestMismatch("other bytes")


@pytest.mark.parametrize("limit", [1000, LARGE])
async def test_a_mirror_that_lies_is_passed_over(limit: int) -> None:
    """1: of a small blob nobody notices; a large one has been passed on in part, so that it ends with an outage, and
    the next try has it from elsewhere."""
    house = House(mirror=Lying(), listed=(Mirror(FIRST),))
    layer = house.publish("origin").platforms[0].layers[0].digest
    if limit == LARGE:
        with pytest.raises(Unreachable, match="the next try passes it over"):
            await _all(house.registry.blob(WEB, layer, limit, NOBODY))
    for _ in range(2):
        assert await _all(house.registry.blob(WEB, layer, limit, NOBODY)) == b"layer"
    assert house.mirror.calls == [f"blob {FIRST}/acme/web"]


async def test_a_large_blob_falls_back_before_its_first_piece() -> None:
    house = House()
    layer = house.publish("origin").platforms[0].layers[0].digest
    house.mirror.fail(FIRST, Unreachable("down"))
    assert await _all(house.registry.blob(WEB, layer, LARGE, NOBODY)) == b"layer"
    house.publish("first")
    house.mirror.fail(FIRST, None)
    house.mirror.fail(SECOND, Unreachable("down"))
    house.origin.fail(ORIGIN, Unreachable("down"))
    house.asked()
    assert await _all(house.registry.blob(WEB, layer, LARGE, NOBODY)) == b"layer"  # the one that was passed over
    house.mirror.fail(FIRST, Unreachable("down again"))
    with pytest.raises(Unreachable, match=r"down; the mirror first\.example"):
        await _all(house.registry.blob(WEB, layer, LARGE, NOBODY))
    house.now += 1000
    house.origin.fail(ORIGIN, Denied("no"))
    with pytest.raises(Denied, match=r"the mirror second\.example"):
        await _all(house.registry.blob(WEB, layer, LARGE, NOBODY))


@dataclass
class Wire:
    """The same over HTTP: acme/web of ``origin`` has ``mirror`` as its mirror."""

    origin: FaultyServer
    mirror: FaultyServer

    async def resolve(
        self, *, credentials: dict[str, Credential], rules: HostRules | None = None, digest: Digest | None = None
    ) -> ResolvedImage:
        hosts = frozenset({self.origin.host, self.mirror.name})
        rules = rules or HostRules(insecure=hosts, private=hosts)
        limits = Limits(backoff_seconds=0.001)
        http = HttpRegistry(
            keychain=StaticKeychain(credentials=credentials), hosts=rules, platforms=(AMD64,), limits=limits
        )
        registry = MirroringRegistry(
            origin=http,
            mirror=http.for_mirrors(),
            mirrors=Mirrors({self.origin.host: [Mirror(self.mirror.name)]}),
            hosts=rules,
            limits=limits,
        )
        try:
            reference = ImageReference(Repository(self.origin.host, "acme/web"), "1", digest)
            return await registry.resolve(reference, NOBODY)
        finally:
            await http.aclose()


def guarded(user: str = "10001") -> dict[str, Route]:
    """An image that wants some credential, whichever."""

    def behind(answer: Route) -> Route:
        assert isinstance(answer, Answer)
        demand = Answer(401, {"WWW-Authenticate": 'Basic realm="r"'})
        return lambda asked: answer if "authorization" in asked.headers else demand

    return {path: behind(answer) for path, answer in image_routes(user=user).items()}


def sent(server: FaultyServer) -> set[str]:
    headers = {asked.headers.get("authorization", "") for asked in server.asked} - {""}
    return {base64.b64decode(header.removeprefix("Basic ")).decode() for header in headers}


async def test_the_credential_of_the_mirror_is_its_own() -> None:
    """4: to either the one that is configured for its name."""
    async with serve_faulty(image_routes(user="origin")) as origin, serve_faulty(guarded("mirror")) as mirror:
        wire = Wire(origin, mirror)
        both = {origin.host: Credential("o", "origin-secret"), mirror.name: Credential("m", "mirror-secret")}
        assert (await wire.resolve(credentials=both)).platforms[0].config.user == "mirror"
        assert (sent(mirror), origin.asked) == ({"m:mirror-secret"}, [])


async def test_the_credential_of_the_registry_never_goes_to_a_mirror() -> None:
    """4: where the mirror wants one and has none of its own, it is passed by."""
    async with serve_faulty(guarded("origin")) as origin, serve_faulty(guarded("mirror")) as mirror:
        found = await Wire(origin, mirror).resolve(credentials={origin.host: Credential("o", "origin-secret")})
        assert found.platforms[0].config.user == "origin"
        assert (sent(mirror), sent(origin)) == (set(), {"o:origin-secret"})


async def test_other_bytes_of_a_mirror_are_found_out() -> None:
    """1"""
    good = sha256(manifest_bytes(config_bytes()))
    path = f"/v2/acme/web/manifests/{good}"
    async with serve_faulty(image_routes()) as origin, serve_faulty(image_routes(user="0")) as mirror:
        mirror.routes[path] = mirror.routes[MANIFEST_PATH]
        found = await Wire(origin, mirror).resolve(credentials={}, digest=good)
        assert (found.digest, found.platforms[0].config.user) == (good, "10001")
        assert mirror.paths() == [path]


async def test_the_address_of_a_mirror_is_checked_as_any() -> None:
    async with serve_faulty(image_routes(user="origin")) as origin, serve_faulty(image_routes(user="mirror")) as mirror:
        rules = HostRules(
            insecure=frozenset({origin.host, mirror.name}),
            private=frozenset({origin.host}),
        )
        found = await Wire(origin, mirror).resolve(credentials={}, rules=rules)
        assert found.platforms[0].config.user == "origin"
        assert mirror.connections == 0


async def test_a_mirror_need_not_be_one_of_the_allowed_registries() -> None:
    """The operator named it; but no reference may, because of that."""
    async with serve_faulty(image_routes(user="origin")) as origin, serve_faulty(image_routes(user="mirror")) as mirror:
        hosts = frozenset({origin.host, mirror.name})
        rules = HostRules((origin.host,), hosts, hosts)
        wire = Wire(origin, mirror)
        assert (await wire.resolve(credentials={}, rules=rules)).platforms[0].config.user == "mirror"
        http = HttpRegistry(keychain=StaticKeychain(credentials={}), hosts=rules, platforms=(AMD64,), limits=Limits())
        with pytest.raises(NotAllowed):
            await http.resolve(ImageReference(Repository(mirror.name, "acme/web"), "1", None), NOBODY)
        await http.aclose()


class ByNamespace:
    """Credentials of the namespace for those hosts; the others are open, or fail."""

    def __init__(self, *hosts: str, failing: str = "") -> None:
        self._hosts = hosts
        self._failing = failing

    async def credential(self, repository: Repository, access: Access) -> Credential | Anonymous:
        if repository.registry == self._failing:
            raise Unreachable("no credential now")
        return Credential(access.namespace, "secret") if repository.registry in self._hosts else Anonymous()


@pytest.mark.parametrize(
    ("keychain", "same"),
    [
        (ByNamespace(), True),
        (ByNamespace(ORIGIN), False),
        (ByNamespace(FIRST), False),  # a fact from the mirror is not shown to who has no right there
        (ByNamespace(SECOND), False),
        (ByNamespace("unrelated.example"), True),
        (ByNamespace(failing=FIRST), False),
    ],
)
async def test_what_caches_tell_apart(keychain: ByNamespace, same: bool) -> None:
    mirrors = Mirrors({ORIGIN: [Mirror(FIRST), Mirror(SECOND)]})
    prints = MirrorFingerprints(keychain=keychain, mirrors=mirrors)
    red, blue, again = [
        fingerprint(await prints.credential(WEB, Access(namespace))) for namespace in ("red", "blue", "red")
    ]
    assert red == again
    assert (red == blue) is same


async def test_caches_see_the_credential_itself_where_there_are_no_mirrors() -> None:
    prints = MirrorFingerprints(keychain=ByNamespace(ORIGIN), mirrors=Mirrors({}))
    assert await prints.credential(WEB, Access("red")) == Credential("red", "secret")
    with pytest.raises(Unreachable):
        await MirrorFingerprints(
            keychain=ByNamespace(failing=ORIGIN), mirrors=Mirrors({ORIGIN: [Mirror(FIRST)]})
        ).credential(WEB, NOBODY)


def test_places_say_whether_tags_are_asked_for() -> None:
    mirrors = Mirrors({ORIGIN: [Mirror(FIRST, tags=False)]})
    assert mirrors.places(WEB) == (Place(Repository(FIRST, "acme/web"), False),)
