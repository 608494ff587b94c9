"""Azure Container Registry: a token of Microsoft Entra ID becomes a refresh token of the registry.

Source: https://github.com/Azure/acr/blob/main/docs/AAD-OAuth.md, "Calling POST /oauth2/exchange". The identity is found
by Azure's own client: workload identity, variables of a service principal, managed identity.
"""

import base64
import binascii
import json
import os
import time
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from yarl import URL

from portcullis.errors import CredentialUnavailable, Denied
from portcullis.limits import Limits
from portcullis.model.image import Access, Anonymous, Credential, RegistryCredential, Repository
from portcullis.registry.bodies import read_body
from portcullis.registry.challenges import is_token
from portcullis.registry.connections import Ask, Connections
from portcullis.registry.faults import Passing
from portcullis.registry.hosts import HostRules
from portcullis.registry.leases import Lease, Leases
from portcullis.registry.providers import host_of, require
from portcullis.strictjson import StrictJsonError, load_json
from portcullis.text import clean

if TYPE_CHECKING:
    from azure.identity.aio import EnvironmentCredential, ManagedIdentityCredential, WorkloadIdentityCredential

    _Identity = EnvironmentCredential | ManagedIdentityCredential | WorkloadIdentityCredential

_SUFFIX: Final = ".azurecr.io"
_USERNAME: Final = "00000000-0000-0000-0000-000000000000"
"""Says that the password is a refresh token of the registry (the same document, "docker login")."""
_SCOPE: Final = "https://containerregistry.azure.net/.default"
_SECONDS: Final = 3600.0
"""Where the token does not say how long it holds; they hold three hours."""
_DEPTH: Final = 10


class AcrKeychain:
    """Credentials for ``*.azurecr.io``; each host has its own flight.

    Args:
        hosts: how registries are reached: which may have an address that is not public (a private endpoint), proxies.

    Raises:
        ConfigError: the extra ``azure`` is not installed.
    """

    def __init__(self, *, hosts: HostRules, limits: Limits) -> None:
        require("azure.identity.aio", provider="acr", extra="azure")
        self._limits = limits
        self._connections = Connections(hosts=hosts, limits=limits)
        self._leases = Leases(borrow=self._borrow, lender="Azure", limits=limits)

    @staticmethod
    def covers(registry: str) -> bool:
        host = host_of(registry)
        return host.endswith(_SUFFIX) and host.count(".") == _SUFFIX.count(".")

    async def aclose(self) -> None:
        """Ends what is under way, and closes every connection."""
        await self._leases.aclose()
        await self._connections.aclose()

    async def credential(self, repository: Repository, access: Access) -> RegistryCredential | Anonymous:  # noqa: ARG002
        """Raises CredentialUnavailable, Denied, or what the registry does wrong in the exchange; anonymous
        for other hosts."""
        if not self.covers(repository.registry):
            return Anonymous()
        return await self._leases.get(host_of(repository.registry))

    async def _borrow(self, key: str) -> Lease:
        token = await self._exchange(key, await self._entra_token())
        return Lease(Credential(_USERNAME, token), _seconds_left(token))

    async def _entra_token(self) -> str:
        """An access token of the identity that the program runs as."""
        from azure.core.exceptions import AzureError

        try:
            async with self._identity() as identity:
                return (await identity.get_token(_SCOPE)).token
        except (AzureError, ValueError) as error:
            # Whether it was refused or is not there just now, Azure's client does not tell reliably.
            said = clean(str(getattr(error, "message", "") or error), 300)
            raise CredentialUnavailable(f"Azure gives no token for the identity of the program: {said}") from error

    @staticmethod
    def _identity() -> "_Identity":
        """The one that a program in a cluster has, told by the variables that Azure's client reads too. Its own chain
        (DefaultAzureCredential) tries them all, and buries the one error that counts among the others."""
        from azure.identity.aio import EnvironmentCredential, ManagedIdentityCredential, WorkloadIdentityCredential

        if "AZURE_FEDERATED_TOKEN_FILE" in os.environ:
            return WorkloadIdentityCredential()
        if "AZURE_CLIENT_SECRET" in os.environ or "AZURE_CLIENT_CERTIFICATE_PATH" in os.environ:
            return EnvironmentCredential()
        return ManagedIdentityCredential(client_id=os.environ.get("AZURE_CLIENT_ID"))

    async def _exchange(self, registry: str, access_token: str) -> str:
        """POST /oauth2/exchange at the registry itself: over https whatever is configured, without redirects."""
        form = {"grant_type": "access_token", "service": registry, "access_token": access_token}
        ask = Ask(
            method="POST",
            url=URL(f"https://{registry}/oauth2/exchange"),
            what="a refresh token",
            who=_USERNAME,
            headers={"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
            body=urlencode(form).encode("ascii"),
            total=self._limits.credential_seconds,
        )
        try:
            async with self._connections.request(ask) as response:
                if response.status in {400, 401, 403}:
                    raise Denied(f"{registry} refuses the token of Azure (HTTP {response.status})")
                if response.status != 200:
                    raise CredentialUnavailable(f"{registry} exchanges no token (HTTP {response.status})")
                limit = self._limits.token_bytes
                named = f"the limit tokenBytes of {limit}"
                body = await read_body(response, limit, f"the refresh token from {registry}", named)
        except Passing as fault:
            raise fault.error from fault
        return _refresh_token(body, registry)


def _refresh_token(body: bytes, registry: str) -> str:
    try:
        answer = load_json(body, max_depth=_DEPTH)
    except StrictJsonError:
        answer = None
    token = answer.get("refresh_token") if isinstance(answer, dict) else None
    if not isinstance(token, str) or not is_token(token):
        raise CredentialUnavailable(f"{registry} answers the exchange of a token without a refresh token")
    return token


def _seconds_left(token: str) -> float:
    """Of a JSON Web Token (RFC 7519 ``exp``), not verified: it only says when to ask anew."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return max(0.0, min(float(claims["exp"]) - time.time(), 24 * 3600.0))
    except (IndexError, KeyError, TypeError, ValueError, binascii.Error, RecursionError):
        return _SECONDS
