"""What the health port and Prometheus are told of the reports in the cluster (cluster/reports.py)."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from portcullis.server.health import Check
from portcullis.server.telemetry import Metrics

if TYPE_CHECKING:
    from portcullis.cluster.reports import PolicyReports

_COUNTED = {
    "written": "Reports in the cluster that were made or changed.",
    "unchanged": "Reports in the cluster that said the same already, and were not written.",
    "deleted": "Reports in the cluster that were deleted.",
}


class Reporting:
    """Args:
    reports: what writes them.
    leads: whether this replica does that.
    """

    def __init__(self, reports: "PolicyReports", leads: Callable[[], bool]) -> None:
        self._reports = reports
        self._leads = leads

    def check(self) -> Check:
        """Shown, not decisive. Whoever reaches the port may read it, so it names no namespace."""

        async def problem() -> str:
            return self._problem() if self._leads() else ""

        return Check("reports", problem, decisive=False, remark=self._remark)

    def observe(self, metrics: Metrics) -> None:
        """Binds metrics to them. What stands in the cluster is told by the replica that writes, alone."""
        reports = self._reports

        def left_out() -> float:
            return float(sum(reports.left_out.values())) if self._leads() else 0.0

        def kinds() -> Mapping[str, float]:
            if reports.served is None or not self._leads():
                return {}
            return {api.resource.kind: float(api in reports.served) for api in reports.kinds}

        metrics.count_fields("reports", _COUNTED, lambda: reports.counters)
        room = "Results that have no room in the reports of their namespace."
        metrics.gauge("report_results_left_out", room).set_function(left_out)
        metrics.gauge_by("report_kinds", "Whether the cluster has this kind of report.", "kind", kinds)

    def _problem(self) -> str:
        failing, left_out = self._reports.failing, self._reports.left_out
        if failing:
            return f"those of {_namespaces(len(failing))} could not be written: {next(iter(failing.values()))}"
        if left_out:
            return f"{sum(left_out.values())} results of {_namespaces(len(left_out))} have no room in them"
        return ""

    def _remark(self) -> str:
        reports = self._reports
        if not self._leads():
            return "written by the replica that judges again"
        if reports.served is None:
            return "the first round goes on"
        if not reports.served:
            return f"none are written: the cluster has neither {' nor '.join(map(str, reports.kinds))}"
        return ", ".join(map(str, reports.served))


def _namespaces(count: int) -> str:
    return "one namespace" if count == 1 else f"{count} namespaces"
