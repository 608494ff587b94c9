"""Keeps OPA running: one server per policy set, restarted when it dies, replaced when the set changes.

A new set gets a new server, which must answer with the set's revision before anything is asked of it; then one
assignment makes it the serving one. The older server goes on for the requests that began with its set, and ends
afterwards. A set that does not start never replaces one that does.
"""

import asyncio
import contextlib
import random
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from portcullis.errors import EngineError, EngineMalformed, EngineUnavailable
from portcullis.limits import Limits
from portcullis.policy.client import OpaClient
from portcullis.policy.inventory import INVENTORY_PATH, Inventory
from portcullis.policy.memory import memory_goal
from portcullis.policy.process import OpaServer
from portcullis.policy.workspace import Workspace
from portcullis.policy.wrapper import ANSWER_PATH

FIRST_DELAY_SECONDS = 0.1
LAST_DELAY_SECONDS = 10.0
STEADY_SECONDS = 30.0
"""A server that lived this long starts again with the first delay."""

INVENTORY_PAUSE_SECONDS = 0.05
"""Between two writes of the inventory."""

LONGEST_REQUEST_SECONDS = 30.0
"""What Kubernetes allows a webhook at most: so long the server of the previous set is kept."""


def find_opa(chosen: Path | None) -> Path:
    """The program: ``chosen``, or ``opa`` on PATH. Raises EngineUnavailable where there is none."""
    found = chosen or shutil.which("opa")
    if found is None or not Path(found).is_file():
        raise EngineUnavailable(f"OPA was not found ({chosen or 'no opa on PATH'}); set opa.binary to its path")
    return Path(found).resolve()


class OpaSupervisor:
    """The OPA servers of this process. Belongs to the event loop that it is first used in.

    Args:
        binary: OPA; None looks for ``opa`` on PATH.
        limits: ``engine_start_seconds`` and ``engine_answer_bytes`` apply.
        memory_bytes: GOMEMLIMIT of each server; None takes what fits this container (memory.py).
        keep_seconds: how long the server of the previous set still answers after a switch.
        garbage_percent: GOGC of each server; 0 is Go's own.
        inventory: is written into each server before it serves, and kept true there.
    """

    def __init__(
        self,
        *,
        binary: Path | None,
        limits: Limits,
        memory_bytes: int | None = None,
        keep_seconds: float = LONGEST_REQUEST_SECONDS,
        garbage_percent: int = 0,
        inventory: Inventory | None = None,
    ) -> None:
        self._chosen = binary
        self._limits = limits
        self._memory_bytes = memory_goal() if memory_bytes is None else memory_bytes
        self._keep_seconds = keep_seconds
        self._garbage_percent = garbage_percent
        self._inventory = inventory
        self._serving: _Kept | None = None
        self._previous: dict[_Kept, asyncio.Task[None]] = {}

    @property
    def healthy(self) -> bool:
        """Whether the serving set can be asked now."""
        return self._serving is not None and self._serving.healthy

    @property
    def problem(self) -> str:
        """Why the serving set cannot be asked now; "" where it can."""
        return "" if self.healthy else "OPA is down and being started again"

    @property
    def revision(self) -> str:
        """Of the serving set; "" before the first."""
        return self._serving.revision if self._serving is not None else ""

    @property
    def pid(self) -> int:
        """Process id of the serving OPA; 0 while there is none."""
        return self._serving.pid if self._serving is not None else 0

    @property
    def restarts(self) -> int:
        """How often the serving set's OPA had to be started again, successful or not."""
        return self._serving.restarts if self._serving is not None else 0

    @property
    def inventory_problem(self) -> str:
        """Why the serving OPA may lack changes of the inventory; "" if it does not."""
        return self._serving.inventory_problem if self._serving is not None else "OPA is not there yet"

    @property
    def memory_bytes(self) -> int:
        return self._memory_bytes

    def binary(self) -> Path:
        """Raises EngineUnavailable where there is no OPA."""
        return find_opa(self._chosen)

    async def serve(self, workspace: Workspace, bundle: Path, revision: str) -> None:
        """Starts a server over ``bundle``, has it prove that it answers from ``revision``, and makes it the
        serving one. From its return on, ``workspace`` is ours to remove.

        Raises:
            EngineUnavailable: it does not start.
            EngineMalformed: it answers from something else.
        """
        kept = _Kept(
            *(self.binary(), workspace, bundle, revision, self._limits, self._memory_bytes, self._garbage_percent),
            inventory=self._inventory,
        )
        await kept.start()
        before, self._serving = self._serving, kept
        if before is not None:
            for older in self._previous:
                older.hurry.set()
            task = asyncio.create_task(self._retire(before))
            self._previous[before] = task

    @contextlib.contextmanager
    def hold(self, revision: str) -> Iterator[None]:
        """Keeps the server of that set, where there is one, until the end of the block, whatever is served by then."""
        found = next((kept for kept in (self._serving, *self._previous) if kept and kept.revision == revision), None)
        with found.held() if found is not None else contextlib.nullcontext():
            yield

    @contextlib.asynccontextmanager
    async def client(self, revision: str) -> AsyncIterator[OpaClient]:
        """The connection to the server of that set, which is not stopped meanwhile.

        Raises:
            EngineUnavailable: it is down, or that set is served no longer.
        """
        for kept in (self._serving, *self._previous):
            if kept is not None and kept.revision == revision:
                async with kept.lease() as client:
                    yield client
                return
        raise EngineUnavailable("OPA does not serve this policy set")

    async def aclose(self) -> None:
        """Stops every server of ours, and nothing else, and removes their files."""
        for task in self._previous.values():
            task.cancel()
        await asyncio.gather(*self._previous.values(), return_exceptions=True)
        servers = [*self._previous, *([self._serving] if self._serving is not None else [])]
        self._serving = None
        self._previous.clear()
        await asyncio.gather(*(kept.stop() for kept in servers))

    async def _retire(self, kept: "_Kept") -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._keep_seconds):
                await kept.hurry.wait()
        await kept.unused.wait()
        await kept.stop()
        self._previous.pop(kept, None)


class _Kept:
    """The server of one set, started again whenever it ends by itself."""

    def __init__(
        self,
        binary: Path,
        workspace: Workspace,
        bundle: Path,
        revision: str,
        limits: Limits,
        memory_bytes: int,
        garbage_percent: int,
        *,
        inventory: Inventory | None,
    ) -> None:
        self.revision = revision
        self.hurry = asyncio.Event()
        self.unused = asyncio.Event()
        self.unused.set()
        self._binary = binary
        self._workspace = workspace
        self._bundle = bundle
        self._limits = limits
        self._memory_bytes = memory_bytes
        self._garbage_percent = garbage_percent
        self._inventory = inventory
        self._written = 0
        self.inventory_problem = ""
        self._server: OpaServer | None = None
        self._starts = 0
        self._leases = 0
        self._why = "it is starting"
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def healthy(self) -> bool:
        return self._server is not None

    @property
    def pid(self) -> int:
        return self._server.pid if self._server is not None else 0

    @property
    def restarts(self) -> int:
        return max(0, self._starts - 1)

    async def start(self) -> None:
        self._server = await self._started()
        self._tasks = [asyncio.create_task(self._supervise(self._server))]
        if self._inventory is not None:
            self._tasks.append(asyncio.create_task(self._follow(self._inventory)))

    @contextlib.asynccontextmanager
    async def lease(self) -> AsyncIterator[OpaClient]:
        if self._server is None:
            raise EngineUnavailable(f"OPA is down and being started again: {self._why}")
        with self.held():
            yield self._server.client

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        self._leases += 1
        self.unused.clear()
        try:
            yield
        finally:
            self._leases -= 1
            if not self._leases:
                self.unused.set()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        server, self._server = self._server, None
        if server is not None:
            await server.stop()
        await asyncio.to_thread(self._workspace.remove)

    async def _started(self) -> OpaServer:
        """A server that has proved its revision: by the bundle that OPA says it answers from, and by the answer."""
        self._starts += 1
        server = OpaServer(
            binary=self._binary,
            bundle=self._bundle,
            socket=self._workspace.path / f"opa-{self._starts}.sock",
            memory_bytes=self._memory_bytes,
            garbage_percent=self._garbage_percent,
        )
        await server.start(self._limits.engine_start_seconds)
        try:
            async with asyncio.timeout(self._limits.engine_start_seconds):
                proven = await server.client.revisions(ANSWER_PATH, self._limits.engine_answer_bytes)
            if proven != {self.revision}:
                raise EngineMalformed("OPA answers from another policy set than the one it was given")
            if self._inventory is not None:
                await self._write_whole(self._inventory, server)
        except TimeoutError as error:
            await server.stop()
            raise EngineUnavailable("OPA started and does not answer") from error
        except BaseException:
            await server.stop()
            raise
        return server

    async def _write_whole(self, inventory: Inventory, server: OpaServer) -> None:
        """Before it serves. Where that fails it serves without: most policies read no inventory, and those that do are
        undecided."""
        version, tree = inventory.snapshot()
        try:
            async with asyncio.timeout(self._limits.engine_start_seconds):
                await server.client.write(INVENTORY_PATH, tree)
            self._written, self.inventory_problem = version, ""
        except (EngineError, TimeoutError) as error:
            self._written, self.inventory_problem = -1, f"OPA did not take the objects: {error}"

    async def _follow(self, inventory: Inventory) -> None:
        """Writes what changes; a server that was started anew has all of it already."""
        failures = 0
        while True:
            await inventory.newer(self._written)
            server = self._server
            if server is not None and await self._bring_up(inventory, server, whole=failures > 0):
                failures = 0
                await asyncio.sleep(INVENTORY_PAUSE_SECONDS)  # many changes go together
                continue
            failures = min(failures + 1, 16)
            await asyncio.sleep(min(LAST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2**failures))

    async def _bring_up(self, inventory: Inventory, server: OpaServer, *, whole: bool) -> bool:
        patch = None if whole else inventory.since(self._written)
        version, content = patch or inventory.snapshot()
        try:
            async with asyncio.timeout(self._limits.engine_start_seconds):
                await server.client.write(INVENTORY_PATH, content, patch=patch is not None)
        except (EngineError, TimeoutError) as error:
            self.inventory_problem = f"OPA did not take the changes: {error}"
            return False
        if server is self._server:  # another one wrote for itself
            self._written, self.inventory_problem = max(self._written, version), ""
        return True

    async def _supervise(self, server: OpaServer) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        began = loop.time()
        while True:
            self._why = await server.wait()
            self._server = None
            await server.stop()
            failures = 0 if loop.time() - began > STEADY_SECONDS else failures
            while self._server is None:
                delay = min(LAST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2**failures)
                failures = min(failures + 1, 16)
                await asyncio.sleep(delay * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, no secret
                try:
                    server = await self._started()
                except EngineError as error:
                    self._why = error.message
                else:
                    began = loop.time()
                    self._server = server
