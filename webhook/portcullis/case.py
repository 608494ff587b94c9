"""One request on its way through the gate: what was found so far, and the decision that it becomes."""

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from portcullis.decision import texts
from portcullis.decision.modes import Modes
from portcullis.decision.verdict import conclude
from portcullis.limits import Limits
from portcullis.model.decision import Because, Decision, JudgedImage, Problem, Stage, UndecidedPolicy, Violation
from portcullis.model.facts import ImageFacts
from portcullis.model.request import AdmissionRequest
from portcullis.model.ruling import Mode, PolicyInfo, RuleHit, Ruling
from portcullis.model.workload import Container, Workload
from portcullis.ports import Clock
from portcullis.text import clean


class Case:
    """What the gate knows of one request.

    Args:
        request: as it was asked.
        modes: say what a violation does, and an undecided policy.
    """

    def __init__(self, request: AdmissionRequest, *, modes: Modes, clock: Clock, limits: Limits) -> None:
        self.id = str(uuid.uuid4())
        self.request = request
        self.now = clock.now()
        self.because = Because.JUDGED
        self.workload: Workload | None = None
        self.images: Sequence[ImageFacts] = ()
        self.document = b""
        self._modes = modes
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
        return any(violation.mode is Mode.DENY for violation in self._violations)

    @contextmanager
    def timed(self, stage: Stage) -> Iterator[None]:
        started = self._clock.monotonic()
        try:
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
            mode = self._modes.strongest(policy, self.request.namespace)
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

    def conclude(self, *, policy_revision: str, config_revision: str) -> Decision:
        """The decision on what is known now."""
        outcome = conclude(self._violations, self._undecided, person=self.request.user.is_person)
        elapsed = (self._clock.monotonic() - self._started) * 1000
        what, digests = _name_of(self.request), self._digests()
        images = tuple(
            JudgedImage(image.written, digests.get(image.written, ""), image.stale_since) for image in self.images
        )
        return Decision(
            id=self.id,
            verdict=outcome.verdict,
            code=outcome.code,
            because=self.because,
            message=texts.message(outcome, what, self._violations, self._undecided, self.id, self._limits),
            warnings=texts.warnings(self._violations, self._undecided, images, self._limits),
            retry_after_seconds=outcome.retry_after_seconds,
            violations=tuple(self._violations),
            undecided=tuple(self._undecided),
            problems=tuple(self._problems),
            images=images,
            policy_revision=policy_revision,
            config_revision=config_revision,
            decided_at=self.now,
            elapsed_ms=elapsed,
            timings={**self._timings, Stage.GATE: elapsed},
            document=self.document,
        )

    def _violation(self, policy: PolicyInfo, hit: RuleHit) -> Violation:
        container = self._container(hit)
        image = hit.image or (container.image if container is not None else "")
        return Violation(
            policy=policy.name,
            mode=self._modes.mode(policy, hit.rule, self.request.namespace),
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
        )

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
