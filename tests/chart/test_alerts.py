"""Each alert comes when it should, and not otherwise, as promtool says of the very file that the chart installs."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from chart.alertcases import ALSO_SICK, HEALTHY, HOURS, SICK, UNTOLD_APART
from chart.monitoring import RULES, Uses, rules
from chart.support import run, tool


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
    tests += [firing(title, series, [alert]) for title, (alert, series) in ALSO_SICK.items()]
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
