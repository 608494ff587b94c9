"""Amazon ECR: a password for twelve hours, by the API GetAuthorizationToken.

Source: https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetAuthorizationToken.html. The identity is found
by AWS' own client: variables, a role of the service account (IRSA, through STS), EKS Pod Identity, the instance.
"""

import asyncio
import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from yarl import URL

from portcullis.errors import CredentialUnavailable, Denied
from portcullis.limits import Limits
from portcullis.model.image import Access, Anonymous, Credential, RegistryCredential, Repository
from portcullis.registry.leases import Lease, Leases
from portcullis.registry.providers import host_of, require
from portcullis.text import clean

# The forms of https://docs.aws.amazon.com/general/latest/gr/ecr.html, with those of China, of FIPS and of IPv6.
_HOST: Final = re.compile(
    r"(?P<account>[0-9]{12})\.dkr[.-]ecr(?P<fips>-fips)?\.(?P<region>[a-z]{2,4}(?:-[a-z]{2,12}){1,3}-[0-9]{1,2})"
    r"\.(?:amazonaws\.com(?:\.cn)?|on\.aws|on\.amazonwebservices\.com\.cn)"
)
_DENIED: Final = frozenset({400, 401, 403})


@dataclass(frozen=True, slots=True)
class EcrHost:
    """What the name of a private ECR registry says."""

    account: str
    region: str
    fips: bool

    @classmethod
    def of(cls, registry: str) -> "EcrHost | None":
        """None where it is no host of ECR."""
        found = _HOST.fullmatch(host_of(registry))
        return None if found is None else cls(found["account"], found["region"], found["fips"] is not None)


class EcrKeychain:
    """Credentials for private registries of ECR; each host has its own flight.

    Raises:
        ConfigError: the extra ``ecr`` is not installed.
    """

    def __init__(self, *, limits: Limits) -> None:
        require("aiobotocore.session", provider="ecr", extra="ecr")
        from aiobotocore.session import get_session  # type: ignore[import-untyped]

        self._session = get_session()
        self._limits = limits
        self._leases = Leases(borrow=self._borrow, lender="AWS", limits=limits)

    @staticmethod
    def covers(registry: str) -> bool:
        return EcrHost.of(registry) is not None

    async def aclose(self) -> None:
        await self._leases.aclose()

    async def credential(self, repository: Repository, access: Access) -> RegistryCredential | Anonymous:  # noqa: ARG002
        """Raises CredentialUnavailable or Denied; anonymous for other hosts."""
        if not self.covers(repository.registry):
            return Anonymous()
        return await self._leases.get(host_of(repository.registry))

    async def _borrow(self, key: str) -> Lease:
        from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

        host = EcrHost.of(key)
        assert host is not None
        try:
            answer = await self._ask(host)
        except ClientError as error:
            raise _refused(key, error.response) from error
        except BotoCoreError as error:
            raise CredentialUnavailable(f"AWS gives no credential for {key}: {clean(str(error), 200)}") from error
        return _lease(key, answer)

    async def _ask(self, host: EcrHost) -> Mapping[str, Any]:
        from aiobotocore.config import AioConfig  # type: ignore[import-untyped]

        # The descriptions of the services are a tenth of a second of JSON: read once, in a thread.
        loader = self._session.get_component("data_loader")
        for service in ("ecr", "sts"):
            await asyncio.to_thread(loader.load_service_model, service, "service-2")
        config = AioConfig(
            connect_timeout=self._limits.connect_seconds,
            read_timeout=self._limits.credential_seconds,
            retries={"total_max_attempts": 2, "mode": "standard"},
            use_fips_endpoint=host.fips,
        )
        async with self._session.create_client("ecr", region_name=host.region, config=config) as client:
            answer: Mapping[str, Any] = await client.get_authorization_token(registryIds=[host.account])
            return answer


def _refused(key: str, response: Mapping[str, Any]) -> Denied | CredentialUnavailable:
    """ECR and STS say which error it is; messages of theirs hold no secret."""
    error, status = response.get("Error", {}), response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    said = clean(f"{error.get('Code', '')}: {error.get('Message', '')}", 200)
    if status in _DENIED and "Throttl" not in str(error.get("Code", "")):
        return Denied(f"AWS refuses a credential for {key}: {said}")
    return CredentialUnavailable(f"AWS gives no credential for {key} just now: {said}")


def _lease(key: str, answer: Mapping[str, Any]) -> Lease:
    """The entry for that very registry; AWS answers with the one that was asked for."""
    for entry in answer.get("authorizationData", ()):
        try:
            host = URL(entry["proxyEndpoint"]).raw_host or ""
            username, colon, password = (
                base64.b64decode(entry["authorizationToken"], validate=True).decode("ascii").partition(":")
            )
            seconds = (entry["expiresAt"] - datetime.now(UTC)).total_seconds()
        except (KeyError, TypeError, AttributeError, ValueError, binascii.Error):
            continue
        if colon and password and EcrHost.of(host) is not None and _same(EcrHost.of(host), EcrHost.of(key)):
            return Lease(Credential(username, password), seconds)
    raise CredentialUnavailable(f"AWS answers without a credential for {key}")


def _same(one: EcrHost | None, other: EcrHost | None) -> bool:
    """The endpoint in the answer is the plain one, whichever name of the registry was asked for."""
    return one is not None and other is not None and (one.account, one.region) == (other.account, other.region)
