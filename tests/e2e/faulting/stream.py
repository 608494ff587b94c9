"""A steady stream of requests while something breaks: good and bad pods in turn, and what came of each."""

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from e2e.cluster.gate import Installed
from e2e.cluster.objects import container, workload
from e2e.cluster.programs import until
from e2e.cluster.registry import GOOD, ROOT
from e2e.faulting.asking import Answer, Asker, Names, asker

PACE_SECONDS = 0.2
NAMES = Names()
SLOW = ("deadline-exceeded", "engine-timeout", "inspection-pending")
"""Reasons of undecided requests that a machine with other work to do is enough for."""


@dataclass(frozen=True, slots=True)
class Sent:
    """One request. ``good``: whether the gate should admit it."""

    name: str
    good: bool
    answer: Answer

    @property
    def outcome(self) -> str:
        """In one word; "WRONG" is what must never be."""
        answer = self.answer
        if answer.code == 0:
            return "no API server"
        if answer.unanswered:
            return "unanswered"
        if answer.denied and answer.code in (429, 503):
            return "slow" if any(f"[{reason}]" in answer.message for reason in SLOW) else "undecided"
        if answer.code in (429, 500, 503, 504) and not answer.denied:
            return "API server unwell"
        if self.good:
            return "admitted" if answer.admitted else "WRONG"
        return "refused" if answer.denied and answer.code == 403 else "WRONG"


class Stream:
    """Creates pods in ``namespace`` from some threads; ``bad`` ones too, unless nothing is enforced."""

    def __init__(self, gate: Installed, namespace: str, threads: int = 2, *, bad: bool = True) -> None:
        self._asker: Asker = asker(gate.cluster)
        self._path = f"/api/v1/namespaces/{namespace}/pods"
        self._namespace = namespace
        self._images = (gate.registry.image(ROOT), gate.registry.image(GOOD))
        self._threads = threads
        self._kinds = (True, False) if bad else (True,)
        self._over = threading.Event()
        self.sent: list[Sent] = []

    @contextlib.contextmanager
    def running(self) -> Iterator["Stream"]:
        """At its end, nothing may have gone wrong."""
        threads = [threading.Thread(target=self._run, daemon=True) for _ in range(self._threads)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._over.set()
            for thread in threads:
                thread.join(60)
            self._asker.close()
        wrong = self.of("WRONG")
        assert not wrong, [(one.name, one.good, one.answer.code, one.answer.message) for one in wrong[:5]]

    def of(self, outcome: str) -> list[Sent]:
        return [one for one in list(self.sent) if one.outcome == outcome]

    @property
    def counts(self) -> dict[str, int]:
        return dict(Counter(one.outcome for one in list(self.sent)))

    @property
    def felt(self) -> set[str]:
        """The outcomes by which people notice that something is broken, and not only slow."""
        return self.counts.keys() - {"admitted", "refused", "slow"}

    def settle(self, count: int = 20, seconds: float = 180) -> None:
        """Returns when so many more were admitted and refused, as they should be, one after the other."""
        begun = len(self.sent)
        wanted = {"admitted", "refused"} if False in self._kinds else {"admitted"}

        def well() -> bool:
            after = [one.outcome for one in self.sent[begun:]]
            last = after[-count:]
            return len(last) == count and set(last) == wanted

        until(well, f"the stream to run smoothly: {self.counts}", seconds)

    def see(self, outcome: str, count: int = 1, seconds: float = 180) -> None:
        """Returns when so many more had that outcome."""
        wanted = len(self.of(outcome)) + count
        until(lambda: len(self.of(outcome)) >= wanted, f"an outcome: {outcome}, beside {self.counts}", seconds)

    def _run(self) -> None:
        while not self._over.wait(PACE_SECONDS):
            for good in self._kinds:
                name = NAMES.take("stream")
                pod: Any = workload("Pod", name, self._namespace, container("web", self._images[good]))
                self.sent.append(Sent(name, good, self._asker.ask("POST", self._path, pod)))
