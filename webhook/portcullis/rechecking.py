"""Judges again what runs: each group of equal pods as if one of it were created now, with the images that it has.

The way is that of every request (gate.py): the same policies, modes, exceptions and grants. It writes no record and no
mark.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from portcullis.admission.creating import creation_request
from portcullis.collecting import Collector
from portcullis.errors import RecordsError, RegistryError
from portcullis.gate import Gate, access_of
from portcullis.limits import Limits
from portcullis.model.decision import Because, Decision, Verdict
from portcullis.model.grant import is_grant
from portcullis.model.image import Digest
from portcullis.model.json import JSONObject
from portcullis.model.request import (
    AdmissionRequest,
    Caller,
    GroupVersionKind,
    GroupVersionResource,
    UserInfo,
)
from portcullis.model.running import Admitted, Condition, MovedTag, ObjectRef, Rejudged, RunningImage, RunningPods
from portcullis.ports import Admissions, Clock
from portcullis.runningimages import RunningCollector, RunningImages
from portcullis.standing import Standing

USER = UserInfo("system:portcullis:recheck")
"""Who asks, as policies see it."""

_POD = GroupVersionKind("", "v1", "Pod")
_PODS = GroupVersionResource("", "v1", "pods")


class MakeGate(Protocol):
    """Makes the Gate of one decision; everything else of it is that of the webhook's."""

    def __call__(self, *, collector: Collector, standing: Callable[[], Standing]) -> Gate: ...


class Rechecker:
    """Judges groups of running pods again.

    Args:
        gate: makes the gate that decides.
        images: what is known of images in this round.
        standing: by what is judged; asked for once per group.
        admissions: what the audit log knows; None where none is kept, and then no tag can be seen to have moved.
        limits: ``recheck_seconds``.
    """

    def __init__(
        self,
        *,
        gate: MakeGate,
        images: RunningImages,
        standing: Callable[[], Standing],
        admissions: Admissions | None,
        clock: Clock,
        limits: Limits,
    ) -> None:
        self._gate = gate
        self._images = images
        self._standing = standing
        self._admissions = admissions
        self._clock = clock
        self._limits = limits
        self.unasked = ""
        """Why the audit log could not be asked, the last time that it could not in this round: then it is not known
        of all whether their tags have moved."""

    @property
    def images(self) -> RunningImages:
        return self._images

    def begin(self) -> None:
        """A new round: nothing of the last one counts."""
        self._images.begin()
        self.unasked = ""

    async def judge(self, group: RunningPods) -> Rejudged:
        """How a group stands now. Never raises: what cannot be had leaves policies undecided, as for every request."""
        standing = self._standing()
        deadline = self._clock.monotonic() + self._limits.recheck_seconds
        admitted = await self._admitted(group)
        judged = _judged(group, admitted)
        collector = RunningCollector(self._images, _running(group.images, judged), judged)
        gate = self._gate(collector=collector, standing=lambda: standing)
        decision = await gate.decide(creation_of(group.pod), deadline)
        moved, untold = await self._moved(group, admitted, deadline)
        let_in = next((one.break_glass for one in admitted if one.break_glass), "")
        return Rejudged(
            owner=group.owner,
            key=group.key,
            pods=group.names,
            count=group.count,
            decision=decision,
            condition=condition_of(decision, moved, untold=untold, let_in=let_in),
            passed=_passed(decision, standing),
            moved=moved,
            break_glass=_grant_of(decision) or let_in,
            judged_at=decision.decided_at,
        )

    async def _admitted(self, group: RunningPods) -> Sequence[Admitted]:
        """How the pods of the group and their owner were let in, the pods first."""
        if self._admissions is None:
            return ()
        namespace = group.owner.namespace
        pods = [ObjectRef("v1", "Pod", namespace, name) for name in group.names]
        owner = [group.owner] if group.owner.kind != "Pod" else []
        try:
            return await self._admissions.admitted([*pods, *owner])
        except RecordsError as error:
            self.unasked = error.message
            return ()

    async def _moved(
        self, group: RunningPods, admitted: Sequence[Admitted], deadline: float
    ) -> tuple[tuple[MovedTag, ...], bool]:
        """The containers that run something else than was judged at the admission, and whether of some that cannot be
        told now."""
        access = access_of(group.owner.namespace, _spec(group.pod))
        found: list[MovedTag] = []
        untold = False
        for image in group.images:
            if image.digest is None:
                continue
            for one in _about(image.written, admitted):
                judged = one.digests[image.written]
                try:
                    async with asyncio.timeout_at(deadline):
                        same = await self._images.same(image.written, image, judged, access)
                except (RegistryError, TimeoutError):
                    untold = True
                    continue
                if not same:
                    found.append(MovedTag(image.container, image.written, judged, image.digest, one.decision_id))
                    break
        return tuple(found), untold


def creation_of(pod: JSONObject) -> AdmissionRequest:
    """The request by which a pod would be created."""
    metadata = pod.get("metadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    name, namespace = str(metadata.get("name") or ""), str(metadata.get("namespace") or "")
    return creation_request(pod, _POD, _PODS, name=name, namespace=namespace, user=USER, caller=Caller.RECHECK)


def condition_of(
    decision: Decision, moved: Collection[MovedTag] = (), *, untold: bool = False, let_in: str = ""
) -> Condition:
    """How a workload stands.

    Args:
        moved: containers whose tags have moved.
        untold: whether that cannot be told of some.
        let_in: the grant by which it was let in, "" for none.
    """
    if moved or any(violation.refuses for violation in decision.violations):
        return Condition.FAILING
    if untold or decision.verdict is not Verdict.ADMITTED:
        return Condition.UNKNOWN
    if let_in or decision.because is Because.BREAK_GLASS:
        return Condition.BREAK_GLASS
    if decision.because is Because.EXCEPTION:
        return Condition.EXCEPTED
    if decision.undecided or any(not violation.exception for violation in decision.violations):
        return Condition.WARNED
    return Condition.GOOD


def _passed(decision: Decision, standing: Standing) -> tuple[str, ...]:
    """The policies that were evaluated and found nothing."""
    said = {violation.policy for violation in decision.violations} | {one.policy for one in decision.undecided}
    return tuple(policy.name for policy in standing.compiled.policies if policy.name not in said)


def _grant_of(decision: Decision) -> str:
    """The grant without which the decision would be another, "" for none."""
    if decision.because is not Because.BREAK_GLASS:
        return ""
    return next((found.exception for found in decision.covered if is_grant(found.exception)), "")


def _spec(pod: JSONObject) -> JSONObject:
    spec = pod.get("spec")
    return spec if isinstance(spec, dict) else {}


def _about(written: str, admitted: Sequence[Admitted]) -> Sequence[Admitted]:
    """What counts for an image: what was said of the pods; where nothing was, what was said of their owner."""
    told = [one for one in admitted if written in one.digests]
    return [one for one in told if one.object.kind == "Pod"] or told


def _judged(group: RunningPods, admitted: Sequence[Admitted]) -> Mapping[str, Collection[Digest]]:
    """The digests that were judged at the admission, by what is written."""
    found: defaultdict[str, dict[Digest, None]] = defaultdict(dict)
    for image in group.images:
        for one in _about(image.written, admitted):
            found[image.written][one.digests[image.written]] = None
    return found


def _running(images: Sequence[RunningImage], judged: Mapping[str, Collection[Digest]]) -> Mapping[str, RunningImage]:
    """What runs, by what is written. Two containers of one reference may have got different images; then the one is
    judged that was not judged at the admission."""
    found: dict[str, RunningImage] = {}
    for image in images:
        before = found.get(image.written)
        known = judged.get(image.written, ())
        if before is None or before.digest is None or (before.digest in known and image.digest not in known):
            found[image.written] = image
    return found
