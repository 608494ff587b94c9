"""Live policies without a cluster: ConfigMaps in memory, and everything else real."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from fakes import opa
from portcullis.cluster.policymaps import PolicyMap
from portcullis.errors import ClusterError, CompileProblem, ConfigError
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.model.ruling import CompiledBundle, PolicyBundle
from portcullis.policy.bundle import load_bundle
from portcullis.policy.opa import OpaEngine
from portcullis.policy.proving import failing_tests
from portcullis.server.live.first import first_standing
from portcullis.server.live.lastgood import LastGood
from portcullis.server.live.reloading import Recipe, Reloader
from portcullis.server.live.sources import LiveSources
from portcullis.standing import Current, Standing


@dataclass
class MemoryMaps:
    """As cluster.policymaps.PolicyMaps. ``told`` are the Events: ConfigMap, reason, message."""

    maps: dict[tuple[str, str], PolicyMap] = field(default_factory=dict)
    told: list[tuple[str, str, str]] = field(default_factory=list)
    error: ClusterError | None = None

    def put(self, name: str, **files: str) -> None:
        """A ConfigMap of the namespace ``gate``; the keyword ``team`` becomes the key ``team.rego``."""
        before = self.maps.get(("gate", name))
        named = {f"{key}.rego": text for key, text in files.items()}
        self.maps["gate", name] = PolicyMap("gate", name, "uid", named, before.error if before else "")

    def all(self) -> tuple[PolicyMap, ...]:
        if self.error is not None:
            raise self.error
        return tuple(one for _, one in sorted(self.maps.items()))

    async def note(self, one: PolicyMap, error: str) -> None:
        self.maps[one.place] = replace(self.maps[one.place], error=error)

    async def tell(self, one: PolicyMap, reason: str, message: str, *, warning: bool) -> None:
        assert warning is (reason == "PolicyInvalid")
        self.told.append((one.name, reason, message))

    def error_of(self, name: str) -> str:
        return self.maps["gate", name].error


@dataclass
class Life:
    """What a test looks at. ``kept`` are the revisions that were stored."""

    folder: Path
    maps: MemoryMaps
    engine: OpaEngine
    current: Current
    reloader: Reloader
    recipe: Recipe
    kept: list[str]

    @property
    def names(self) -> list[str]:
        return sorted(policy.name for policy in self.current.standing.compiled.policies)

    async def until(self, condition: Callable[[], object], seconds: float = 20.0) -> None:
        self.reloader.nudge()
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.01)


@asynccontextmanager
async def living(
    binary: Path,
    folder: Path,
    *,
    maps: MemoryMaps | None = None,
    forbidden: Sequence[str] = (),
    limits: Limits = DEFAULT_LIMITS,
    poll_seconds: float = 0.05,
) -> AsyncIterator[Life]:
    """A gate's policies from ``folder / "own"`` and ConfigMaps, looked after.

    Args:
        forbidden: policies that the configuration cannot stand with.
    """
    own, kept = folder / "own", list[str]()
    own.mkdir(exist_ok=True)
    maps = maps or MemoryMaps()

    def load(more: Sequence[Path]) -> PolicyBundle:
        return load_bundle([own, *more], parameters={}, enabled=None, limits=limits)

    def stand(compiled: CompiledBundle) -> Standing:
        for policy in compiled.policies:
            if policy.name in forbidden:
                raise ConfigError(f"policies.modes: {policy.name}")
        return Standing(compiled)

    async def prove(more: Sequence[Path]) -> Sequence[CompileProblem]:
        return await failing_tests([own, *more], [], binary=binary, limits=limits)

    async def keep(bundle: PolicyBundle) -> None:
        kept.append(bundle.revision)

    async def ready() -> None:
        maps.all()

    recipe = Recipe(load=load, stand=stand, prove=prove, keep=keep)
    sources = LiveSources(folders=[own], maps=maps, bundles=[], limits=limits)
    last_good = LastGood(folder / "good.policies", limits)
    async with opa.running(binary, limits, keep_seconds=0) as engine:
        first = await first_standing(sources, recipe, engine, last_good, ready)
        current = Current(first.standing)
        reloader = Reloader(
            sources=sources,
            recipe=recipe,
            engine=engine,
            current=current,
            last_good=last_good,
            poll_seconds=poll_seconds,
            loaded=first.laid,
            problem=first.problem,
        )
        task = asyncio.create_task(reloader.run())
        try:
            yield Life(own, maps, engine, current, reloader, recipe, kept)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
