"""What a round over what runs asks of others, in memory: what runs, who judges, who publishes."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from fakes.records import a_decision
from fakes.running import a_result
from portcullis.errors import ClusterError
from portcullis.model.decision import Problem
from portcullis.model.image import Digest
from portcullis.model.running import Condition, ObjectRef, Rejudged, RunningImage, RunningPods
from portcullis.registry.traffic import Traffic


def group(name: str, image: str = "aa", namespace: str = "shop", count: int = 2) -> RunningPods:
    owner = ObjectRef("apps/v1", "Deployment", namespace, name)
    written = f"registry.example/{name}:1"
    images = (RunningImage(written, digest=Digest(f"sha256:{image}")),)
    return RunningPods(owner, {}, (f"{name}-1",), count, images, key=f"{namespace}/{name}")


def result_of(found: RunningPods, condition: Condition = Condition.GOOD, *problems: Problem) -> Rejudged:
    made = a_result(found.owner.name, condition, namespace=found.owner.namespace)
    decision = replace(a_decision(), problems=problems)
    return replace(made, owner=found.owner, key=found.key, pods=found.names, count=found.count, decision=decision)


@dataclass
class Running:
    """A Workloads. ``fails_after`` so many groups."""

    groups_now: Sequence[RunningPods]
    fails_after: int | None = None
    read: int = 0

    async def groups(self) -> AsyncIterator[RunningPods]:
        self.read += 1
        for number, found in enumerate(self.groups_now):
            if number == self.fails_after:
                raise ClusterError("pods cannot be listed: the API server answered 403")
            yield found


@dataclass
class Judging:
    """As rechecking.Rechecker: asks a registry once in a round for each image, ``answer`` says what comes of a group
    and how often that was asked before."""

    answer: Callable[[RunningPods, int], Rejudged] = lambda found, _: result_of(found)
    traffic: Traffic = field(default_factory=Traffic)
    wait: asyncio.Event | None = None
    asked: Counter[str] = field(default_factory=Counter)
    at_once: int = 0
    most_at_once: int = 0
    rounds: int = 0
    unasked: str = ""
    known: set[Digest | None] = field(default_factory=set)

    def begin(self) -> None:
        self.rounds += 1
        self.known.clear()

    async def judge(self, found: RunningPods) -> Rejudged:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if self.wait is not None:
                await self.wait.wait()
            for image in found.images:
                if image.digest not in self.known:
                    self.known.add(image.digest)
                    await self._fetch()
            before = self.asked[found.owner.name]
            self.asked[found.owner.name] += 1
            return self.answer(found, before)
        finally:
            self.at_once -= 1

    async def _fetch(self) -> None:
        async def request() -> None:
            with self.traffic.request("registry.example") as begun:
                begun()

        # In a task of its own, as single flights are.
        await asyncio.create_task(request())


@dataclass
class Reports:
    """A Reporter. ``fails`` says for which namespaces."""

    fails: frozenset[str] = frozenset()
    published: dict[str, list[str]] = field(default_factory=dict)
    kept: list[str] | None = None

    async def publish(self, namespace: str, results: Sequence[Rejudged], at: datetime) -> None:
        assert at.tzinfo is not None
        if namespace in self.fails:
            raise ClusterError(f"reports of {namespace} cannot be written")
        self.published[namespace] = [one.owner.name for one in results]

    async def clear(self, namespaces: Collection[str]) -> None:
        self.kept = sorted(namespaces)
