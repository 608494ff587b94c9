"""What runs in the cluster, and what came of judging it again."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from portcullis.model.decision import Decision
from portcullis.model.image import Digest
from portcullis.model.json import JSONObject


@dataclass(frozen=True, slots=True, order=True)
class ObjectRef:
    """An object of the cluster. ``uid`` "" where it is not known."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str = ""


@dataclass(frozen=True, slots=True)
class RunningImage:
    """The image of a container of a running pod.

    Args:
        written: how the pod spec has it.
        image_id: what the kubelet reports (``status.containerStatuses[].imageID``), "" where it reports none, or not
            yet.
        digest: the digest in that.
        by_configuration: whether the digest is that of the image's configuration, by which no registry gives an image,
            and not that of its index or manifest.
        container: has it; an image volume likewise.
    """

    written: str
    image_id: str = ""
    digest: Digest | None = None
    by_configuration: bool = False
    container: str = ""


@dataclass(frozen=True, slots=True)
class RunningPods:
    """Pods that are judged once, because nothing that is judged differs: one owner, one spec, the same images.

    Args:
        owner: the object that people made: the Deployment, not its ReplicaSet; the pod itself where it has no owner.
        pod: metadata and spec of one of them, as it would be created now: without its node, and what the API server
            writes.
        names: of the pods, the first few in order.
        count: how many there are.
        key: names what is judged: equal for equal pods of one owner, in whatever round.
    """

    owner: ObjectRef
    pod: JSONObject = field(repr=False)
    names: tuple[str, ...]
    count: int
    images: tuple[RunningImage, ...]
    key: str


@dataclass(frozen=True, slots=True)
class Admitted:
    """How an object of the cluster was let in.

    Args:
        decision_id: of the newest decision that let it in and looked at its images.
        digests: that were judged then, by what was written.
        break_glass: the grant by which the newest decision of all let it in; "" where none was needed.
    """

    object: ObjectRef
    decision_id: str
    digests: Mapping[str, Digest]
    break_glass: str = ""


@dataclass(frozen=True, slots=True)
class MovedTag:
    """A container runs another image than the one that was judged when its pod was admitted.

    Args:
        judged: the digest that was judged then.
        running: the digest that the kubelet reports.
        decision_id: of the admission.
    """

    reason = "tag-moved"

    container: str
    written: str
    judged: Digest
    running: Digest
    decision_id: str = ""


class Condition(StrEnum):
    """How a workload stands by the last round, the worst first."""

    FAILING = "failing"
    """A policy in mode deny is violated, or a tag has moved."""
    UNKNOWN = "unknown"
    """A policy in mode deny could not be evaluated."""
    BREAK_GLASS = "break-glass"
    """It would fail, or not be known, but for a grant; or it was let in by one."""
    EXCEPTED = "excepted"
    """It would fail but for exceptions."""
    WARNED = "warned"
    """Policies in mode warn or audit are violated."""
    GOOD = "good"


@dataclass(frozen=True, slots=True)
class Rejudged:
    """One group of running pods, judged again.

    Args:
        passed: names of the policies that were evaluated and found nothing.
        break_glass: the grant by which the workload was let in, or stands now; "" where none was needed.
        omitted: violations, undecided policies and moved tags beyond those that are kept.
    """

    owner: ObjectRef
    key: str
    pods: tuple[str, ...]
    count: int
    decision: Decision
    condition: Condition
    passed: tuple[str, ...] = ()
    moved: tuple[MovedTag, ...] = ()
    break_glass: str = ""
    judged_at: datetime | None = None
    omitted: int = 0


@dataclass(frozen=True, slots=True)
class Round:
    """A round over everything that runs. ``ended_at`` None: it goes on, or was given up.

    Args:
        workloads: groups of pods that were judged.
        images: different digests.
        registry_requests: that the round sent.
        unreachable: why a part of the cluster could not be read; "" where all was.
    """

    id: str
    started_at: datetime
    ended_at: datetime | None = None
    replica: str = ""
    workloads: int = 0
    pods: int = 0
    images: int = 0
    registry_requests: int = 0
    unreachable: str = ""


@dataclass(frozen=True, slots=True)
class FindingFilter:
    """Conditions that all hold; None or "" means no condition."""

    condition: Condition | None = None
    namespace: str = ""
    kind: str = ""
    name: str = ""
    policy: str = ""
    image: str = ""
    """A digest, or how the reference begins."""
    moved: bool = False
    """Only where a tag has moved."""
    break_glass: bool = False
    """Only what was let in by a grant, or stands by one, whatever its condition."""


@dataclass(frozen=True, slots=True)
class FindingPage:
    """Results without the documents of their decisions; ``next`` is handed back for the page behind, "" where there is
    none."""

    results: tuple[Rejudged, ...]
    next: str = ""
