"""One request on its way through the gate: what was found so far, and the decision that it becomes."""

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from portcullis.audit.redact import Redacted
from portcullis.decision import texts
from portcullis.decision.exceptions import PolicyException, Subject
from portcullis.decision.grants import NO_GRANTS, Grants, NamedImage
from portcullis.decision.verdict import admitted_by, conclude
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
from portcullis.model.grant import Grant
from portcullis.model.place import NamespaceFacts, Place
from portcullis.model.request import AdmissionRequest
from portcullis.model.ruling import PolicyInfo, RuleHit, Ruling
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
        self.grants: Grants = NO_GRANTS
        """Of the namespace of the request."""
        self._standing = standing
        self._clock = clock
        self._limits = limits
        self._started = clock.monotonic()
        self._timings: dict[str, float] = {}
        self._violations: list[Violation] = []
        self._undecided: list[UndecidedPolicy] = []
        self._problems: dict[Problem, None] = {}
        self._granted: dict[str, Grant] = {}
        """Grants that cover something, by id."""

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
            grant = self._grant_for_undecided(policy, problems)
            self._undecided.append(
                UndecidedPolicy(
                    policy=policy.name,
                    mode=self._standing.modes.strongest(policy, self.place),
                    problems=tuple(problems),
                    exception=grant.id if grant is not None else "",
                    excepted_until=grant.expires if grant is not None else None,
                )
            )

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
        grants = self._used_grants()
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
            warnings=texts.warnings(self._violations, self._undecided, images, self._limits, grants),
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
            grants=grants,
        )

    def _because(self, verdict: Verdict) -> Because:
        """An update that changed nothing is no less admitted by break-glass where the policies that were asked all the
        same would have refused it."""
        lets_in = admitted_by(self._violations, self._undecided) if verdict is Verdict.ADMITTED else None
        if lets_in is Because.BREAK_GLASS or (lets_in is not None and self.because is Because.JUDGED):
            return lets_in
        return self.because

    def _violation(self, policy: PolicyInfo, hit: RuleHit) -> Violation:
        container = self._container(hit)
        image = hit.image or (container.image if container is not None else "")
        exception = self._covering(policy, image)
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

    def _covering(self, policy: PolicyInfo, written: str) -> PolicyException | Grant | None:
        """What covers a violation that is about the image ``written``, "" for none: an exception, or else a grant."""
        if policy.exceptions_forbidden:
            return None
        named = next((image for image in self.images if image.written == written), None)
        image = _named_image(named) if named is not None else None
        subject = self._subject(policy, image)
        exception = self._standing.exceptions.covering(subject, self.now)
        if exception is not None:
            return exception
        return self._taken(self.grants.covering(subject, image, self.now))

    def _grant_for_undecided(self, policy: PolicyInfo, problems: Sequence[Problem]) -> Grant | None:
        """What covers a policy that could not be evaluated. One that was not asked because another refuses needs
        nothing."""
        if policy.exceptions_forbidden or not problems:
            return None
        subject, images = self._subject(policy, None), [_named_image(image) for image in self.images]
        return self._taken(self.grants.covering_undecided(subject, problems, images, self.now))

    def _taken(self, grant: Grant | None) -> Grant | None:
        if grant is not None:
            self._granted[grant.id] = grant
        return grant

    def _used_grants(self) -> tuple[Grant, ...]:
        """In the order of their ids. What was covered for a moment and then given up counts for nothing."""
        used = {one.exception for one in self._violations} | {one.exception for one in self._undecided}
        return tuple(grant for name, grant in sorted(self._granted.items()) if name in used)

    def _subject(self, policy: PolicyInfo, image: NamedImage | None) -> Subject:
        return Subject(
            policy=policy.name,
            place=self.place,
            kind=self.request.kind.kind,
            name=self._name(),
            image=image.repository if image is not None else None,
        )

    def _container(self, hit: RuleHit) -> Container | None:
        """The container that a rule names. An image volume may have the name of a container: then the image tells."""
        containers = self.workload.containers if self.workload is not None else ()
        named = [container for container in containers if container.name == hit.container]
        same = [container for container in named if container.image == hit.image]
        return next(iter(same or named), None)

    def _digests(self) -> Mapping[str, str]:
        return {image.written: image.resolved.digest for image in self.images if image.resolved is not None}


def _named_image(image: ImageFacts) -> NamedImage:
    """By what is known of it now, and not by what a policy says."""
    reference, resolved = image.reference, image.resolved
    digest = resolved.digest if resolved is not None else (reference.digest if reference is not None else None)
    return NamedImage(image.written, reference.repository if reference is not None else None, digest or "")


def _name_of(request: AdmissionRequest) -> str:
    """``Deployment shop/checkout``, with the sub-resource where there is one."""
    name = f"{request.namespace}/{request.name}" if request.namespace else request.name
    kind = f"{request.kind.kind} ({request.sub_resource})" if request.sub_resource else request.kind.kind
    return clean(f"{kind} {name}", 2 * texts.NAME_CHARS)
