"""The policies of the running program: their first set, and what keeps them true to their sources."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from portcullis.errors import CompileProblem, PolicyCompileError
from portcullis.limits import Limits
from portcullis.model.ruling import CompiledBundle, PolicyBundle
from portcullis.policy.bundle import builtin_policies
from portcullis.policy.bundlesource import BundleOrigin, BundleSource
from portcullis.policy.opa import OpaEngine
from portcullis.policy.opabundle import Verification
from portcullis.policy.proving import failing_tests, lint_errors
from portcullis.server.files import read_small
from portcullis.server.health import Check
from portcullis.server.lifecycle import background
from portcullis.server.live.first import SYNC_SECONDS, first_standing
from portcullis.server.live.lastgood import LastGood
from portcullis.server.live.reloading import Recipe, Reloader
from portcullis.server.live.sources import LiveSources
from portcullis.server.live.watching import Watching
from portcullis.server.livesections import PolicyBundleSource
from portcullis.server.settings import Settings
from portcullis.server.telemetry import Metrics
from portcullis.standing import Current, Standing


@dataclass(frozen=True, slots=True)
class Making:
    """How the rest of the program makes and keeps sets.

    Args:
        load: the folders beside those of the configuration, to a bundle; blocks.
        stand: a compiled bundle to what is judged by.
        keep: stores a set.
        last_good: the file that keeps ConfigMaps and bundles for the next start; None for none.
    """

    load: Callable[[Sequence[Path]], PolicyBundle]
    stand: Callable[[CompiledBundle], Standing]
    keep: Callable[[PolicyBundle], Awaitable[None]]
    last_good: Path | None


class LivePolicies:
    """The standing set, and what looks after it."""

    def __init__(self, current: Current, sources: LiveSources, recipe: Recipe, reloader: Reloader) -> None:
        self.current = current
        self.sources = sources
        self.recipe = recipe
        self.reloader = reloader

    def check(self) -> Check:
        """Shown, not decisive: what stands is whole, and other replicas see the same sources."""
        state = self.reloader.state

        async def sources() -> str:
            broken = [f"bundle {one.origin.name}: {one.problem}" for one in self.sources.bundles if one.problem]
            return "; ".join([*([state.problem] if state.problem else []), *broken])

        return Check("policy-sources", sources, decisive=False, remark=lambda: f"{state.reloads} reloads")

    def observe(self, metrics: Metrics) -> None:
        """Binds metrics to the reloads."""
        state = self.reloader.state
        metrics.count_function("policy_reloads", "New sets of policies that were swapped in.", lambda: state.reloads)
        metrics.count_function(
            "policy_reload_failures", "Sets of policies that could not be swapped in.", lambda: state.failures
        )
        metrics.gauge("policy_last_reload_success", "Whether the policies are those of their sources.").set_function(
            lambda: float(not state.problem)
        )

        def since() -> float:  # asks for the time each time, since a new set has a new one
            return state.since.timestamp()

        metrics.gauge("policies_since_seconds", "When the policies in use were taken up (Unix time).").set_function(
            since
        )
        metrics.info(
            "policy_info",
            "The revision of the policies in use.",
            ["revision"],
            lambda: (self.current.standing.compiled.revision,),
        )
        if self.sources.bundles:
            metrics.count_by(
                "policy_bundle_failures",
                "Attempts to fetch an OPA bundle that failed.",
                "bundle",
                lambda: {one.origin.name: float(one.failures) for one in self.sources.bundles},
            )


@asynccontextmanager
async def live_policies(
    settings: Settings, limits: Limits, *, making: Making, engine: OpaEngine, watching: Watching, serving: bool
) -> AsyncIterator[LivePolicies]:
    """The first set, and where the program serves, whatever comes after it.

    Raises:
        PolicyCompileError, ConfigError, ClusterError, EngineError: there is no set to begin with.
    """
    section = settings.policies
    found = [_bundle(one, engine.binary(), limits) for one in section.bundles]
    folders = section.folders if section.reload_seconds else ()
    maps = watching.maps
    sources = LiveSources(folders=folders, maps=maps, bundles=found, limits=limits)

    async def prove(laid: Sequence[Path]) -> Sequence[CompileProblem]:
        if not serving:
            return ()
        places = [*section.folders, *laid]
        return [
            *await lint_errors(places, binary=engine.binary(), limits=limits),
            *await failing_tests(places, [builtin_policies()], binary=engine.binary(), limits=limits),
        ]

    async def ready() -> None:
        if maps is not None:
            await maps.synced(SYNC_SECONDS)
        await asyncio.gather(*(one.refresh() for one in found))
        for one in found:
            if one.files is None:
                raise PolicyCompileError((CompileProblem(one.origin.name, 0, 0, one.problem),))

    recipe = Recipe(load=making.load, stand=making.stand, prove=prove, keep=making.keep)
    last_good = LastGood(making.last_good, limits)
    first = await first_standing(sources, recipe, engine, last_good, ready)
    current = Current(first.standing)
    reloader = Reloader(
        sources=sources,
        recipe=recipe,
        engine=engine,
        current=current,
        last_good=last_good,
        poll_seconds=section.reload_seconds if folders else 0.0,
        loaded=first.laid,
        constraints=first.constraints,
        problem=first.problem,
    )
    async with AsyncExitStack() as stack:
        if serving and sources.any:
            watching.maps_changed = reloader.nudge
            for one, said in zip(found, section.bundles, strict=True):
                await stack.enter_async_context(background(_fetch(one, said.poll_seconds, reloader.nudge)))
            await stack.enter_async_context(background(reloader.run()))
        yield LivePolicies(current, sources, recipe, reloader)


async def _fetch(source: BundleSource, seconds: float, changed: Callable[[], None]) -> None:
    while True:
        await asyncio.sleep(seconds * random.uniform(0.8, 1.0))  # noqa: S311 - jitter, no secret
        if await source.refresh():
            changed()


def _bundle(section: PolicyBundleSource, binary: Path, limits: Limits) -> BundleSource:
    """Raises ConfigError where the key cannot be read."""
    verification = None
    if section.signature is not None:
        said = section.signature
        key = read_small(said.key_file, f"policies.bundles.{section.name}.signature.keyFile")
        verification = Verification(key, said.algorithm, said.key_id, said.scope)
    origin = BundleOrigin(
        name=section.name,
        url=section.url,
        token_file=section.token_file,
        ca_file=section.ca_file,
        verification=verification,
    )
    return BundleSource(origin, binary=binary, limits=limits)
