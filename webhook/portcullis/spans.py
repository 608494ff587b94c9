"""What the time of one review is spent on, as spans (https://opentelemetry.io/docs/concepts/signals/traces/#spans).

Who works on a review says so where it works, by :func:`span`; who wants to know it begins a :class:`Trace` around the
review. Without one nothing happens, and that costs two microseconds.

A span reaches from the webhook down to the client of a registry, through caches and tasks that know nothing of it. So
it is no argument: it goes by a context variable, which tasks take over from whoever makes them. A trace takes no span
that begins after its end, so that work which outlives the review, or stays for good, adds nothing to it.
"""

import contextlib
import secrets
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field

from portcullis.errors import PortcullisError

Value = str | int | float | bool


@dataclass(slots=True)
class Span:
    """A part of the work. Times are nanoseconds since 1970; ``problem`` is why it failed, a reason code or the name of
    an error, "" where it did not. ``trace_id`` is 0 in the one that nobody keeps."""

    name: str
    trace_id: int
    span_id: int
    parent_id: int
    started: int
    ended: int = 0
    problem: str = ""
    attributes: dict[str, Value] = field(default_factory=dict)

    def set(self, **attributes: Value) -> None:
        """Says more of it. Never a secret, and never what a review holds beside names."""
        if self.trace_id:
            self.attributes |= attributes


NO_SPAN = Span("", 0, 0, 0, 0)
"""The span of what nobody traces; it keeps nothing."""


class Trace:
    """The spans of one review.

    Args:
        ended: is given each span when it ends; must not block.
        trace_id, parent_id: where the caller is traced as well, its own; 0 begins a new trace.
        spans: how many are kept, the one of the review included.
    """

    __slots__ = ("_ended", "_left", "_offset", "_over", "_parent", "dropped", "id")

    def __init__(self, *, ended: Callable[[Span], None], spans: int, trace_id: int = 0, parent_id: int = 0) -> None:
        self.id = trace_id or int.from_bytes(secrets.token_bytes(16))
        self.dropped = 0
        """Spans that were over the number."""
        self._ended = ended
        self._parent = parent_id
        self._left = spans
        self._over = False
        # All times of a trace are by the clock that never jumps.
        self._offset = time.time_ns() - time.monotonic_ns()

    @contextlib.contextmanager
    def review(self, name: str, started_ago: float = 0.0) -> Iterator[Span]:
        """The span of the whole, and the time in which others may begin.

        Args:
            started_ago: seconds since it began.
        """
        try:
            with self._span(name, self._parent, int(started_ago * 1e9)) as one:
                yield one
        finally:
            self._over = True

    @contextlib.contextmanager
    def part(self, name: str, parent: Span) -> Iterator[Span]:
        """A span below ``parent``."""
        if self._over or self._left <= 0:
            self.dropped += not self._over
            yield NO_SPAN
            return
        with self._span(name, parent.span_id) as one:
            yield one

    @contextlib.contextmanager
    def _span(self, name: str, parent_id: int, ago: int = 0) -> Iterator[Span]:
        self._left -= 1
        one = Span(name, self.id, int.from_bytes(secrets.token_bytes(8)), parent_id, self._now() - ago)
        token = _CURRENT.set((self, one))
        try:
            yield one
        except BaseException as error:
            one.problem = _problem(error)
            raise
        finally:
            with contextlib.suppress(ValueError):
                # A generator that nobody reads to its end is closed by another task, where there is nothing to undo.
                _CURRENT.reset(token)
            one.ended = self._now()
            self._ended(one)

    def _now(self) -> int:
        return time.monotonic_ns() + self._offset


_CURRENT: ContextVar[tuple[Trace, Span] | None] = ContextVar("portcullis_span", default=None)


@contextlib.contextmanager
def span(name: str, **attributes: Value) -> Iterator[Span]:
    """The block is a part of the review that is traced here, if one is."""
    current = _CURRENT.get()
    if current is None:
        yield NO_SPAN
        return
    trace, parent = current
    with trace.part(name, parent) as one:
        one.set(**attributes)
        yield one


def current() -> Span:
    """The span of the work that asks."""
    found = _CURRENT.get()
    return NO_SPAN if found is None else found[1]


def _problem(error: BaseException) -> str:
    return error.reason if isinstance(error, PortcullisError) else type(error).__name__
