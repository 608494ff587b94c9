"""The webhook configuration of a cluster, in memory."""

from dataclasses import dataclass, field, replace
from datetime import datetime

from portcullis.cluster.registration import Registration
from portcullis.errors import ClusterError
from portcullis.times import rfc3339

WEBHOOK = "gate.portcullis.dev"


@dataclass
class MemoryConfigurations:
    """As cluster.registration.WebhookConfigurations, over one object or none. ``error`` is raised by every call,
    ``written`` counts the changes."""

    found: Registration | None = field(default_factory=lambda: Registration("uid-1", {WEBHOOK: b""}, {}))
    error: ClusterError | None = None
    written: int = 0

    async def read(self) -> Registration | None:
        if self.error is not None:
            raise self.error
        return self.found

    async def write(self, found: Registration, *, ca_bundle: bytes | None, stopped_at: datetime | None) -> None:
        if self.error is not None:
            raise self.error
        if self.found is None or self.found.uid != found.uid:
            raise ClusterError("it was deleted meanwhile")
        self.written += 1
        names = self.found.ca_bundles
        kept = self.found.ca_bundles if ca_bundle is None else dict.fromkeys(names, ca_bundle)
        stopped = dict.fromkeys(names, rfc3339(stopped_at, "seconds")) if stopped_at is not None else {}
        self.found = replace(self.found, ca_bundles=kept, stopped=stopped)
