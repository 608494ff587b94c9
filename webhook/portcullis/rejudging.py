"""Judges a recorded decision again: the stored input under another set of policies, modes and exceptions.

The same way as :mod:`portcullis.gate`, with the facts of the record in the place of those that are fetched, and the
instant of the record in the place of now (design rule 12). Proof that a decision made so is the one that the gate would
have made:

1. The document is of the shape that this version makes, so that policies read what they would have read.
2. Policies that read the request alone come first; what they refuse was refused without a look at the images.
3. A policy that needs facts of which the record holds a problem is undecided for that problem.
4. A policy that needs facts which nobody fetched then cannot be judged. Which ones were fetched follows from the
   policies of the record, and from how far its decision came.
5. What a record does not hold (objects of the cluster, labels that were not looked up) cannot be judged by. Of grants
   it holds those that covered something: another policy is covered by these and no others.
6. What failed then for want of the engine, or by a fault of ours, says nothing of the policies.

Where 1, 4, 5 or 6 stands in the way the record is *inexact*: that and why is the result, and no guess.

Policies that cannot rule otherwise than the record says need not be asked again (:mod:`portcullis.takeover`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from portcullis.case import Case
from portcullis.collecting import IMAGE_NEEDS, REQUEST_NEEDS
from portcullis.decision.grants import Grants
from portcullis.errors import EngineTimeout, EngineUnavailable, WorkloadError
from portcullis.gate import unmet_of
from portcullis.limits import Limits
from portcullis.model.decision import Because, Decision, Problem, Stage
from portcullis.model.facts import ImageFacts
from portcullis.model.image import Digest, ImageReference, ResolvedImage
from portcullis.model.json import JSONObject
from portcullis.model.record import AuditRecord
from portcullis.model.request import (
    AdmissionRequest,
    GroupVersionKind,
    GroupVersionResource,
    Operation,
    UserInfo,
)
from portcullis.model.ruling import CompiledBundle, Need, Origin, PolicyInfo, Ruling
from portcullis.policy.recorded import OtherDocument, RecordedDocument, read_document
from portcullis.standing import Standing
from portcullis.takeover import NO_RULING, Takeover

FACT_STAGES = frozenset({Stage.REFERENCE, Stage.REGISTRY, Stage.EVIDENCE, Stage.INSPECTION, Stage.USER, Stage.PACKAGES})
"""Stages whose problems are about images."""

_DOWN = frozenset({EngineUnavailable.reason, EngineTimeout.reason})


@dataclass(frozen=True, slots=True)
class Inexact:
    """The record cannot be judged again. ``reason`` is one of a few texts to count by, ``detail`` what more there is
    to say of this one."""

    reason: str
    detail: str = ""


NO_DOCUMENT = "no input was recorded"
OTHER_DOCUMENT = "recorded by another version of Portcullis"
ENGINE_DOWN = "the policy engine was down, or out of time"
OUR_FAULT = "a fault in Portcullis itself"
NO_WORKLOAD = "who made or deleted a grant, which no policy decides"
NEVER_FETCHED = "facts that a policy needs were never fetched"
INVENTORY = "a policy reads objects of the cluster"
NO_LABELS = "the labels of the namespace were not recorded"
RAW_VALUES = "a policy asks for raw values"
ENGINE_NOW = "the policy engine did not answer now"


@dataclass(frozen=True, slots=True)
class Question:
    """What the engine is to be asked, all at once; nothing, where there are no ``policies``."""

    policies: tuple[str, ...]
    document: bytes
    parameters: Mapping[str, JSONObject]


class Rejudgement:
    """One record under one standing set. Make it with :func:`begin`; ask ``question`` of the engine that serves the
    set, and hand the ruling to :meth:`decided`."""

    def __init__(
        self,
        record: AuditRecord,
        found: RecordedDocument,
        standing: Standing,
        limits: Limits,
        fetched: frozenset[Need],
        takeover: Takeover | None,
        *,
        unchanged: bool,
    ) -> None:
        """``fetched`` are the facts of the images that there were; ``unchanged`` says that nobody looked at them, for
        an update had not changed them."""
        self._record = record
        self._found = found
        policies = standing.compiled.policies
        self._early = [policy for policy in policies if policy.needs <= REQUEST_NEEDS]
        self._late = [policy for policy in policies if not policy.needs <= REQUEST_NEEDS]
        self._case = case = Case(
            found.request, standing=standing, clock=_Then(record.decision.decided_at), limits=limits
        )
        case.id = record.decision.id
        case.document = record.decision.document
        case.workload = found.workload
        case.namespace = None if found.request.creates_namespace else found.namespace
        case.around = _around(record, standing)
        case.grants = Grants(record.decision.grants)
        self._unchanged = unchanged
        self._named = _images(record, found, resolved=False)
        self._resolved = _images(record, found, resolved=True)
        self._problems = [problem for problem in record.decision.problems if problem.stage in FACT_STAGES]
        self._scoped = standing.modes.parameters_at(case.place)
        self._never: frozenset[Need] = (IMAGE_NEEDS - fetched) if found.references else frozenset()
        ready = self._all_ready()
        names = [policy.name for policy in ready]
        self.taken_over = takeover.ruling(record.decision, case.place, names) if takeover is not None else NO_RULING
        """On the policies that are not in the question."""
        self.question = self._question(names)

    def decided(self, ruling: Ruling = NO_RULING) -> Decision | Inexact:
        """The decision, by the ruling on all policies of the question."""
        case = self._case
        ruling = self._with_taken_over(ruling)
        case.images = self._named
        self._take(self._early, [problem for problem in self._problems if problem.stage is Stage.REFERENCE], ruling)
        if self._unchanged:
            case.because = Because.UNCHANGED
            return case.conclude()
        if case.refused:
            case.undecide(self._late, ())
            return case.conclude()
        if not self._late:
            return case.conclude()
        if (given_up := _given_up(self._record)) is not None:
            case.images = self._resolved
            case.give_up([*self._early, *self._late], given_up)
            return case.conclude()
        if missing := [policy for policy in self._late if not policy.needs.isdisjoint(self._never)]:
            needs = frozenset[Need]().union(*(policy.needs for policy in missing)) & self._never
            names = ", ".join(policy.name for policy in missing[:3]) + (", …" if len(missing) > 3 else "")
            return Inexact(NEVER_FETCHED, f"{', '.join(sorted(needs))}, which {names} would need")
        case.images = self._resolved
        self._take(self._late, self._problems, ruling)
        return case.conclude()

    def _all_ready(self) -> list[PolicyInfo]:
        """The policies whose rulings may count."""
        early = self._ready(self._early, ())
        if self._unchanged or _given_up(self._record) is not None:
            return early
        late = self._ready(self._late, self._problems)
        return early + [policy for policy in late if policy.needs.isdisjoint(self._never)]

    def _question(self, names: Sequence[str]) -> Question:
        changed = {name: self._scoped.changed[name] for name in names if name in self._scoped.changed}
        asked = tuple(name for name in names if name not in self.taken_over.judged)
        return Question(asked, self._record.decision.document, changed)

    def _with_taken_over(self, ruling: Ruling) -> Ruling:
        """In the order in which the engine rules: the policies that it asks strictly, then the others."""
        if not self.taken_over.judged:
            return ruling
        order = {
            policy.name: (policy.origin is Origin.GATEKEEPER, number)
            for number, policy in enumerate([*self._early, *self._late])
        }
        hits = sorted((*ruling.hits, *self.taken_over.hits), key=lambda hit: order[hit.policy])
        return Ruling(ruling.judged | self.taken_over.judged, tuple(hits), ruling.failed)

    def _ready(self, policies: Sequence[PolicyInfo], problems: Sequence[Problem]) -> list[PolicyInfo]:
        known = [*self._case.around, *problems]
        return [policy for policy in policies if not unmet_of(policy, known, unsure=self._scoped.unsure)]

    def _take(self, policies: Sequence[PolicyInfo], problems: Sequence[Problem], ruling: Ruling) -> None:
        """As the gate does with those policies: the ones without their facts are undecided, of the others the ruling
        holds."""
        known = [*self._case.around, *problems]
        self._case.note(known)
        ready = []
        for policy in policies:
            if unmet := unmet_of(policy, known, unsure=self._scoped.unsure):
                self._case.undecide([policy], unmet)
            else:
                ready.append(policy)
        if ready:
            self._case.take(ready, _part(ruling, {policy.name for policy in ready}))


def begin(
    record: AuditRecord,
    standing: Standing,
    recorded: CompiledBundle,
    limits: Limits,
    takeover: Takeover | None = None,
) -> Rejudgement | Decision | Inexact:
    """Prepares to judge ``record`` by ``standing``.

    Args:
        recorded: the policies that the record was judged by; says which facts were fetched for it.
        takeover: from what the record was judged by to ``standing``; without, every policy is asked.

    Returns:
        A Rejudgement; or already the decision, where no policy looks at anything (a review that could not be read); or
        Inexact.
    """
    decision = record.decision
    if inexact := _unusable(record):
        return inexact
    given_up = _given_up(record)
    if not decision.document:
        return _without_document(record, standing, given_up, limits) if given_up is not None else Inexact(NO_DOCUMENT)
    try:
        found = read_document(decision.document)
    except OtherDocument as error:
        return Inexact(OTHER_DOCUMENT, str(error))
    raw = sorted({one.name for set_ in (standing.compiled, recorded) for one in set_.policies if one.reads_secrets})
    if raw:
        return Inexact(RAW_VALUES, ", ".join(raw[:3]))
    if inexact := _around_missing(record, found, standing):
        return inexact
    unchanged = _was_unchanged(record, found, recorded)
    fetched = frozenset[Need]() if unchanged else _fetched(record, recorded)
    return Rejudgement(record, found, standing, limits, fetched, takeover, unchanged=unchanged)


def _unusable(record: AuditRecord) -> Inexact | None:
    problems = record.decision.problems
    down = [problem for problem in problems if problem.stage is Stage.POLICY and problem.reason in _DOWN]
    if down:
        return Inexact(ENGINE_DOWN, down[0].reason)
    if any(problem.stage is Stage.GATE for problem in problems):
        return Inexact(OUR_FAULT)
    if record.kind == "BreakGlass" and record.api_version.startswith("portcullis.dev/"):
        return Inexact(NO_WORKLOAD)
    return None


def _given_up(record: AuditRecord) -> Problem | None:
    """Why nothing could be judged: the object was not what its kind says, or larger than a limit."""
    return next((one for one in record.decision.problems if one.stage is Stage.ADMISSION), None)


def _without_document(record: AuditRecord, standing: Standing, problem: Problem, limits: Limits) -> Decision | Inexact:
    """A review that could not be read is refused by no policy. An object that could not be read leaves every policy
    undecided, under the mode of its place; that is before the namespace is looked up."""
    if not record.operation:
        return record.decision
    if problem.reason != WorkloadError.reason and standing.by_labels and record.namespace:
        return Inexact(NO_LABELS)
    case = Case(_request_of(record), standing=standing, clock=_Then(record.decision.decided_at), limits=limits)
    case.id = record.decision.id
    case.images = [ImageFacts(image.written, None) for image in record.decision.images]
    case.grants = Grants(record.decision.grants)
    case.give_up(standing.compiled.policies, problem)
    return case.conclude()


def _request_of(record: AuditRecord) -> AdmissionRequest:
    group, _, version = record.api_version.rpartition("/")
    return AdmissionRequest(
        uid=record.uid,
        kind=GroupVersionKind(group, version, record.kind),
        resource=GroupVersionResource(group, version, record.resource),
        sub_resource=record.sub_resource,
        name=record.name,
        namespace=record.namespace,
        operation=Operation(record.operation),
        user=UserInfo(record.username, groups=record.groups),
        object=None,
        old_object=None,
        dry_run=record.dry_run,
        raw={},
        caller=record.caller,
    )


def _around(record: AuditRecord, standing: Standing) -> list[Problem]:
    """The recorded problems with the cluster around the request, as far as somebody needs it now."""
    needs = standing.needs
    wanted = {Stage.NAMESPACE} if Need.NAMESPACE in needs or standing.by_labels else set()
    if Need.INVENTORY in needs:
        wanted.add(Stage.INVENTORY)
    return [problem for problem in record.decision.problems if problem.stage in wanted]


def _around_missing(record: AuditRecord, found: RecordedDocument, standing: Standing) -> Inexact | None:
    stages = {problem.stage for problem in record.decision.problems}
    needs = standing.needs
    if Need.INVENTORY in needs and Stage.INVENTORY not in stages:
        names = [policy.name for policy in standing.compiled.policies if Need.INVENTORY in policy.needs]
        return Inexact(INVENTORY, ", ".join(names[:3]))
    # A namespace that is created has no labels yet that the operator's words could go by.
    looks = Need.NAMESPACE in needs or (standing.by_labels and not found.request.creates_namespace)
    if looks and found.request.namespace and found.namespace is None and Stage.NAMESPACE not in stages:
        return Inexact(NO_LABELS)
    return None


def _was_unchanged(record: AuditRecord, found: RecordedDocument, recorded: CompiledBundle) -> bool:
    """Whether the images were not looked at because an update had not changed them. Break-glass takes the place of that
    word in a record. There were policies then that look at images, and neither have they left a trace nor has the look:
    a digest, or a problem beyond what the names say."""
    decision = record.decision
    if decision.because is not Because.BREAK_GLASS:
        return decision.because is Because.UNCHANGED
    looking = {policy.name for policy in recorded.policies if not policy.needs <= REQUEST_NEEDS}
    if not looking or not found.references or not looking.isdisjoint(one.policy for one in decision.undecided):
        return False
    beyond = FACT_STAGES - {Stage.REFERENCE}
    return not any(image.digest for image in decision.images) and not any(
        problem.stage in beyond for problem in decision.problems
    )


def _fetched(record: AuditRecord, recorded: CompiledBundle) -> frozenset[Need]:
    """What of the images was looked at then. Nothing, where a policy refused before, which leaves the others undecided
    without a problem."""
    if any(not one.problems for one in record.decision.undecided):
        return frozenset()
    late = (policy.needs for policy in recorded.policies if not policy.needs <= REQUEST_NEEDS)
    needs = frozenset[Need]().union(*late) & IMAGE_NEEDS
    return needs | {Need.CONFIG} if Need.IMAGE in needs else needs


def _images(record: AuditRecord, found: RecordedDocument, *, resolved: bool) -> tuple[ImageFacts, ...]:
    """What a decision says of the images beside the document."""
    known = {image.written: image for image in record.decision.images}
    facts = []
    for written, reference in found.references.items():
        image = known.get(written)
        judged = None
        if resolved and image is not None and image.digest and reference is not None:
            judged = _resolved(reference, image.digest, image.stale_since)
        facts.append(ImageFacts(written, reference, judged))
    return tuple(facts)


def _resolved(reference: ImageReference, digest: str, stale_since: datetime | None) -> ResolvedImage:
    return ResolvedImage(reference, Digest(digest), "", is_index=False, platforms=(), stale_since=stale_since)


def _part(ruling: Ruling, names: set[str]) -> Ruling:
    return Ruling(
        judged=ruling.judged & names,
        hits=tuple(hit for hit in ruling.hits if hit.policy in names),
        failed=tuple(failure for failure in ruling.failed if failure.policy in names),
    )


class _Then:
    """A clock that stands at the instant of the record."""

    def __init__(self, instant: datetime) -> None:
        self._instant = instant

    def now(self) -> datetime:
        return self._instant

    def monotonic(self) -> float:
        return 0.0
