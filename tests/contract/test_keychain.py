"""What every Keychain (ports.py) keeps to: the credential of a place goes to that place, and to no look-alike."""

import asyncio
import base64
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from yarl import URL

from fakes.clouds import (
    ACR_HOST,
    ECR_HOST,
    acr_exchange,
    azure_identity,
    ecr_answer,
    google_key,
    google_token,
    serve_tunnel,
)
from fakes.faulty import serve_faulty
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.model.image import Access, Anonymous, Credential, NoPullSecret, Repository
from portcullis.ports import Keychain
from portcullis.registry.helpers import UserKeychain
from portcullis.registry.hosts import HostRules
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
from portcullis.registry.providers.acr import AcrKeychain
from portcullis.registry.providers.ecr import EcrKeychain
from portcullis.registry.providers.gcp import GcpKeychain
from portcullis.registry.proxy import Proxies, Proxy

pytestmark = pytest.mark.anyio

LIMITS = Limits(credential_seconds=30.0)
HOST, SECRET = "registry.example", "s3cret"
PLACE = f"{HOST}/acme"
CONFIG = json.dumps({"auths": {PLACE: {"auth": base64.b64encode(f"ci:{SECRET}".encode()).decode()}}}).encode()
TENANT = Access("shop", "robot", ("pull",))


@dataclass
class Surroundings:
    """What an implementation may need: a folder, the environment, and what is closed afterwards."""

    folder: Path
    environment: pytest.MonkeyPatch
    stack: contextlib.AsyncExitStack


@dataclass
class Subject:
    """A keychain with one credential, for ``place``. Without a path it is for the whole host."""

    keychain: Keychain
    place: str = PLACE


Maker = Callable[[Surroundings], Awaitable[Subject]]


async def static(_: Surroundings) -> Subject:
    return Subject(StaticKeychain(credentials={PLACE: Credential("ci", SECRET)}))


async def first(_: Surroundings) -> Subject:
    empty = StaticKeychain(credentials={})
    return Subject(FirstKeychain(keychains=[empty, StaticKeychain(credentials={PLACE: Credential("ci", SECRET)})]))


async def password_file(around: Surroundings) -> Subject:
    (around.folder / "password").write_text(SECRET)
    source = PasswordFileKeychain(username="ci", path=around.folder / "password", limits=LIMITS)
    return Subject(PrefixKeychain(keychains=[(Prefix.of(PLACE), source)]))


async def docker_config(around: Surroundings) -> Subject:
    (around.folder / "config.json").write_bytes(CONFIG)
    return Subject(DockerConfigKeychain(path=around.folder / "config.json", limits=LIMITS))


async def user_config(around: Surroundings) -> Subject:
    (around.folder / "config.json").write_bytes(CONFIG)
    return Subject(UserKeychain(path=around.folder / "config.json", environ={}, limits=LIMITS))


async def helper(around: Surroundings) -> Subject:
    program = around.folder / "docker-credential-x"
    program.write_text(f'#!/bin/sh\necho \'{{"Username": "ci", "Secret": "{SECRET}"}}\'\n')
    program.chmod(0o755)
    (around.folder / "config.json").write_text(json.dumps({"credHelpers": {HOST: "x"}}))
    environ = {"PATH": str(around.folder)}
    keychain = UserKeychain(path=around.folder / "config.json", environ=environ, limits=LIMITS)
    around.stack.push_async_callback(keychain.aclose)
    return Subject(keychain, HOST)


async def pull_secrets(_: Surroundings) -> Subject:
    class Cluster:
        def unread(self, namespace: str) -> str:
            return "" if namespace == TENANT.namespace else "its pull secrets are not read"

        async def secret(self, namespace: str, name: str) -> bytes | NoPullSecret:
            there = (namespace, name) == (TENANT.namespace, TENANT.pull_secrets[0])
            return CONFIG if there else NoPullSecret("is not there")

        async def of_service_account(self, namespace: str, name: str) -> Sequence[str]:
            return ()

    return Subject(PullSecretKeychain(secrets=Cluster(), limits=DEFAULT_LIMITS))


async def ecr(around: Surroundings) -> Subject:
    server = await around.stack.enter_async_context(serve_faulty({"/": ecr_answer(password=SECRET)}))
    for name, value in {
        "AWS_ENDPOINT_URL_ECR": f"http://{server.host}",
        "AWS_ACCESS_KEY_ID": "AKIATEST",
        "AWS_SECRET_ACCESS_KEY": "aws-secret",
        "AWS_CONFIG_FILE": str(around.folder / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(around.folder / "none"),
    }.items():
        around.environment.setenv(name, value)
    around.environment.delenv("AWS_PROFILE", raising=False)
    keychain = EcrKeychain(limits=LIMITS)
    around.stack.push_async_callback(keychain.aclose)
    return Subject(keychain, ECR_HOST)


async def gcp(around: Surroundings) -> Subject:
    server = await around.stack.enter_async_context(serve_faulty({"/token": google_token}))
    (around.folder / "key.json").write_bytes(google_key(f"http://{server.host}/token"))
    keychain = GcpKeychain(limits=LIMITS, key_file=around.folder / "key.json")
    around.stack.push_async_callback(keychain.aclose)
    return Subject(keychain, "eu-docker.pkg.dev")


async def acr(around: Surroundings) -> Subject:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(around.folder / "ca.pem"))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(ACR_HOST).configure_cert(tls)
    identity = {"/metadata/identity/oauth2/token": azure_identity()}
    metadata = await around.stack.enter_async_context(serve_faulty(identity))
    registry = await around.stack.enter_async_context(serve_faulty({"/oauth2/exchange": acr_exchange}, tls=tls))
    port, _ = await around.stack.enter_async_context(serve_tunnel(registry.port))
    for name in ("AZURE_FEDERATED_TOKEN_FILE", "AZURE_CLIENT_SECRET", "IDENTITY_ENDPOINT", "MSI_ENDPOINT"):
        around.environment.delenv(name, raising=False)
    around.environment.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", f"http://{metadata.host}")
    proxies = Proxies(https=Proxy(URL(f"http://127.0.0.1:{port}")))
    hosts = HostRules(ca_files={ACR_HOST: around.folder / "ca.pem"}, proxies=proxies)
    keychain = AcrKeychain(hosts=hosts, limits=LIMITS)
    around.stack.push_async_callback(keychain.aclose)
    return Subject(keychain, ACR_HOST)


MAKERS: tuple[Maker, ...] = (
    static,
    first,
    password_file,
    docker_config,
    user_config,
    helper,
    pull_secrets,
    ecr,
    gcp,
    acr,
)


@pytest.fixture(params=MAKERS, ids=lambda maker: maker.__name__)
async def subject(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Subject]:
    async with contextlib.AsyncExitStack() as stack:
        yield await request.param(Surroundings(tmp_path, monkeypatch, stack))


def repository(text: str) -> Repository:
    host, _, path = text.partition("/")
    return Repository(host, path)


async def test_the_credential_of_the_place_and_below(subject: Subject) -> None:
    for below in ("web", "web/deep"):
        found = await subject.keychain.credential(repository(f"{subject.place}/{below}"), TENANT)
        assert isinstance(found, Credential)
        assert found.username
        assert found.password
        assert found.password not in repr(found)


async def test_look_alikes_get_nothing(subject: Subject) -> None:
    host, _, path = subject.place.partition("/")
    others = [
        f"{host}.attacker/{path or 'web'}",
        f"{host}.attacker.example/{path or 'web'}",
        f"x{host}.attacker/{path or 'web'}",
        f"{host}:5000/{path or 'web'}",
        f"attacker.example/{host}/{path}",
        f"attacker.example/{subject.place}",
    ]
    if path:
        others += [f"{host}/{path}evil", f"{host}/x{path}", f"{host}/evil/{path}", f"x.{host}/{path}"]
    for other in others:
        assert await subject.keychain.credential(repository(other), TENANT) == Anonymous(), other


async def test_the_same_question_has_the_same_answer(subject: Subject) -> None:
    """So that facts which one credential fetched are found again (design rule 6); at once or one after the other."""
    place = repository(f"{subject.place}/web")
    at_once = await asyncio.gather(*(subject.keychain.credential(place, TENANT) for _ in range(5)))
    after = await subject.keychain.credential(place, TENANT)
    assert len({fingerprint(found) for found in (*at_once, after)}) == 1
