"""What watches the gate: alerts and dashboard ask for metrics that there are, each alert comes when it should and not
otherwise, and its page says what to do."""

import functools
import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from chart.generate_dashboard import JOB, TARGET, render
from chart.support import CHART, ROOT, helm, objects, run, template, tool, values_of
from fakes.observed import observed

RULES = CHART / "rules" / "portcullis.yaml"
PAGE = ROOT / "docs" / "alerts.md"
MONITORED = values_of(CHART / "ci" / "monitoring-values.yaml")
DISABLED = "PortcullisExceptionEnding"
RUNBOOKS = "https://github.com/portcullis-dev/portcullis/blob/main/docs/alerts.md"
OF_PROMETHEUS = {"up": {"job", "instance"}}
"""Metrics that Prometheus makes itself."""
TARGET_LABELS = {"job", "instance", "le"}
GENERATE = "uv run --frozen --no-sync python tests/chart/generate_dashboard.py"


@functools.cache
def rules() -> dict[str, dict[str, Any]]:
    """By the name of the alert."""
    (group,) = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    found = {rule["alert"]: rule for rule in group["rules"]}
    assert len(found) == len(group["rules"])
    return found


@functools.cache
def dashboard() -> dict[str, Any]:
    return dict(json.loads(TARGET.read_text("utf-8")))


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


# -- only what there is ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """What a gate serves: the names of its series, each with its labels where there is one."""
    found: dict[str, set[str]] = {}
    async with observed(tmp_path_factory.mktemp("gate")) as metrics:
        page = metrics.page().decode()
    for family in text_string_to_metric_families(page):
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ("",))
        for suffix in suffixes:
            found.setdefault(family.name + suffix, set())
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


class Use(NamedTuple):
    """A metric that is asked for, and the labels by which it is chosen or grouped."""

    metric: str
    labels: frozenset[str]


class Uses(list[Use]):
    """Of one question, gathered while its tree is walked."""

    def __init__(self, question: str) -> None:
        super().__init__()
        self._walk(promql_parser.parse(question), frozenset())

    def _walk(self, node: Any, grouped: frozenset[str]) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            chosen = {matcher.name for matcher in node.matchers.matchers}
            self.append(Use(node.name, grouped | chosen))
        elif isinstance(node, promql_parser.AggregateExpr):
            by = node.modifier
            assert by is None or by.type == promql_parser.AggModifierType.By, (
                "`without` would hide a label that is gone"
            )
            self._walk(node.expr, grouped | frozenset(by.labels if by is not None else ()))
        elif isinstance(node, promql_parser.BinaryExpr):
            self._walk(node.lhs, grouped)
            self._walk(node.rhs, grouped)
        elif isinstance(node, promql_parser.Call):
            for argument in node.args:
                self._walk(argument, grouped)
        elif isinstance(node, promql_parser.MatrixSelector):
            self._walk(node.vector_selector, grouped)
        elif isinstance(node, promql_parser.SubqueryExpr | promql_parser.ParenExpr | promql_parser.UnaryExpr):
            self._walk(node.expr, grouped)
        else:
            assert isinstance(node, promql_parser.NumberLiteral | promql_parser.StringLiteral), node


def questions() -> Iterator[tuple[str, str]]:
    """Where it stands, and the question as Prometheus gets it."""
    for name, rule in rules().items():
        yield name, rule["expr"]
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], as_asked(target["expr"])


def as_asked(expression: str) -> str:
    """As Grafana sends it."""
    return expression.replace("$__rate_interval", "5m").replace("$instance", ".+")


def strangers(question: str, served: Mapping[str, set[str]]) -> list[str]:
    """Metrics and labels of ``question`` that nobody serves."""
    found = []
    for use in Uses(question):
        there = OF_PROMETHEUS.get(use.metric) or served.get(use.metric)
        if there is None:
            found.append(use.metric)
        elif there:
            found += [f"{use.metric}{{{label}}}" for label in use.labels - there - TARGET_LABELS]
        elif use.labels - TARGET_LABELS:
            assert use.metric in NEVER_YET, f"no series of {use.metric} shows its labels"
    return found


NEVER_YET = {
    "portcullis_violations_excepted_total",
    "portcullis_opa_evaluations_total",
    "portcullis_page_answers_total",
    "portcullis_stage_seconds_bucket",
}
"""Metrics with labels of which the gate of this test has no series."""


@pytest.mark.anyio
@pytest.mark.usefixtures("opa_binary")
async def test_every_question_asks_for_what_there_is(served: dict[str, set[str]]) -> None:
    assert {where: found for where, question in questions() if (found := strangers(question, served))} == {}


@pytest.mark.anyio
@pytest.mark.usefixtures("opa_binary")
@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("rate(portcullis_decision_total[5m])", ["portcullis_decision_total"]),
        ('sum(rate(portcullis_decisions_total{verdct="x"}[5m]))', ["portcullis_decisions_total{verdct}"]),
        (
            "sum by (hosts) (rate(portcullis_registry_requests_total[5m]))",
            ["portcullis_registry_requests_total{hosts}"],
        ),
        ("1 - max_over_time((portcullis_opa_upp > 1)[5m:1m])", ["portcullis_opa_upp"]),
        ("portcullis_review_seconds", ["portcullis_review_seconds"]),
    ],
)
async def test_a_slip_in_a_question_is_found(question: str, found: list[str], served: dict[str, set[str]]) -> None:
    assert strangers(question, served) == found


# -- each alert comes when it should -----------------------------------------------------------------------------------

HOURS = 3
HEALTHY = {
    'up{job="portcullis",instance="a"}': "1",
    'up{job="portcullis",instance="b"}': "1",
    'portcullis_http_answers_total{instance="a",status="200"}': "0+600",
    'portcullis_http_answers_total{instance="a",status="503"}': "0",
    'portcullis_decisions_total{instance="a",verdict="admitted",code="200",because="judged"}': "0+500",
    'portcullis_decisions_total{instance="a",verdict="refused",code="403",because="judged"}': "0+60",
    'portcullis_decisions_total{instance="a",verdict="undecided",code="429",because="judged"}': "0+35",
    'portcullis_decisions_total{instance="a",verdict="undecided",code="503",because="judged"}': "0+5",
    'portcullis_review_time_share_bucket{instance="a",le="0.75"}': "0+597",
    'portcullis_review_time_share_count{instance="a"}': "0+600",
    'portcullis_opa_up{instance="a"}': "1",
    'portcullis_opa_restarts{instance="a"}': "0x60 1",
    'portcullis_certificate_not_after_seconds{instance="a"}': str(60 * 86400),
    'portcullis_registered{instance="a"}': "1",
    'portcullis_policy_last_reload_success{instance="a"}': "1",
    'portcullis_trusted_root_current{instance="a",root="public"}': "1",
    'portcullis_audit_lag_seconds{instance="a"}': "0.2",
    'portcullis_audit_failed_total{instance="a"}': "3",
    'portcullis_audit_set_aside_total{instance="a"}': "0",
    'portcullis_audit_sink_dropped_total{instance="a",sink="otlp"}': "7",
    'portcullis_audit_chain_position{instance="a"}': "0+10",
    'portcullis_audit_checkpoint_position{instance="a"}': "0+9",
    'portcullis_audit_checkpoint_seconds{instance="a"}': "0+60",
    'portcullis_audit_chains_left_total{instance="a"}': "0",
    'portcullis_watch_silent_seconds{instance="a",resource="namespaces"}': "40",
    'portcullis_circles{instance="a"}': "0",
    'portcullis_reviews_total{instance="a",caller="path",verdict="admitted"}': "0+600",
    'portcullis_reviews_total{instance="a",caller="unverified",verdict="admitted"}': "4",
    'portcullis_exception_expires_seconds{instance="a",exception="EX-1"}': str(90 * 86400),
    'portcullis_exception_expires_seconds{instance="a",exception="EX-over"}': "0",
    'portcullis_registry_requests_total{instance="a",host="docker.io",outcome="ok"}': "0+100",
    'portcullis_registry_requests_total{instance="a",host="docker.io",outcome="throttled"}': "0+1",
    'portcullis_page_answers_total{instance="a",area="login",status="401"}': "0+2",
    'portcullis_page_answers_total{instance="a",area="pages",status="401"}': "0+600",
}
"""What a gate says that is well, and busy: by series, what it is at the start and what is added each minute."""


def healthy(**changed: str) -> dict[str, str]:
    """The same but for the series whose text begins so."""
    found = dict(HEALTHY)
    for name, values in changed.items():
        hit = [series for series in found if series.startswith(f"portcullis_{name}")]
        assert hit, name
        found.update(dict.fromkeys(hit, values))
    return found


def labelled(series: str, values: str) -> dict[str, str]:
    assert series in HEALTHY
    return {**HEALTHY, series: values}


SICK: dict[str, dict[str, str]] = {
    "PortcullisDown": {**HEALTHY, 'up{job="portcullis",instance="a"}': "0", 'up{job="portcullis",instance="b"}': "_"},
    "PortcullisAnswersFailing": labelled('portcullis_http_answers_total{instance="a",status="503"}', "0+12"),
    "PortcullisUndecided": labelled(
        'portcullis_decisions_total{instance="a",verdict="undecided",code="503",because="judged"}', "0+60"
    ),
    "PortcullisSlow": healthy(review_time_share_bucket="0+540"),
    "PortcullisOpaDown": healthy(opa_up="0"),
    "PortcullisOpaRestarting": healthy(opa_restarts="0x140 1x9 2x9 3x9 4"),
    "PortcullisCertificateExpiring": healthy(certificate_not_after_seconds=str(6 * 86400)),
    "PortcullisNotRegistered": healthy(registered="0"),
    "PortcullisPoliciesBroken": healthy(policy_last_reload_success="0"),
    "PortcullisTrustedRootOutdated": healthy(trusted_root_current="0"),
    "PortcullisAuditBehind": healthy(audit_lag_seconds="0+60"),
    "PortcullisAuditFailing": healthy(audit_failed_total="3x170 4"),
    "PortcullisAuditSinkDropping": healthy(audit_sink_dropped_total="0+1"),
    "PortcullisAuditUnproven": healthy(audit_checkpoint_position="5", audit_checkpoint_seconds="300"),
    "PortcullisAuditForeign": healthy(audit_chains_left_total="0x160 1"),
    "PortcullisWatchSilent": healthy(watch_silent_seconds="0+60"),
    "PortcullisCircle": healthy(circles="1"),
    "PortcullisStrangers": labelled(
        'portcullis_reviews_total{instance="a",caller="unverified",verdict="admitted"}', "0+2"
    ),
    "PortcullisExceptionEnding": labelled(
        'portcullis_exception_expires_seconds{instance="a",exception="EX-1"}', str(3 * 86400)
    ),
    "PortcullisRegistryThrottled": labelled(
        'portcullis_registry_requests_total{instance="a",host="docker.io",outcome="throttled"}', "0+20"
    ),
    "PortcullisLoginsFailing": labelled(
        'portcullis_page_answers_total{instance="a",area="login",status="401"}', "0+20"
    ),
}
"""What each alert is for, one at a time."""
UNTOLD_APART = {
    series: values
    for series, values in labelled(
        'portcullis_reviews_total{instance="a",caller="unverified",verdict="admitted"}', "0+600"
    ).items()
    if 'caller="path"' not in series
}
"""A gate that has no means to know the API server: all its callers are unverified."""


def lasting(values: str) -> str:
    """Notation of promtool: the last word goes on until the end."""
    *first, last = values.split(" ")
    return " ".join([*first, f"{last}x{HOURS * 60}"])


def firing(title: str, series: Mapping[str, str], alerts: list[str]) -> dict[str, Any]:
    return {
        "name": title,
        "interval": "1m",
        "input_series": [{"series": name, "values": lasting(values)} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                "eval_time": f"{HOURS}h",
                "exp_samples": [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in alerts],
            }
        ],
    }


def promtool(folder: Path, tests: list[dict[str, Any]]) -> "subprocess.CompletedProcess[str]":
    file = folder / "tests.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}))
    return run(tool("promtool"), "test", "rules", str(file))


def test_promtool_takes_the_rules_as_they_are() -> None:
    done = run(tool("promtool"), "check", "rules", "--lint=all", "--lint-fatal", str(RULES))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules())} rules found" in done.stdout


def test_each_alert_comes_alone_and_none_where_all_is_well(tmp_path: Path) -> None:
    assert SICK.keys() == rules().keys()
    tests = [firing(alert, series, [alert]) for alert, series in SICK.items()]
    tests += [firing("well", HEALTHY, []), firing("told apart by nothing", UNTOLD_APART, [])]
    done = promtool(tmp_path, tests)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_alert_that_does_not_come_is_noticed(tmp_path: Path) -> None:
    done = promtool(tmp_path, [firing("well", HEALTHY, ["PortcullisDown"])])
    assert done.returncode == 1
    done = promtool(tmp_path, [firing("sick", SICK["PortcullisOpaDown"], [])])
    assert done.returncode == 1


def test_what_they_ask_for_is_in_these_series() -> None:
    """A question over what no test has would never come true here, and say nothing."""
    named = {series.partition("{")[0] for series in HEALTHY}
    assert {use.metric for rule in rules().values() for use in Uses(rule["expr"])} == named


# -- in the chart ------------------------------------------------------------------------------------------------------


def test_the_rule_holds_the_very_alerts_of_the_file() -> None:
    (group,) = objects(MONITORED)["PrometheusRule"]["spec"]["groups"]
    expected = [rule for name, rule in rules().items() if name != DISABLED]
    assert {rule["alert"]: rule for rule in group["rules"]} == {rule["alert"]: rule for rule in expected}
    assert len(group["rules"]) == len(rules()) - 1
    assert "{{ $labels.instance }}" in json.dumps(group)


def test_an_alert_that_is_none_cannot_be_left_out() -> None:
    done = template(values={"metrics": {"prometheusRule": {"enabled": True, "disabled": ["PortcullisDwon"]}}})
    assert done.returncode != 0
    assert "names PortcullisDwon, which is no alert: there are PortcullisDown, " in done.stderr


def test_the_monitor_finds_the_port_of_the_service() -> None:
    found = objects(MONITORED)
    (endpoint,) = found["ServiceMonitor"]["spec"]["endpoints"]
    service = found["Service"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert found["ServiceMonitor"]["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert endpoint["relabelings"] == [{"targetLabel": "job", "replacement": "portcullis"}]
    assert f'{endpoint["relabelings"][0]["targetLabel"]}="{endpoint["relabelings"][0]["replacement"]}"' in JOB
    assert found["ServiceMonitor"]["metadata"]["labels"]["release"] == "kube-prometheus-stack"


def test_the_dashboard_is_in_its_config_map_word_for_word() -> None:
    found = objects(MONITORED)["ConfigMap/dashboard"]
    assert json.loads(found["data"]["portcullis.json"]) == dashboard()
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert found["metadata"]["annotations"] == {"grafana_folder": "Platform"}


def test_nothing_of_it_is_there_by_default() -> None:
    kinds = objects().keys()
    assert kinds.isdisjoint({"ServiceMonitor", "PrometheusRule", "ConfigMap/dashboard"})


def test_the_chart_lints_with_all_of_it() -> None:
    done = helm("lint", "--strict", str(CHART), values=MONITORED)
    assert done.returncode == 0, done.stdout + done.stderr


# -- the dashboard -----------------------------------------------------------------------------------------------------


def test_the_dashboard_is_the_one_that_is_made() -> None:
    assert TARGET.read_text("utf-8") == render(), f"the dashboard is stale: {GENERATE}"


def test_every_panel_asks_something_and_has_a_unit() -> None:
    ids = [panel["id"] for panel in dashboard()["panels"]]
    assert len(ids) == len(set(ids))
    for panel in panels():
        assert panel["targets"], panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert [target["refId"] for target in panel["targets"]] == list("ABCDEFGH"[: len(panel["targets"])])
        for target in panel["targets"]:
            assert target["expr"]
            # More than one line in a picture must be told apart.
            assert target["legendFormat"] or (panel["type"] == "stat" and len(panel["targets"]) == 1), panel["title"]
            assert JOB in target["expr"], panel["title"]
            assert "$job" not in target["expr"]


def test_no_panel_lies_on_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert taken.isdisjoint(cells), panel["title"]
        taken |= cells


def test_what_is_grouped_by_is_in_the_legend() -> None:
    for panel in panels():
        for target in panel["targets"]:
            shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            grouped = {label for use in Uses(as_asked(target["expr"])) for label in use.labels}
            assert shown <= grouped | {"instance"}, panel["title"]


# -- the page ----------------------------------------------------------------------------------------------------------


def test_the_page_and_the_rules_name_the_same_alerts() -> None:
    assert re.findall(r"^## (Portcullis\w+)$", PAGE.read_text("utf-8"), flags=re.MULTILINE) == list(rules())


def test_each_alert_points_to_its_part_of_the_page() -> None:
    for name, rule in rules().items():
        assert rule["annotations"]["runbook_url"] == f"{RUNBOOKS}#{name.lower()}"
        assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
        assert rule["labels"].keys() == {"severity"}
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}


def test_the_page_says_of_each_what_to_do() -> None:
    """What it means, and a command or a key to begin with; and only metrics that the rules have or operators.md lists."""
    parts = re.split(r"^## (Portcullis\w+)$", PAGE.read_text("utf-8"), flags=re.MULTILINE)[1:]
    for name, words in zip(parts[::2], parts[1::2], strict=True):
        assert "**Do**" in words, name
        assert re.search(r"```sh\n.+```|`config\.|`kubectl|`portcullis ", words, flags=re.DOTALL), name
        assert rules()[name]["labels"]["severity"] in words.splitlines()[2], name
