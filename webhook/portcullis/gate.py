"""The gate: the whole way of one request, from what is asked to what is answered.

The webhook, ``portcullis check``, the replay and the re-check all call :meth:`Gate.decide`.
"""

import functools
import logging
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime

from portcullis.admission.unchanged import unchanged
from portcullis.admission.workloads import WorkloadReader
from portcullis.audit.redact import redact
from portcullis.collecting import UNMET_BY, ImageCollector, problem_of
from portcullis.decision import texts
from portcullis.decision.modes import Modes
from portcullis.decision.verdict import conclude
from portcullis.errors import EngineError, PortcullisError
from portcullis.evidence.gather import EvidenceGatherer
from portcullis.inspection.config import container_user
from portcullis.limits import Limits
from portcullis.model.decision import Because, Decision, JudgedImage, Problem, Stage, UndecidedPolicy, Violation
from portcullis.model.facts import ContainerFacts, ImageFacts
from portcullis.model.image import Access
from portcullis.model.request import AdmissionRequest
from portcullis.model.ruling import CompiledBundle, Mode, Need, PolicyInfo, RuleHit
from portcullis.model.workload import Container, Unchanged, Workload
from portcullis.policy.document import build_document
from portcullis.ports import Clock, Engine, Registry
from portcullis.reference.parse import parse_reference
from portcullis.text import clean

EVALUATION_SHARE = 0.25
"""Part of the remaining time that is kept for the evaluation when facts are collected."""

log = logging.getLogger(__name__)


class _Run:
    """One request on its way: what was found so far."""

    def __init__(self, clock: Clock) -> None:
        self.id = str(uuid.uuid4())
        self.clock = clock
        self.now: datetime = clock.now()
        self.started = clock.monotonic()
        self.timings: dict[str, float] = {}
        self.because = Because.JUDGED
        self.workload: Workload | None = None
        self.images: tuple[ImageFacts, ...] = ()
        self.violations: list[Violation] = []
        self.undecided: list[UndecidedPolicy] = []
        self.problems: list[Problem] = []
        self.document = b""

    @contextmanager
    def timed(self, stage: Stage) -> Iterator[None]:
        started = self.clock.monotonic()
        try:
            yield
        finally:
            elapsed = (self.clock.monotonic() - started) * 1000
            self.timings[stage] = self.timings.get(stage, 0.0) + elapsed


class Gate:
    """Decides requests by the policies of one compiled bundle.

    Args:
        reader: finds the pod in an object.
        registry, gatherer: where facts about images come from.
        engine, compiled: what judges, and by which policies.
        modes: the operator's modes.
        config_revision: names the configuration in every decision.
    """

    def __init__(
        self,
        *,
        reader: WorkloadReader,
        registry: Registry,
        gatherer: EvidenceGatherer,
        engine: Engine,
        compiled: CompiledBundle,
        modes: Modes,
        clock: Clock,
        limits: Limits,
        default_registry: str = "docker.io",
        config_revision: str = "",
    ) -> None:
        parse = functools.partial(parse_reference, default_registry=default_registry, limits=limits)
        self._collector = ImageCollector(parse=parse, registry=registry, gatherer=gatherer, clock=clock, limits=limits)
        self._reader = reader
        self._engine = engine
        self._compiled = compiled
        self._modes = modes
        self._clock = clock
        self._limits = limits
        self._config_revision = config_revision

    async def decide(self, request: AdmissionRequest, deadline: float) -> Decision:
        """The decision on ``request``, before ``deadline`` (a Clock.monotonic instant).

        Never raises: a fault of ours leaves every policy undecided.
        """
        run = _Run(self._clock)
        try:
            await self._judge(run, request, deadline)
        except PortcullisError as error:
            self._give_up(run, request, problem_of(error, Stage.ADMISSION))
        except Exception:  # the last resort of a gate that must answer
            log.exception("decision failed", extra={"decision": run.id})
            message = "a fault in Portcullis itself; the log of the webhook tells more"
            self._give_up(run, request, Problem(Stage.GATE, "internal-error", retryable=True, msg=message))
        return self._conclude(run, request)

    def enforces(self, namespace: str) -> bool:
        """Whether any policy is in mode deny there. Where none is, nothing is ever refused."""
        return any(self._modes.strongest(policy, namespace) is Mode.DENY for policy in self._compiled.policies)

    async def _judge(self, run: _Run, request: AdmissionRequest, deadline: float) -> None:
        with run.timed(Stage.ADMISSION):
            asked = redact(request)
            run.workload = self._reader.read(asked)
            change = unchanged(request, self._reader)
        written = [container.image for container in run.workload.containers]
        early = [policy for policy in self._compiled.policies if policy.needs <= {Need.REQUEST}]
        late = [policy for policy in self._compiled.policies if policy not in early]
        run.images = await self._collector.collect(written, (), Access(), deadline)

        # Policies that read the request alone come first: they may refuse before a registry is asked.
        await self._evaluate(run, asked, early, deadline)
        if isinstance(change, Unchanged):
            run.because = Because.UNCHANGED
            return
        if any(violation.mode is Mode.DENY for violation in run.violations):
            run.undecided += [self._undecided(policy, asked, ()) for policy in late]
            return
        if not late:
            return

        with run.timed(Stage.REGISTRY):
            remaining = deadline - self._clock.monotonic()
            needs = frozenset().union(*(policy.needs for policy in late))
            access = _access(asked, run.workload)
            run.images = await self._collector.collect(written, needs, access, deadline - remaining * EVALUATION_SHARE)
        await self._evaluate(run, asked, late, deadline)

    async def _evaluate(
        self, run: _Run, request: AdmissionRequest, policies: Sequence[PolicyInfo], deadline: float
    ) -> None:
        """Asks the engine for the policies whose facts are all there; the others are undecided."""
        facts_problems = [problem for image in run.images for problem in image.problems]
        run.problems = [*dict.fromkeys([*run.problems, *facts_problems])]
        with run.timed(Stage.POLICY):
            run.document = self._document(run, request)
            ready = []
            for policy in policies:
                if problems := _unmet(policy, facts_problems):
                    run.undecided.append(self._undecided(policy, request, problems))
                else:
                    ready.append(policy)
            if not ready:
                return
            try:
                ruling = await self._engine.evaluate(
                    self._compiled, [policy.name for policy in ready], run.document, deadline
                )
            except EngineError as error:
                problem = problem_of(error, Stage.POLICY)
                run.problems.append(problem)
                run.undecided += [self._undecided(policy, request, (problem,)) for policy in ready]
                return
        infos = {policy.name: policy for policy in ready}
        run.violations += [self._violation(run, request, infos[hit.policy], hit) for hit in ruling.hits]
        failed = {
            failure.policy: Problem(Stage.POLICY, failure.reason, retryable=False, msg=failure.message)
            for failure in ruling.failed
        }
        for name in infos.keys() - ruling.judged - failed.keys():
            message = f"the engine gave no ruling on {name}"
            failed[name] = Problem(Stage.POLICY, "policy-undefined", retryable=False, msg=message)
        run.problems += failed.values()
        run.undecided += [self._undecided(infos[name], request, (problem,)) for name, problem in failed.items()]

    def _document(self, run: _Run, request: AdmissionRequest) -> bytes:
        assert run.workload is not None
        users = {image.written: image.users if image.resolved is not None else None for image in run.images}
        pod_spec = run.workload.pod_spec or {}
        return build_document(
            now=run.now,
            request=request,
            workload=run.workload,
            containers=[
                ContainerFacts(container, container_user(container, pod_spec, users.get(container.image)))
                for container in run.workload.containers
            ],
            images=run.images,
            limits=self._limits,
        )

    def _violation(self, run: _Run, request: AdmissionRequest, policy: PolicyInfo, hit: RuleHit) -> Violation:
        assert run.workload is not None
        container = _container(run.workload, hit)
        image = hit.image or (container.image if container is not None else "")
        return Violation(
            policy=policy.name,
            mode=self._modes.mode(policy, hit.rule, request.namespace),
            severity=policy.severity,
            msg=hit.msg,
            container=hit.container,
            container_kind=container.kind if container is not None else "",
            image=image,
            digest=hit.digest or _digests(run.images).get(image, ""),
            platform=hit.platform,
            field=hit.field,
            fix=hit.fix,
            docs=policy.docs,
            details=hit.details,
        )

    def _undecided(self, policy: PolicyInfo, request: AdmissionRequest, problems: Sequence[Problem]) -> UndecidedPolicy:
        mode = self._modes.strongest(policy, request.namespace)
        return UndecidedPolicy(policy=policy.name, mode=mode, problems=tuple(problems))

    def _give_up(self, run: _Run, request: AdmissionRequest, problem: Problem) -> None:
        """Every policy that was not judged is undecided for that problem."""
        run.problems.append(problem)
        run.undecided = [self._undecided(policy, request, (problem,)) for policy in self._compiled.policies]

    def _conclude(self, run: _Run, request: AdmissionRequest) -> Decision:
        outcome = conclude(run.violations, run.undecided, person=request.user.is_person)
        elapsed = (self._clock.monotonic() - run.started) * 1000
        digests = _digests(run.images)
        return Decision(
            id=run.id,
            verdict=outcome.verdict,
            code=outcome.code,
            because=run.because,
            message=texts.message(outcome, _name_of(request), run.violations, run.undecided, run.id, self._limits),
            warnings=texts.warnings(run.violations, run.undecided, self._limits),
            retry_after_seconds=outcome.retry_after_seconds,
            violations=tuple(run.violations),
            undecided=tuple(run.undecided),
            problems=tuple(run.problems),
            images=tuple(JudgedImage(image.written, digests.get(image.written, "")) for image in run.images),
            policy_revision=self._compiled.revision,
            config_revision=self._config_revision,
            decided_at=run.now,
            elapsed_ms=elapsed,
            timings={**run.timings, Stage.GATE: elapsed},
            document=run.document,
        )


def _unmet(policy: PolicyInfo, problems: Sequence[Problem]) -> tuple[Problem, ...]:
    """The problems that keep ``policy`` from being evaluated."""
    unmet = tuple(problem for problem in problems if not policy.needs.isdisjoint(UNMET_BY[problem.stage]))
    if Need.INVENTORY in policy.needs:
        message = "this version of Portcullis does not watch the cluster"
        unmet += (Problem(Stage.GATE, "inventory-unavailable", retryable=False, msg=message),)
    return unmet


def _container(workload: Workload, hit: RuleHit) -> Container | None:
    """The container that a rule names. An image volume may have the name of a container: then the image tells."""
    named = [container for container in workload.containers if container.name == hit.container]
    same = [container for container in named if container.image == hit.image]
    return next(iter(same or named), None)


def _digests(images: Sequence[ImageFacts]) -> Mapping[str, str]:
    return {image.written: image.resolved.digest for image in images if image.resolved is not None}


def _access(request: AdmissionRequest, workload: Workload) -> Access:
    spec = workload.pod_spec or {}
    account = spec.get("serviceAccountName")
    secrets = spec.get("imagePullSecrets")
    names = [entry.get("name") for entry in secrets if isinstance(entry, Mapping)] if isinstance(secrets, list) else []
    return Access(
        namespace=request.namespace,
        service_account=account if isinstance(account, str) else "",
        pull_secrets=tuple(name for name in names if isinstance(name, str)),
    )


def _name_of(request: AdmissionRequest) -> str:
    """``Deployment shop/checkout``, with the sub-resource where there is one."""
    name = f"{request.namespace}/{request.name}" if request.namespace else request.name
    kind = f"{request.kind.kind} ({request.sub_resource})" if request.sub_resource else request.kind.kind
    return clean(f"{kind} {name}", 2 * texts.NAME_CHARS)
