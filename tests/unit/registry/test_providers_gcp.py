"""Google Artifact Registry: Google's own client against a local token endpoint and a local metadata server."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from fakes.clouds import google_key, google_metadata, google_token, json_answer
from fakes.faulty import Answer, FaultyServer, Route, serve_faulty
from portcullis.errors import ConfigError, CredentialUnavailable, Denied, RegistryError
from portcullis.limits import Limits
from portcullis.model.image import Access, Anonymous, Credential, Repository
from portcullis.registry.providers.gcp import GcpKeychain

pytestmark = pytest.mark.anyio

NOBODY = Access()
TOKEN = Credential("oauth2accesstoken", "google-token")


@pytest.mark.parametrize(
    ("registry", "covers"),
    [
        ("gcr.io", True),
        ("eu.gcr.io", True),
        ("europe-west1-docker.pkg.dev", True),
        ("Europe-West1-docker.PKG.dev:443", True),
        ("europe-west1-docker.pkg.dev:5000", False),
        ("pkg.dev", False),
        ("evilgcr.io", False),
        ("x-pkg.dev", False),
        ("gcr.io.attacker", False),
        ("europe-west1-docker.pkg.dev.attacker", False),
        ("k8s.gcr.io.attacker.example", False),
    ],
)
def test_which_hosts_are_googles(registry: str, covers: bool) -> None:
    assert GcpKeychain.covers(registry) is covers


def key_file(folder: Path, server: FaultyServer) -> Path:
    path = folder / "key.json"
    path.write_bytes(google_key(f"http://{server.host}/token"))
    return path


async def test_a_key_file_gives_one_token_for_all_hosts(tmp_path: Path) -> None:
    async with serve_faulty({"/token": google_token}) as server:
        keychain = GcpKeychain(limits=Limits(), key_file=key_file(tmp_path, server))
        for host in ("eu-docker.pkg.dev", "gcr.io", "us-docker.pkg.dev"):
            assert await keychain.credential(Repository(host, "demo/web"), NOBODY) == TOKEN
        assert await keychain.credential(Repository("gcr.io.attacker", "demo/web"), NOBODY) == Anonymous()
        await keychain.aclose()
        assert server.paths() == ["/token"]


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (json_answer({"error": "invalid_grant", "error_description": "no such account"}, 400), Denied, "invalid_grant"),
        (json_answer({"error": "access_denied"}, 403), Denied, "access_denied"),
        (json_answer({"expires_in": 3600}), Denied, "No access token"),
        (Answer(body=b"<html>"), CredentialUnavailable, "answer of Google .* cannot be read"),
        (Answer(reset=True, body=b"x", declared=9), CredentialUnavailable, "Google gives no credential"),
        (Answer(silent=True), CredentialUnavailable, "limit credentialSeconds of 1"),
    ],
)
async def test_a_token_endpoint_that_fails(
    tmp_path: Path, answer: Route, error: type[RegistryError], words: str
) -> None:
    async with serve_faulty({"/token": answer}) as server:
        limits = Limits(credential_seconds=1.0 if isinstance(answer, Answer) and answer.silent else 30.0)
        keychain = GcpKeychain(limits=limits, key_file=key_file(tmp_path, server))
        with pytest.raises(RegistryError, match=words) as caught:
            await keychain.credential(Repository("gcr.io", "demo/web"), NOBODY)
        assert type(caught.value) is error
        assert "BEGIN" not in caught.value.message
        await keychain.aclose()


@pytest.mark.parametrize("content", [None, b"{", b"{}", b'{"type": "service_account", "private_key": "hunter2"}'])
def test_a_key_file_that_is_none(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "key.json").write_bytes(content)
    with pytest.raises(ConfigError, match=r"key\.json is no key of a service account") as caught:
        GcpKeychain(limits=Limits(), key_file=tmp_path / "key.json")
    assert "hunter2" not in caught.value.message


PROGRAM = """
import asyncio
from portcullis.errors import RegistryError
from portcullis.limits import Limits
from portcullis.model.image import Access, Repository
from portcullis.registry.providers.gcp import GcpKeychain

async def main():
    keychain = GcpKeychain(limits=Limits())
    try:
        found = await keychain.credential(Repository("eu-docker.pkg.dev", "demo/web"), Access())
        print(found.username, found.password)
    except RegistryError as error:
        print(error.reason, error.message)
    await keychain.aclose()

asyncio.run(main())
"""


async def in_a_pod(server: FaultyServer, folder: Path) -> str:
    """What a program prints whose metadata server is that one. Google's client reads the address when it is imported,
    so the program is a new one."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("GOOGLE_", "CLOUDSDK_"))}
    environ |= {
        "GCE_METADATA_HOST": server.host,
        "GCE_METADATA_IP": server.host,
        "HOME": str(folder),
        "CLOUDSDK_CONFIG": str(folder),
        "NO_PROXY": "*",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, env=environ, stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0
    return printed.decode().strip()


async def test_the_metadata_server_of_a_pod(tmp_path: Path) -> None:
    """A virtual machine's account, or that of workload identity: GKE answers in the same way."""
    async with serve_faulty(google_metadata()) as server:
        assert await in_a_pod(server, tmp_path) == "oauth2accesstoken metadata-token"
        tokens = [asked for asked in server.asked if asked.path.endswith("/default/token")]
        assert [asked.headers["metadata-flavor"] for asked in tokens] == ["Google"]


async def test_a_pod_without_an_account(tmp_path: Path) -> None:
    routes = google_metadata()
    for path in list(routes):
        if "service-accounts" in path:
            routes[path] = Answer(404, {"Metadata-Flavor": "Google"})
    async with serve_faulty(routes) as server:
        printed = await in_a_pod(server, tmp_path)
    assert printed.startswith(("credential-unavailable Google gives no credential", "registry-denied Google refuses"))
