"""Credentials of registries."""

import hashlib
from collections.abc import Mapping

from portcullis.model.image import Access, Anonymous, Credential, Repository
from portcullis.registry.hosts import split_host

ANONYMOUS = "anonymous"


class StaticKeychain:
    """Credentials from the configuration.

    Args:
        credentials: by the host of the registry with its port, as references name it (``docker.io``,
            ``registry.example:5000``). A host is compared whole, port included: a credential never goes to a
            host whose name merely begins or ends alike.
    """

    def __init__(self, *, credentials: Mapping[str, Credential]) -> None:
        self._credentials = {split_host(host): credential for host, credential in credentials.items()}

    async def credential(self, repository: Repository, access: Access) -> Credential | Anonymous:  # noqa: ARG002
        """The credential of the repository's registry; who asks makes no difference. Raises nothing."""
        return self._credentials.get(split_host(repository.registry), Anonymous())


def fingerprint(credential: Credential | Anonymous) -> str:
    """Tells credentials apart in cache keys without holding them (design rule 6)."""
    if isinstance(credential, Anonymous):
        return ANONYMOUS
    secret = f"{len(credential.username)}:{credential.username}{credential.password}"
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
