"""Policy sets in an OPA that we do not start: a sidecar, or a service that several gates share.

What it answers is believed; whoever runs it decides what is admitted (docs/remote-opa.md, docs/threat-model.md).
Each set lies under a root of its own (publication.py). ``data.portcullis_seen`` says which are in use: every gate
writes a new word for its set each minute, and removes sets whose word it has not seen change for ten. So no clocks are
compared. An OPA that lost a set (it started anew and is empty) gives no result, or no longer the right one: the set is
published again, and the question asked once more, within the time of whoever asked.
"""

import asyncio
import contextlib
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from portcullis.errors import EngineError, EngineMalformed, EngineUnavailable
from portcullis.limits import Limits
from portcullis.policy.client import PROBE, Destination, OpaClient, Reply
from portcullis.policy.inventory import Inventory
from portcullis.policy.memory import memory_goal
from portcullis.policy.publication import INVENTORY, ROOT, Publication, prepare
from portcullis.policy.supervisor import find_opa
from portcullis.policy.workspace import Workspace
from portcullis.policy.wrapper import ANSWER_PATH
from portcullis.text import clean

T = TypeVar("T")

SEEN = "portcullis_seen"
PROBE_SECONDS = 5.0
"""Between looks at whether it is there and has the set: what readiness goes by."""
RENEW_SECONDS = 60.0
FORGOTTEN_SECONDS = 600.0
"""A set whose word has not changed for so long is removed."""
HELD_SETS = 3
"""Older sets that requests which began with them may still ask."""
INVENTORY_PAUSE_SECONDS = 0.2
"""Between changes of the inventory, so that many go together."""
HELD_REVISIONS = 1000
"""Sets that are kept track of; a shared OPA has two or three."""

_ROOT = re.compile(rf"{ROOT}_[0-9a-f]{{16}}")
_MODULES = 4000
"""Twice Limits.policy_files: as many are removed of one set at most."""


class RemoteOpa:
    """Implements Serving over an OPA at an address. Belongs to the event loop that it is first used in.

    Args:
        destination: makes where to connect to anew (authorities and tokens are files that change).
        name: of the place, for messages.
        binary: the OPA here, which compiles and checks; None looks for ``opa`` on PATH.
        inventory: is put beside each set, and kept true there.
        probe_seconds, renew_seconds, forgotten_seconds: the rhythm of housekeeping.
    """

    def __init__(
        self,
        *,
        destination: Callable[[], Destination],
        name: str,
        binary: Path | None,
        limits: Limits,
        inventory: Inventory | None = None,
        probe_seconds: float = PROBE_SECONDS,
        renew_seconds: float = RENEW_SECONDS,
        forgotten_seconds: float = FORGOTTEN_SECONDS,
    ) -> None:
        self._connection = _Connection(destination, name, limits)
        self._chosen = binary
        self._limits = limits
        self._memory_bytes = memory_goal()
        self._rhythm = (probe_seconds, renew_seconds)
        self._sweep = _Sweep(self._connection, forgotten_seconds)
        self._serving: _Published | None = None
        self._held: dict[str, _Published] = {}
        self._inventory = inventory
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def healthy(self) -> bool:
        return self._serving is not None and not self._serving.problem

    @property
    def problem(self) -> str:
        return self._serving.problem if self._serving is not None else "no policy set is published yet"

    @property
    def revision(self) -> str:
        return self._serving.publication.revision if self._serving is not None else ""

    @property
    def restarts(self) -> int:
        """How often the serving set had to be published again."""
        return self._serving.again_count if self._serving is not None else 0

    @property
    def inventory_problem(self) -> str:
        return self._serving.inventory_problem if self._serving is not None else "OPA is not there yet"

    @property
    def memory_bytes(self) -> int:
        return self._memory_bytes

    def binary(self) -> Path:
        return find_opa(self._chosen)

    async def serve(self, workspace: Workspace, bundle: Path, revision: str) -> None:
        """See Serving. The older set stays there until nobody renews it."""
        publication = await prepare(bundle, workspace.path, revision, binary=self.binary(), limits=self._limits)
        published = _Published(publication, self._connection, self._limits, self._inventory)
        await published.publish()
        self._serving = published
        self._held[revision] = published
        for older in [one for one in self._held if one != revision][:-HELD_SETS]:
            del self._held[older]
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._keep_house())]
            if self._inventory is not None:
                self._tasks.append(asyncio.create_task(self._follow(self._inventory)))
        await asyncio.to_thread(workspace.remove)

    @contextlib.asynccontextmanager
    async def client(self, revision: str) -> AsyncIterator["_Published"]:
        published = self._held.get(revision)
        if published is None:
            raise EngineUnavailable("OPA does not serve this policy set")
        yield published

    def hold(self, revision: str) -> AbstractContextManager[None]:  # noqa: ARG002 - all stay for ten minutes there
        return contextlib.nullcontext()

    async def aclose(self) -> None:
        """Ends the connection. The sets stay: other gates may use them, and remove them when nobody does."""
        tasks = self._tasks + [one.publishing for one in self._held.values() if one.publishing is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._serving = None
        self._held.clear()
        self._tasks.clear()
        await self._connection.aclose()

    async def _follow(self, inventory: Inventory) -> None:
        """Writes what changes. What a lost set lacks comes with it again."""
        failures = 0
        while True:
            serving = self._serving
            assert serving is not None
            await inventory.newer(serving.written)
            try:
                await serving.bring_up(inventory, whole=failures > 0)
                failures = 0
                await asyncio.sleep(INVENTORY_PAUSE_SECONDS)
            except (EngineError, TimeoutError):
                failures = min(failures + 1, 6)
                await asyncio.sleep(2**failures / 10)

    async def _keep_house(self) -> None:
        probe_seconds, renew_seconds = self._rhythm
        loop = asyncio.get_running_loop()
        renewed = loop.time()
        while True:
            await asyncio.sleep(probe_seconds)
            serving = self._serving
            if serving is None:
                continue
            with contextlib.suppress(EngineError, TimeoutError):
                async with asyncio.timeout(max(1.0, probe_seconds)):
                    there = await serving.probe()
                if not there:
                    await serving.again()
                if loop.time() - renewed >= renew_seconds:
                    renewed = loop.time()
                    await serving.renew()
                    await self._sweep.run()


class _Connection:
    """The one session; made anew after it failed, with what lies in the files then."""

    def __init__(self, destination: Callable[[], Destination], name: str, limits: Limits) -> None:
        self.name = name
        self._destination = destination
        self._limits = limits
        self._client: OpaClient | None = None

    async def client(self) -> OpaClient:
        if self._client is None:
            client = OpaClient(self._destination())
            await client.start()
            self._client = client
        return self._client

    async def call(self, method: str, path: str, body: bytes | None = None, limit: int = 0) -> Reply:
        """Raises EngineUnavailable where it is not there or lets us not; EngineMalformed where it answers at length."""
        client = await self.client()
        try:
            reply = await client.exchange(method, path, body, limit or self._limits.engine_answer_bytes)
        except EngineUnavailable:
            await self._forget(client)
            raise
        if reply is None:
            raise EngineMalformed(f"the OPA at {self.name} answers with more than was asked for")
        self.check(reply)
        return reply

    def check(self, reply: Reply) -> None:
        """Raises EngineUnavailable for an answer of something else than an OPA that lets us in."""
        if reply.status in (401, 403):
            raise EngineUnavailable(f"the OPA at {self.name} does not let us in ({reply.status}): see opa.tokenFile")
        if reply.status not in (200, 204, 400, 404, 500):
            raise EngineUnavailable(f"what answers at {self.name} is no OPA that is ready (status {reply.status})")

    async def query(self, path: str, body: bytes, limit: int, *, strict: bool = True) -> Reply | None:
        client = await self.client()
        try:
            reply = await client.query(path, body, limit, strict=strict)
        except EngineUnavailable as error:
            await self._forget(client)
            raise EngineUnavailable(f"{error.message} at {self.name}") from error
        if reply is not None:
            self.check(reply)
        return reply

    async def aclose(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _forget(self, client: OpaClient) -> None:
        if self._client is client:
            await self.aclose()


class _Published:
    """One set in the other OPA."""

    def __init__(
        self, publication: Publication, connection: _Connection, limits: Limits, inventory: Inventory | None
    ) -> None:
        self.publication = publication
        self.problem = ""
        self.written = -1
        self.inventory_problem = ""
        self._inventory = inventory
        self.again_count = 0
        self.publishing: asyncio.Task[None] | None = None
        self._connection = connection
        self._limits = limits
        self._answer_path = f"{publication.root}/{ANSWER_PATH}"

    async def query(self, path: str, body: bytes, limit: int, *, strict: bool = True) -> Reply | None:
        """As OpaClient.query; ``path`` is where it would be in an OPA of ours."""
        path = f"{self.publication.root}/{path}"
        reply = await self._noted(self._connection.query(path, body, limit, strict=strict))
        if reply is not None and reply.status == 200 and not self._is_ours(reply.body):
            if await self.probe():
                return reply
            await self.again()
            reply = await self._connection.query(path, body, limit, strict=strict)
        return reply

    async def probe(self) -> bool:
        """Whether the set is there. Raises EngineUnavailable where OPA is not."""
        reply = await self._noted(self._connection.call("POST", f"data/{self._answer_path}", PROBE))
        there = reply.status == 200 and self._is_ours(reply.body)
        self.problem = "" if there else "it lost the policy set, which is being published again"
        return there

    async def again(self) -> None:
        """Publishes once more; whoever asks meanwhile waits for the same work, which goes on when one gives up."""
        if self.publishing is None or self.publishing.done():
            self.again_count += 1
            self.publishing = asyncio.create_task(self.publish())
            self.publishing.add_done_callback(_seen_by_somebody)
        await asyncio.shield(self.publishing)

    async def publish(self) -> None:
        """Puts everything there and reads it back.

        Raises:
            EngineUnavailable: OPA is not there.
            EngineMalformed: it does not take the set, or gives back another.
        """
        await self.renew()
        if self._inventory is not None:
            await self.bring_up(self._inventory, whole=True)
        for number, text in enumerate(self.publication.modules):
            reply = await self._connection.call("GET", self._module(number), limit=self._limits.policy_tree_bytes)
            if _raw(reply) != text:
                raise EngineMalformed(f"the OPA at {self._connection.name} gives back another policy than it was given")
        for name, value in self.publication.data.items():
            reply = await self._connection.call("GET", f"data/{self.publication.root}/{ROOT}/{name}")
            if _result(reply) != value:
                raise EngineMalformed(f"the OPA at {self._connection.name} gives back other data than it was given")
        if not await self.probe():
            raise EngineMalformed(f"the OPA at {self._connection.name} does not answer from the set that it was given")

    async def renew(self) -> None:
        """Says that the set is in use and puts all of it: OPA leaves alone what is there already."""
        word = {"word": secrets.token_hex(8), "modules": len(self.publication.modules)}
        await self._put(f"data/{SEEN}/{self.publication.root}", msgspec.json.encode(word))
        await self._put_modules()
        for name, value in self.publication.data.items():
            await self._put(f"data/{self.publication.root}/{ROOT}/{name}", msgspec.json.encode(value))

    async def bring_up(self, inventory: Inventory, *, whole: bool) -> None:
        """Writes the objects of the cluster, or what changed of them since. Raises EngineError."""
        patch = None if whole else inventory.since(self.written)
        version, content = patch or inventory.snapshot()
        path = f"data/{self.publication.root}/{INVENTORY}"
        try:
            reply = await self._connection.call("PATCH" if patch else "PUT", path, content)
            if reply.status not in (200, 204):
                raise EngineMalformed(f"the OPA at {self._connection.name} does not take data ({reply.status})")
        except EngineError as error:
            self.inventory_problem = f"OPA did not take the changes: {error.message}"
            raise
        self.written, self.inventory_problem = max(self.written, version), ""

    async def _put_modules(self) -> None:
        """In order; those that another one has to precede are tried again after it."""
        waiting = list(enumerate(self.publication.modules))
        while waiting:
            refused: list[tuple[int, str]] = []
            why = ""
            for number, text in waiting:
                reply = await self._connection.call("PUT", self._module(number), text.encode())
                if reply.status == 400:
                    refused.append((number, text))
                    why = why or clean(reply.body.decode("utf-8", "replace"), 500)
                elif reply.status != 200:
                    raise EngineUnavailable(f"the OPA at {self._connection.name} failed ({reply.status})")
            if len(refused) == len(waiting):
                raise EngineMalformed(f"the OPA at {self._connection.name} refuses the policies: {why}")
            waiting = refused

    async def _put(self, path: str, body: bytes) -> None:
        reply = await self._connection.call("PUT", path, body)
        if reply.status not in (200, 204):
            said = clean(reply.body.decode("utf-8", "replace"), 300)
            raise EngineMalformed(f"the OPA at {self._connection.name} does not take data ({reply.status}): {said}")

    def _module(self, number: int) -> str:
        return _module_path(self.publication.root, number)

    def _is_ours(self, body: bytes) -> bool:
        try:
            return msgspec.json.decode(body, type=_Body).result.revision == self.publication.revision
        except (msgspec.MsgspecError, RecursionError):
            return False

    async def _noted(self, call: Awaitable[T]) -> T:
        """Keeps what readiness says."""
        try:
            result = await call
        except EngineUnavailable as error:
            self.problem = error.message
            raise
        return result


class _Sweep:
    """Removes the sets that nobody renews."""

    def __init__(self, connection: _Connection, forgotten_seconds: float) -> None:
        self._connection = connection
        self._forgotten_seconds = forgotten_seconds
        self._known: dict[str, tuple[str, float]] = {}

    async def run(self) -> None:
        """Raises EngineError."""
        reply = await self._connection.call("GET", f"data/{SEEN}")
        now = asyncio.get_running_loop().time()
        listed = _result(reply)
        known: dict[str, tuple[str, float]] = {}
        for root, entry in listed.items() if isinstance(listed, dict) else ():
            # All of this comes from outside: what is not as we write it is not ours to remove.
            if len(known) < HELD_REVISIONS and _ROOT.fullmatch(root) and isinstance(entry, dict):
                word = str(entry.get("word", ""))
                before = self._known.get(root, ("", now))
                known[root] = before if before[0] == word else (word, now)
                if now - known[root][1] >= self._forgotten_seconds:
                    await self._remove(root, entry.get("modules"))
        self._known = known

    async def _remove(self, root: str, modules: object) -> None:
        """The modules from the last to the first: nothing that others call goes before them."""
        if not isinstance(modules, int) or not 0 <= modules <= _MODULES:
            return
        for number in reversed(range(modules)):
            reply = await self._connection.call("DELETE", _module_path(root, number))
            if reply.status not in (200, 404):
                return
        for path in (f"data/{root}", f"data/{SEEN}/{root}"):
            await self._connection.call("DELETE", path)


def _module_path(root: str, number: int) -> str:
    return f"policies/portcullis/{root}/{number}"


class _Answer(msgspec.Struct):
    revision: str


class _Body(msgspec.Struct):
    result: _Answer


class _Module(msgspec.Struct):
    raw: str = ""


class _Modules(msgspec.Struct):
    result: _Module


def _raw(reply: Reply) -> str:
    try:
        return msgspec.json.decode(reply.body, type=_Modules).result.raw
    except (msgspec.MsgspecError, RecursionError):
        return ""


def _result(reply: Reply) -> Any:
    try:
        tree: Mapping[str, Any] = msgspec.json.decode(reply.body, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError):
        return None
    return tree.get("result")


def _seen_by_somebody(task: "asyncio.Task[None]") -> None:
    """Its error is noted, also where nobody waits any more."""
    if not task.cancelled():
        task.exception()
