"""What a decision is called: outcome, sentence, reasons. Outage and violation never have the same word or sign."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from portcullis.decision.verdict import PENDING
from portcullis.model.decision import Because, Decision, UndecidedPolicy, Verdict, Violation
from portcullis.model.grant import is_grant
from portcullis.model.record import AuditRecord
from portcullis.model.request import Caller, Operation
from portcullis.text import clean

NAME_CHARS = 253
LISTED = 3

Kind = Literal["admitted", "refused", "outage", "pending", "exception", "break-glass"]

CALLERS = {
    Caller.CERTIFICATE: "the API server, known by its client certificate",
    Caller.PATH: "the API server, known by the secret path",
    Caller.UNVERIFIED: "unverified: anybody who reaches the webhook could have sent it",
    Caller.LOCAL: "a command on the operator's machine",
}
OPERATIONS = {
    Operation.CREATE: "create",
    Operation.UPDATE: "change",
    Operation.DELETE: "delete",
    Operation.CONNECT: "connect to",
}
PLACES = {
    "container": "container",
    "init": "init container",
    "ephemeral": "ephemeral container",
    "volume": "image volume",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """``kind`` names sign and colour, ``word`` stands beside them."""

    kind: Kind
    word: str


@dataclass(frozen=True, slots=True)
class Why:
    """One thing that counted: a policy, or the reason code of what could not be had. ``words`` say what it found;
    ``refuses`` whether it is why the request was not admitted."""

    name: str
    words: str
    refuses: bool
    is_policy: bool
    mode: str = ""
    exception: str = ""

    @property
    def by_grant(self) -> bool:
        """Whether what covers it is a grant for an emergency."""
        return is_grant(self.exception)


def outcome(decision: Decision) -> Outcome:
    """Of a decision."""
    if decision.verdict is Verdict.REFUSED:
        return Outcome("refused", "refused")
    if decision.verdict is Verdict.UNDECIDED:
        return Outcome("pending", "pending") if decision.code == PENDING else Outcome("outage", "outage")
    if decision.because is Because.BREAK_GLASS:
        return Outcome("break-glass", "break-glass")
    if decision.because is Because.EXCEPTION:
        return Outcome("exception", "exception")
    return Outcome("admitted", "admitted")


def workload(record: AuditRecord) -> str:
    """``Deployment shop/checkout``; ``ClusterRole admin`` for what lives in no namespace."""
    place = f"{record.namespace}/{record.name}" if record.namespace else record.name
    return clean(f"{record.kind} {place}", 2 * NAME_CHARS).strip() or "a review that could not be read"


def requester(record: AuditRecord) -> str:
    """Who asked; service accounts without their common prefix."""
    return clean(record.username, NAME_CHARS).removeprefix("system:serviceaccount:") or "nobody named"


def sentence(record: AuditRecord) -> str:
    """The verdict in one sentence."""
    decision = record.decision
    what = workload(record)
    refusing = _names(one.policy for one in decision.violations if one.refuses)
    if refusing:
        verb = "policy refuses" if len(refusing) == 1 else "policies refuse"
        return f"{len(refusing)} {verb} {what}: {listed(refusing)}."
    missing = listed(_names(one.reason for one in decision.problems)) or "the reason was not recorded"
    if decision.verdict is Verdict.REFUSED:
        return f"{what} could not be judged, and waiting would not have helped: {missing}."
    if decision.verdict is Verdict.UNDECIDED and decision.code == PENDING:
        return f"{what} was still being inspected. That is no refusal: asked again later, it is judged."
    if decision.verdict is Verdict.UNDECIDED:
        return f"{what} could not be judged. That is an outage, not a violation: {missing}."
    return f"{what} was admitted{_admitted_why(decision)}."


def _admitted_why(decision: Decision) -> str:
    if decision.because in (Because.EXCEPTION, Because.BREAK_GLASS):
        by_grant = decision.because is Because.BREAK_GLASS
        covered = [one for one in decision.covered if is_grant(one.exception) or not by_grant]
        ids = _names(one.exception for one in covered)
        kind = "break-glass" if by_grant else "an exception"
        return f" by {kind} ({listed(ids)}), {_although(decision)}" if ids else f" by {kind}"
    if decision.because is Because.UNCHANGED:
        return ": nothing changed of what policies look at in images"
    lenient = _names(one.policy for one in decision.violations)
    if lenient:
        verb = "is" if len(lenient) == 1 else "are"
        return f". {listed(lenient)} {verb} violated, which is not enforced here"
    if decision.undecided:
        return ", though not all policies could be evaluated"
    return ": no policy is violated"


def _although(decision: Decision) -> str:
    """What was against it, and is covered."""
    violated = _names(one.policy for one in decision.violations if one.exception)
    unknown = _names(one.policy for one in decision.undecided if one.exception)
    parts = [f"it violates {listed(violated)}"] if violated else []
    parts += [f"{listed(unknown)} could not be evaluated"] if unknown else []
    return f"although {' and '.join(parts)}"


def whys(decision: Decision) -> tuple[Why, ...]:
    """What counted, what refuses first; each policy and each reason code once."""
    violations = sorted(decision.violations, key=lambda one: not one.refuses)
    found = {one.policy: _violated(one) for one in reversed(violations)}
    waiting = {problem.reason: problem for problem in reversed(decision.problems)}
    covered = {one.policy: _not_evaluated(one) for one in decision.undecided if one.exception}
    blocked = decision.verdict is not Verdict.ADMITTED and not any(why.refuses for why in found.values())
    problems = [Why(reason, clean(one.msg, 300), blocked, is_policy=False) for reason, one in waiting.items()]
    listed_first = [*reversed(found.values()), *covered.values(), *reversed(problems)]
    return tuple(sorted(listed_first, key=lambda why: not why.refuses))


def _violated(one: Violation) -> Why:
    return Why(one.policy, clean(one.msg, 300), one.refuses, True, one.mode.value, one.exception)


def _not_evaluated(one: UndecidedPolicy) -> Why:
    return Why(one.policy, "could not be evaluated", False, True, one.mode.value, one.exception)


def marks(record: AuditRecord) -> Iterator[tuple[str, str]]:
    """What one must know of a decision beside its verdict: sign and words."""
    if record.dry_run:
        yield "dry", "dry run"
    if record.caller is Caller.UNVERIFIED:
        yield "unverified", "unverified caller"
    if record.decision.because is Because.UNCHANGED:
        yield "unchanged", "unchanged"


def listed(names: Sequence[str], most: int = LISTED) -> str:
    """``a, b and c``; ``a, b, c and 4 more``."""
    shown = [clean(name, NAME_CHARS) for name in names[:most]]
    if len(names) > most:
        return f"{', '.join(shown)} and {len(names) - most} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def _names(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
