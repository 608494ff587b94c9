"""Why policies judge a document as they do: rule by rule, with the part of the input that decided."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec

from portcullis.errors import EngineError, EngineMalformed
from portcullis.limits import Limits
from portcullis.model.json import JSONObject
from portcullis.model.ruling import CompiledBundle, Mode, PolicyBundle, PolicyInfo, PolicySource, RuleHit, Ruling
from portcullis.policy.bundle import policy_name
from portcullis.policy.client import OpaClient
from portcullis.policy.explaining.excerpt import leaves, project, shrink
from portcullis.policy.explaining.trace import RuleTrace, Spot, Tried, read_trace
from portcullis.policy.linting.flow import Enough, Flow, Rules
from portcullis.policy.linting.sources import LintFile, Parsed, needed, parse_files
from portcullis.policy.opa import is_strict, question_body
from portcullis.policy.workspace import Workspace
from portcullis.policy.wrapper import ANSWER_PATH
from portcullis.ports import Clock, Engine

SHOWN_INNER = 2
"""Places inside of what a condition calls: the last ones are the nearest to what decided."""

SECONDS = 30.0
"""For all evaluations of one policy."""

LIBRARY = "builtin/lib/"
"""Its lines are not shown: the line of the policy that calls it says what is asked."""

_VERDICT = re.compile(r"^(deny|warn|audit)\s+contains\b", re.MULTILINE)
_PACKAGE = re.compile(r"^package[ \t]+([\w.]+)", re.MULTILINE)


class Tracer(Protocol):
    """What hands out the connection to the OPA that serves a set."""

    def client(self, revision: str) -> AbstractAsyncContextManager[OpaClient]: ...

    def binary(self) -> Path: ...


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a policy."""

    file: str
    row: int
    text: str


@dataclass(frozen=True, slots=True)
class Condition:
    """A line of a rule's body. ``because``: lines of helpers that did not hold, or that did where the condition holds
    without a negation, or is a negation and does not."""

    line: Line
    held: bool
    because: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class ExplainedRule:
    """``fired``: how many elements it put into the verdict. ``tried`` is False where OPA saw by the input alone that it
    cannot hold. ``conditions``: those that held, or the one that stopped it."""

    mode: Mode
    line: Line
    fired: int
    tried: bool
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Explained:
    """One policy. ``failure``: why it gave no ruling, "" where it did; ``asked`` is False where nobody wanted one.
    ``excerpt`` is what decided, None where it says nothing; ``read`` its values by their paths. ``note``: what is not
    shown, and why."""

    policy: PolicyInfo
    hits: tuple[RuleHit, ...]
    failure: str
    rules: tuple[ExplainedRule, ...]
    excerpt: Mapping[str, Any] | None
    read: tuple[tuple[str, Any], ...]
    note: str = ""
    asked: bool = True


class Explainer:
    """Explains one document.

    Args:
        engine, tracer: that serve the set.
        bundle, compiled: the set.
        document: the policy input as JSON.
        parameters: those of the place, for the policies that have others there.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        tracer: Tracer,
        clock: Clock,
        limits: Limits,
        bundle: PolicyBundle,
        compiled: CompiledBundle,
        document: bytes,
        parameters: Mapping[str, JSONObject],
    ) -> None:
        self._engine = engine
        self._tracer = tracer
        self._clock = clock
        self._limits = limits
        self._bundle = bundle
        self._compiled = compiled
        self._document = document
        self._parameters = parameters
        self._tree: dict[str, Any] = msgspec.json.decode(document, type=dict[str, Any])

    async def explain(self, policy: PolicyInfo) -> Explained:
        """Raises EngineError where OPA is not there or has no time."""
        ruling = await self._ruling(policy, self._document)
        failure = "; ".join(one.message for one in ruling.failed)
        if failure:
            return Explained(policy, (), failure, (), None, ())
        files = self._files(policy)
        if not files:
            return Explained(
                policy, ruling.hits, "", (), None, (), "it was written for something else: no rules are shown"
            )
        lines, note = await self._trace(policy)
        rules = tuple(self._rules(policy, files, lines)) if lines is not None else ()
        excerpt: Mapping[str, Any] | None = None
        if ruling.hits:
            excerpt, remark = await self._excerpt(policy, files, ruling)
            note = "; ".join(part for part in (note, remark) if part)
        read = tuple(leaves(excerpt)) if excerpt is not None else ()
        return Explained(policy, ruling.hits, "", rules, excerpt, read, note)

    async def _ruling(self, policy: PolicyInfo, document: bytes) -> Ruling:
        deadline = self._clock.monotonic() + SECONDS
        return await self._engine.evaluate(self._compiled, [policy.name], document, deadline, self._parameters)

    def _files(self, policy: PolicyInfo) -> list[tuple[int, PolicySource]]:
        """The native sources of the policy with their numbers."""
        return [
            (number, source)
            for number, source in enumerate(self._bundle.sources)
            if (found := _PACKAGE.search(source.text)) and policy_name(found[1].split(".")) == policy.name
        ]

    # -- the rules -----------------------------------------------------------------------------------------------

    async def _trace(self, policy: PolicyInfo) -> tuple[list[str] | None, str]:
        """The lines of the trace, or None and why there are none."""
        parameters = {name: value for name, value in self._parameters.items() if name == policy.name}
        body = b'{"input":' + question_body([policy.name], self._document, parameters) + b"}"
        async with self._tracer.client(self._compiled.revision) as client:
            reply = await client.trace(ANSWER_PATH, body, self._limits.explain_bytes, strict=is_strict(policy))
        if reply is None:
            limit = self._limits.explain_bytes
            return None, f"the trace exceeds the limit explainBytes ({limit}): the rules are not shown one by one"
        try:
            return msgspec.json.decode(reply.body, type=_Traced).explanation, ""
        except msgspec.MsgspecError as error:
            raise EngineMalformed("OPA's trace has an unknown shape") from error

    def _rules(
        self, policy: PolicyInfo, files: Sequence[tuple[int, PolicySource]], lines: Sequence[str]
    ) -> Iterator[ExplainedRule]:
        package = policy.name.replace("-", "_")
        traces = {mode: read_trace(lines, f"data.portcullis.policies.{package}.{mode}") for mode in policy.rules}
        for number, source in files:
            for found in _VERDICT.finditer(source.text):
                mode = Mode(found[1])
                row = source.text.count("\n", 0, found.start()) + 1
                yield self._rule(mode, (number, row), traces.get(mode, {}).get((number, row)))

    def _rule(self, mode: Mode, spot: Spot, trace: RuleTrace | None) -> ExplainedRule:
        line = self._line(spot)
        if trace is None:
            return ExplainedRule(mode, line, 0, False, ())
        stopped = trace.stopped_at()
        shown = [stopped] if stopped is not None else sorted(trace.conditions.values(), key=lambda tried: tried.spot)
        conditions = [self._condition(tried, held=stopped is None) for tried in shown if stopped or trace.held]
        # What the verdict is made of is no condition.
        made = re.compile(rf'"|{_made(line.text)}\s*:=')
        kept = tuple(one for one in conditions if not one.held or not made.match(one.line.text))
        return ExplainedRule(mode, line, trace.held, True, kept)

    def _condition(self, tried: Tried, *, held: bool) -> Condition:
        line = self._line(tried.spot)
        negated = line.text.startswith("not ")
        inner = list(tried.inner_failed if held == negated else tried.inner_held)
        own = [spot for spot in inner if spot[0] == tried.spot[0]]
        if own or (held and not negated):  # what lies behind the policy's own lines is of no interest then
            inner = own
        inner = [spot for spot in inner if not self._bundle.sources[spot[0]].path.startswith(LIBRARY)]
        return Condition(line, held, tuple(self._line(spot) for spot in inner[-SHOWN_INNER:]))

    def _line(self, spot: Spot) -> Line:
        source = self._bundle.sources[spot[0]]
        rows = source.text.split("\n")
        return Line(source.path, spot[1], rows[spot[1] - 1].strip() if spot[1] <= len(rows) else "")

    # -- the excerpt ---------------------------------------------------------------------------------------------

    async def _excerpt(
        self, policy: PolicyInfo, files: Sequence[tuple[int, PolicySource]], ruling: Ruling
    ) -> tuple[Mapping[str, Any] | None, str]:
        wanted = _said(ruling)

        async def same(document: Mapping[str, Any]) -> bool:
            whole = json.dumps({**document, "time": self._tree.get("time")}).encode()
            try:
                return _said(await self._ruling(policy, whole)) == wanted
            except EngineError:
                return False

        read = await self._read(policy, [source for _, source in files])
        document = project(self._tree, read - {"input.time", "input.time.now"})
        document = json.loads(json.dumps(document))
        if not await same(document):
            return None, "what it reads could not be told from the rest of the input"
        smallest, whole = await shrink(document, same)
        return smallest, "" if whole else "the excerpt may not be the smallest"

    async def _read(self, policy: PolicyInfo, sources: Sequence[PolicySource]) -> set[str]:
        """The paths of the input that the policy reaches."""
        workspace = Workspace()
        try:
            files = [_written(workspace.path, number, source) for number, source in enumerate(self._bundle.sources)]
            own = [file for file in files if any(file.text == source.text for source in sources)]
            parsed, _ = await parse_files(self._tracer.binary(), [*own, *needed(own, files)], self._limits)
        finally:
            workspace.remove()
        return _reached(parsed, policy)


def _made(head: str) -> str:
    """The variable that a rule puts into the verdict; a pattern that nothing matches where that is no variable."""
    found = re.search(r"contains\s+(\w+)\s+if\b", head)
    return re.escape(found[1]) if found else r"(?!)"


class _Traced(msgspec.Struct):
    explanation: list[str] = []


def _written(folder: Path, number: int, source: PolicySource) -> LintFile:
    place = folder / f"{number:05}.rego"
    place.write_text(source.text, encoding="utf-8")
    return LintFile(source.path, place, source.text)


def _reached(parsed: Sequence[Parsed], policy: PolicyInfo) -> set[str]:
    flow = Flow(Rules(parsed), {})
    package = ("portcullis", "policies", policy.name.replace("-", "_"))
    try:
        for mode in policy.rules:
            flow.rule((*package, str(mode)), (), 1, False)
    except (Enough, RecursionError):
        return {"input"}
    return flow.read


def _said(ruling: Ruling) -> frozenset[tuple[str, ...]]:
    return frozenset((hit.rule, hit.container, hit.image, hit.msg) for hit in ruling.hits)
