"""Decisions as JSON and as something to read: shared by ``check``, ``audit`` and ``demo``."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.box import HORIZONTALS
from rich.table import Table
from rich.text import Text

from portcullis.model.decision import Because, Decision, JudgedImage, Problem, UndecidedPolicy, Verdict, Violation
from portcullis.model.grant import Grant
from portcullis.model.ruling import Mode
from portcullis.server.recordjson import decision_json, problem_json
from portcullis.text import clean, sentence
from portcullis.times import rfc3339

NAME_CHARS = 253
IMAGE_CHARS = 300
MESSAGE_CHARS = 2000
DIGEST_SHOWN = len("sha256:") + 12

_VERDICTS: Mapping[str, tuple[str, str]] = {
    Verdict.ADMITTED: ("✓", "green"),
    Verdict.REFUSED: ("✗", "red"),
    Verdict.UNDECIDED: ("?", "yellow"),
}
_MODES: Mapping[str, str] = {Mode.DENY: "red", Mode.WARN: "yellow", Mode.AUDIT: "cyan"}
_PLACES: Mapping[str, str] = {"init": "init container", "ephemeral": "ephemeral container", "volume": "image volume"}


@dataclass(frozen=True, slots=True)
class Judged:
    """One object with its decision, or with the problem that kept it from being judged at all.

    ``source`` names the document, ``file`` and ``line`` where it stands.
    """

    source: str
    file: str
    line: int
    kind: str
    namespace: str
    name: str
    decision: Decision | None
    problems: tuple[Problem, ...] = ()

    @property
    def verdict(self) -> Verdict:
        return self.decision.verdict if self.decision is not None else Verdict.UNDECIDED

    @property
    def title(self) -> str:
        return workload_title(self.kind, self.namespace, self.name)


def workload_title(kind: str, namespace: str, name: str) -> str:
    """``Deployment shop/checkout``; ``ClusterRole admin`` for what lives in no namespace."""
    place = f"{namespace}/{name}" if namespace else name
    return clean(f"{kind} {place}", 2 * NAME_CHARS).strip()


# -- JSON ------------------------------------------------------------------------------------------------------------


def judged_json(judged: Judged) -> dict[str, Any]:
    """One element of a DecisionList. Every key is always there."""
    named = {"kind": judged.kind, "namespace": judged.namespace, "name": judged.name}
    if judged.decision is None:
        return {
            "source": judged.source, "id": "", **named, "verdict": judged.verdict.value, "code": 400, "because": "",
            "violations": [], "undecided": [], "problems": [problem_json(problem) for problem in judged.problems],
            "warnings": [], "images": [], "grants": [], "policyRevision": "", "elapsedMs": 0.0,
        }  # fmt: skip
    return {"source": judged.source, "id": judged.decision.id, **named, **decision_json(judged.decision)}


def summary(judged: Sequence[Judged]) -> dict[str, int]:
    """How many of each verdict."""
    verdicts = [one.verdict for one in judged]
    return {verdict.value: verdicts.count(verdict) for verdict in Verdict}


# -- for people ------------------------------------------------------------------------------------------------------


def verdict_text(verdict: str, because: str = Because.JUDGED) -> Text:
    """``✓ admitted``, coloured; with ``unchanged`` below it where that is why."""
    sign, style = _VERDICTS.get(verdict, ("?", "yellow"))
    text = Text.assemble((f"{sign} {verdict}", f"bold {style}"))
    if because not in (Because.JUDGED, ""):
        text.append(f"\n  {because}", "dim")
    return text


def images_text(images: Sequence[JudgedImage]) -> Text:
    """Each image as written, and below it the digest that it stood for, shortened."""
    text = Text(overflow="fold")
    for image in images:
        name, _, pinned = image.written.partition("@")
        text.append("\n" if text else "").append(clean(name, IMAGE_CHARS))
        if digest := image.digest or pinned:
            text.append(f"\n  @{clean(digest, DIGEST_SHOWN + 1)}", "dim")
        if image.stale_since is not None:
            text.append(f"\n  as its registry said at {rfc3339(image.stale_since, 'seconds')}", "yellow")
    return text


def why_text(decision: Decision) -> Text:
    """What refuses first: violations with places, words and remedy, then what could not be had; then the rest."""
    problems = by_problem(decision.undecided)
    blocking = [any(policy.blocks for policy in policies) for _, policies in problems]
    parts = [_violations_text(group) for group in _grouped(decision.violations, refusing=True)]
    parts += [_problem_text(*pair) for pair, blocks in zip(problems, blocking, strict=True) if blocks]
    parts += [_violations_text(group) for group in _grouped(decision.violations, refusing=False)]
    parts += [_problem_text(*pair) for pair, blocks in zip(problems, blocking, strict=True) if not blocks]
    attached = {problem for problem, _ in problems}
    parts += [_problem_text(problem, []) for problem in decision.problems if problem not in attached]
    skipped = [policy.policy for policy in decision.undecided if not policy.problems]
    if skipped and decision.violations:
        parts.append(Text(f"not asked, since the request alone is refused: {', '.join(skipped)}", style="dim"))
    return Text("\n").join(parts)


def by_problem(undecided: Iterable[UndecidedPolicy]) -> list[tuple[Problem, list[UndecidedPolicy]]]:
    """Each problem once, with the policies that wait for it."""
    waiting: dict[Problem, list[UndecidedPolicy]] = {}
    for policy in undecided:
        for problem in policy.problems:
            waiting.setdefault(problem, []).append(policy)
    return list(waiting.items())


def grants_text(grants: Iterable[Grant]) -> Text:
    """Each grant that covers something, until when, and why it was made."""
    text = Text(overflow="fold")
    for grant in grants:
        text.append("\n" if text else "").append(clean(grant.id, NAME_CHARS), "bold magenta")
        text.append(f" until {rfc3339(grant.expires, 'minutes')}", "magenta")
        text.append(f"\n{sentence(clean(grant.reason, MESSAGE_CHARS))}")
    return text


def _grouped(violations: Sequence[Violation], *, refusing: bool) -> list[list[Violation]]:
    """Violations of one policy that have one remedy, and one exception, stand together."""
    groups: dict[tuple[str, Mode, str, str], list[Violation]] = {}
    for violation in violations:
        if violation.refuses is refusing:
            key = (violation.policy, violation.mode, violation.fix, violation.exception)
            groups.setdefault(key, []).append(violation)
    return list(groups.values())


def _covered_by(one: Violation | UndecidedPolicy) -> str:
    """``excepted by EX-12 until …``; "" for what nothing covers."""
    until = f" until {rfc3339(one.excepted_until, 'minutes')}" if one.excepted_until is not None else ""
    return f"excepted by {clean(one.exception, NAME_CHARS)}{until}" if one.exception else ""


def _violations_text(violations: Sequence[Violation]) -> Text:
    first = violations[0]
    text = Text(overflow="fold")
    text.append(clean(first.policy, NAME_CHARS), f"bold {_MODES[first.mode]}")
    if first.mode is not Mode.DENY:
        text.append(f" ({first.mode})", _MODES[first.mode])
    if covered := _covered_by(first):
        text.append(f" ({covered})", "magenta")
    for violation in violations:
        place = _place(violation)
        text.append("\n").append(f"{place}: " if place else "", "dim")
        text.append(clean(violation.msg, MESSAGE_CHARS))
    if first.fix:
        text.append("\n→ ", "green").append(clean(first.fix, MESSAGE_CHARS), "green")
    return text


def _place(violation: Violation) -> str:
    words = []
    if violation.container:
        kind = _PLACES.get(violation.container_kind, "container")
        words.append(f"{kind} {clean(violation.container, NAME_CHARS)}")
    if violation.platform:
        words.append(f"on {clean(violation.platform, NAME_CHARS)}")
    return " ".join(words)


def _problem_text(problem: Problem, policies: Sequence[UndecidedPolicy]) -> Text:
    text = Text(overflow="fold")
    text.append(problem.reason, "bold yellow")
    if problem.image:
        text.append(f"  {clean(problem.image, IMAGE_CHARS)}", "dim")
    text.append("\n" + clean(problem.msg, MESSAGE_CHARS))
    if policies:
        names = ", ".join(
            policy.policy if policy.mode is Mode.DENY else f"{policy.policy} ({policy.mode})" for policy in policies
        )
        text.append(f"\nnot evaluated without it: {names}", "dim")
        for covered in sorted({_covered_by(policy) for policy in policies} - {""}):
            text.append(f"\n{covered}", "magenta")
    return text


def decisions_table(judged: Sequence[Judged]) -> Table:
    """The table of ``check``: verdict, workload with its images, why and what to do."""
    table = Table(box=HORIZONTALS, show_lines=True, expand=True, border_style="dim", header_style="bold")
    table.add_column("Verdict", no_wrap=True, width=11)
    table.add_column("Workload and images", ratio=5, overflow="fold")
    table.add_column("Why, and what to do", ratio=6, overflow="fold")
    for one in judged:
        workload = Text(overflow="fold").append(one.title or "(no object)", "bold")
        workload.append(f"\n{clean(one.source, 300)}", "dim")
        if one.decision is None:
            why = Text("\n").join(_problem_text(problem, []) for problem in one.problems)
            table.add_row(verdict_text(one.verdict), workload, why)
            continue
        if one.decision.images:
            workload.append("\n").append_text(images_text(one.decision.images))
        table.add_row(verdict_text(one.verdict, one.decision.because), workload, why_text(one.decision))
    return table


def summary_text(judged: Sequence[Judged]) -> Text:
    """``1 admitted, 2 refused, 0 undecided``."""
    parts = []
    for verdict, count in summary(judged).items():
        style = f"bold {_VERDICTS[verdict][1]}" if count else "dim"
        parts.append(Text(f"{count} {verdict}", style))
    return Text(", ").join(parts)
