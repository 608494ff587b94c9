"""What an engine asks of whatever serves its policy sets: an OPA of ours, or one that others run."""

from contextlib import AbstractAsyncContextManager, AbstractContextManager
from pathlib import Path
from typing import Protocol

from portcullis.policy.client import Reply
from portcullis.policy.workspace import Workspace


class Asked(Protocol):
    """One set, ready to be asked. Raises EngineError only."""

    async def query(self, path: str, body: bytes, limit: int, *, strict: bool = True) -> Reply | None:
        """See :meth:`portcullis.policy.client.OpaClient.query`."""
        ...


class Serving(Protocol):
    """Implemented by :class:`portcullis.policy.supervisor.OpaSupervisor` and
    :class:`portcullis.policy.remote.RemoteOpa`."""

    @property
    def healthy(self) -> bool:
        """Whether the serving set can be asked now."""
        ...

    @property
    def problem(self) -> str:
        """Why it cannot be asked; "" where it can."""
        ...

    @property
    def revision(self) -> str:
        """Of the serving set; "" before the first."""
        ...

    @property
    def restarts(self) -> int:
        """How often the serving set had to be brought back."""
        ...

    @property
    def inventory_problem(self) -> str:
        """Why the serving OPA may lack changes of the inventory; "" if it does not."""
        ...

    @property
    def memory_bytes(self) -> int:
        """GOMEMLIMIT of the OPA that compiles."""
        ...

    def binary(self) -> Path:
        """Raises EngineUnavailable where there is no OPA to compile with."""
        ...

    async def serve(self, workspace: Workspace, bundle: Path, revision: str) -> None:
        """Makes ``bundle`` the serving set, once it has proved that it answers from ``revision``. From its return on,
        ``workspace`` is its own to remove. Raises EngineError and PolicyCompileError."""
        ...

    def client(self, revision: str) -> AbstractAsyncContextManager[Asked]:
        """Raises EngineUnavailable where that set cannot be asked."""
        ...

    def hold(self, revision: str) -> AbstractContextManager[None]:
        """Keeps that set, where it is served, until the end of the block, whatever is served by then."""
        ...

    async def aclose(self) -> None: ...
