"""One decision, arranged to be read: what counted, what could not be had, how long it took."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from portcullis.audit import codec
from portcullis.model.decision import Decision, Problem, Stage, UndecidedPolicy, Violation
from portcullis.model.grant import is_grant
from portcullis.model.record import AuditRecord
from portcullis.model.ruling import Mode
from portcullis.server.review.decisionimages import Judged, judged
from portcullis.server.review.loose import decoded
from portcullis.server.review.rawjson import Raw, raw_json
from portcullis.server.review.reasons import Reason, reasons
from portcullis.text import sentence

SHOWN_GROUPS = 100
SHOWN_LINES = 50
"""What one policy says, each text once."""
SHOWN_PLACES = 100
"""Where it says the same."""
SHOWN_PROBLEMS = 50

_STAGES: Mapping[str, str] = {
    Stage.ADMISSION: "Reading the review",
    Stage.REFERENCE: "Reading image names",
    Stage.REGISTRY: "Asking registries",
    Stage.INSPECTION: "Looking into layers",
    Stage.NAMESPACE: "Looking up the namespace",
    Stage.INVENTORY: "Looking at the cluster",
    Stage.EVIDENCE: "Verifying what is signed",
    Stage.POLICY: "Evaluating policies",
    Stage.AUDIT: "Recording",
}


@dataclass(frozen=True, slots=True)
class Line:
    """What a policy says, and where: one violation for each place. ``more`` places are not listed."""

    msg: str
    places: tuple[Violation, ...]
    more: int


@dataclass(frozen=True, slots=True)
class Group:
    """Violations of one policy that have one remedy. ``more`` texts are not listed."""

    policy: str
    title: str
    severity: str
    mode: Mode
    refuses: bool
    exception: str
    excepted_until: datetime | None
    fix: str
    docs: str
    lines: tuple[Line, ...]
    more: int

    @property
    def by_grant(self) -> bool:
        """Whether what covers it is a grant for an emergency."""
        return is_grant(self.exception)

    @property
    def counts(self) -> bool:
        """Whether it bears on the verdict: it refuses, or would but for an exception."""
        return self.refuses or bool(self.exception)


@dataclass(frozen=True, slots=True)
class Missing:
    """A fact that could not be had, with the policies that wait for it. ``blocks``: one of them is in mode deny, and no
    grant covers it."""

    problem: Problem
    policies: tuple[UndecidedPolicy, ...]
    reason: Reason | None
    blocks: bool


@dataclass(frozen=True, slots=True)
class Span:
    """A stage and its part of the whole, in percent and in milliseconds."""

    name: str
    milliseconds: float
    percent: float


@dataclass(frozen=True, slots=True)
class Counting:
    """What counted. ``unasked`` are policies that were not evaluated because others refused before."""

    groups: tuple[Group, ...]
    more_groups: int
    missing: tuple[Missing, ...]
    more_missing: int
    unasked: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DecisionView(Counting):
    """A decision, with all that its page shows."""

    judged: Judged
    spans: tuple[Span, ...]
    raw: Raw
    document: Raw


def counting_of(decision: Decision, titles: Mapping[str, str]) -> Counting:
    """Args:
    titles: of policies by name, as far as they are known.
    """
    return Counting(*_counting(decision, titles))


def view_of(record: AuditRecord, titles: Mapping[str, str]) -> DecisionView:
    """The same with all else. Reads the judged input as a whole, which may be megabytes: not for the event loop."""
    decision = record.decision
    return DecisionView(
        *_counting(decision, titles),
        judged=judged(decision, decoded(decision.document)),
        spans=_spans(decision),
        raw=raw_json(codec.encode_body(record)),
        document=raw_json(decision.document),
    )


def _counting(
    decision: Decision, titles: Mapping[str, str]
) -> tuple[tuple[Group, ...], int, tuple[Missing, ...], int, tuple[str, ...]]:
    groups, missing = _groups(decision.violations, titles), _missing(decision)
    return (
        tuple(groups[:SHOWN_GROUPS]),
        max(len(groups) - SHOWN_GROUPS, 0),
        tuple(missing[:SHOWN_PROBLEMS]),
        max(len(missing) - SHOWN_PROBLEMS, 0),
        tuple(one.policy for one in decision.undecided if not one.problems),
    )


def _groups(violations: Iterable[Violation], titles: Mapping[str, str]) -> list[Group]:
    """What refuses first, then by mode, and within that as the policies came."""
    found: dict[tuple[str, Mode, str, str], list[Violation]] = {}
    for one in violations:
        found.setdefault((one.policy, one.mode, one.fix, one.exception), []).append(one)
    order = list(Mode)
    listed = sorted(found.values(), key=lambda ones: (not ones[0].refuses, order.index(ones[0].mode)))
    return [_group(ones, titles) for ones in listed]


def _group(violations: Sequence[Violation], titles: Mapping[str, str]) -> Group:
    first = violations[0]
    texts: dict[str, list[Violation]] = {}
    for one in violations:
        texts.setdefault(one.msg, []).append(one)
    lines = [
        Line(msg, tuple(ones[:SHOWN_PLACES]), max(len(ones) - SHOWN_PLACES, 0))
        for msg, ones in list(texts.items())[:SHOWN_LINES]
    ]
    return Group(
        policy=first.policy,
        title=titles.get(first.policy, ""),
        severity=first.severity,
        mode=first.mode,
        refuses=first.refuses,
        exception=first.exception,
        excepted_until=first.excepted_until,
        fix=_remedy(first),
        docs=first.docs if first.docs.startswith(("https://", "http://")) else "",
        lines=tuple(lines),
        more=len(texts) - len(lines),
    )


def _remedy(violation: Violation) -> str:
    """What the policy says, or where it says nothing, what docs/reasons.md says of its reason code."""
    code = violation.details.get("reason")
    known = reasons().get(code) if isinstance(code, str) and not violation.fix else None
    words = known.remedy.replace("`", "") if known is not None else violation.fix
    return sentence(words[:1].upper() + words[1:])


def _missing(decision: Decision) -> list[Missing]:
    """Each problem once, what blocks first; those too that no policy waited for."""
    waiting: dict[Problem, list[UndecidedPolicy]] = {problem: [] for problem in decision.problems}
    for policy in decision.undecided:
        for problem in policy.problems:
            waiting.setdefault(problem, []).append(policy)
    found = [
        Missing(problem, tuple(policies), reasons().get(problem.reason), any(one.blocks for one in policies))
        for problem, policies in waiting.items()
    ]
    return sorted(found, key=lambda one: not one.blocks)


def _spans(decision: Decision) -> tuple[Span, ...]:
    """Each stage as part of the whole. Stages of several images overlap, so that parts may be more than the whole."""
    whole = max([decision.elapsed_ms, *decision.timings.values()], default=0.0)
    stages = [(name, spent) for name, spent in decision.timings.items() if name != Stage.GATE]
    return tuple(
        Span(_STAGES.get(name, name), spent, min(spent * 100 / whole, 100.0) if whole > 0 else 0.0)
        for name, spent in stages
    )
