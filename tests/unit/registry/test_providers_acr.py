"""Azure Container Registry: Azure's own client against a local metadata service, and the exchange over real TLS."""

import contextlib
import os
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from yarl import URL

from fakes.clouds import ACR_HOST, acr_exchange, azure_identity, json_answer, refresh_token, serve_tunnel
from fakes.faulty import Answer, FaultyServer, Route, serve_faulty
from portcullis.errors import CredentialUnavailable, Denied, RegistryError, TooLarge, Unreachable
from portcullis.limits import Limits
from portcullis.model.image import Access, Anonymous, Credential, Repository
from portcullis.registry.hosts import HostRules
from portcullis.registry.providers.acr import AcrKeychain
from portcullis.registry.proxy import Proxies, Proxy

pytestmark = pytest.mark.anyio

NOBODY = Access()
WEB = Repository(ACR_HOST, "acme/web")
IDENTITY = "/metadata/identity/oauth2/token"
EXCHANGE = "/oauth2/exchange"
USERNAME = "00000000-0000-0000-0000-000000000000"


@pytest.mark.parametrize(
    ("registry", "covers"),
    [
        ("demo.azurecr.io", True),
        ("Demo.AzureCR.io:443", True),
        ("demo.azurecr.io:5000", False),
        ("azurecr.io", False),
        ("a.b.azurecr.io", False),
        ("x.azurecr.io.attacker", False),
        ("x.azurecr.io.attacker.example", False),
        ("xazurecr.io", False),
        ("evil-azurecr.io", False),
    ],
)
def test_which_hosts_are_azures(registry: str, covers: bool) -> None:
    assert AcrKeychain.covers(registry) is covers


@dataclass
class Azure:
    """The registry (over TLS), the metadata service, and what the way to the registry was asked to connect to."""

    registry: FaultyServer
    metadata: FaultyServer
    hosts: HostRules
    connected: list[str]

    async def ask(self, repository: Repository = WEB, **limits: float) -> object:
        keychain = AcrKeychain(hosts=self.hosts, limits=Limits(**limits))  # type: ignore[arg-type]
        try:
            return await keychain.credential(repository, NOBODY)
        finally:
            await keychain.aclose()


@pytest.fixture
async def azure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Azure]:
    for name in os.environ:
        if name.startswith(("IDENTITY_", "MSI_", "AZURE_")):
            monkeypatch.delenv(name)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(ACR_HOST).configure_cert(tls)
    async with contextlib.AsyncExitStack() as stack:
        registry = await stack.enter_async_context(serve_faulty({EXCHANGE: acr_exchange}, tls=tls))
        metadata = await stack.enter_async_context(serve_faulty({IDENTITY: azure_identity()}))
        port, connected = await stack.enter_async_context(serve_tunnel(registry.port))
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", f"http://{metadata.host}")
        hosts = HostRules(
            ca_files={ACR_HOST: tmp_path / "ca.pem"}, proxies=Proxies(https=Proxy(URL(f"http://127.0.0.1:{port}")))
        )
        yield Azure(registry, metadata, hosts, connected)


async def test_the_identity_of_the_pod_becomes_a_refresh_token_of_the_registry(azure: Azure) -> None:
    keychain = AcrKeychain(hosts=azure.hosts, limits=Limits())
    for path in ("acme/web", "other"):
        found = await keychain.credential(Repository(ACR_HOST, path), NOBODY)
        assert isinstance(found, Credential)
        assert found.username == USERNAME
        assert found.password.count(".") == 2
    assert await keychain.credential(Repository(f"{ACR_HOST}.attacker", "x"), NOBODY) == Anonymous()
    await keychain.aclose()
    assert azure.registry.paths() == [EXCHANGE]
    assert azure.connected == [f"{ACR_HOST}:443"]
    (asked,) = azure.metadata.asked
    assert asked.headers["metadata"] == "true"
    assert "resource=https%3A%2F%2Fcontainerregistry.azure.net" in asked.query.replace(":", "%3A").replace("/", "%2F")


async def test_a_refresh_token_is_used_until_shortly_before_its_end(azure: Azure) -> None:
    azure.registry.routes[EXCHANGE] = json_answer({"refresh_token": refresh_token(-1, "old")})
    keychain = AcrKeychain(hosts=azure.hosts, limits=Limits())
    old = await keychain.credential(WEB, NOBODY)
    azure.registry.routes[EXCHANGE] = json_answer({"refresh_token": "opaque"})  # no JSON Web Token: an hour
    assert await keychain.credential(WEB, NOBODY) == Credential(USERNAME, "opaque") != old
    assert await keychain.credential(WEB, NOBODY) == Credential(USERNAME, "opaque")
    await keychain.aclose()
    assert len(azure.registry.asked) == 2


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (json_answer({"errors": []}, 401), Denied, f"{ACR_HOST} refuses the token of Azure"),
        (Answer(403), Denied, "HTTP 403"),
        (Answer(404), CredentialUnavailable, "HTTP 404"),
        (Answer(500), CredentialUnavailable, "HTTP 500"),
        (Answer(307, {"Location": "https://attacker.example/"}), CredentialUnavailable, "HTTP 307"),
        (Answer(body=b"<html>"), CredentialUnavailable, "without a refresh token"),
        (json_answer({}), CredentialUnavailable, "without a refresh token"),
        (json_answer({"refresh_token": 7}), CredentialUnavailable, "without a refresh token"),
        (json_answer({"refresh_token": "a\r\nb"}), CredentialUnavailable, "without a refresh token"),
        (Answer(body=b"x" * 5000), TooLarge, "limit tokenBytes of 4000"),
        (Answer(body=b"x", declared=100), RegistryError, ACR_HOST),
        (Answer(silent=True), RegistryError, "in time|limit credentialSeconds"),
    ],
)
async def test_an_exchange_that_fails(azure: Azure, answer: Route, error: type[RegistryError], words: str) -> None:
    azure.registry.routes[EXCHANGE] = answer
    with pytest.raises(RegistryError, match=words) as caught:
        await azure.ask(token_bytes=4000, credential_seconds=2.0)
    assert isinstance(caught.value, error)
    assert "entra-token" not in caught.value.message
    assert len(azure.connected) == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            json_answer({"error": "invalid_request", "error_description": "Identity not found"}, 400),
            "Identity not found",
        ),
        (Answer(body=b"<html>"), "Azure gives no token"),
        (Answer(silent=True), "limit credentialSeconds of 2"),
    ],
)
async def test_without_an_identity_it_says_so(azure: Azure, answer: Route, words: str) -> None:
    azure.metadata.routes[IDENTITY] = answer
    with pytest.raises(CredentialUnavailable, match=words):
        await azure.ask(credential_seconds=2.0)
    assert azure.registry.asked == []


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"AZURE_FEDERATED_TOKEN_FILE": "/none"}, "WorkloadIdentity|tenant_id"),
        ({"AZURE_CLIENT_SECRET": "hunter2"}, "EnvironmentCredential"),
    ],
)
async def test_which_identity_is_taken(
    azure: Azure, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], words: str
) -> None:
    """Those that are set up by halves are named; the machine's own identity is not taken in their place."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(CredentialUnavailable, match=words) as caught:
        await azure.ask()
    assert "hunter2" not in caught.value.message
    assert azure.metadata.asked == []


async def test_the_token_goes_only_to_who_proves_the_name(azure: Azure) -> None:
    """Another certificate than that of the name: nothing is sent."""
    azure.hosts = HostRules(proxies=azure.hosts.proxies)
    with pytest.raises(Unreachable, match="certificate that is not trusted"):
        await azure.ask()
    assert azure.registry.asked == []


async def test_insecure_is_not_for_azure(azure: Azure) -> None:
    """A host of Azure that is marked insecure still gets the token over TLS only."""
    azure.hosts = HostRules(insecure=frozenset({ACR_HOST}), ca_files=azure.hosts.ca_files, proxies=azure.hosts.proxies)
    assert isinstance(await azure.ask(), Credential)
    assert azure.connected == [f"{ACR_HOST}:443"]
