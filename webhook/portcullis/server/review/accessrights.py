"""What a reader may see, as the API server says: asked anew after a while, and never believed for longer.

A reader may ``get`` the resource ``decisions`` of the group ``audit.portcullis.dev``, which exists in RBAC only: in all
namespaces, or in some. What cannot be found out is no permission: ClusterError is raised, and nothing old is used.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Hashable
from typing import Generic, Protocol, TypeVar

from portcullis.errors import ClusterError
from portcullis.limits import Limits
from portcullis.model.record import Visible
from portcullis.model.subject import Subject
from portcullis.ports import Clock
from portcullis.tasks import together

AUDIENCE = "portcullis.dev/audit"
GROUP = "audit.portcullis.dev"
RESOURCE = "decisions"
VERB = "get"
AT_ONCE = 16
"""Questions about one reader that the API server is asked at a time."""

_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")


class Reviews(Protocol):
    """What the API server is asked: :class:`portcullis.cluster.reviews.AccessReviews`. Raises only ClusterError."""

    async def authenticate(self, token: str, audience: str) -> Subject | None: ...

    async def allowed(self, subject: Subject, *, verb: str, group: str, resource: str, namespace: str) -> bool: ...


class Believed(Generic[_Key, _Value]):
    """Answers that count for ``seconds`` from when they were asked for; each is asked for once at a time.

    Args:
        entries: that are kept at most; those that were used longest ago go.
    """

    def __init__(self, *, seconds: float, entries: int, clock: Clock) -> None:
        self._seconds = seconds
        self._entries = entries
        self._clock = clock
        self._kept: OrderedDict[_Key, tuple[float, _Value]] = OrderedDict()
        self._asking: dict[_Key, list[asyncio.Lock]] = {}
        """One lock for each key that is asked for, as often as somebody holds it or waits for it."""

    async def get(self, key: _Key, ask: Callable[[], Awaitable[_Value]]) -> _Value:
        """What was answered for the key lately, else what ``ask`` gives now. Raises what it raises."""
        if (known := self._known(key)) is not None:
            return known[1]
        locks = self._asking.setdefault(key, [])
        lock = locks[0] if locks else asyncio.Lock()
        locks.append(lock)
        try:
            async with lock:
                if (known := self._known(key)) is not None:
                    return known[1]
                asked = self._clock.monotonic()
                value = await ask()
                self._kept[key] = (asked + self._seconds, value)
                while len(self._kept) > self._entries:
                    self._kept.popitem(last=False)
                return value
        finally:
            locks.pop()
            if not locks:
                del self._asking[key]

    def forget(self, key: _Key) -> None:
        self._kept.pop(key, None)

    def _known(self, key: _Key) -> tuple[float, _Value] | None:
        found = self._kept.get(key)
        if found is None:
            return None
        if self._clock.monotonic() >= found[0]:
            del self._kept[key]
            return None
        self._kept.move_to_end(key)
        return found


class Rights:
    """Whose a token is, and what a subject may see.

    Args:
        namespaces: names of those that there are. Raises ClusterError while they are not known.
    """

    def __init__(
        self, *, reviews: Reviews, namespaces: Callable[[], Collection[str]], clock: Clock, limits: Limits
    ) -> None:
        self._reviews = reviews
        self._namespaces = namespaces
        self._limits = limits
        entries = limits.page_readers
        self._subjects = Believed[bytes, Subject | None](
            seconds=limits.token_review_seconds, entries=entries, clock=clock
        )
        self._visible = Believed[Subject, Visible](seconds=limits.reader_seconds, entries=entries, clock=clock)

    async def subject(self, token: str) -> Subject | None:
        """Whose the token is; None where it is nobody's or for another audience.

        Raises:
            ClusterError: that is not known.
        """
        key = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        found = await self._subjects.get(key, lambda: self._reviews.authenticate(token, AUDIENCE))
        if found is None:
            self._subjects.forget(key)  # others' guesses take no room
        return found

    async def visible(self, subject: Subject) -> Visible:
        """The namespaces whose decisions the subject may read.

        Raises:
            ClusterError: that is not known.
        """
        return await self._visible.get(subject, lambda: self._ask(subject))

    async def _ask(self, subject: Subject) -> Visible:
        try:
            async with asyncio.timeout(self._limits.reader_review_seconds):
                if await self._allowed(subject, ""):
                    return None
                names = sorted(self._namespaces())
                if len(names) > self._limits.reviewed_namespaces:
                    raise ClusterError(
                        f"the cluster has {len(names)} namespaces, more than limits.reviewedNamespaces "
                        f"({self._limits.reviewed_namespaces}): who may read some of them cannot be told; "
                        "who may read all of them can"
                    )
                answers = await together(names, lambda name: self._allowed(subject, name), at_once=AT_ONCE)
        except TimeoutError:
            raise ClusterError(
                "the API server did not say within limits.readerReviewSeconds "
                f"({self._limits.reader_review_seconds:g} s) which namespaces you may read"
            ) from None
        return frozenset(name for name, allowed in zip(names, answers, strict=True) if allowed)

    async def _allowed(self, subject: Subject, namespace: str) -> bool:
        return await self._reviews.allowed(subject, verb=VERB, group=GROUP, resource=RESOURCE, namespace=namespace)
