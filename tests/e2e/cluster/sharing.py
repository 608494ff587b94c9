"""One control plane for the files that one worker runs: each finds it as it was when it began.

Whatever a file made is taken away after it: everything that belongs to no namespace, its namespaces with all that is
in them, everything in ``default``, and pods anywhere. Deletion is asked for at the end of a file, and waited for at the
beginning of the next one. A control plane that does not come clean, or does not answer, is replaced by a new one.
"""

import contextlib
import http.client
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.cluster.api import Api, ApiError
from e2e.cluster.programs import Cluster, control_plane

CLEAN_SECONDS = 120.0
LOOKED_AFTER = frozenset({"events", "leases", "apiservices", "ipaddresses", "servicecidrs", "endpoints"})
"""Resources that the control plane itself makes and takes away."""
FIRST = ("mutatingwebhookconfigurations", "validatingwebhookconfigurations", "namespaces")
"""Nobody is there any more to answer for the webhooks; and in a namespace that goes, controllers make nothing anew."""
SYSTEM = ("system:", "kube-")
"""How names begin that tests give to nothing, and which may come a moment after the control plane has begun."""
AT_ONCE = {"gracePeriodSeconds": 0, "propagationPolicy": "Background"}
FAULTS = (OSError, http.client.HTTPException, ApiError)


class SharedPlane:
    """``folder`` makes a folder for each control plane that is started."""

    def __init__(self, folder: Callable[[], Path]) -> None:
        self._folder = folder
        self._running = contextlib.ExitStack()
        self._cluster: Cluster | None = None
        self._traces: Traces

    def take(self) -> Cluster:
        """For the next file."""
        if self._cluster is not None and not self._is_clean():
            self.close()
        if self._cluster is None:
            self._cluster = self._running.enter_context(control_plane(self._folder()))
            self._traces = Traces(self._cluster.api)
        self._cluster.forget_audit_events()
        return self._cluster

    def give_back(self) -> None:
        """The file is over: what it made begins to go."""
        if self._cluster is not None:
            shutil.rmtree(Path(self._cluster.environment["KUBECACHEDIR"]), ignore_errors=True)
            with contextlib.suppress(*FAULTS):
                self._traces.remove()

    def close(self) -> None:
        self._cluster = None
        self._running.close()

    def _is_clean(self) -> bool:
        end = time.monotonic() + CLEAN_SECONDS
        while time.monotonic() < end:
            try:
                if not self._traces.remove():
                    return True
            except FAULTS as error:
                print(f"the control plane is replaced: {error}")
                return False
            time.sleep(0.2)
        print(f"the control plane is replaced: it keeps {sorted(self._traces.remove())[:10]}")
        return False


@dataclass(frozen=True, slots=True)
class Resource:
    """``path`` is that of its objects in all namespaces."""

    path: str
    name: str
    namespaced: bool

    def of(self, item: Any) -> str:
        """The path of one object."""
        metadata = item["metadata"]
        base = self.path.removesuffix(self.name)
        within = f"namespaces/{metadata['namespace']}/" if self.namespaced else ""
        return f"{base}{within}{self.name}/{metadata['name']}"


class Traces:
    """What is there now and was not when this was made."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._before = {path for resource in self._resources() for path in self._objects(resource)}

    def remove(self) -> set[str]:
        """Asks for the deletion of everything that is new: what there was. It may take a while to go."""
        found: set[str] = set()
        for resource in sorted(self._resources(), key=lambda one: one.name not in FIRST):
            new = self._objects(resource) - self._before
            for path in new:
                with contextlib.suppress(ApiError):  # it is gone meanwhile, or what it stands in goes
                    self._api.delete(path, AT_ONCE)
            found |= new
        return found

    def _resources(self) -> Iterator[Resource]:
        """Those that can be listed and deleted, by the versions that the API server prefers. A group that is going away
        is named a moment longer than it can be asked for."""
        groups = [group["preferredVersion"]["groupVersion"] for group in self._api.get("/apis")["groups"]]
        for base in ("/api/v1", *(f"/apis/{version}" for version in groups)):
            for one in (self._api.find(base) or {"resources": []})["resources"]:
                if {"list", "delete"} <= set(one["verbs"]) and one["name"] not in LOOKED_AFTER:
                    yield Resource(f"{base}/{one['name']}", one["name"], one["namespaced"])

    def _objects(self, resource: Resource) -> set[str]:
        """Of namespaces other than ``default`` only pods: those of tests go as wholes, but for pods that have a node,
        for which nobody answers any more; in those of the system, only tests make pods."""
        items = (self._api.find(resource.path) or {"items": []})["items"]
        return {
            resource.of(item)
            for item in items
            if resource.name == "pods" or not resource.namespaced or item["metadata"]["namespace"] == "default"
            if not item["metadata"]["name"].startswith(SYSTEM)
        }
