"""What is asked of registries and how that ends, counted by host.

A host's name is chosen by whoever writes a pod. So only hosts that the operator's configuration names are counted
under their own names, and all others together.
"""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from portcullis.errors import (
    CredentialUnavailable,
    Denied,
    Malformed,
    NotAllowed,
    NotFound,
    RegistryError,
    Throttled,
    TooLarge,
    Unreachable,
)
from portcullis.measuring import Durations
from portcullis.registry.faults import Passing
from portcullis.registry.hosts import split_host

OTHER: Final = "other"
HOSTS: Final = 50
"""So many names are told apart: an operator may list more, and each is some twenty series."""

OK: Final = "ok"
STOPPED: Final = "stopped"
FAILED: Final = "failed"

_OUTCOMES: Final[tuple[tuple[type[RegistryError], str], ...]] = (
    (Throttled, "throttled"),
    (Unreachable, "unreachable"),
    (Denied, "denied"),
    (NotFound, "not-found"),
    (Malformed, "malformed"),
    (TooLarge, "too-large"),
    (NotAllowed, "not-allowed"),
    (CredentialUnavailable, "no-credential"),
)
OUTCOMES: Final = (OK, *(word for _, word in _OUTCOMES), STOPPED, FAILED)
"""``stopped``: whoever asked did not wait for the end. ``failed``: anything else."""


@dataclass(slots=True)
class Tally:
    """Requests that one piece of work began, by itself or by what it began."""

    requests: int = 0


_TALLY: ContextVar[Tally | None] = ContextVar("tally", default=None)


@contextlib.contextmanager
def tallied() -> Iterator[Tally]:
    """Counts the requests that the block and the tasks that it starts send. One that somebody else began, and the block
    only waits for, is not among them."""
    tally = Tally()
    before = _TALLY.set(tally)
    try:
        yield tally
    finally:
        _TALLY.reset(before)


class Traffic:
    """Counters by host and outcome, and the time until an answer begins by host.

    Args:
        hosts: ``host`` or ``host:port`` of the configuration; the first of them count under their names.
    """

    def __init__(self, hosts: Iterable[str] = (), *, clock: Callable[[], float] = time.monotonic) -> None:
        named = list(dict.fromkeys(hosts))[:HOSTS]
        self._names = {split_host(host): host for host in reversed(named)}
        self._clock = clock
        self.requests: Counter[tuple[str, ...]] = Counter()
        """By host and outcome."""
        self.seconds: dict[str, Durations] = {}
        """By host."""

    @contextlib.contextmanager
    def request(self, registry: str) -> Iterator[Callable[[], None]]:
        """Counts one request to the API of ``registry``: what leaves the block says how it ended. What is yielded is
        called when its answer begins."""
        host, started, outcome = self.name(registry), self._clock(), OK

        def begun() -> None:
            self.seconds.setdefault(host, Durations()).observe(self._clock() - started)

        try:
            yield begun
        except BaseException as error:
            outcome = outcome_of(error)
            raise
        finally:
            self.requests[host, outcome] += 1
            if (tally := _TALLY.get()) is not None:
                tally.requests += 1

    def name(self, registry: str) -> str:
        """What ``registry``, the host of a reference with its port, is counted under."""
        host, port = split_host(registry)
        wanted = (host, 443 if port is None else port)
        return self._names.get(wanted) or self._names.get((host, None)) or OTHER


def outcome_of(error: BaseException) -> str:
    """One of OUTCOMES."""
    if isinstance(error, Passing):
        error = error.error
    for kind, word in _OUTCOMES:
        if isinstance(error, kind):
            return word
    return FAILED if isinstance(error, Exception) else STOPPED
