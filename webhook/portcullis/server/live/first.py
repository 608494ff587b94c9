"""The first set of policies of a program.

ConfigMaps and bundles can be broken, or not to be had, just when the gate starts: it then begins with those that were
good last, which lie beside the audit log, and says so. What only lint or its own tests speak against is judged by all
the same where there is nothing older: an update of the gate that lints more must not end it. Folders are the operator's
own configuration: what is wrong with them at the start ends the program, as all else that is wrong there.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from portcullis.errors import ClusterError, ConfigError, PolicyCompileError, PortcullisError
from portcullis.model.ruling import Constraint
from portcullis.policy.opa import OpaEngine
from portcullis.policy.workspace import Workspace
from portcullis.server.live.lastgood import LastGood
from portcullis.server.live.reloading import Recipe, UnprovenError, proven
from portcullis.server.live.sources import Laid, LiveSources, lay_out
from portcullis.standing import Standing
from portcullis.text import clean

SYNC_SECONDS: Final = 15.0
"""For ConfigMaps and bundles at the start."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class First:
    """Args:
    laid, constraints: what the set was made from, and what of Gatekeeper is in it.
    problem: why that is not what there is; "" where it is.
    """

    standing: Standing
    laid: Laid
    constraints: tuple[Constraint, ...] = ()
    problem: str = ""


async def first_standing(
    sources: LiveSources,
    recipe: Recipe,
    engine: OpaEngine,
    last_good: LastGood,
    ready: Callable[[], Awaitable[None]],
) -> First:
    """Compiles and serves the first set.

    Args:
        ready: returns once ConfigMaps and bundles are there; raises ClusterError or PolicyCompileError.

    Raises:
        PolicyCompileError, ConfigError, ClusterError: it cannot be used, and there is no last good one.
        EngineError: OPA does not start.
    """
    laid: Laid | None = None
    try:
        await ready()
        laid = await asyncio.to_thread(sources.look)
        first = await _stand(laid, recipe, engine)
        await asyncio.to_thread(last_good.write, laid)
        return first
    except (PolicyCompileError, ConfigError, ClusterError) as error:
        unproven = isinstance(error, UnprovenError)
        kept = await asyncio.to_thread(last_good.read) if sources.dynamic else None
        if kept is None and not unproven:
            raise
        message = clean(error.message, 1000)
        log.error("policies are not as they should be", problem=message, begins_with="last good" if kept else "them")
        if kept is not None:
            try:
                return await _stand(kept, recipe, engine, message)
            except PortcullisError as other:
                log.error("the last good policies cannot be used", problem=clean(other.message, 1000))
                if not unproven:
                    raise error from None
        assert laid is not None
        return await _stand(laid, recipe, engine, message, prove=False)


async def _stand(laid: Laid, recipe: Recipe, engine: OpaEngine, problem: str = "", *, prove: bool = True) -> First:
    workspace = await asyncio.to_thread(Workspace)
    try:
        folders: Sequence[Path] = await asyncio.to_thread(lay_out, laid, workspace.path)
        bundle = await asyncio.to_thread(recipe.load, folders)
        async with engine.prepared(bundle) as prepared:
            standing = recipe.stand(prepared.compiled)
            if prove:
                await proven(recipe, folders)
            await prepared.serve()
    finally:
        await asyncio.to_thread(workspace.remove)
    await recipe.keep(bundle)
    return First(standing, laid, bundle.constraints, problem)
