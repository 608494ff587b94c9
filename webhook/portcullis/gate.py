"""The gate: the whole way of one request, from what is asked to what is answered.

The webhook, ``portcullis check``, the replay and the re-check all call :meth:`Gate.decide`.
"""

import functools
import logging
from collections.abc import Mapping, Sequence

from portcullis.admission.unchanged import unchanged
from portcullis.admission.workloads import WorkloadReader
from portcullis.audit.redact import redact
from portcullis.case import Case
from portcullis.collecting import UNMET_BY, ImageCollector, container_facts, problem_of
from portcullis.decision.modes import Modes
from portcullis.errors import EngineError, PortcullisError
from portcullis.evidence.marks import marks_of
from portcullis.inspection.catalogue import Catalogue
from portcullis.limits import Limits
from portcullis.model.decision import Because, Decision, Problem, Stage
from portcullis.model.image import Access
from portcullis.model.request import AdmissionRequest
from portcullis.model.ruling import CompiledBundle, Mode, Need, PolicyInfo
from portcullis.model.workload import Unchanged, Workload
from portcullis.policy.document import build_document
from portcullis.ports import Clock, Engine, Gatherer, Inspector, Registry
from portcullis.reference.parse import parse_reference
from portcullis.remembering import Remembering

EVALUATION_SHARE = 0.25
"""Part of the remaining time that is kept for the evaluation when facts are collected."""

log = logging.getLogger(__name__)


class Gate:
    """Decides requests by the policies of one compiled bundle.

    Args:
        reader: finds the pod in an object.
        registry, gatherer, inspector: where facts about images come from; without an inspector layers stay unread.
        catalogue: says what is a secret in the history of an image.
        engine, compiled: what judges, and by which policies.
        modes: the operator's modes.
        remembering: takes note of the scans that were seen; None for what remembers nothing.
        config_revision: names the configuration in every decision.
    """

    def __init__(
        self,
        *,
        reader: WorkloadReader,
        registry: Registry,
        gatherer: Gatherer,
        inspector: Inspector | None,
        catalogue: Catalogue,
        engine: Engine,
        compiled: CompiledBundle,
        modes: Modes,
        clock: Clock,
        limits: Limits,
        remembering: Remembering | None = None,
        default_registry: str = "docker.io",
        config_revision: str = "",
    ) -> None:
        parse = functools.partial(parse_reference, default_registry=default_registry, limits=limits)
        self._collector = ImageCollector(
            parse=parse,
            registry=registry,
            gatherer=gatherer,
            inspector=inspector,
            catalogue=catalogue,
            clock=clock,
            limits=limits,
        )
        self._reader = reader
        self._engine = engine
        self._compiled = compiled
        self._modes = modes
        self._clock = clock
        self._limits = limits
        self._remembering = remembering
        self._config_revision = config_revision

    async def decide(self, request: AdmissionRequest, deadline: float) -> Decision:
        """The decision on ``request``, before ``deadline`` (a Clock.monotonic instant).

        Never raises: a fault of ours leaves every policy undecided.
        """
        case = Case(request, modes=self._modes, clock=self._clock, limits=self._limits)
        try:
            await self._judge(case, deadline)
        except PortcullisError as error:
            case.give_up(self._compiled.policies, problem_of(error, Stage.ADMISSION))
        except Exception:  # the last resort of a gate that must answer
            log.exception("decision failed", extra={"decision": case.id})
            message = "a fault in Portcullis itself; the log of the webhook tells more"
            problem = Problem(Stage.GATE, "internal-error", retryable=True, msg=message)
            case.give_up(self._compiled.policies, problem)
        if self._remembering is not None:
            seen = [image.evidence for image in case.images if image.evidence is not None]
            self._remembering.note(case.request, marks_of(seen, case.now))
        return case.conclude(policy_revision=self._compiled.revision, config_revision=self._config_revision)

    def enforces(self, namespace: str) -> bool:
        """Whether any policy is in mode deny there. Where none is, nothing is ever refused."""
        return any(self._modes.strongest(policy, namespace) is Mode.DENY for policy in self._compiled.policies)

    async def _judge(self, case: Case, deadline: float) -> None:
        with case.timed(Stage.ADMISSION):
            request = redact(case.request)
            case.workload = workload = self._reader.read(request)
            change = unchanged(case.request, self._reader)
        written = [container.image for container in workload.containers]
        early = [policy for policy in self._compiled.policies if policy.needs <= {Need.REQUEST}]
        late = [policy for policy in self._compiled.policies if policy not in early]
        case.images = self._collector.name(written)

        # Policies that read the request alone come first: they may refuse before a registry is asked.
        await self._evaluate(case, request, workload, early, deadline)
        if isinstance(change, Unchanged):
            case.because = Because.UNCHANGED
            return
        if case.refused:
            case.undecide(late, ())
            return
        if not late:
            return

        with case.timed(Stage.REGISTRY):
            remaining = deadline - self._clock.monotonic()
            needs = frozenset().union(*(policy.needs for policy in late))
            access = _access(request, workload)
            facts_by = deadline - remaining * EVALUATION_SHARE
            case.images = await self._collector.collect(written, needs, access, facts_by, request)
        await self._evaluate(case, request, workload, late, deadline)

    async def _evaluate(
        self,
        case: Case,
        request: AdmissionRequest,
        workload: Workload,
        policies: Sequence[PolicyInfo],
        deadline: float,
    ) -> None:
        """Asks the engine for the policies whose facts are all there; the others are undecided."""
        problems = [problem for image in case.images for problem in image.problems]
        case.note(problems)
        with case.timed(Stage.POLICY):
            case.document = build_document(
                now=case.now,
                request=request,
                workload=workload,
                containers=container_facts(workload, case.images),
                images=case.images,
                limits=self._limits,
            )
            ready = []
            for policy in policies:
                if unmet := _unmet(policy, problems):
                    case.undecide([policy], unmet)
                else:
                    ready.append(policy)
            if not ready:
                return
            names = [policy.name for policy in ready]
            try:
                ruling = await self._engine.evaluate(self._compiled, names, case.document, deadline)
            except EngineError as error:
                problem = problem_of(error, Stage.POLICY)
                case.note([problem])
                case.undecide(ready, [problem])
                return
        case.take(ready, ruling)


def _unmet(policy: PolicyInfo, problems: Sequence[Problem]) -> tuple[Problem, ...]:
    """The problems that keep ``policy`` from being evaluated."""
    unmet = tuple(problem for problem in problems if not policy.needs.isdisjoint(UNMET_BY[problem.stage]))
    if not policy.needs.isdisjoint({Need.NAMESPACE, Need.INVENTORY}):
        message = "this version of Portcullis does not watch the cluster"
        unmet += (Problem(Stage.GATE, "inventory-unavailable", retryable=False, msg=message),)
    return unmet


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
