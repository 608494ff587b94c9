"""What the health port says of the reports in the cluster (cluster/reports.py)."""

from collections.abc import Callable, Mapping

from portcullis.cluster.reportobjects import APIS
from portcullis.cluster.reports import PolicyReports
from portcullis.server.health import Check
from portcullis.server.telemetry import Metrics

_COUNTED = {
    "written": "Reports in the cluster that were made or changed.",
    "unchanged": "Reports in the cluster that said the same already, and were not written.",
    "deleted": "Reports in the cluster that were deleted.",
}


def reports_check(reports: PolicyReports, leads: Callable[[], bool]) -> Check:
    """Shown, not decisive. Whoever reaches the port may read it, so it names no namespace.

    Args:
        leads: whether this replica is the one that writes.
    """

    async def problem() -> str:
        if not leads():
            return ""
        if reports.failing:
            why = next(iter(reports.failing.values()))
            return f"those of {_namespaces(len(reports.failing))} could not be written: {why}"
        if reports.left_out:
            count = sum(reports.left_out.values())
            return f"{count} results of {_namespaces(len(reports.left_out))} have no room in them"
        return ""

    def remark() -> str:
        if not leads():
            return "written by the replica that judges again"
        if reports.served is None:
            return "the first round goes on"
        if not reports.served:
            return f"none are written: the cluster has neither {' nor '.join(map(str, APIS))}"
        return ", ".join(map(str, reports.served))

    return Check("reports", problem, decisive=False, remark=remark)


def observe_reports(reports: PolicyReports, leads: Callable[[], bool], metrics: Metrics) -> None:
    """Binds metrics to them. What stands in the cluster is told by the replica that writes alone."""

    def left_out() -> float:
        return float(sum(reports.left_out.values())) if leads() else 0.0

    def kinds() -> Mapping[str, float]:
        if reports.served is None or not leads():
            return {}
        return {api.resource.kind: float(api in reports.served) for api in APIS}

    metrics.count_fields("reports", _COUNTED, lambda: reports.counters)
    metrics.gauge(
        "report_results_left_out", "Results that have no room in the reports of their namespace."
    ).set_function(left_out)
    metrics.gauge_by("report_kinds", "Whether the cluster has this kind of report.", "kind", kinds)


def _namespaces(count: int) -> str:
    return "one namespace" if count == 1 else f"{count} namespaces"
