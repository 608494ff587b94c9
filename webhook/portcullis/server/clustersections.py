"""The section ``cluster`` of portcullis.yaml."""

from typing import Annotated

from pydantic import Field, model_validator

from portcullis.server.livesections import InventoryResource, PullSecretsSection, WatchSection
from portcullis.server.runningsections import MutationSection, RecheckSection
from portcullis.server.sectionbase import OBJECT_NAME, ConfigPath, Section


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
    deployment: Annotated[str, Field(pattern=OBJECT_NAME)] = ""
    """Makes the pods of the gate, where there are several: only the last one switches the webhooks off."""
    stand_down: bool = False
    """Whether the webhooks are switched off from the deletion of that pod to the next start, so that pods can be
    created meanwhile. Where there are several replicas, only with ``deployment``, and then when that is deleted, is
    scaled to nothing, or goes with its namespace."""

    @model_validator(mode="after")
    def _whose_deletion(self) -> "WebhookRegistration":
        if self.stand_down and not self.pod:
            raise ValueError("standDown needs pod: only its deletion switches the webhooks off")
        return self


class ClientCertificate(Section):
    """The client certificate by which the API server is known, where it has one for this webhook
    (``--admission-control-config-file``)."""

    ca_file: ConfigPath
    """The authorities that sign it, in PEM; read again when the file changes."""
    common_names: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=64)], ...], Field(min_length=1)]
    """Its common name is one of these, letter by letter: the authority may sign certificates of others as well."""


class CallerSection(Section):
    """How the API server is told from everybody else in the cluster who reaches the webhook's port."""

    client_certificate: ClientCertificate | None = None
    path_secret: Annotated[str, Field(pattern=OBJECT_NAME)] = ""
    """A Secret of the pod's namespace: the gate keeps an unguessable word in it, and writes it into the paths of the
    webhook configuration."""

    @property
    def told_apart(self) -> bool:
        """Whether it can be told apart by anything that stands here."""
        return self.client_certificate is not None or bool(self.path_secret)


class Cluster(Section):
    """What the gate knows of the cluster."""

    pod_spec_paths: tuple[PodSpecPath, ...] = ()
    webhook: WebhookRegistration | None = None
    """In a cluster: the webhook configuration that gets the CA of ``server.tls.selfManaged``."""
    watch: WatchSection = WatchSection()
    """Only where ``webhook`` says that there is a cluster."""
    caller: CallerSection = CallerSection()
    events: bool = True
    """Whether refusals are told by Events, likewise."""
    inventory: tuple[InventoryResource, ...] = ()
    """In a cluster: objects that policies see under ``data.inventory``."""
    pull_secrets: tuple[PullSecretsSection, ...] = ()
    """In a cluster: namespaces whose pull secrets are used for the images of their workloads."""
    break_glass: bool = False
    """In a cluster that has the kind BreakGlass of portcullis.dev: whether such grants count."""
    mutation: MutationSection | None = None
    """In a cluster: whether tags are pinned to digests. Left out: they are not."""
    recheck: RecheckSection | None = None
    """In a cluster: whether what runs is judged again and again. Left out: it is not."""

    @model_validator(mode="after")
    def _in_a_cluster(self) -> "Cluster":
        needing = (
            ("inventory", self.inventory, "that there is a cluster"),
            ("pullSecrets", self.pull_secrets, "that there is a cluster"),
            ("caller.pathSecret", self.caller.path_secret, "whose path it is"),
            ("breakGlass", self.break_glass, "that there is a cluster"),
            ("mutation", self.mutation, "that there is a cluster"),
            ("recheck", self.recheck, "that there is a cluster"),
        )
        for key, found, says in needing:
            if found and self.webhook is None:
                raise ValueError(f"{key} needs webhook, which says {says}")
        return self

    @model_validator(mode="after")
    def _each_namespace_once(self) -> "Cluster":
        namespaces = [one.namespace for one in self.pull_secrets]
        if twice := next((name for name in namespaces if namespaces.count(name) > 1), ""):
            raise ValueError(f"pullSecrets lists the namespace {twice} twice")
        return self
