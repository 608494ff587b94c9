"""How long a request may wait for facts that are still being fetched.

A person's client waits for its one answer, and so may the request. A controller has a handful of workers, and each
of them waits in line for its answer: if all of them waited for one slow registry, the controller would stand still
for every other object of the cluster (twenty workloads whose answers take ten seconds hold five workers for forty).
So a request of a service account, a node or the control plane waits for a moment; after that only a few requests of
its user at a time may go on waiting, of the control plane's own controllers a single one. The others are answered
that the image is still being inspected: the fetch goes on, and the controller comes again by its own back-off.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from portcullis.limits import Limits
from portcullis.model.request import AdmissionRequest, Caller

_ACCOUNT = "system:serviceaccount:"
_CONTROL_PLANE = f"{_ACCOUNT}kube-system:"


class Wait:
    """One request that waits. ``cut_short`` says that it was ended before its time, for the sake of others."""

    def __init__(self) -> None:
        self.cut_short = False


class Patience:
    """Shares out the waiting.

    Args:
        limits: ``moment_seconds``, ``waiting_per_controller``, ``waiting_per_account``.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._waiting: Counter[str] = Counter()

    @contextmanager
    def shared(self, request: AdmissionRequest | None, limit: asyncio.Timeout) -> Iterator[Wait]:
        """Ends ``limit``, within which the request waits, early where it may not wait on. A command, and what is
        nobody's request, waits as long as it likes."""
        wait = Wait()
        if request is None or request.user.is_person or request.caller is Caller.LOCAL:
            yield wait
            return
        user = request.user
        loop = asyncio.get_running_loop()
        turns: list[str] = []

        def moment_over() -> None:
            if self._waiting[user.username] < self._allowed(user.username):
                self._waiting[user.username] += 1
                turns.append(user.username)
            else:
                wait.cut_short = True
                limit.reschedule(loop.time())

        timer = loop.call_later(self._limits.moment_seconds, moment_over)
        try:
            yield wait
        finally:
            timer.cancel()
            for name in turns:
                self._waiting[name] -= 1
                if not self._waiting[name]:
                    del self._waiting[name]

    def _allowed(self, username: str) -> int:
        """Of a name in the kube-system namespace, and of one that is no service account: a control plane's."""
        own = username.startswith(_CONTROL_PLANE) or not username.startswith(_ACCOUNT)
        return self._limits.waiting_per_controller if own else self._limits.waiting_per_account
