"""One request on its way through the gate: what was found so far, and the decision that it becomes."""

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from portcullis.audit.redact import Redacted
from portcullis.decision import texts
from portcullis.decision.exceptions import Subject
from portcullis.decision.verdict import conclude
from portcullis.limits import Limits
from portcullis.model.decision import (
    Because,
    Decision,
    JudgedImage,
    Problem,
    Stage,
    UndecidedPolicy,
    Verdict,
    Violation,
)
from portcullis.model.facts import ImageFacts
from portcullis.model.image import Repository
from portcullis.model.place import NamespaceFacts, Place
from portcullis.model.request import AdmissionRequest
from portcullis.model.ruling import Mode, PolicyInfo, RuleHit, Ruling
from portcullis.model.workload import Container, Workload
from portcullis.ports import Clock
from portcullis.spans import span
from portcullis.standing import Standing
from portcullis.text import clean


class Case:
    """What the gate knows of one request.

    Args:
        request: as it was asked.
        standing: says what a violation and an undecided policy do, and what is excepted.
    """

    def __init__(self, request: AdmissionRequest, *, standing: Standing, clock: Clock, limits: Limits) -> None:
        self.id = str(uuid.uuid4())
        self.request = request
        self.now = clock.now()
        self.because = Because.JUDGED
        self.workload: Workload | None = None
        self.images: Sequence[ImageFacts] = ()
        self.document = b""
        self.redacted: Redacted | None = None
        """What is judged and kept of the request."""
        self.namespace: NamespaceFacts | None = None
        """Of the request, as the API server knows it."""
        self.described: NamespaceFacts | None = None
        """The one that the request creates, as it says itself."""
        self.around: list[Problem] = []
        """What of the cluster around the request could not be had."""
        self._standing = standing
        self._clock = clock
        self._limits = limits
        self._started = clock.monotonic()
        self._timings: dict[str, float] = {}
        self._violations: list[Violation] = []
        self._undecided: list[UndecidedPolicy] = []
        self._problems: dict[Problem, None] = {}

    @property
    def refused(self) -> bool:
        """Whether a policy in mode deny is violated, whatever comes of the others."""
        return any(violation.refuses for violation in self._violations)

    @property
    def place(self) -> Place:
        """Where the request is made, by what is known now."""
        return Place(self.request.namespace, self.namespace.labels if self.namespace is not None else None)

    @contextmanager
    def timed(self, stage: Stage) -> Iterator[None]:
        started = self._clock.monotonic()
        try:
            with span(stage):
                yield
        finally:
            elapsed = (self._clock.monotonic() - started) * 1000
            self._timings[stage] = self._timings.get(stage, 0.0) + elapsed

    def note(self, problems: Iterable[Problem]) -> None:
        """Keeps problems, each once."""
        self._problems |= dict.fromkeys(problems)

    def undecide(self, policies: Iterable[PolicyInfo], problems: Sequence[Problem]) -> None:
        """The policies were not judged: for those problems, or, with none, because another one refuses before."""
        for policy in policies:
            mode = self._standing.modes.strongest(policy, self.place)
            self._undecided.append(UndecidedPolicy(policy=policy.name, mode=mode, problems=tuple(problems)))

    def give_up(self, policies: Iterable[PolicyInfo], problem: Problem) -> None:
        """All policies are undecided for that one problem. Violations that were found stay."""
        self.note([problem])
        self._undecided.clear()
        self.undecide(policies, [problem])

    def take(self, policies: Sequence[PolicyInfo], ruling: Ruling) -> None:
        """The ruling of the engine on ``policies``. One on which it is silent is undecided."""
        infos = {policy.name: policy for policy in policies}
        self._violations += [self._violation(infos[hit.policy], hit) for hit in ruling.hits]
        failed = {
            failure.policy: Problem(Stage.POLICY, failure.reason, retryable=False, msg=failure.message)
            for failure in ruling.failed
        }
        for name in infos.keys() - ruling.judged - failed.keys():
            message = f"the engine gave no ruling on {name}"
            failed[name] = Problem(Stage.POLICY, "policy-undefined", retryable=False, msg=message)
        for name, problem in failed.items():
            self.note([problem])
            self.undecide([infos[name]], [problem])

    def conclude(self) -> Decision:
        """The decision on what is known now."""
        outcome = conclude(self._violations, self._undecided, person=self.request.user.is_person)
        elapsed = (self._clock.monotonic() - self._started) * 1000
        what, digests = _name_of(self._shown), self._digests()
        images = tuple(
            JudgedImage(image.written, digests.get(image.written, ""), image.stale_since) for image in self.images
        )
        return Decision(
            id=self.id,
            verdict=outcome.verdict,
            code=outcome.code,
            because=self._because(outcome.verdict),
            message=texts.message(outcome, what, self._violations, self._undecided, self.id, self._limits),
            warnings=texts.warnings(self._violations, self._undecided, images, self._limits),
            retry_after_seconds=outcome.retry_after_seconds,
            violations=tuple(self._violations),
            undecided=tuple(self._undecided),
            problems=tuple(self._problems),
            images=images,
            policy_revision=self._standing.compiled.revision,
            config_revision=self._standing.config_revision,
            decided_at=self.now,
            elapsed_ms=elapsed,
            timings={**self._timings, Stage.GATE: elapsed},
            document=self.document,
            masked=self.redacted.masked if self.redacted is not None else (),
            masked_places=self.redacted.places if self.redacted is not None else 0,
        )

    def _because(self, verdict: Verdict) -> Because:
        excepted = any(violation.exception and violation.mode is Mode.DENY for violation in self._violations)
        if self.because is Because.JUDGED and verdict is Verdict.ADMITTED and excepted:
            return Because.EXCEPTION
        return self.because

    def _violation(self, policy: PolicyInfo, hit: RuleHit) -> Violation:
        container = self._container(hit)
        image = hit.image or (container.image if container is not None else "")
        exception = None
        if not policy.exceptions_forbidden:
            subject = Subject(
                policy=policy.name,
                place=self.place,
                kind=self.request.kind.kind,
                name=self._name(),
                image=self._repository(image),
            )
            exception = self._standing.exceptions.covering(subject, self.now)
        return Violation(
            policy=policy.name,
            mode=self._standing.modes.mode(policy, hit.rule, self.place),
            severity=policy.severity,
            msg=hit.msg,
            container=hit.container,
            container_kind=container.kind if container is not None else "",
            image=image,
            digest=hit.digest or self._digests().get(image, ""),
            platform=hit.platform,
            field=hit.field,
            fix=hit.fix,
            docs=policy.docs,
            details=hit.details,
            exception=exception.id if exception is not None else "",
            excepted_until=exception.expires if exception is not None else None,
        )

    @property
    def _shown(self) -> AdmissionRequest:
        """What may be said of the request."""
        return self.redacted.request if self.redacted is not None else self.request

    def _name(self) -> str:
        """Of the object; for one that the API server is still to name, what its name begins with."""
        metadata = (self.request.object or {}).get("metadata")
        generated = metadata.get("generateName") if isinstance(metadata, Mapping) else ""
        return self.request.name or (generated if isinstance(generated, str) else "")

    def _repository(self, written: str) -> Repository | None:
        references = (image.reference for image in self.images if image.written == written)
        return next((reference.repository for reference in references if reference is not None), None)

    def _container(self, hit: RuleHit) -> Container | None:
        """The container that a rule names. An image volume may have the name of a container: then the image tells."""
        containers = self.workload.containers if self.workload is not None else ()
        named = [container for container in containers if container.name == hit.container]
        same = [container for container in named if container.image == hit.image]
        return next(iter(same or named), None)

    def _digests(self) -> Mapping[str, str]:
        return {image.written: image.resolved.digest for image in self.images if image.resolved is not None}


def _name_of(request: AdmissionRequest) -> str:
    """``Deployment shop/checkout``, with the sub-resource where there is one."""
    name = f"{request.namespace}/{request.name}" if request.namespace else request.name
    kind = f"{request.kind.kind} ({request.sub_resource})" if request.sub_resource else request.kind.kind
    return clean(f"{kind} {name}", 2 * texts.NAME_CHARS)
