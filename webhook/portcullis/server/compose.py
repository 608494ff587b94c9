"""Puts the parts together, as the configuration says; the only place that knows them all."""

import asyncio
import contextlib
import difflib
import functools
import json
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import structlog

from portcullis.admission.workloads import WorkloadReader
from portcullis.audit.findings import SqlFindings
from portcullis.audit.journal import Journal
from portcullis.audit.judgedtags import SqlAdmissions
from portcullis.audit.ledger import SqlLedger
from portcullis.audit.redact import Redactor
from portcullis.audit.sql import SqlRecords
from portcullis.audit.writer import AuditLog
from portcullis.decision.exceptions import Exceptions
from portcullis.decision.modes import ANY_POLICY, Modes
from portcullis.errors import ConfigError, RecordsError
from portcullis.evidence.gather import EvidenceGatherer
from portcullis.gate import Gate, no_inventory
from portcullis.inspection.inspector import LayerInspector
from portcullis.limits import Limits
from portcullis.model.decision import Problem
from portcullis.model.ruling import CompiledBundle, Constraint, PolicyBundle, PolicySource
from portcullis.policy.bundle import builtin_policies, load_bundle
from portcullis.policy.opa import OpaEngine
from portcullis.policy.plain import plain
from portcullis.policy.profiles import load_profile
from portcullis.policy.serving import Serving
from portcullis.ports import Admissions, Bundles, Clock, Gatherer, Keychain, Ledger, Namespaces
from portcullis.rechecking import Rechecker
from portcullis.registry.facts import CachingRegistry
from portcullis.registry.traffic import Traffic
from portcullis.server.auditfiles import journal_path, last_good_path
from portcullis.server.auditkeeping import Keeper, keeper_of
from portcullis.server.caching import KeptFacts, keeping
from portcullis.server.clock import SystemClock
from portcullis.server.credentials import open_keychain
from portcullis.server.engines import serving_of
from portcullis.server.inspecting import catalogue_of, inspecting
from portcullis.server.judging import judging, reader_of
from portcullis.server.live.policies import LivePolicies, Making, live_policies
from portcullis.server.live.watching import Watching, watching
from portcullis.server.network import host_rules_of
from portcullis.server.registries import open_registry
from portcullis.server.scoping import forbidden_exceptions, unknown_policies
from portcullis.server.secretkeys import with_keys_of_cluster
from portcullis.server.settings import Settings
from portcullis.server.trusting import Trusting, gatherer_of, trusting
from portcullis.standing import Current, Standing

POLICIES_KIND = "policies"
CONFIGURATION_KIND = "configuration"
RETRY_SECONDS = 1.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Parts:
    """All parts of the running gate. ``records``, ``bundles``, ``ledger`` and ``findings`` are None for commands that
    record nothing."""

    settings: Settings
    limits: Limits
    clock: Clock
    reader: WorkloadReader
    keychain: Keychain
    registry: CachingRegistry
    traffic: Traffic
    kept: KeptFacts
    trusting: Trusting
    gatherer: EvidenceGatherer
    redactor: Redactor
    inspector: LayerInspector | None
    supervisor: Serving
    engine: OpaEngine
    live: LivePolicies
    watched: Watching
    gate: Gate
    rechecker: Rechecker
    records: AuditLog | None
    keeper: Keeper | None
    bundles: Bundles | None
    ledger: Ledger | None
    findings: SqlFindings | None

    @property
    def current(self) -> Current:
        return self.live.current

    @property
    def compiled(self) -> CompiledBundle:
        """Of the set that stands now."""
        return self.current.standing.compiled


@asynccontextmanager
async def compose(
    settings: Settings,
    *,
    with_audit: bool,
    user: Mapping[str, str] | None = None,
    around: Callable[[Gatherer], Gatherer] | None = None,
    namespaces: Namespaces | None = None,
    admissions: Admissions | None = None,
    looking: AbstractAsyncContextManager[Watching] | None = None,
) -> AsyncIterator[Parts]:
    """Starts the parts, and stops them in the opposite order.

    Args:
        with_audit: whether decisions will be recorded.
        user: the environment of who runs a command, whose docker config counts too; None in the server.
        around: makes the gatherer of the gate from the real one, for a command that has evidence of its own.
        namespaces: tells their labels where no cluster is asked.
        admissions: what an audit log knows, for a command that records nothing.
        looking: watches the cluster that a command is about.

    Raises:
        ConfigError: something in the configuration cannot be used.
        PolicyCompileError: the policies cannot be used.
        EngineError: OPA does not start.
        ClusterError: a signer's key lies in a Secret, and the API server does not answer.
    """
    settings = with_profile(await with_keys_of_cluster(settings))
    limits = settings.bounds()
    clock = SystemClock()
    verifying = trusting(settings, limits)
    reader = reader_of(settings, limits)
    hosts = host_rules_of(settings)
    redactor = Redactor(settings.audit.redaction.rules(), limits)
    catalogue = catalogue_of(settings, limits)
    async with AsyncExitStack() as stack:
        if looking is None:
            here = watching(settings, limits, text=redactor.text)
            looking = here if with_audit else contextlib.nullcontext(Watching())
        watched = await stack.enter_async_context(looking)
        keychain = await stack.enter_async_context(
            open_keychain(settings, hosts=hosts, user=user, pull_secrets=watched.keychain)
        )
        records: AuditLog | None = None
        store: SqlRecords | None = None
        keeper: Keeper | None = None
        if with_audit:
            records, store, keeper = await _open_audit(settings, limits, clock, stack)
        kept = await stack.enter_async_context(keeping(store, clock=clock, limits=limits))
        opened = await stack.enter_async_context(
            open_registry(settings, keychain=keychain, hosts=hosts, clock=clock, limits=limits, watched=watched)
        )
        registry = opened.registry
        gatherer = gatherer_of(
            settings, trusting=verifying, registry=registry, marks=kept.marks, clock=clock, limits=limits
        )
        inspector = await stack.enter_async_context(
            inspecting(
                settings,
                catalogue=catalogue,
                registry=registry,
                identify=opened.identify,
                facts=kept.facts,
                strangers=kept.strangers,
                limits=limits,
            )
        )
        supervisor = serving_of(settings, limits, watched.inventory)
        stack.push_async_callback(supervisor.aclose)
        engine = OpaEngine(supervisor=supervisor, clock=clock, limits=limits)
        bundles = store.bundles if store is not None else None
        making = Making(
            load=functools.partial(bundle_of, settings, limits),
            stand=functools.partial(standing_of, settings),
            keep=functools.partial(_keep_bundle, bundles, keeper, stack),
            last_good=last_good_path(settings.audit) if with_audit else None,
        )
        live = await stack.enter_async_context(
            live_policies(settings, limits, making=making, engine=engine, watching=watched, serving=with_audit)
        )
        if store is not None:
            admissions = SqlAdmissions(records=store, verified_only=settings.tells_callers_apart)
        gate, rechecker = judging(
            settings,
            reader=reader,
            registry=registry,
            identify=opened.identify,
            gatherer=gatherer if around is None else around(gatherer),
            inspector=inspector,
            catalogue=catalogue,
            engine=engine,
            standing=live.current,
            namespaces=watched.namespaces or namespaces,
            inventory=_inventory(watched, supervisor),
            admissions=admissions,
            remembering=kept.remembering,
            redactor=redactor,
            clock=clock,
            limits=limits,
            grants=watched.grants,
        )
        if bundles is not None:
            await _keep(bundles, keeper, {settings.revision: (CONFIGURATION_KIND, settings.document)}, stack)
        yield Parts(
            settings=settings,
            limits=limits,
            clock=clock,
            reader=reader,
            keychain=keychain,
            registry=registry,
            traffic=opened.traffic,
            kept=kept,
            trusting=verifying,
            gatherer=gatherer,
            redactor=redactor,
            inspector=inspector,
            supervisor=supervisor,
            engine=engine,
            live=live,
            watched=watched,
            gate=gate,
            rechecker=rechecker,
            records=records,
            keeper=keeper,
            bundles=bundles,
            ledger=SqlLedger(records=store, limits=limits) if store is not None else None,
            findings=SqlFindings(records=store, limits=limits) if store is not None else None,
        )


def bundle_document(bundle: PolicyBundle) -> bytes:
    """A policy set as it is kept under its revision: JSON {sources: [{path, text}], parameters, …}."""
    document = {
        "sources": msgspec.to_builtins(bundle.sources),
        "parameters": dict(bundle.parameters),
        "constraints": msgspec.to_builtins(bundle.constraints, enc_hook=plain),
        "leftOut": sorted(bundle.left_out),
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":"), default=plain).encode()


def read_bundle(revision: str, content: bytes) -> PolicyBundle:
    """The policy set that :func:`bundle_document` wrote.

    Raises:
        ConfigError: it is none.
    """
    try:
        tree = json.loads(content)
        return PolicyBundle(
            sources=msgspec.convert(tree["sources"], tuple[PolicySource, ...]),
            parameters=tree["parameters"],
            revision=revision,
            constraints=msgspec.convert(tree.get("constraints", []), tuple[Constraint, ...]),
            left_out=frozenset(tree.get("leftOut", ())),
        )
    except (msgspec.MsgspecError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise ConfigError(f"what is stored under {revision[:80]} is no policy set") from error


def read_standing(revision: str, content: bytes, compiled: CompiledBundle) -> Standing:
    """What the stored configuration ``revision`` says of the policies.

    Raises:
        ConfigError: it says something that this version does not understand.
    """
    try:
        tree = json.loads(content)
        kept = {key: tree[key] for key in ("policies", "exceptions") if key in tree}
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise ConfigError(f"what is stored under {revision[:80]} is no configuration") from error
    return replace(standing_of(Settings.from_tree(kept), compiled), config_revision=revision)


async def _open_audit(
    settings: Settings, limits: Limits, clock: Clock, stack: AsyncExitStack
) -> tuple[AuditLog, SqlRecords, Keeper]:
    path = journal_path(settings.audit)
    store = SqlRecords(url=settings.audit.database, limits=limits, replica=settings.audit.replica)
    keeper = await stack.enter_async_context(keeper_of(settings.audit, store, clock))
    journal = Journal(path=path, limits=limits)
    records = AuditLog(store=store, journal=journal, limits=limits, clock=clock, last=keeper.finish)
    await records.start()
    stack.push_async_callback(records.aclose)
    await stack.enter_async_context(keeper.running())
    return records, store, keeper


def _inventory(watched: Watching, supervisor: Serving) -> Callable[[], Problem | None]:
    if watched.inventory is None:
        return no_inventory
    return lambda: watched.inventory_problem(supervisor.inventory_problem)


async def _keep_bundle(
    bundles: Bundles | None, keeper: Keeper | None, stack: AsyncExitStack, bundle: PolicyBundle
) -> None:
    if bundles is not None:
        await _keep(bundles, keeper, {bundle.revision: (POLICIES_KIND, bundle_document(bundle))}, stack)


async def _keep(
    bundles: Bundles, keeper: Keeper | None, contents: Mapping[str, tuple[str, bytes]], stack: AsyncExitStack
) -> None:
    """Stores what records refer to; where the store is down, in the background as soon as it is back."""
    if keeper is not None:
        for revision, (kind, content) in contents.items():
            keeper.remember(revision, kind, content)

    async def put_all() -> None:
        for revision, (kind, content) in contents.items():
            await bundles.put(revision, kind, content)

    async def put_later() -> None:
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            with contextlib.suppress(RecordsError):
                return await put_all()

    try:
        await put_all()
    except RecordsError as error:
        log.warning("policies and configuration are not stored yet", problem=error.message)
        task = asyncio.create_task(put_later())
        stack.push_async_callback(_cancelled, task)


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def with_profile(settings: Settings) -> Settings:
    """The same with the profile that it names written out.

    Raises:
        ConfigError: there is no such profile.
    """
    name = settings.policies.profile
    return settings.with_profile(load_profile(builtin_policies(), name)) if name else settings


def bundle_of(settings: Settings, limits: Limits, more: Sequence[Path] = ()) -> PolicyBundle:
    """The policies of the folders that the configuration names, and of ``more``.

    Raises:
        PolicyCompileError: names the file and what is wrong with it.
    """
    profile = settings.policies.profile
    folders: list[Path] = [builtin_policies()] if settings.policies.builtin else []
    return load_bundle(
        [*folders, *settings.policies.folders, *more],
        parameters=settings.policies.parameters,
        enabled=settings.policies.enabled or None,
        limits=limits,
        profile=load_profile(builtin_policies(), profile).modes if profile else None,
    )


def standing_of(settings: Settings, compiled: CompiledBundle) -> Standing:
    """What the gate judges by: the policies with what the configuration says of them.

    Raises:
        ConfigError: it speaks of a policy that is not in use (a misspelt one would stay in its default), or makes an
            exception where the policy forbids any.
    """
    _require_known(settings, {policy.name for policy in compiled.policies})
    for exception, policy in forbidden_exceptions(settings.exceptions, compiled.policies):
        raise ConfigError(f"exceptions: {exception}: the policy {policy} allows no exception (custom.exceptions)")
    policies = settings.policies
    return Standing(
        compiled=compiled,
        modes=Modes(
            modes=policies.modes,
            namespaces=policies.namespaces,
            overrides=tuple(section.override() for section in policies.overrides),
            parameters=policies.parameters,
        ),
        exceptions=Exceptions(tuple(section.exception() for section in settings.exceptions)),
        config_revision=settings.revision,
    )


def _require_known(settings: Settings, names: Collection[str]) -> None:
    policies = settings.policies
    tables: dict[str, Collection[str]] = {"policies.modes": policies.modes}
    tables |= {f"policies.namespaces.{name}": table for name, table in policies.namespaces.items()}
    for at, override in enumerate(policies.overrides):
        tables |= {f"policies.overrides.{at}.{key}": table for key, table in override.tables()}
    tables |= {f"exceptions.{exception.id}.policies": exception.policies for exception in settings.exceptions}
    for key, name in unknown_policies(tables, {*names, ANY_POLICY}):
        close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(sorted(names)) or 'none'}"
        raise ConfigError(f"{key}.{name[:80]}: there is no such policy in use; {hint}")
