"""The gate: the whole way of one request, from what is asked to what is answered.

The webhook, ``portcullis check``, the replay and the re-check all call :meth:`Gate.decide`.
"""

import asyncio
import functools
import logging
from collections.abc import Callable, Collection, Mapping, Sequence

from portcullis.admission.unchanged import unchanged
from portcullis.admission.workloads import WorkloadReader
from portcullis.audit.redact import Redactor
from portcullis.case import Case
from portcullis.collecting import (
    REQUEST_NEEDS,
    STEPS,
    UNMET_BY,
    Collector,
    ImageCollector,
    container_facts,
    problem_of,
)
from portcullis.decision.grants import NO_GRANTS, Grants
from portcullis.errors import ClusterError, EngineError, PortcullisError, RedactionError
from portcullis.evidence.marks import marks_of
from portcullis.inspection.catalogue import Catalogue
from portcullis.limits import Limits
from portcullis.measuring import Durations
from portcullis.model.decision import Because, Decision, Problem, Stage
from portcullis.model.image import Access
from portcullis.model.json import JSONObject
from portcullis.model.place import NamespaceFacts, Place, texts_of
from portcullis.model.request import AdmissionRequest, Caller
from portcullis.model.ruling import Mode, Need, PolicyInfo
from portcullis.model.workload import Unchanged, Workload
from portcullis.policy.document import build_document
from portcullis.ports import Clock, Engine, Gatherer, Inspector, Namespaces, Registry
from portcullis.reference.parse import parse_reference
from portcullis.remembering import Remembering
from portcullis.standing import Standing

EVALUATION_SHARE = 0.25
"""Part of the remaining time that is kept for the evaluation when facts are collected."""

NAMESPACE_SHARE = 0.3
"""Part of the remaining time that the look for the labels of a namespace may take."""

log = logging.getLogger(__name__)


def no_inventory() -> Problem | None:
    """Where the cluster is not watched."""
    message = "no objects of the cluster are watched here (cluster.inventory)"
    return Problem(Stage.INVENTORY, "inventory-unavailable", retryable=False, msg=message)


def no_grants(_namespace: str) -> Grants:
    """Where nobody can break the glass."""
    return NO_GRANTS


def _withheld(stage: Stage, reason: str) -> Problem:
    message = "nothing of the cluster is shown to whoever did not show that it is the API server (cluster.caller)"
    return Problem(stage, reason, retryable=False, msg=message)


class Gate:
    """Decides requests by the policies that stand when it is asked.

    Args:
        reader: finds the pod in an object.
        registry, gatherer, inspector: where facts about images come from; without an inspector layers stay unread.
        catalogue: says what is a secret in the history of an image.
        engine, standing: what judges, and by which policies; asked for once per decision.
        namespaces: the cluster's, None where it is not asked.
        inventory: why ``data.inventory`` cannot be counted on now; None where it can.
        remembering: takes note of the scans that were seen; None for what remembers nothing.
        redactor: takes secrets out of requests; by default without rules of an operator.
        collector: tells of images in the place of registry, gatherer and inspector, where facts were recorded.
        callers_told_apart: whether the API server can be told from others, so that an unverified caller is a stranger:
            such a one is shown what anybody could see for himself.
        grants: gives those of a namespace; asked once per decision.
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
        standing: Callable[[], Standing],
        clock: Clock,
        limits: Limits,
        namespaces: Namespaces | None = None,
        inventory: Callable[[], Problem | None] = no_inventory,
        remembering: Remembering | None = None,
        default_registry: str = "docker.io",
        redactor: Redactor | None = None,
        collector: Collector | None = None,
        callers_told_apart: bool = False,
        grants: Callable[[str], Grants] = no_grants,
    ) -> None:
        parse = functools.partial(parse_reference, default_registry=default_registry, limits=limits)
        self._redactor = redactor or Redactor(limits=limits)
        self.seconds = {step: Durations() for step in STEPS}
        """How long the steps with one image took."""
        self._collector: Collector = collector or ImageCollector(
            parse=parse,
            registry=registry,
            gatherer=gatherer,
            inspector=inspector,
            catalogue=catalogue,
            clock=clock,
            limits=limits,
            redactor=self._redactor,
            seconds=self.seconds,
        )
        self._reader = reader
        self._engine = engine
        self._standing = standing
        self._clock = clock
        self._limits = limits
        self._namespaces = namespaces
        self._inventory = inventory
        self._remembering = remembering
        self._callers_told_apart = callers_told_apart
        self._grants = grants

    async def decide(self, request: AdmissionRequest, deadline: float) -> Decision:
        """The decision on ``request``, before ``deadline`` (a Clock.monotonic instant).

        Never raises: a fault of ours leaves every policy undecided.
        """
        standing = self._standing()
        case = Case(request, standing=standing, clock=self._clock, limits=self._limits)
        try:
            case.grants = self._grants_for(request)
            with self._engine.hold(standing.compiled):
                await self._judge(case, standing, deadline)
        except PortcullisError as error:
            case.give_up(standing.compiled.policies, problem_of(error, Stage.ADMISSION))
        except Exception:  # the last resort of a gate that must answer
            log.exception("decision failed", extra={"decision": case.id})
            message = "a fault in Portcullis itself; the log of the webhook tells more"
            problem = Problem(Stage.GATE, "internal-error", retryable=True, msg=message)
            case.give_up(standing.compiled.policies, problem)
        if self._remembering is not None:
            seen = [image.evidence for image in case.images if image.evidence is not None]
            self._remembering.note(case.request, marks_of(seen, case.now))
        return case.conclude()

    def enforces(self, namespace: str) -> bool:
        """Whether any policy is in mode deny there. Where none is, nothing is ever refused."""
        standing, place = self._standing(), Place(namespace)
        return any(standing.modes.strongest(policy, place) is Mode.DENY for policy in standing.compiled.policies)

    async def _judge(self, case: Case, standing: Standing, deadline: float) -> None:
        with case.timed(Stage.ADMISSION):
            try:
                case.redacted = self._redactor(case.request)
            except RedactionError:
                case.redacted = self._redactor.bare(case.request)
                raise
            request = case.redacted.request
            case.workload = workload = self._reader.read(request)
            change = unchanged(case.request, self._reader)
        written = [container.image for container in workload.containers]
        policies = standing.compiled.policies
        early = [policy for policy in policies if policy.needs <= REQUEST_NEEDS]
        late = [policy for policy in policies if policy not in early]
        case.images = self._collector.name(written)
        await self._look_around(case, request, standing, deadline)

        # Policies that read the request alone come first: they may refuse before a registry is asked.
        await self._evaluate(case, standing, request, workload, early, deadline)
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
            facts_by = deadline - remaining * EVALUATION_SHARE
            if self._is_stranger(request):
                case.images = await self._collector.collect(written, needs, Access(stranger=True), facts_by)
            else:
                access = access_of(request.namespace, workload.pod_spec or {})
                case.images = await self._collector.collect(written, needs, access, facts_by, request)
        await self._evaluate(case, standing, request, workload, late, deadline)

    async def _look_around(self, case: Case, request: AdmissionRequest, standing: Standing, deadline: float) -> None:
        """What somebody needs of the cluster around the request; what cannot be had is a problem."""
        stranger = self._is_stranger(request)
        if case.request.namespace and (Need.NAMESPACE in standing.needs or standing.by_labels):
            if case.request.creates_namespace:
                case.described = _described_namespace(request)
            elif stranger:
                case.around.append(_withheld(Stage.NAMESPACE, "namespace-unknown"))
            else:
                with case.timed(Stage.NAMESPACE):
                    await self._find_namespace(case, deadline)
        if Need.INVENTORY in standing.needs:
            problem = _withheld(Stage.INVENTORY, "inventory-unavailable") if stranger else self._inventory()
            if problem is not None:
                case.around.append(problem)

    def _grants_for(self, request: AdmissionRequest) -> Grants:
        """Those of the namespace that it is made in. A namespace itself lies in none, and a stranger is told of no
        grant: it would be in his answer, and in the record that somebody used it."""
        if not request.namespace or request.about_namespace or self._is_stranger(request):
            return NO_GRANTS
        return self._grants(request.namespace)

    def _is_stranger(self, request: AdmissionRequest) -> bool:
        return self._callers_told_apart and request.caller is Caller.UNVERIFIED

    async def _find_namespace(self, case: Case, deadline: float) -> None:
        if self._namespaces is None:
            message = "the labels of namespaces are not known here: no cluster is asked (cluster.watch)"
            case.around.append(_unknown_namespace(message, retryable=False))
            return
        remaining = deadline - self._clock.monotonic()
        try:
            async with asyncio.timeout(remaining * NAMESPACE_SHARE):
                case.namespace = await self._namespaces.get(case.request.namespace)
        except (ClusterError, TimeoutError) as error:
            said = error.message if isinstance(error, ClusterError) else "the API server did not answer in time"
            message = f"the labels of the namespace are not known: {said}"
            case.around.append(_unknown_namespace(message, retryable=True))

    async def _evaluate(
        self,
        case: Case,
        standing: Standing,
        request: AdmissionRequest,
        workload: Workload,
        policies: Sequence[PolicyInfo],
        deadline: float,
    ) -> None:
        """Asks the engine for the policies whose facts are all there; the others are undecided."""
        problems = [*case.around, *(problem for image in case.images for problem in image.problems)]
        case.note(problems)
        scoped = standing.modes.parameters_at(case.place)
        with case.timed(Stage.POLICY):
            case.document = build_document(
                now=case.now,
                request=request,
                workload=workload,
                namespace=self._redactor.namespace(case.namespace or case.described),
                containers=container_facts(workload, case.images),
                images=case.images,
                limits=self._limits,
            )
            ready = []
            for policy in policies:
                if unmet := unmet_of(policy, problems, unsure=scoped.unsure):
                    case.undecide([policy], unmet)
                else:
                    ready.append(policy)
            if not ready:
                return
            names = [policy.name for policy in ready]
            try:
                changed = {name: scoped.changed[name] for name in names if name in scoped.changed}
                ruling = await self._engine.evaluate(standing.compiled, names, case.document, deadline, changed)
            except EngineError as error:
                problem = problem_of(error, Stage.POLICY)
                case.note([problem])
                case.undecide(ready, [problem])
                return
        case.take(ready, ruling)


def _unknown_namespace(message: str, *, retryable: bool) -> Problem:
    return Problem(Stage.NAMESPACE, "namespace-unknown", retryable=retryable, msg=message)


def _described_namespace(request: AdmissionRequest) -> NamespaceFacts:
    """The namespace that is to be created, in the words of whoever creates it: policies judge them, and nothing that
    the operator says by labels goes by them."""
    metadata = (request.object or {}).get("metadata")
    tree = metadata if isinstance(metadata, Mapping) else {}
    return NamespaceFacts(request.namespace, texts_of(tree.get("labels")), texts_of(tree.get("annotations")))


def unmet_of(policy: PolicyInfo, problems: Sequence[Problem], *, unsure: Collection[str]) -> tuple[Problem, ...]:
    """The problems that keep ``policy`` from being evaluated. One whose parameters are ``unsure`` needs the labels of
    the namespace too."""
    needs = policy.needs | {Need.NAMESPACE} if policy.name in unsure else policy.needs
    return tuple(problem for problem in problems if not needs.isdisjoint(UNMET_BY[problem.stage]))


def access_of(namespace: str, spec: JSONObject) -> Access:
    """On whose behalf registries are asked for the images of a pod spec."""
    account = spec.get("serviceAccountName")
    secrets = spec.get("imagePullSecrets")
    names = [entry.get("name") for entry in secrets if isinstance(entry, Mapping)] if isinstance(secrets, list) else []
    return Access(
        namespace=namespace,
        service_account=account if isinstance(account, str) else "",
        pull_secrets=tuple(name for name in names if isinstance(name, str)),
    )
