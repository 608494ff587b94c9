"""POST /validate-break-glass: who makes or deletes a grant is recorded, with the reason; a grant that could never count
is refused when it is made.

Whether a grant counts the gate finds by itself (cluster/breakglass.py), so nothing hangs on this: the webhook entry
says failurePolicy Ignore, and a grant that cannot be recorded is made all the same, with a warning and a line in the
log. An emergency in which the disk is full is one too; and what a grant lets through is recorded, or refused, at its
time.

Where the API server can be told from others, nothing is written for a stranger.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import structlog

from portcullis.admission.review import render_allowed, render_review
from portcullis.cluster.breakglass import BREAK_GLASSES, Invalid, grant_of
from portcullis.errors import RecordsError
from portcullis.limits import Limits
from portcullis.model.decision import Decision, Problem, Stage, Verdict, unjudged
from portcullis.model.grant import ANY_POLICY, ID_PREFIX, Grant
from portcullis.model.request import AdmissionRequest, Operation
from portcullis.ports import Clock
from portcullis.server.callers import Callers
from portcullis.server.http import Receive, Scope, Send
from portcullis.server.recording import Recorder
from portcullis.server.sidepath import SidePath
from portcullis.standing import Standing
from portcullis.text import clean
from portcullis.times import rfc3339

AT_ONCE: Final = 4
"""Of so many reviews the largest may be in memory at once; a grant has 1 KiB."""
_WORD: Final = "validate-break-glass"
_LISTED_CHARS: Final = 2000
"""Of the policies, the images and the digests each, in the record."""

log = structlog.get_logger(__name__)


class BreakGlassHandler:
    """The ASGI handler.

    Args:
        recorder: keeps who asked for what.
        standing: says which policies there are.
        text: takes secrets out of what is kept.
        callers: says who sent a review.
    """

    def __init__(
        self,
        *,
        recorder: Recorder,
        standing: Callable[[], Standing],
        clock: Clock,
        text: Callable[[str], str],
        limits: Limits,
        callers: Callers,
    ) -> None:
        self._recorder = recorder
        self._standing = standing
        self._clock = clock
        self._text = text
        self._limits = limits
        self._callers = callers
        self._path = SidePath(word=_WORD, answer=self._answer, at_once=AT_ONCE, limits=limits, callers=callers)

    def serves(self, path: str) -> bool:
        """Whether ``path`` is of the form ``/validate-break-glass`` or ``/…/validate-break-glass``."""
        return self._path.serves(path)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._path(scope, receive, send)

    async def _answer(self, request: AdmissionRequest, deadline: float) -> bytes:
        if not _concerns(request):
            return render_allowed(request.uid)
        if self._callers.is_stranger(request.caller):
            return render_allowed(
                request.uid, ["portcullis: not recorded: the review did not come the API server's way"]
            )
        decision = self._decision(request)
        warnings = list(decision.warnings)
        try:
            await self._recorder.keep(request, decision, deadline)
        except RecordsError as error:
            self._recorder.lost(request, decision, error, answered=True)
            warnings.append(f"portcullis: it is not in the audit log who did this, and why: {error.message}")
        shown = tuple(clean(one, self._limits.warning_chars) for one in warnings)
        return render_review(request.uid, replace(decision, warnings=shown))

    def _decision(self, request: AdmissionRequest) -> Decision:
        if request.operation is Operation.DELETE:
            return self._made(request, f"{_id(request)} is deleted. {self._said(grant_of(_tree(request.old_object)))}")
        if request.operation is Operation.UPDATE:
            return self._made(request, fault="a grant is never changed: delete it, and make another")
        made = _tree(request.object)
        unmade = not _tree(made.get("metadata")).get("creationTimestamp")
        found = grant_of(made, self._clock.now() if unmade else None)
        if isinstance(found, Invalid):
            return self._made(request, fault=found.why)
        said = f"{_id(request)} is granted. {self._said(found)}"
        return self._made(request, said, warnings=self._remarks(found, request.namespace))

    def _said(self, found: Grant | Invalid) -> str:
        """All of a grant in words."""
        if isinstance(found, Invalid):
            return f"It counted for nothing: {found.why}"
        parts = [
            f"Until {rfc3339(found.expires)}",
            f"why: {found.reason}",
            f"policies: {_listed(found.policies)}",
            *([f"images: {_listed(found.images)}"] if found.images else []),
            *([f"digests: {_listed(found.digests)}"] if found.digests else []),
            "problems are covered" if found.covers_problems else "problems are not covered",
        ]
        return self._text(clean("; ".join(parts), 4 * _LISTED_CHARS))

    def _remarks(self, grant: Grant, namespace: str) -> Sequence[str]:
        """What whoever makes it may not have meant."""
        policies = {policy.name: policy for policy in self._standing().compiled.policies}
        unknown = [name for name in grant.policies if name != ANY_POLICY and name not in policies]
        closed = [name for name in grant.policies if name in policies and policies[name].exceptions_forbidden]
        remarks = []
        if unknown:
            remarks.append(f"portcullis: there is no policy {', '.join(unknown)}")
        if closed:
            remarks.append(f"portcullis: not covered, as no exception is allowed from it: {', '.join(closed)}")
        if not grant.for_images:
            remarks.append(
                f"portcullis: without images and digests, everything in the namespace {namespace} is covered"
            )
        return remarks

    def _made(
        self, request: AdmissionRequest, said: str = "", *, fault: str = "", warnings: Sequence[str] = ()
    ) -> Decision:
        """What is answered and recorded: refused for ``fault``, admitted without one."""
        standing, now, number = self._standing(), self._clock.now(), str(uuid.uuid4())
        problems: tuple[Problem, ...] = ()
        if fault:
            problem = Problem(Stage.ADMISSION, "grant-invalid", retryable=False, msg=self._text(fault))
            problems = (problem,)
            said = f"[{problem.reason}] {_id(request)}: {problem.msg}\nDecision {number}"
        return unjudged(
            id=number,
            verdict=Verdict.REFUSED if fault else Verdict.ADMITTED,
            code=403 if fault else 200,
            message=said,
            warnings=tuple(warnings),
            problems=problems,
            policy_revision=standing.compiled.revision,
            config_revision=standing.config_revision,
            decided_at=now,
        )


def _concerns(request: AdmissionRequest) -> bool:
    """Whether a grant is made or deleted, or what it says is changed. Labels and the like are nobody's business."""
    if (request.kind.group, request.kind.kind) != (BREAK_GLASSES.group, "BreakGlass") or request.sub_resource:
        return False
    if request.operation is Operation.UPDATE:
        return _tree(request.object).get("spec") != _tree(request.old_object).get("spec")
    return request.operation in (Operation.CREATE, Operation.DELETE)


def _id(request: AdmissionRequest) -> str:
    return clean(f"{ID_PREFIX}{request.namespace}/{request.name}", 400)


def _listed(names: Sequence[str]) -> str:
    return clean(", ".join(names), _LISTED_CHARS)


def _tree(found: Any) -> Mapping[str, Any]:
    return found if isinstance(found, Mapping) else {}
