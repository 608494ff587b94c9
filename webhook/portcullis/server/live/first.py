"""The first set of policies of a program.

ConfigMaps and bundles can be broken, or not to be had, just when the gate starts: it then begins with those that were
good last, which lie beside the audit log, and says so. Folders are the operator's own configuration: what is wrong
with them at the start ends the program, as everything else that is wrong with the configuration.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from portcullis.errors import ClusterError, ConfigError, PolicyCompileError, PortcullisError
from portcullis.policy.opa import OpaEngine
from portcullis.policy.workspace import Workspace
from portcullis.server.live.lastgood import LastGood
from portcullis.server.live.reloading import Recipe
from portcullis.server.live.sources import Laid, LiveSources, lay_out
from portcullis.standing import Standing
from portcullis.text import clean

SYNC_SECONDS: Final = 15.0
"""For ConfigMaps and bundles at the start."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class First:
    """Args:
    laid: what the set was made from.
    problem: why that is not what there is; "" where it is.
    """

    standing: Standing
    laid: Laid
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
    try:
        await ready()
        laid = await asyncio.to_thread(sources.look)
        standing = await _stand(laid, recipe, engine)
        await asyncio.to_thread(last_good.write, laid)
        return First(standing, laid)
    except (PolicyCompileError, ConfigError, ClusterError) as error:
        kept = await asyncio.to_thread(last_good.read) if sources.dynamic else None
        if kept is None:
            raise
        message = clean(error.message, 1000)
        log.error("begins with the policies that were good last", problem=message)
        try:
            return First(await _stand(kept, recipe, engine), kept, message)
        except PortcullisError as other:
            log.error("they cannot be used either", problem=clean(other.message, 1000))
            raise error from None


async def _stand(laid: Laid, recipe: Recipe, engine: OpaEngine) -> Standing:
    workspace = await asyncio.to_thread(Workspace)
    try:
        folders: Sequence[Path] = await asyncio.to_thread(lay_out, laid, workspace.path)
        bundle = await asyncio.to_thread(recipe.load, folders)
        async with engine.prepared(bundle) as prepared:
            standing = recipe.stand(prepared.compiled)
            if problems := await recipe.prove(folders):
                raise PolicyCompileError(tuple(problems))
            await prepared.serve()
    finally:
        await asyncio.to_thread(workspace.remove)
    await recipe.keep(bundle)
    return standing
