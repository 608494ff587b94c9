"""Makes known in the cluster what a round found: the reports of each namespace, one after the other."""

from typing import Final

import structlog

from portcullis.errors import ClusterError, PortcullisError
from portcullis.limits import Limits
from portcullis.model.running import FindingFilter, Rejudged, Round
from portcullis.ports import Clock, Findings, Reporter
from portcullis.server.pacing import Courtesy, Pace

FAILURES: Final = 5
"""Namespaces in a row whose reports could not be written; then the others wait for the next round."""

log = structlog.get_logger(__name__)


class Publishing:
    """Args:
    reporter: None where no reports are written.
    namespaces_per_second: how fast it goes at most.
    courtesy: lets go first whoever waits for an answer of the gate.
    """

    def __init__(
        self,
        *,
        findings: Findings,
        reporter: Reporter | None,
        namespaces_per_second: float,
        courtesy: Courtesy,
        clock: Clock,
        limits: Limits,
    ) -> None:
        self._findings = findings
        self._reporter = reporter
        self._pace = Pace(namespaces_per_second, slowest_seconds=0, clock=clock)
        self._courtesy = courtesy
        self._limits = limits
        self.failed = 0
        """Namespaces whose reports could not be written."""
        self.problem = ""
        """Why some were not after the last round; "" where all were."""

    async def __call__(self, ended: Round) -> None:
        """Writes what ``ended`` found, and takes away the reports of namespaces in which nothing runs any more. What
        fails is tried again after the next round; nothing is raised."""
        if self._reporter is None or ended.ended_at is None:
            return
        self.problem = ""
        try:
            await self._publish(self._reporter, ended)
        except PortcullisError as error:
            self._fail(error.message)
        except Exception:  # a fault of ours must not end the rounds
            log.exception("reports not written")
            self._fail("a fault in Portcullis itself; the log of the webhook tells more")

    async def _publish(self, reporter: Reporter, ended: Round) -> None:
        assert ended.ended_at is not None
        names = [one.name for one in await self._findings.namespaces()]
        failures = 0
        for name in names:
            await self._pace.turn()
            await self._courtesy.wait()
            try:
                await reporter.publish(name, await self._results(name), ended.ended_at)
                failures = 0
            except ClusterError as error:
                self._fail(error.message)
                failures += 1
                if failures >= FAILURES:
                    return
        await reporter.clear(names)

    async def _results(self, namespace: str) -> list[Rejudged]:
        """All of one namespace. They come without documents, and ``running_workloads`` bounds how many there are."""
        results: list[Rejudged] = []
        query, after = FindingFilter(namespace=namespace), ""
        while True:
            page = await self._findings.results(query=query, after=after, limit=self._limits.search_rows)
            results += page.results
            after = page.next
            if not after:
                return results

    def _fail(self, problem: str) -> None:
        self.failed += 1
        if problem != self.problem:
            log.warning("reports not written", problem=problem)
        self.problem = problem
