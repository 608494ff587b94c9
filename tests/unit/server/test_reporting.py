"""What the health port says of the reports in the cluster."""

from datetime import UTC, datetime

import pytest
from aiohttp import web

from fakes.reported import failing
from fakes.reportserver import OPEN_REPORTS, POLICY_REPORTS, report_server
from portcullis.cluster.reports import PolicyReports
from portcullis.errors import ClusterError
from portcullis.limits import Limits
from portcullis.server.health import examine
from portcullis.server.reporting import Reporting
from portcullis.server.telemetry import Metrics

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
NAMES = ("PolicyReport of wgpolicyk8s.io/v1alpha2", "Report of openreports.io/v1alpha1")


async def said(reports: PolicyReports, *, leads: bool = True) -> str:
    (line,) = (await examine([Reporting(reports, lambda: leads).check()])).lines
    return line


@pytest.mark.parametrize(
    ("there", "words"),
    [
        ({POLICY_REPORTS, OPEN_REPORTS}, ", ".join(NAMES)),
        (
            set(),
            f"none are written: the cluster has neither {' nor '.join(NAMES)}",
        ),
    ],
    ids=["both", "neither"],
)
async def test_which_kinds_there_are(there: set[str], words: str) -> None:
    async with report_server() as (server, client):
        server.served = there
        reports = PolicyReports(client=client, limits=Limits(report_writes_per_second=1e6))
        assert await said(reports) == "[+]reports ok: the first round goes on"
        await reports.publish("shop", failing(1), NOON)
        assert await said(reports) == f"[+]reports ok: {words}"
        assert await said(reports, leads=False) == "[+]reports ok: written by the replica that judges again"


async def test_what_is_not_written_or_has_no_room_is_shown_and_counted() -> None:
    async with report_server() as (server, client):
        bounds = Limits(report_writes_per_second=1e6, report_page_results=2, report_pages=1)
        reports = PolicyReports(client=client, limits=bounds)
        leads, metrics = [True], Metrics()
        Reporting(reports, lambda: leads[0]).observe(metrics)
        await reports.publish("shop", failing(5), NOON)
        assert await said(reports) == "[!]reports degraded: 4 results of one namespace have no room in them"
        page = metrics.page().decode()
        for line in (
            "portcullis_reports_written_total 1.0",
            "portcullis_reports_unchanged_total 0.0",
            "portcullis_reports_deleted_total 0.0",
            "portcullis_report_results_left_out 4.0",
            'portcullis_report_kinds{kind="policyreports.wgpolicyk8s.io"} 1.0',
            'portcullis_report_kinds{kind="reports.openreports.io"} 0.0',
        ):
            assert line in page.splitlines()
        leads[0] = False
        assert "portcullis_report_results_left_out 0.0" in metrics.page().decode()
        assert "portcullis_report_kinds{" not in metrics.page().decode()
        leads[0] = True

        for namespace in ("a", "b"):
            server.faults = [lambda _: web.json_response({"message": "no"}, status=500)]
            with pytest.raises(ClusterError):
                await reports.publish(namespace, failing(1), NOON)
        line = await said(reports)
        assert line.startswith(
            "[!]reports degraded: those of 2 namespaces could not be written: the API server answered"
        )
        assert "shop" not in line
