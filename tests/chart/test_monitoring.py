"""What watches the gate asks for metrics that there are, is in the chart as it is in its files, and its page says what
to do."""

import json
import re
import shlex
from collections.abc import Mapping

import pytest
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from chart.generate_dashboard import JOB, TARGET, render
from chart.monitoring import MONITORED, PAGE, Uses, as_asked, dashboard, panels, questions, rules
from chart.support import CHART, ROOT, helm, objects, template
from fakes.observed import observed
from portcullis.cli.main import app

DISABLED = "PortcullisExceptionEnding"
RUNBOOKS = "https://github.com/portcullis-dev/portcullis/blob/main/docs/alerts.md"
OF_PROMETHEUS = {"up": {"job", "instance"}}
"""Metrics that Prometheus makes itself."""
TARGET_LABELS = {"job", "instance", "le"}
GENERATE = "uv run --frozen --no-sync python tests/chart/generate_dashboard.py"


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
async def test_every_metric_is_described(served: dict[str, set[str]]) -> None:
    """In the table of operators.md: by its name, or by its end after another of the row that begins alike."""
    page = (ROOT / "docs" / "operators.md").read_text("utf-8").partition("### Metrics")[2].partition("\n### ")[0]
    rows = [set(re.findall(r"`([^`]+)`", row)) for row in page.splitlines()]

    def described(name: str) -> bool:
        ends = [(name[: at.start()], f"…{name[at.start() :]}") for at in re.finditer("_", name)]
        return any(
            name in row or any(end in row and any(one.startswith(f"{begin}_") for one in row) for begin, end in ends)
            for row in rows
        )

    names = {re.sub(r"_(bucket|sum|count)$", "", name) for name in served if not name.endswith("_created")}
    assert len(names) > 80
    assert {name for name in names if not described(name)} == set()


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
    """What it means, and a command or a key to begin with."""
    parts = re.split(r"^## (Portcullis\w+)$", PAGE.read_text("utf-8"), flags=re.MULTILINE)[1:]
    for name, words in zip(parts[::2], parts[1::2], strict=True):
        assert "**Do**" in words, name
        assert re.search(r"```sh\n.+```|`config\.|`kubectl|`portcullis ", words, flags=re.DOTALL), name
        assert rules()[name]["labels"]["severity"] in words.splitlines()[2], name


COMMANDS = sorted(set(re.findall(r"-- portcullis ([^\n|>]+)", PAGE.read_text("utf-8"))))


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_of_the_page_is_one(command: str) -> None:
    """Its words and options; ``--help`` is looked at once these are understood."""
    done = CliRunner().invoke(app, [*shlex.split(command), "--help"])
    assert done.exit_code == 0, done.output


def test_a_command_that_is_none_is_found() -> None:
    assert len(COMMANDS) > 5
    assert CliRunner().invoke(app, ["audit", "list", "--cller", "x", "--help"]).exit_code == 2
