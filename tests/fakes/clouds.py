"""Clouds on loopback: what AWS, Google and Azure answer to a program that asks for a registry's credential.

They speak the protocols to the byte, and the real clients of the clouds talk to them over real sockets. Each answer is
a route of a FaultyServer, so that a test may have it fail.
"""

import asyncio
import base64
import contextlib
import json
import time
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from fakes.faulty import Answer, Asked

ACCOUNT = "123456789012"
ECR_HOST = f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com"
ACR_HOST = "demo.azurecr.io"


def amz_json(document: object, status: int = 200) -> Answer:
    return Answer(status, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(document).encode())


def ecr_answer(host: str = ECR_HOST, password: str = "ecr-password", seconds: float = 12 * 3600) -> Answer:
    """GetAuthorizationToken as the API reference of ECR has it."""
    entry = {
        "authorizationToken": base64.b64encode(f"AWS:{password}".encode()).decode(),
        "expiresAt": time.time() + seconds,
        "proxyEndpoint": f"https://{host}",
    }
    return amz_json({"authorizationData": [entry]})


def ecr_error(code: str, status: int = 400) -> Answer:
    return amz_json({"__type": code, "message": "as the test wants it"}, status)


def sts_answer(asked: Asked) -> Answer:
    """AssumeRoleWithWebIdentity as the API reference of STS has it, for the token "pod-token" only."""
    form = {name: values[0] for name, values in parse_qs(asked.body.decode()).items()}
    if form.get("Action") != "AssumeRoleWithWebIdentity" or form.get("WebIdentityToken") != "pod-token":
        return Answer(
            400,
            {"Content-Type": "text/xml"},
            b"<ErrorResponse><Error><Code>InvalidIdentityToken</Code></Error></ErrorResponse>",
        )
    until = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Answer(
        headers={"Content-Type": "text/xml"},
        body=f"""<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
        <AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>ASIAROLE</AccessKeyId>
        <SecretAccessKey>role-secret</SecretAccessKey><SessionToken>role-session</SessionToken>
        <Expiration>{until}</Expiration></Credentials>
        <AssumedRoleUser><Arn>arn:aws:sts::{ACCOUNT}:assumed-role/gate/x</Arn><AssumedRoleId>A:x</AssumedRoleId>
        </AssumedRoleUser></AssumeRoleWithWebIdentityResult>
        <ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></AssumeRoleWithWebIdentityResponse>""".encode(),
    )


def json_answer(document: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(status, {"Content-Type": "application/json", **(headers or {})}, json.dumps(document).encode())


def google_token(asked: Asked) -> Answer:
    """POST of the token endpoint (RFC 7523), for the scope that registries need."""
    form = {name: values[0] for name, values in parse_qs(asked.body.decode()).items()}
    payload = form["assertion"].split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    if claims["scope"] != "https://www.googleapis.com/auth/cloud-platform":
        return json_answer({"error": "invalid_scope"}, 400)
    return json_answer({"access_token": "google-token", "expires_in": 3600, "token_type": "Bearer"})


def google_key(token_uri: str) -> bytes:
    """The key file of a service account, as the console of Google Cloud gives it."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return json.dumps(
        {
            "type": "service_account",
            "project_id": "demo",
            "private_key_id": "1",
            "private_key": pem.decode(),
            "client_email": "gate@demo.iam.gserviceaccount.com",
            "client_id": "1",
            "token_uri": token_uri,
        }
    ).encode()


def google_metadata() -> dict[str, Answer]:
    """The metadata server of Compute Engine and GKE."""
    flavor, text = {"Metadata-Flavor": "Google"}, {"Content-Type": "application/text"}
    account = "/computeMetadata/v1/instance/service-accounts/default"
    found = {"email": "gate@demo.iam.gserviceaccount.com", "scopes": ["cloud-platform"], "aliases": ["default"]}
    token = {"access_token": "metadata-token", "expires_in": 3000, "token_type": "Bearer"}
    return {
        "/": Answer(headers=flavor),
        "/computeMetadata/v1/project/project-id": Answer(headers=flavor | text, body=b"demo"),
        "/computeMetadata/v1/universe/universe-domain": Answer(404, flavor),
        "/computeMetadata/v1/universe/universe_domain": Answer(404, flavor),
        f"{account}/": json_answer(found, headers=flavor),
        f"{account}/token": json_answer(token, headers=flavor),
    }


def azure_identity(token: str = "entra-token") -> Answer:
    """The instance metadata service of Azure: a token of Entra ID."""
    now = int(time.time())
    return json_answer(
        {
            "access_token": token,
            "expires_in": "3600",
            "expires_on": str(now + 3600),
            "not_before": str(now),
            "resource": "https://containerregistry.azure.net",
            "token_type": "Bearer",
        }
    )


def refresh_token(seconds: float, name: str = "refresh") -> str:
    """A JSON Web Token that ends in so many seconds; nobody verifies it."""

    def part(document: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'RS256'})}.{part({'exp': int(time.time() + seconds), 'jti': name})}.c2ln"


def acr_exchange(asked: Asked) -> Answer:
    """POST /oauth2/exchange of Azure Container Registry, for the token of azure_identity()."""
    form = {name: values[0] for name, values in parse_qs(asked.body.decode()).items()}
    wanted = {"grant_type": "access_token", "service": ACR_HOST, "access_token": "entra-token"}
    if asked.method != "POST" or form != wanted:
        return json_answer({"errors": [{"code": "UNAUTHORIZED"}]}, 401)
    return json_answer({"refresh_token": refresh_token(3 * 3600)})


@contextlib.asynccontextmanager
async def serve_tunnel(port: int) -> AsyncIterator[tuple[int, list[str]]]:
    """A proxy whose every CONNECT leads to that port of 127.0.0.1: so a name of a cloud is reached as itself, TLS and
    all. Gives its own port, and what it was asked to connect to."""
    asked: list[str] = []
    talks: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while piece := await reader.read(65536):
                writer.write(piece)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        asked.append(head.split(b" ")[1].decode())
        there, back = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(pump(reader, back), pump(there, writer))

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(talk(reader, writer))
        talks.add(task)
        task.add_done_callback(talks.discard)

    listener = await asyncio.start_server(begin, "127.0.0.1", 0)
    try:
        yield listener.sockets[0].getsockname()[1], asked
    finally:
        listener.close()
        for task in list(talks):
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)
        await listener.wait_closed()
