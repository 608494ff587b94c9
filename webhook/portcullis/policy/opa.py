"""The Engine over OPA, supervised or remote."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType

import msgspec

from portcullis.errors import EngineError, EngineMalformed, EngineTimeout, EngineUnavailable
from portcullis.limits import Limits
from portcullis.measuring import Durations
from portcullis.model.json import JSONObject
from portcullis.model.ruling import CompiledBundle, Origin, PolicyBundle, PolicyFailure, PolicyInfo, RuleHit, Ruling
from portcullis.policy.answer import Answer, failed, read_answer, read_policy, undefined
from portcullis.policy.client import Reply
from portcullis.policy.compiler import Compiler
from portcullis.policy.foreign import Known
from portcullis.policy.plain import plain
from portcullis.policy.room import Room
from portcullis.policy.serving import Asked, Serving
from portcullis.policy.workspace import Workspace
from portcullis.policy.wrapper import ANSWER_PATH
from portcullis.ports import Clock
from portcullis.spans import span
from portcullis.text import clean

ALONE_AT_ONCE = 4
"""Policies asked one by one at the same time, after all together failed."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NO_PARAMETERS: Mapping[str, JSONObject] = MappingProxyType({})


class OpaEngine:
    """Implements the Engine port.

    Args:
        supervisor: serves the sets; closed by whoever made it.
        clock: ``monotonic`` is the scale of the deadlines.
        limits: ``engine_bytes``, ``engine_answer_bytes``, ``violations``, ``message_chars`` and the bounds of
            the compiler apply.
        fingerprinted: as the compiler takes it.
    """

    def __init__(self, *, supervisor: Serving, clock: Clock, limits: Limits, fingerprinted: bool = False) -> None:
        self._fingerprinted = fingerprinted
        self._supervisor = supervisor
        self._clock = clock
        self._limits = limits
        self._compiling = asyncio.Lock()
        self._known = Known()
        self._room = Room(limits.engine_bytes)
        self.evaluations: Counter[str] = Counter()
        """By how they ended: ``ok``, ``stopped`` (nobody waits any more), or the reason of an EngineError."""
        self.seconds = Durations()
        """Of the evaluations, waiting for room included."""

    @property
    def waiting(self) -> int:
        """Questions that wait until OPA has room for them (``engine_bytes``)."""
        return self._room.waiting

    async def compile(self, bundle: PolicyBundle) -> CompiledBundle:
        """See :class:`portcullis.ports.Engine`."""
        async with self.prepared(bundle) as prepared:
            return await prepared.serve()

    @asynccontextmanager
    async def prepared(self, bundle: PolicyBundle) -> AsyncIterator["Prepared"]:
        """The bundle compiled, in processes that are gone again, and served only if that is asked for. At the end of
        the block nothing of it is left otherwise.

        Raises:
            PolicyCompileError, EngineError: as :meth:`compile`.
        """
        async with self._compiling:
            compiler = self._compiler()
            workspace = await asyncio.to_thread(Workspace)
            try:
                compiled, folder = await compiler.compile(bundle, workspace.path)
                prepared = Prepared(compiled, workspace, folder, self._supervisor)
            except BaseException as error:
                workspace.remove()
                if isinstance(error, OSError):
                    raise _unwritable(error) from error
                raise
        try:
            yield prepared
        finally:
            if not prepared.served:
                workspace.remove()

    async def check(self, bundle: PolicyBundle) -> None:
        """Whether OPA compiles it, which is half of :meth:`prepared` and waits for nobody.

        Raises:
            PolicyCompileError, EngineError: as :meth:`compile`.
        """
        workspace = await asyncio.to_thread(Workspace)
        try:
            await self._compiler().check(bundle, workspace.path)
        except OSError as error:
            raise _unwritable(error) from error
        finally:
            await asyncio.to_thread(workspace.remove)

    def _compiler(self) -> Compiler:
        return Compiler(
            binary=self._supervisor.binary(),
            limits=self._limits,
            memory_bytes=self._supervisor.memory_bytes,
            known=self._known,
            fingerprinted=self._fingerprinted,
        )

    def binary(self) -> Path:
        """OPA. Raises EngineUnavailable where there is none."""
        return self._supervisor.binary()

    def hold(self, compiled: CompiledBundle) -> AbstractContextManager[None]:
        """See :class:`portcullis.ports.Engine`."""
        return self._supervisor.hold(compiled.revision)

    async def evaluate(
        self,
        compiled: CompiledBundle,
        policies: Sequence[str],
        document: bytes,
        deadline: float,
        parameters: Mapping[str, JSONObject] = _NO_PARAMETERS,
    ) -> Ruling:
        """See :class:`portcullis.ports.Engine`."""
        with self._counted(), span("opa", policies=len(policies), bytes=len(document)):
            return await self._evaluated(compiled, policies, document, deadline, parameters)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        started, outcome = self._clock.monotonic(), "stopped"
        try:
            yield
            outcome = "ok"
        except EngineError as error:
            outcome = error.reason
            raise
        finally:
            self.evaluations[outcome] += 1
            self.seconds.observe(self._clock.monotonic() - started)

    async def _evaluated(
        self,
        compiled: CompiledBundle,
        policies: Sequence[str],
        document: bytes,
        deadline: float,
        parameters: Mapping[str, JSONObject],
    ) -> Ruling:
        known = {policy.name: policy for policy in compiled.policies}
        asked = [known[name] for name in dict.fromkeys(policies) if name in known]
        failures = [undefined(name, "there is no such policy") for name in dict.fromkeys(policies) if name not in known]
        if not asked:
            return Ruling(judged=frozenset(), hits=(), failed=tuple(failures))
        now_ns = decision_ns(document)
        seconds = deadline - self._clock.monotonic()
        if seconds <= 0:
            raise EngineTimeout("there was no time left to evaluate the policies")
        try:
            async with asyncio.timeout(seconds), self._supervisor.client(compiled.revision) as client:
                question = _Question(now_ns, msgspec.json.encode(parameters, enc_hook=plain), document)
                query = _Query(client, compiled.revision, question, self._limits, self._room)
                outcomes = await query.all(asked)
        except TimeoutError as error:
            raise EngineTimeout(f"the policies were not evaluated within {seconds:.1f} s") from error
        failures.extend(outcome for outcome in outcomes.values() if isinstance(outcome, PolicyFailure))
        hits = [hit for outcome in outcomes.values() if not isinstance(outcome, PolicyFailure) for hit in outcome]
        judged = frozenset(name for name, outcome in outcomes.items() if not isinstance(outcome, PolicyFailure))
        return Ruling(judged=judged, hits=tuple(hits), failed=tuple(failures))


def is_strict(policy: PolicyInfo) -> bool:
    """Whether a builtin that fails is an error of the policy, and not undefined. Policies for Gatekeeper were written,
    and tested, where it is undefined: ``not canonify_cpu(x)`` is how they tell that x is no quantity."""
    return policy.origin is not Origin.GATEKEEPER


def question_body(names: Sequence[str], document: bytes, parameters: Mapping[str, JSONObject]) -> bytes:
    """One question as JSON: what the wrapper takes for ``input``.

    Raises:
        EngineMalformed: the document is no JSON object, or has no time.
    """
    question = _Question(decision_ns(document), msgspec.json.encode(parameters, enc_hook=plain), document)
    return question.input(names)


class Prepared:
    """A compiled set that could be served."""

    def __init__(self, compiled: CompiledBundle, workspace: Workspace, folder: Path, supervisor: Serving) -> None:
        self.compiled = compiled
        self.served = False
        self._workspace = workspace
        self._folder = folder
        self._supervisor = supervisor

    async def serve(self) -> CompiledBundle:
        """Makes it the serving set.

        Raises:
            EngineError: OPA does not start with it; what was served before goes on.
        """
        try:
            await self._supervisor.serve(self._workspace, self._folder, self.compiled.revision)
        except OSError as error:
            raise _unwritable(error) from error
        self.served = True
        return self.compiled


Outcome = tuple[RuleHit, ...] | PolicyFailure


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked, but for the names of the policies."""

    now_ns: int
    parameters: bytes
    document: bytes

    def input(self, names: Sequence[str]) -> bytes:
        """The document goes as it is: it is large, and it is what is recorded."""
        parts = (
            *(b'{"evaluate":', msgspec.json.encode(names), b',"now_ns":%d' % self.now_ns),
            *(b',"parameters":', self.parameters, b',"document":', self.document, b"}"),
        )
        return b"".join(parts)


class _Query:
    """The questions of one decision."""

    def __init__(self, client: Asked, revision: str, question: _Question, limits: Limits, room: Room) -> None:
        self._client = client
        self._revision = revision
        self._question = question
        self._limits = limits
        self._room = room

    async def all(self, policies: Sequence[PolicyInfo]) -> Mapping[str, Outcome]:
        """The outcomes of all policies: those that are asked strictly, and those that are not."""
        groups = [group for strict in (True, False) if (group := [one for one in policies if is_strict(one) is strict])]
        outcomes: dict[str, Outcome] = {}
        for group in groups:
            outcomes |= await self._together(group)
        return outcomes

    async def _together(self, policies: Sequence[PolicyInfo]) -> Mapping[str, Outcome]:
        """One request for all, which are asked in the same way. Where that fails as a whole, each is asked alone, so
        that the one which failed is known and the others are judged."""
        answer = await self._ask(policies)
        if not isinstance(answer, str):
            return {policy.name: read_policy(policy, answer.results, self._limits) for policy in policies}
        if len(policies) == 1:
            return {policies[0].name: failed(policies[0].name, answer)}
        gate = asyncio.Semaphore(ALONE_AT_ONCE)

        async def alone(policy: PolicyInfo) -> Mapping[str, Outcome]:
            async with gate:
                return await self._together([policy])

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(alone(policy)) for policy in policies]
        except* EngineError as errors:
            raise _first(errors) from None
        return {name: outcome for task in tasks for name, outcome in task.result().items()}

    async def _ask(self, policies: Sequence[PolicyInfo]) -> Answer | str:
        """OPA's answer, or why the evaluation failed."""
        body = b'{"input":' + self._question.input([policy.name for policy in policies]) + b"}"
        async with self._room.take(len(self._question.document)):
            reply = await self._client.query(
                ANSWER_PATH, body, self._limits.engine_answer_bytes, strict=is_strict(policies[0])
            )
        if reply is None:
            return f"the answer exceeds the limit engineAnswerBytes ({self._limits.engine_answer_bytes})"
        if reply.status == 500:
            return _why(reply)
        if reply.status != 200:
            raise EngineMalformed(f"OPA refused the question ({reply.status}): {_why(reply)}")
        answer = read_answer(reply.body)
        if answer is None:
            return Answer(revision=self._revision, results={})
        if answer.revision != self._revision:
            raise EngineUnavailable("OPA answered from another policy set than the one it was asked for")
        return answer


def _unwritable(error: OSError) -> EngineUnavailable:
    return EngineUnavailable(f"the files for OPA cannot be written: {error.strerror}")


class _Time(msgspec.Struct):
    now: datetime


class _Document(msgspec.Struct):
    time: _Time


def decision_ns(document: bytes) -> int:
    """``input.time.now`` in nanoseconds since 1970. Decoding also proves that the document is one JSON object,
    so that putting it into the question cannot change the question."""
    try:
        now = msgspec.json.decode(document, type=_Document).time.now
        return (now - _EPOCH) // timedelta(microseconds=1) * 1000
    except (msgspec.MsgspecError, TypeError, RecursionError) as error:
        raise EngineMalformed("the policy document has no time.now with a zone, or is no JSON") from error


class _Detail(msgspec.Struct):
    message: str = ""


class _Failure(msgspec.Struct):
    message: str = ""
    errors: list[_Detail] = []


def _why(reply: Reply) -> str:
    """OPA's own words, without its stack and our file names."""
    try:
        failure = msgspec.json.decode(reply.body, type=_Failure)
    except msgspec.MsgspecError:
        return "OPA gave no reason"
    words = "; ".join(detail.message for detail in failure.errors[:3]) or failure.message
    return clean(words, 500) or "OPA gave no reason"


def _first(errors: BaseExceptionGroup[EngineError]) -> EngineError:
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
