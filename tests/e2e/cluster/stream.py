"""A steady stream of people who create pods, and what came of each: good and bad ones, real ones and dry runs.

Beside the steady ones some ask together every few seconds: the connections that the API server opens to the gate for
them are idle until they are woken up again.
"""

import contextlib
import itertools
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from e2e.cluster.api import Api, ApiError
from e2e.cluster.gate import Installed
from e2e.cluster.objects import container, workload
from e2e.cluster.pki import PERSON
from e2e.cluster.programs import until
from e2e.cluster.registry import GOOD, ROOT

STEADY = 2
TOGETHER = 6
PACE_SECONDS = 0.2
ASLEEP_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Sent:
    """One request. ``code`` is the API server's, 0 where it did not answer; times are of time.monotonic()."""

    name: str
    good: bool
    dry_run: bool
    started: float
    ended: float
    code: int
    message: str

    @property
    def created(self) -> bool:
        return self.code == 201

    @property
    def refused(self) -> bool:
        """By a policy."""
        return self.code == 403 and "denied the request: 1 policy refuses" in self.message

    @property
    def failed(self) -> bool:
        """Whether it ended in another way than a gate that works, or none at all, ends it."""
        return not self.created and (self.good or not self.refused)

    @property
    def passed(self) -> bool:
        """Whether a bad pod came in."""
        return self.created and not self.good

    def __str__(self) -> str:
        return f"{self.name} at {self.started:.2f} for {self.ended - self.started:.2f} s: {self.code} {self.message}"


def warm_up(gate: Installed, namespace: str, *, enforced: bool = True, seconds: float = 120) -> None:
    """Returns when both images were looked into and are judged: what the first request pays is no failure."""
    with Stream(gate, namespace).closing() as stream:

        def judged() -> bool:
            asked = [stream.ask(good=good, dry_run=True) for good in (True, False)]
            return [one.created for one in asked] == [True, not enforced]

        until(judged, "both images to be judged", seconds)


class Stream:
    """Creates pods in ``namespace`` from some threads while it runs."""

    def __init__(self, gate: Installed, namespace: str) -> None:
        cluster = gate.cluster
        self._api = Api(cluster.port, cluster.pki.ca, cluster.pki.client(PERSON, "system:masters"))
        self._images = {True: gate.registry.image(GOOD), False: gate.registry.image(ROOT)}
        self._namespace = namespace
        self._numbers = itertools.count(1)
        self._over = threading.Event()
        self._prefix = f"stream-{time.time_ns() // 1_000_000:x}"
        self.sent: list[Sent] = []

    @contextlib.contextmanager
    def running(self) -> Iterator["Stream"]:
        gathered = threading.Barrier(TOGETHER)
        threads = [
            *(threading.Thread(target=self._steadily, daemon=True) for _ in range(STEADY)),
            *(threading.Thread(target=self._together, args=(gathered,), daemon=True) for _ in range(TOGETHER)),
        ]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._over.set()
            gathered.abort()
            for thread in threads:
                thread.join(60)
            self._api.close()

    @contextlib.contextmanager
    def closing(self) -> Iterator["Stream"]:
        """Without the threads."""
        yield self
        self._api.close()

    @property
    def failures(self) -> list[Sent]:
        """What a gate that enforces all the time does not do."""
        return [one for one in list(self.sent) if one.failed or one.passed]

    @property
    def locked_out(self) -> list[str]:
        """Requests that failed, whatever the gate had to judge: bad pods may come in."""
        return [str(one) for one in list(self.sent) if one.failed]

    def since(self, moment: float) -> list[Sent]:
        """What was asked after that moment of time.monotonic()."""
        return [one for one in list(self.sent) if one.started >= moment]

    def settle(self, count: int = 12, *, enforced: bool | None = None, seconds: float = 90) -> None:
        """Returns when so many more have ended, and all who sleep were woken up once.

        Args:
            enforced: waits until so many in turn were judged, or none was; None: whatever came of them.
        """
        begun = time.monotonic()

        def well() -> bool:
            after = self.since(begun)
            if len(after) < count or time.monotonic() - begun < ASLEEP_SECONDS + PACE_SECONDS:
                return False
            return enforced is None or all(one.refused is enforced for one in after[-count:] if not one.good)

        until(well, f"the stream to settle: {[str(one) for one in self.failures[:3]]}", seconds)

    def _steadily(self) -> None:
        for good, dry_run in itertools.cycle(itertools.product((True, False), repeat=2)):
            if self._over.wait(PACE_SECONDS):
                return
            self.ask(good=good, dry_run=dry_run)

    def _together(self, gathered: threading.Barrier) -> None:
        with contextlib.suppress(threading.BrokenBarrierError):
            while not self._over.is_set():
                gathered.wait()
                self.ask(good=True, dry_run=True)
                self._over.wait(ASLEEP_SECONDS)

    def ask(self, *, good: bool, dry_run: bool) -> Sent:
        """Creates one pod."""
        name = f"{self._prefix}-{next(self._numbers)}"
        pod: dict[str, Any] = workload("Pod", name, self._namespace, container("web", self._images[good]))
        path = f"/api/v1/namespaces/{self._namespace}/pods{'?dryRun=All' if dry_run else ''}"
        started = time.monotonic()
        code, message = 201, ""
        try:
            self._api.post(path, pod)
        except ApiError as error:
            code, message = error.code, str(error)
        except OSError as error:
            code, message = 0, repr(error)
        one = Sent(name, good, dry_run, started, time.monotonic(), code, message)
        self.sent.append(one)
        return one
