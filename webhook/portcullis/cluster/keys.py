"""Public keys of signers that lie in Kubernetes Secrets, such as ``cosign generate-key-pair k8s://`` makes.

They are read once, when the program starts: one request for each Secret. What it may read, the Role of the chart says
Secret by Secret.
"""

import asyncio
import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from kubernetes.aio.client import ApiClient, CoreV1Api
from kubernetes.aio.client.exceptions import ApiException

from portcullis.cluster.client import FAULTS, REQUEST_SECONDS, bounded_json, in_cluster, reason_of
from portcullis.errors import ClusterError, ConfigError

_SECRET_BYTES: Final = 2 * 1024 * 1024
"""The API server takes 1 MiB in a Secret; base64 and metadata come on top."""
_KEY_BYTES: Final = 64 * 1024
"""As much as a key's file may have."""
_NAMESPACE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_SHOWN_KEYS: Final = 10


@dataclass(frozen=True, slots=True, order=True)
class SecretKeyRef:
    """One entry of a Secret. ``namespace`` is empty for the one that this program runs in."""

    namespace: str
    name: str
    key: str


async def public_keys_of_cluster(refs: Mapping[str, SecretKeyRef]) -> Mapping[str, str]:
    """As :func:`read_public_keys`, with the service account of the pod that this program is.

    Raises:
        ConfigError: as there.
        ClusterError: as there, or this is no pod, or its service account is not mounted.
    """
    if not refs:
        return MappingProxyType({})
    own = own_namespace() if any(not ref.namespace for ref in refs.values()) else ""
    placed = {signer: replace(ref, namespace=ref.namespace or own) for signer, ref in refs.items()}
    async with ApiClient(in_cluster("a signer's key in a Secret")) as client:
        return await read_public_keys(CoreV1Api(client), placed)


async def read_public_keys(
    client: CoreV1Api, refs: Mapping[str, SecretKeyRef], seconds: float = REQUEST_SECONDS
) -> Mapping[str, str]:
    """The public keys in PEM; whether each is one that can be used is for others to say.

    Args:
        refs: by the signer's name, all with their namespaces.
        seconds: for each Secret.

    Returns:
        PEM by the signer's name.

    Raises:
        ConfigError: there is no such Secret or no such entry, it may not be read, is too large, or holds no public key
            in PEM. Names the signer, the Secret and its entry.
        ClusterError: the API server does not answer as it should.
    """
    secrets: dict[tuple[str, str], Mapping[str, Any]] = {}
    keys: dict[str, str] = {}
    for signer, ref in refs.items():
        where = f"trust.signers.{signer}.key.secret: {ref.namespace}/{ref.name}"
        place = (ref.namespace, ref.name)
        if place not in secrets:
            secrets[place] = await _read_secret(client, ref, where, seconds)
        keys[signer] = _public_key(secrets[place], ref.key, where)
    return MappingProxyType(keys)


def own_namespace(file: Path = _NAMESPACE, *, who: str = "a signer's key in a Secret without a namespace") -> str:
    """The namespace of the pod that this program is; ``who`` needs it, for the message.

    Raises:
        ClusterError: this is no pod, or its service account is not mounted.
    """
    try:
        return file.read_text("utf-8").strip()
    except (OSError, ValueError):
        raise ClusterError(f"{who} needs a pod with its service account mounted") from None


async def _read_secret(client: CoreV1Api, ref: SecretKeyRef, where: str, seconds: float) -> Mapping[str, Any]:
    try:
        async with asyncio.timeout(seconds):
            response = await client.read_namespaced_secret_without_preload_content(ref.name, ref.namespace)
            async with response:
                secret = await bounded_json(response, _SECRET_BYTES, "it")
    except FAULTS as error:
        if isinstance(error, ApiException) and error.status == 404:
            raise ConfigError(f"{where}: there is no such Secret") from None
        if isinstance(error, ApiException) and error.status == 403:
            raise ConfigError(
                f"{where}: it may not be read; the gate's service account needs a Role in the namespace "
                f'{ref.namespace} with the rule apiGroups [""], resources [secrets], resourceNames [{ref.name}], '
                "verbs [get]"
            ) from None
        raise ClusterError(f"{where} cannot be read: {reason_of(error, seconds)}") from error
    if not isinstance(secret, dict) or secret.get("kind") != "Secret":
        raise ClusterError(f"{where} cannot be read: the API server answered no Secret")
    data = secret.get("data")
    if not isinstance(data, dict | None):
        raise ClusterError(f"{where} cannot be read: the API server answered no Secret")
    return data or {}


def _public_key(data: Mapping[str, Any], key: str, where: str) -> str:
    if key not in data:
        others = sorted(map(str, data))
        held = ", ".join(others[:_SHOWN_KEYS]) + (", …" if len(others) > _SHOWN_KEYS else "")
        raise ConfigError(f"{where} has no entry {key}" + (f", only {held}" if held else ": it is empty"))
    where = f"{where}, entry {key}"
    try:
        content = base64.b64decode(data[key], validate=True)
        pem = content.decode("ascii")
    except (binascii.Error, TypeError, ValueError):
        raise ConfigError(f"{where}: it is no PEM") from None
    if len(content) > _KEY_BYTES:
        raise ConfigError(f"{where}: it has more than {_KEY_BYTES} bytes")
    if "PRIVATE KEY-----" in pem:
        raise ConfigError(f"{where}: it holds a private key; the gate needs the public one, and nothing else")
    if "-----BEGIN PUBLIC KEY-----" not in pem:
        raise ConfigError(f"{where}: it holds no public key in PEM")
    return pem
