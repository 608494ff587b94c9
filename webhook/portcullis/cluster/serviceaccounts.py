"""Service accounts of one namespace: which pull secrets they name, for workloads that name none themselves.

A Deployment names its service account, and only its pods get the pull secrets of that (admission plug-in
ServiceAccount). Those that name none are not kept; one of which nothing is known is asked for by name.
Source: https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#add-image-pull-secrets.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from kubernetes.aio.client import ApiClient

from portcullis.cluster.client import REQUEST_SECONDS
from portcullis.cluster.lookups import Absent, Lookups
from portcullis.cluster.namespaces import STALE_SECONDS
from portcullis.cluster.resources import Resource
from portcullis.cluster.watch import Bounds, Watch
from portcullis.limits import Limits
from portcullis.model.json import JSONObject

_NAMES: Final = "imagePullSecrets"


def pull_secrets_named(found: JSONObject) -> JSONObject:
    """The names of its pull secrets, in order."""
    entries = found.get(_NAMES)
    names = [entry.get("name") for entry in entries if isinstance(entry, Mapping)] if isinstance(entries, list) else []
    return {_NAMES: [name for name in names if isinstance(name, str) and name]}


def _kept(found: JSONObject) -> JSONObject | None:
    named = pull_secrets_named(found)
    return named if named[_NAMES] else None


class ServiceAccounts:
    """Those of one namespace; somebody runs ``watch``."""

    def __init__(
        self,
        *,
        client: ApiClient,
        namespace: str,
        limits: Limits,
        seconds: float = REQUEST_SECONDS,
        stale_seconds: float = STALE_SECONDS,
    ) -> None:
        resource = Resource("", "v1", "serviceaccounts", namespace)
        self._namespace = namespace
        self._stale_seconds = stale_seconds
        self.lookups = Lookups(
            client=client,
            resource=resource,
            kind="ServiceAccount",
            keep=pull_secrets_named,
            room=limits.watched_service_account_bytes,
            limits=limits,
            seconds=seconds,
        )
        self.watch = Watch(
            client=client,
            resource=resource,
            bounds=Bounds(
                objects=limits.watched_service_accounts,
                object_bytes=limits.watched_service_account_bytes,
                names=("watchedServiceAccounts", "watchedServiceAccountBytes"),
            ),
            changed=self.lookups.forget,
            keep=_kept,
        )

    async def pull_secrets(self, name: str) -> Sequence[str]:
        """Names of its pull secrets; none where it names none, does not exist, or may not be read.

        Raises:
            ClusterError: the API server does not answer as it should.
        """
        known = self.watch.fresh((self._namespace, name), self._stale_seconds)
        found = known if known is not None else await self.lookups.get(name)
        return () if isinstance(found, Absent) else tuple(found[_NAMES])
