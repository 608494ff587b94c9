"""Keeps the MutatingWebhookConfiguration, where tags are pinned, as the other one is kept: what the registrar writes
into that, it writes into this at the same look, CAs that are changed included.

It follows and never decides. A new CA stands in both objects for as long before it signs; were this one left behind
nevertheless (somebody deleted it, or the right to change it is missing), the other must not wait for it: its webhook
says ``failurePolicy: Ignore``, so what is lost meanwhile is that tags are pinned, which a check and a metric show.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from portcullis.errors import ClusterError

if TYPE_CHECKING:
    from portcullis.cluster.registration import Registration, Written
    from portcullis.server.registrar import Configurations

log = structlog.get_logger(__name__)


class Follower:
    """Looks after one object that follows another.

    Args:
        configurations: None where there is none to look after; then nothing is done.
    """

    def __init__(self, configurations: "Configurations | None" = None) -> None:
        self._configurations = configurations
        self.active = configurations is not None
        self.problem = "not looked at yet" if self.active else ""
        """Why the API server cannot call this gate by that object, "" if it can."""
        self.found: Registration | None = None
        """As it was read or written last; None if there is none, or that is not known."""

    async def read(self) -> None:
        """Reads it. What is written later is then at least as new as what stood there, if the store of what replicas
        share is read in between (server.sharing says why)."""
        if self._configurations is None:
            return
        try:
            self.found = await self._configurations.read()
        except ClusterError as error:
            self.found = None
            self._say(error.message)
        else:
            if self.found is None:
                self._say("there is none, so no tag is pinned")

    async def write(self, written: "Written") -> bool:
        """Gives what was read what the other object gets; False where somebody else was quicker, so that it has to be
        read again."""
        if self._configurations is None or self.found is None:
            return True
        written = replace(written, stopped_at=None)
        if not has(self.found, written):
            try:
                changed = await self._configurations.write(self.found, written)
            except ClusterError as error:
                self._say(error.message)
                return True
            if changed is None:
                return False
            self.found = changed
            log.info("mutating webhook configuration written")
        self._say("")
        return True

    def _say(self, problem: str) -> None:
        if problem and problem != self.problem:
            log.warning("mutating webhook configuration not looked after", problem=problem)
        self.problem = problem


def has(found: "Registration", written: "Written") -> bool:
    """Whether the object has what is to be written into it, apart from when it was stopped."""
    return (
        (written.ca_bundle is None or found.covered_by(written.ca_bundle))
        and (not written.segment or found.called_by(written.segment))
        and (written.owner is None or written.owner.uid in found.owners)
    )
