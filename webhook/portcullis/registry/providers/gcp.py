"""Google Artifact Registry and Container Registry: an access token as password.

Source: https://cloud.google.com/artifact-registry/docs/docker/authentication#token. The identity is found by Google's
own client: a key file, GOOGLE_APPLICATION_CREDENTIALS (workload identity federation among them), the metadata server.
"""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from portcullis.errors import ConfigError, CredentialUnavailable, Denied
from portcullis.limits import Limits
from portcullis.model.image import Access, Anonymous, Credential, RegistryCredential, Repository
from portcullis.registry.leases import Lease, Leases
from portcullis.registry.providers import host_of, require
from portcullis.text import clean

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

_USERNAME: Final = "oauth2accesstoken"
_SCOPES: Final = ("https://www.googleapis.com/auth/cloud-platform",)
"""The only one that both registries take for reading and writing; what it is good for, IAM says."""
_SUFFIXES: Final = (".pkg.dev", ".gcr.io")
_SHORTEST_SECONDS: Final = 60.0
_KEY: Final = "the registries of Google"
"""One token is good for all of them, so one is asked for."""


class GcpKeychain:
    """Credentials for ``*.pkg.dev``, ``gcr.io`` and ``*.gcr.io``.

    Args:
        key_file: of a service account, JSON, read anew for each token; None: what the surroundings give.

    Raises:
        ConfigError: the extra ``gcp`` is not installed, or the key file cannot be read.
    """

    def __init__(self, *, limits: Limits, key_file: Path | None = None) -> None:
        require("google.auth.transport.requests", provider="gcp", extra="gcp")
        self._limits = limits
        self._key_file = key_file
        if key_file is not None:
            try:
                self._credentials()
            except (OSError, ValueError) as error:
                raise ConfigError(f"{key_file} is no key of a service account of Google") from error
        self._leases = Leases(borrow=self._borrow, lender="Google", limits=limits)

    @staticmethod
    def covers(registry: str) -> bool:
        host = host_of(registry)
        return host == "gcr.io" or host.endswith(_SUFFIXES)

    async def aclose(self) -> None:
        await self._leases.aclose()

    async def credential(self, repository: Repository, access: Access) -> RegistryCredential | Anonymous:  # noqa: ARG002
        """Raises CredentialUnavailable or Denied; anonymous for other hosts."""
        return await self._leases.get(_KEY) if self.covers(repository.registry) else Anonymous()

    async def _borrow(self, _: str) -> Lease:
        from google.auth.exceptions import GoogleAuthError, RefreshError, TransportError

        try:
            # Google's client waits in its thread; each of its requests ends by itself at the same limit.
            credentials = await asyncio.to_thread(self._refreshed)
        except RefreshError as error:
            if error.retryable or isinstance(error.__cause__, TransportError):
                raise CredentialUnavailable(f"Google gives no credential just now: {_said(error)}") from error
            raise Denied(f"Google refuses a credential: {_said(error)}") from error
        except (GoogleAuthError, OSError, ValueError) as error:
            raise CredentialUnavailable(f"Google gives no credential: {_said(error)}") from error
        token, expiry = credentials.token, credentials.expiry
        if not isinstance(token, str) or not token:
            raise CredentialUnavailable("Google answers without an access token")
        seconds = _SHORTEST_SECONDS
        if isinstance(expiry, datetime):  # in UTC, without saying so
            seconds = (expiry.replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds()
        return Lease(Credential(_USERNAME, token), seconds)

    def _refreshed(self) -> "Credentials":
        """Blocks: files and HTTP."""
        from google.auth.transport.requests import Request

        credentials = self._credentials()
        request = Request()
        seconds = self._limits.credential_seconds

        def bounded(url: str, method: str = "GET", timeout: float = seconds, **more: object) -> object:
            return request(url, method=method, timeout=min(timeout, seconds), **more)

        credentials.refresh(bounded)  # type: ignore[no-untyped-call]
        return credentials

    def _credentials(self) -> "Credentials":
        import google.auth
        from google.oauth2 import service_account

        found: Credentials
        if self._key_file is not None:
            found = service_account.Credentials.from_service_account_file(  # type: ignore[no-untyped-call]
                str(self._key_file), scopes=_SCOPES
            )
        else:
            found, _ = google.auth.default(scopes=_SCOPES)
        return found


def _said(error: Exception) -> str:
    """The first of what Google's client says: it puts whole answers behind it."""
    return clean(str(error.args[0] if error.args else error), 200)
