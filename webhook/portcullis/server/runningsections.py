"""The parts of the section ``cluster`` that are about what runs: pinning, grants, judging again."""

from typing import Annotated

from pydantic import Field

from portcullis.server.sectionbase import OBJECT_NAME, Section


class MutationSection(Section):
    """Pins tags: ``/mutate`` is served, and the webhook configuration that calls it is looked after."""

    webhook: Annotated[str, Field(pattern=OBJECT_NAME)]
    """The MutatingWebhookConfiguration."""
    owners: bool = False
    """Whether the templates of what makes pods (Deployments and so on) are pinned too, and not pods alone."""


class RecheckSection(Section):
    """Judges again what runs, in rounds; of several replicas one does."""

    every_minutes: Annotated[float, Field(ge=0.05, le=10_080)] = 60.0
    """From the begin of one round to that of the next."""
    lease: Annotated[str, Field(pattern=OBJECT_NAME)]
    """The Lease in the pod's namespace by which the replicas agree on one."""
    lease_seconds: Annotated[int, Field(ge=5, le=300)] = 30
    """After which another one goes on where the one that did it has died."""
    workloads_per_second: Annotated[float, Field(gt=0, le=1000)] = 5.0
    """How many workloads are judged at most."""
    images_per_second: Annotated[float, Field(ge=0.1, le=1000)] = 2.0
    """Of how many images registries are asked at most."""
    reports: bool = True
    """Whether PolicyReports are written, where the cluster has their CRDs."""
