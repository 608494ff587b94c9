"""Tells of refusals by Kubernetes Events on the objects that people look at (``cluster.events``).

Nobody waits for one: an answer only adds to what waits here, within bounds, and one task writes, slowly. What does not
fit, or cannot be written, is counted; the record of the decision has it all the same.
"""

import asyncio
import contextlib
import hashlib
import socket
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

import structlog

from portcullis.errors import ClusterError
from portcullis.limits import Limits
from portcullis.model.decision import Decision
from portcullis.model.notice import Notice, ObjectReference
from portcullis.model.request import AdmissionRequest, Operation
from portcullis.ports import Clock
from portcullis.server.health import Check
from portcullis.server.lifecycle import background
from portcullis.server.settings import Settings
from portcullis.server.telemetry import Metrics

REFUSED: Final = "Refused"
UNDECIDED: Final = "Undecided"
REASONS: Final[Mapping[int, str]] = {403: REFUSED, 429: UNDECIDED, 503: UNDECIDED}
"""By the code of the answer: an outage and a violation look different."""
ATTEMPTS: Final = 3
"""Of one Event; then it is given up."""
_SUB_RESOURCES: Final = frozenset({"", "ephemeralcontainers", "resize"})
"""Those whose review is about the object itself."""
_CHARS: Final[Mapping[str, int]] = {"apiVersion": 320, "kind": 63, "name": 253, "uid": 128}

log = structlog.get_logger(__name__)


class Writer(Protocol):
    """What is asked of cluster.events.Events. Raises only ClusterError."""

    async def write(self, notice: Notice, *, count: int, last: datetime) -> None: ...


@dataclass(slots=True)
class _Waiting:
    """What is not written yet of one notice."""

    notice: Notice
    last: datetime
    count: int = 1
    attempts: int = 0


@dataclass(slots=True)
class _About:
    """One object: when something may be written about it again, and what waits for that."""

    next_at: float
    waiting: dict[str, _Waiting] = field(default_factory=dict)


class Refusals:
    """What is to be told. ``writer`` is None where no Events are wanted."""

    def __init__(self, *, writer: Writer | None, clock: Clock, limits: Limits) -> None:
        self._writer = writer
        self._clock = clock
        self._limits = limits
        self._about: OrderedDict[ObjectReference, _About] = OrderedDict()
        self._parents: OrderedDict[str, ObjectReference] = OrderedDict()
        self._woken = asyncio.Event()
        self._problem = ""
        self.written = self.failed = self.dropped = 0

    def offer(self, request: AdmissionRequest, decision: Decision) -> None:
        """Takes note of a decision that was answered to the API server; returns at once and never raises."""
        if self._writer is None or request.dry_run:
            return
        owner = _owner(request)
        reason = REASONS.get(decision.code)
        if reason is not None:
            about = owner if request.operation is Operation.CREATE else _itself(request)
            parent = self._parents.get(about.uid) if about is not None else None
            for one in (about, parent):
                if one is not None:
                    self._add(Notice(one, _cause(decision), reason, decision.message, decision.decided_at))
        self._remember(request, owner)

    def _remember(self, request: AdmissionRequest, owner: ObjectReference | None) -> None:
        """Whose an object is that makes pods: ``kubectl describe deployment`` shows what is told of the Deployment
        alone, and the review of a pod names no more than its ReplicaSet."""
        uid = _text(request.object, "uid")
        if owner is None or not uid or (request.kind.group, request.kind.kind) == ("", "Pod"):
            return
        self._parents[uid] = owner
        self._parents.move_to_end(uid)
        if len(self._parents) > self._limits.event_objects:
            self._parents.popitem(last=False)

    def _add(self, notice: Notice) -> None:
        about = self._about.get(notice.regarding) or self._make_room(notice.regarding)
        if about is None:
            self.dropped += 1
            return
        key = f"{notice.reason} {notice.cause}"
        if (waiting := about.waiting.get(key)) is not None:
            waiting.count += 1
            waiting.last = notice.first
        elif len(about.waiting) < self._limits.event_causes:
            about.waiting[key] = _Waiting(notice, notice.first)
            self._woken.set()
        else:
            self.dropped += 1

    def _make_room(self, regarding: ObjectReference) -> _About | None:
        """A place for one more object; None where there is none."""
        now = self._clock.monotonic()
        if len(self._about) >= self._limits.event_objects:
            idle = next((one for one, about in self._about.items() if not about.waiting and about.next_at <= now), None)
            if idle is None:
                return None
            del self._about[idle]
        return self._about.setdefault(regarding, _About(next_at=now))

    async def run(self) -> None:
        """Writes until cancelled."""
        while self._writer is not None:
            now = self._clock.monotonic()
            ahead = [(about.next_at, about) for about in self._about.values() if about.waiting]
            if not ahead or (due := min(ahead, key=lambda one: one[0]))[0] > now:
                seconds = due[0] - now if ahead else None
                self._woken.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), seconds)
                continue
            try:
                await self._write(self._writer, due[1])
            except Exception:  # a fault of ours must not end the telling
                log.exception("event not written")
            await asyncio.sleep(1 / self._limits.events_per_second)

    async def _write(self, writer: Writer, about: _About) -> None:
        key = next(iter(about.waiting))
        waiting = about.waiting.pop(key)
        about.next_at = self._clock.monotonic() + self._limits.event_seconds
        try:
            await writer.write(waiting.notice, count=waiting.count, last=waiting.last)
        except ClusterError as error:
            self.failed += 1
            if error.message != self._problem:
                log.warning("event not written", problem=error.message)
            self._problem = error.message
            self._again(about, key, waiting)
        else:
            self.written += 1
            self._problem = ""

    def _again(self, about: _About, key: str, waiting: _Waiting) -> None:
        """Puts back what was not written, with what has come meanwhile; gives it up after some attempts."""
        since = about.waiting.pop(key, None)
        if since is not None:
            waiting.count, waiting.last = waiting.count + since.count, since.last
        waiting.attempts += 1
        if waiting.attempts < ATTEMPTS:
            about.waiting[key] = waiting
        else:
            self.dropped += waiting.count

    @property
    def waiting(self) -> int:
        return sum(len(about.waiting) for about in self._about.values())

    def observe(self, metrics: Metrics) -> None:
        if self._writer is None:
            return
        counted = {
            "written": "Events about refusals that were written or counted on.",
            "failed": "Attempts to write one that failed.",
            "dropped": "Refusals that no Event tells of.",
        }
        metrics.count_fields("events", counted, lambda: self)
        metrics.gauge("events_waiting", "Events that wait to be written.").set_function(lambda: float(self.waiting))

    def checks(self) -> list[Check]:
        """Shown, never decisive; none where no Events are wanted. Whoever reaches the port may read it, so it names
        nobody's workloads."""

        async def problem() -> str:
            return "the last one could not be written; the log tells which, and why" if self._problem else ""

        return [] if self._writer is None else [Check("events", problem, decisive=False)]


@asynccontextmanager
async def told(settings: Settings, clock: Clock, limits: Limits) -> AsyncIterator[Refusals]:
    """What the configuration asks for, running.

    Raises:
        ClusterError: it asks for Events, and this is no pod.
    """
    cluster = settings.cluster
    if cluster.webhook is None or not cluster.events:
        yield Refusals(writer=None, clock=clock, limits=limits)
        return
    # Kubernetes' client takes half a second and 30 MiB, which nobody else pays for.
    from portcullis.cluster.events import events

    pod = cluster.webhook.pod.partition("/")[2] or socket.gethostname()
    async with events(pod) as writer:
        refusals = Refusals(writer=writer, clock=clock, limits=limits)
        async with background(refusals.run()):
            yield refusals


def _owner(request: AdmissionRequest) -> ObjectReference | None:
    """The object that controls the one that is asked about; None where there is none, or it is not one that the sender
    may speak of.

    A node is in no namespace, so that whoever may create a pod somewhere could have Events written in ``default``:
    only the node itself, which makes mirror pods of its static ones, is believed about that.
    """
    metadata = (request.object or {}).get("metadata")
    references = metadata.get("ownerReferences") if isinstance(metadata, Mapping) else None
    for reference in references if isinstance(references, list) else ():
        if not isinstance(reference, Mapping) or reference.get("controller") is not True:
            continue
        words = {key: _bounded(reference.get(key), limit) for key, limit in _CHARS.items()}
        if not all(words.values()):
            return None
        node = (words["apiVersion"], words["kind"]) == ("v1", "Node")
        if node and request.user.username != f"system:node:{words['name']}":
            return None
        namespace = "" if node else request.namespace
        return ObjectReference(words["apiVersion"], words["kind"], namespace, words["name"], words["uid"])
    return None


def _itself(request: AdmissionRequest) -> ObjectReference | None:
    """The object of an update."""
    name, uid = _text(request.old_object, "name"), _text(request.old_object, "uid")
    if request.operation is not Operation.UPDATE or request.sub_resource not in _SUB_RESOURCES or not (name and uid):
        return None
    return ObjectReference(request.kind.api_version, request.kind.kind, request.namespace, name, uid)


def _text(found: Mapping[str, object] | None, key: str) -> str:
    metadata = (found or {}).get("metadata")
    return _bounded(metadata.get(key), _CHARS[key]) if isinstance(metadata, Mapping) else ""


def _bounded(found: object, limit: int) -> str:
    return found if isinstance(found, str) and len(found) <= limit else ""


def _cause(decision: Decision) -> str:
    """What the reasons have in common however often they come: no pod's name, no age, no decision's id."""
    violations = {("", one.policy, one.container, one.image) for one in decision.violations if one.refuses}
    blocked = [problem for policy in decision.undecided if policy.blocks for problem in policy.problems]
    problems = {(str(one.stage), one.reason, "", one.image) for one in blocked or decision.problems}
    words = sorted(violations or problems)
    return hashlib.sha256(repr(words).encode(errors="replace")).hexdigest()
