"""Where credentials come from: files that change, pull secrets of a tenant, several sources in order."""

import base64
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from portcullis.errors import ConfigError, CredentialUnavailable, RegistryError, TooLarge
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.model.image import (
    Access,
    Anonymous,
    Credential,
    IdentityToken,
    NoPullSecret,
    RegistryCredential,
    RegistryToken,
    Repository,
)
from portcullis.registry.keychain import (
    DockerConfigKeychain,
    FirstKeychain,
    PasswordFileKeychain,
    PrefixKeychain,
    PullSecretKeychain,
    StaticKeychain,
    fingerprint,
)
from portcullis.registry.prefixes import Prefix

pytestmark = pytest.mark.anyio

WEB = Repository("registry.example", "acme/web")
NOBODY = Access()


def config(**passwords: str) -> bytes:
    """A docker config; names are hosts, "__" stands for a dot and "___" for a slash."""
    auths = {
        name.replace("___", "/").replace("__", "."): {"auth": base64.b64encode(f"ci:{password}".encode()).decode()}
        for name, password in passwords.items()
    }
    return json.dumps({"auths": auths}).encode()


def replace_link(link: Path, content: bytes) -> None:
    """As the kubelet updates a mounted Secret: a new file, and a link that is turned to it in one step."""
    folder = link.parent / f"..{os.urandom(4).hex()}"
    folder.mkdir()
    (folder / link.name).write_bytes(content)
    fresh = link.with_suffix(".new")
    fresh.symlink_to(folder / link.name)
    fresh.replace(link)


@pytest.mark.parametrize(
    ("asked", "password"),
    [
        ("acme/web", "acme"),
        ("acme", "acme"),
        ("acme/web/deep", "acme"),
        ("acme/web/secret/x", "secret"),
        ("acmeevil/web", "host"),
        ("other", "host"),
    ],
)
async def test_the_longest_prefix_counts(asked: str, password: str) -> None:
    places = {"registry.example": "host", "registry.example/acme": "acme", "registry.example/acme/web/secret": "secret"}
    keychain = StaticKeychain(credentials={place: Credential("ci", word) for place, word in places.items()})
    assert await keychain.credential(Repository("registry.example", asked), NOBODY) == Credential("ci", password)


@pytest.mark.parametrize(
    ("content", "password"), [("pw", "pw"), ("pw\n", "pw"), ("pw\r\n", "pw"), (" p w \n\n", " p w \n")]
)
async def test_a_password_is_a_line(tmp_path: Path, content: str, password: str) -> None:
    (tmp_path / "p").write_bytes(content.encode())
    keychain = PasswordFileKeychain(username="ci", path=tmp_path / "p", limits=DEFAULT_LIMITS)
    assert await keychain.credential(WEB, NOBODY) == Credential("ci", password)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read"),
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"\xff", "no text"),
        (b"x" * 101, "limit credentialBytes of 100"),
    ],
)
async def test_a_password_that_cannot_be_used(tmp_path: Path, content: bytes | None, words: str) -> None:
    """At the start it is an error of the configuration, later an outage; the old one is not used any more."""
    path, limits = tmp_path / "p", Limits(credential_bytes=100)
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=words):
        PasswordFileKeychain(username="ci", path=path, limits=limits)
    path.write_bytes(b"good")
    keychain = PasswordFileKeychain(username="ci", path=path, limits=limits)
    if content is None:
        path.unlink()
    else:
        replace_link(path, content)
    for _ in range(2):
        with pytest.raises(CredentialUnavailable, match=words) as caught:
            await keychain.credential(WEB, NOBODY)
        assert "good" not in caught.value.message
    replace_link(path, b"better")
    assert await keychain.credential(WEB, NOBODY) == Credential("ci", "better")


async def test_a_password_that_changes_is_used_at_once(tmp_path: Path) -> None:
    path = tmp_path / "p"
    path.write_bytes(b"one")
    keychain = PasswordFileKeychain(username="ci", path=path, limits=DEFAULT_LIMITS)
    assert await keychain.credential(WEB, NOBODY) == Credential("ci", "one")
    replace_link(path, b"two")  # as long as before, through a link
    assert await keychain.credential(WEB, NOBODY) == Credential("ci", "two")
    path.write_bytes(b"three")
    assert await keychain.credential(WEB, NOBODY) == Credential("ci", "three")


async def test_a_docker_config_that_changes_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / ".dockerconfigjson"
    path.write_bytes(config(registry__example="one"))
    keychain = DockerConfigKeychain(path=path, limits=DEFAULT_LIMITS)
    assert await keychain.credential(WEB, NOBODY) == Credential("ci", "one")
    replace_link(path, config(registry__example="two", registry__example___acme="acme"))
    assert await keychain.credential(WEB, NOBODY) == Credential("ci", "acme")
    assert await keychain.credential(Repository("other.example", "x"), NOBODY) == Anonymous()
    replace_link(path, b"{")
    with pytest.raises(CredentialUnavailable, match=r"dockerconfigjson is not JSON"):
        await keychain.credential(WEB, NOBODY)
    path.unlink()
    with pytest.raises(CredentialUnavailable, match="No such file"):
        await keychain.credential(WEB, NOBODY)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "is not JSON"),
        (b'{"credsStore": "desktop"}', "credential helpers"),
        (b'{"credHelpers": {"r.example": "ecr-login"}}', "credential helpers"),
        (b" " * 101, "limit dockerConfigBytes of 100"),
    ],
)
def test_a_docker_config_that_the_server_cannot_use(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "c").write_bytes(content)
    with pytest.raises(ConfigError, match=words):
        DockerConfigKeychain(path=tmp_path / "c", limits=Limits(docker_config_bytes=100))


class Cluster:
    """Secrets by namespace and name; remembers what was read."""

    def __init__(self, secrets: dict[tuple[str, str], bytes], accounts: dict[tuple[str, str], list[str]] | None = None):
        self.secrets = secrets
        self.accounts = accounts or {}
        self.read: list[tuple[str, str]] = []
        self.down = False

    def unread(self, namespace: str) -> str:
        return "the namespace is not listed" if namespace == "unlisted" else ""

    async def secret(self, namespace: str, name: str) -> bytes | NoPullSecret:
        if self.down:
            raise CredentialUnavailable("the API server does not answer")
        self.read.append((namespace, name))
        return self.secrets.get((namespace, name), NoPullSecret(f"there is no Secret {name}"))

    async def of_service_account(self, namespace: str, name: str) -> Sequence[str]:
        return self.accounts.get((namespace, name), [])


CLUSTER = {
    ("shop", "pull"): config(registry__example="shop"),
    ("shop", "deep"): config(registry__example___acme="deep"),
    ("shop", "broken"): b"{",
    ("shop", "huge"): config(registry__example___acme___web="huge") + b" " * 1000,
    ("bank", "pull"): config(registry__example="bank"),
    ("farm", "pull"): config(registry__example="farm"),
    ("unlisted", "pull"): config(registry__example="unlisted"),
}


@pytest.mark.parametrize(
    ("access", "password"),
    [
        (Access("shop", "", ("pull",)), "shop"),
        (Access("bank", "", ("pull",)), "bank"),
        (Access("bank", "", ("deep",)), None),
        (Access("", "", ("pull",)), None),
        (Access("shop", "", ()), None),
        (Access("shop", "", ("pull", "deep")), "deep"),
        (Access("shop", "", ("missing", "broken", "huge", "pull")), "shop"),
        (Access("shop", "", ("broken",)), None),
        (Access("shop", "robot", ()), "deep"),
        (Access("shop", "robot", ("pull",)), "shop"),
        (Access("bank", "robot", ()), None),
        (Access("farm", "", ()), "farm"),
        (Access("farm", "other", ()), None),
        (Access("unlisted", "", ("pull",)), None),
    ],
)
async def test_pull_secrets_of_the_tenant_and_of_no_other(access: Access, password: str | None) -> None:
    cluster = Cluster(CLUSTER, {("shop", "robot"): ["deep"], ("farm", "default"): ["pull"]})
    keychain = PullSecretKeychain(secrets=cluster, limits=Limits(docker_config_bytes=1000))
    found = await keychain.credential(WEB, access)
    assert found == (Anonymous() if password is None else Credential("ci", password))
    assert {namespace for namespace, _ in cluster.read} <= {access.namespace}


@pytest.mark.parametrize(
    ("access", "why"),
    [
        (Access("", "", ("pull",)), ""),
        (Access("unlisted", "", ("pull",)), "the namespace is not listed"),
        (Access("shop", "", ("missing", "pull")), 'the login of the pull secret "pull" was used'),
        (Access("shop", "", ("missing",)), "there is no Secret missing"),
        (
            Access("shop", "", ("broken", "missing")),
            'the Secret "broken" is not JSON: .*; there is no Secret missing',
        ),
        (Access("shop", "", ("huge",)), 'the Secret "huge" has more bytes than the limit dockerConfigBytes of 1000'),
        (Access("shop", "robot"), "no pull secret of the service account robot has a login for other.example"),
        (Access("shop", "", ("elsewhere",)), "no pull secret of the pod has a login for registry.example"),
        (Access("shop", ""), "the service account default names no pull secret"),
        (Access("shop", "", tuple("abcdefg")), "there is no Secret a; .*; there is no Secret e; …"),
        (Access("shop", "", tuple("abcdefghi")), "the workload names 9 pull secrets, more than the limit pullSecrets"),
    ],
)
async def test_what_is_told_to_who_was_denied(access: Access, why: str) -> None:
    """Names of his own, and no part of what they hold."""
    secrets = {**CLUSTER, ("shop", "elsewhere"): config(elsewhere__example="x")}
    cluster = Cluster(secrets, {("shop", "robot"): ["elsewhere"]})
    keychain = PullSecretKeychain(secrets=cluster, limits=Limits(docker_config_bytes=1000, pull_secrets=8))
    place = Repository("other.example", "a") if access.service_account else WEB
    assert re.match(f"{why}$" if not why.endswith("pullSecrets") else why, await keychain.explain(place, access))


async def test_a_cluster_that_is_down_is_an_outage() -> None:
    """Not a pull as nobody, whose denial would read as a fault of the image."""
    cluster = Cluster(CLUSTER)
    cluster.down = True
    keychain = PullSecretKeychain(secrets=cluster, limits=DEFAULT_LIMITS)
    with pytest.raises(CredentialUnavailable) as caught:
        await keychain.credential(WEB, Access("shop", "", ("pull",)))
    assert caught.value.retryable
    assert await keychain.explain(WEB, Access("shop", "", ("pull",))) == "the API server does not answer"


async def test_too_many_pull_secrets() -> None:
    keychain = PullSecretKeychain(secrets=Cluster(CLUSTER), limits=Limits(pull_secrets=2))
    assert await keychain.credential(WEB, Access("shop", "", ("pull", "a", "pull"))) == Credential("ci", "shop")
    with pytest.raises(TooLarge, match="limit pullSecrets of 2"):
        await keychain.credential(WEB, Access("shop", "", ("pull", "a", "b")))


async def test_several_keychains_in_order() -> None:
    first = StaticKeychain(credentials={"a.example": Credential("ci", "first")})
    second = StaticKeychain(credentials={"a.example": Credential("ci", "2"), "b.example": Credential("ci", "second")})
    keychain = FirstKeychain(keychains=[first, second])
    answers = [await keychain.credential(Repository(f"{host}.example", "x"), NOBODY) for host in "abc"]
    assert answers == [Credential("ci", "first"), Credential("ci", "second"), Anonymous()]


class Failing:
    async def credential(self, repository: Repository, access: Access) -> RegistryCredential | Anonymous:
        raise CredentialUnavailable("down")


async def test_a_keychain_that_fails_is_not_passed_over() -> None:
    after = StaticKeychain(credentials={"registry.example": Credential("ci", "other")})
    with pytest.raises(RegistryError, match="down"):
        await FirstKeychain(keychains=[Failing(), after]).credential(WEB, NOBODY)


async def test_only_the_keychain_of_the_longest_prefix_is_asked() -> None:
    acme = StaticKeychain(credentials={"registry.example/acme": Credential("ci", "acme")})
    keychain = PrefixKeychain(
        keychains=[(Prefix.of("registry.example"), Failing()), (Prefix.of("registry.example/acme"), acme)]
    )
    assert await keychain.credential(WEB, NOBODY) == Credential("ci", "acme")
    assert await keychain.credential(Repository("other.example", "acme"), NOBODY) == Anonymous()
    with pytest.raises(CredentialUnavailable):
        await keychain.credential(Repository("registry.example", "acmeevil"), NOBODY)


def test_fingerprints_of_all_kinds_differ() -> None:
    secret = "x"
    kinds: list[RegistryCredential | Anonymous] = [
        Anonymous(),
        Credential("", secret),
        Credential("identity", secret),
        IdentityToken(secret),
        RegistryToken(secret),
        IdentityToken("y"),
    ]
    prints = {fingerprint(kind) for kind in kinds}
    assert len(prints) == len(kinds)
    assert all(
        "x" not in repr(kind).partition("(")[2] for kind in kinds if not isinstance(kind, Anonymous | Credential)
    )
