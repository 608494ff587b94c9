"""Pull secrets of the namespaces that the operator lists (``cluster.pullSecrets``), for registry/keychain.py.

1. Of a listed namespace that names no Secrets, every Secret of type kubernetes.io/dockerconfigjson is watched; of one
   that names some, each of these by itself (``metadata.name=…``), so that RBAC can grant these and no others:
   ``resourceNames`` allows list and watch with that very selector.
2. A Secret that the watch does not have is asked for by name: one that was made a moment ago, or one of the older type
   kubernetes.io/dockercfg.
3. Of a Secret its docker config is kept, and nothing else. One that is too large leaves a note in its place.
4. What the watch knew counts for ``stale_seconds`` after the last sign of life of the API server, and no longer.
5. Everything is bounded by namespace, so that no tenant takes what is another's.

Sources: https://kubernetes.io/docs/reference/access-authn-authz/rbac/#referring-to-resources,
https://kubernetes.io/docs/concepts/configuration/secret/#docker-config-secrets.
"""

import base64
import binascii
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from kubernetes.aio.client import ApiClient

from portcullis.cluster.client import REQUEST_SECONDS
from portcullis.cluster.lookups import Absent, Lookups
from portcullis.cluster.namespaces import STALE_SECONDS
from portcullis.cluster.resources import Resource
from portcullis.cluster.serviceaccounts import ServiceAccounts
from portcullis.cluster.watch import Bounds, Watch
from portcullis.errors import ClusterError, CredentialUnavailable
from portcullis.limits import Limits
from portcullis.model.image import NoPullSecret
from portcullis.model.json import JSONObject
from portcullis.text import clean

_Found = TypeVar("_Found")

TYPE: Final = "kubernetes.io/dockerconfigjson"
LEGACY_TYPE: Final = "kubernetes.io/dockercfg"
_KEYS: Final = {TYPE: ".dockerconfigjson", LEGACY_TYPE: ".dockercfg"}
_LEGACY: Final = b'{"auths": %s}'
"""What the older type holds is the map of logins alone."""
_TYPE_CHARS: Final = 100
_NAME_CHARS: Final = 260


@dataclass(frozen=True, slots=True)
class PullSecretPlace:
    """A namespace whose pull secrets are read: those ``names``, or every one where there are none."""

    namespace: str
    names: tuple[str, ...] = ()


def watches_needed(places: Sequence[PullSecretPlace]) -> int:
    """How many watches, and so connections, these take."""
    return sum(1 + max(len(place.names), 1) for place in places)


def docker_config_of(found: JSONObject, limits: Limits) -> JSONObject:
    """What is kept of a Secret: ``{type, config}`` with the docker config in base64, else ``{why}``."""
    kind = str(found.get("type") or "")
    if kind not in _KEYS:
        return {"why": f"is of type {clean(kind, _TYPE_CHARS)}, and not of {TYPE}"}
    data = found.get("data")
    config = data.get(_KEYS[kind]) if isinstance(data, Mapping) else None
    if not isinstance(config, str):
        return {"why": f"has no entry {_KEYS[kind]}"}
    if len(config) > (limits.docker_config_bytes + 2) // 3 * 4:
        return {"why": f"has more bytes than the limit dockerConfigBytes of {limits.docker_config_bytes}"}
    return {"type": kind, "config": config}


class _Namespace:
    """What is known of one namespace."""

    def __init__(
        self, *, client: ApiClient, place: PullSecretPlace, limits: Limits, seconds: float, stale_seconds: float
    ) -> None:
        self.place = place
        self._stale_seconds = stale_seconds
        selectors = {name: f"metadata.name={name}" for name in place.names} or {"": f"type={TYPE}"}

        def keep(found: JSONObject) -> JSONObject:
            return docker_config_of(found, limits)

        self._lookups = Lookups(
            client=client,
            resource=Resource("", "v1", "secrets", place.namespace),
            kind="Secret",
            keep=keep,
            room=limits.watched_pull_secret_bytes,
            limits=limits,
            seconds=seconds,
        )

        def watch(selector: str) -> Watch:
            return Watch(
                client=client,
                resource=Resource("", "v1", "secrets", place.namespace, fields=selector),
                bounds=Bounds(
                    objects=limits.watched_pull_secrets,
                    object_bytes=limits.watched_pull_secret_bytes,
                    names=("watchedPullSecrets", "watchedPullSecretBytes"),
                ),
                changed=self._lookups.forget,
                keep=keep,
            )

        self._by_name = {name: watch(selector) for name, selector in selectors.items()}
        self.accounts = ServiceAccounts(
            client=client, namespace=place.namespace, limits=limits, seconds=seconds, stale_seconds=stale_seconds
        )
        self.watches = (*self._by_name.values(), self.accounts.watch)

    @property
    def asked(self) -> int:
        return self._lookups.asked + self.accounts.lookups.asked

    async def secret(self, name: str) -> JSONObject | Absent:
        """What is kept of it. Raises ClusterError."""
        watch = self._by_name[name if self.place.names else ""]
        known = watch.fresh((self.place.namespace, name), self._stale_seconds)
        return known if known is not None else await self._lookups.get(name)


class WatchedPullSecrets:
    """Implements :class:`portcullis.registry.keychain.PullSecrets`; somebody runs ``watches``.

    Args:
        places: the listed namespaces, each once.
        seconds: for one question to the API server.
        stale_seconds: after so long without a sign of life, what the watches knew is asked for anew.
    """

    def __init__(
        self,
        *,
        client: ApiClient,
        places: Sequence[PullSecretPlace],
        limits: Limits,
        seconds: float = REQUEST_SECONDS,
        stale_seconds: float = STALE_SECONDS,
    ) -> None:
        self._namespaces = {
            place.namespace: _Namespace(
                client=client, place=place, limits=limits, seconds=seconds, stale_seconds=stale_seconds
            )
            for place in places
        }
        self.watches = tuple(watch for one in self._namespaces.values() for watch in one.watches)

    @property
    def asked(self) -> int:
        """How often something was asked for by name."""
        return sum(one.asked for one in self._namespaces.values())

    def unread(self, namespace: str) -> str:
        """See the Protocol."""
        if namespace in self._namespaces:
            return ""
        return (
            f"the pull secrets of the namespace {clean(namespace, 70)} and of its service accounts are not read, "
            f"because the operator has not listed it: pullSecrets in the values of the chart "
            "(cluster.pullSecrets in portcullis.yaml)"
        )

    async def secret(self, namespace: str, name: str) -> bytes | NoPullSecret:
        """See the Protocol."""
        known, shown = self._namespaces[namespace], clean(name, _NAME_CHARS)
        if known.place.names and name not in known.place.names:
            return NoPullSecret(
                f'the Secret "{shown}" is not read, because the operator lists others of the namespace {namespace}: '
                "pullSecrets in the values of the chart (cluster.pullSecrets in portcullis.yaml)"
            )
        found = await _answered(lambda: known.secret(name), f'the pull secret "{shown}" of the namespace {namespace}')
        if found is Absent.MISSING:
            return NoPullSecret(f'there is no Secret "{shown}" in the namespace {namespace}')
        if found is Absent.FORBIDDEN:
            return NoPullSecret(
                f'the gate may not read the Secret "{shown}" of the namespace {namespace}: its Role there, which the '
                "chart makes of pullSecrets, is missing or does not name it"
            )
        if "why" in found:
            return NoPullSecret(f'the Secret "{shown}" {found["why"]}')
        try:
            content = base64.b64decode(found["config"], validate=True)
        except (binascii.Error, ValueError):
            return NoPullSecret(f'the Secret "{shown}" holds no base64')
        return _LEGACY % content if found["type"] == LEGACY_TYPE else content

    async def of_service_account(self, namespace: str, name: str) -> Sequence[str]:
        """See the Protocol."""
        accounts = self._namespaces[namespace].accounts
        shown = clean(name, _NAME_CHARS)
        what = f'the service account "{shown}" of the namespace {namespace}'
        return await _answered(lambda: accounts.pull_secrets(name), what)


async def _answered(ask: Callable[[], Awaitable[_Found]], what: str) -> _Found:
    try:
        return await ask()
    except ClusterError as error:
        raise CredentialUnavailable(f"{what} cannot be read: {error.message}") from error
