"""The section ``cluster`` of portcullis.yaml."""

from typing import Annotated

from pydantic import Field, model_validator

from portcullis.server.livesections import InventoryResource, WatchSection
from portcullis.server.sectionbase import Section


class PodSpecPath(Section):
    """A custom resource that carries a pod spec."""

    group: str
    kind: Annotated[str, Field(min_length=1)]
    path: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$")]
    """Such as ``spec.template.spec``."""
    version: str = ""
    """Empty means every version."""


class WebhookRegistration(Section):
    """The ValidatingWebhookConfiguration by which this cluster calls the gate, and which the gate looks after."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]
    """Of the object; each webhook in it is looked after."""
    pod: Annotated[str, Field(pattern=r"^([a-z0-9-]{1,63}/[a-z0-9.-]{1,253})?$")] = ""
    """The pod that the program runs in, ``namespace/name``."""
    stand_down: bool = False
    """Whether the webhooks are switched off from the deletion of that pod to the next start, so that pods can be
    created meanwhile. Only right where there is one replica."""

    @model_validator(mode="after")
    def _whose_deletion(self) -> "WebhookRegistration":
        if self.stand_down and not self.pod:
            raise ValueError("standDown needs pod: only its deletion switches the webhooks off")
        return self


class Cluster(Section):
    """What the gate knows of the cluster."""

    pod_spec_paths: tuple[PodSpecPath, ...] = ()
    webhook: WebhookRegistration | None = None
    """In a cluster: the webhook configuration that gets the CA of ``server.tls.selfManaged``."""
    watch: WatchSection = WatchSection()
    """Only where ``webhook`` says that there is a cluster."""
    events: bool = True
    """Whether refusals are told by Events, likewise."""
    inventory: tuple[InventoryResource, ...] = ()
    """In a cluster: objects that policies see under ``data.inventory``."""

    @model_validator(mode="after")
    def _in_a_cluster(self) -> "Cluster":
        if self.inventory and self.webhook is None:
            raise ValueError("inventory needs webhook, which says that there is a cluster")
        return self
