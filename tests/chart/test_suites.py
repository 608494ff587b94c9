"""The suites of helm-unittest in charts/portcullis/tests: what each value makes of the templates, and every guard."""

import re
import shutil
from pathlib import Path

import yaml

from chart.support import CHART, run, tool

SUITES = sorted((CHART / "tests").glob("*_test.yaml"))


def test_they_pass() -> None:
    done = run(tool("helm-unittest"), str(CHART))
    assert done.returncode == 0, done.stdout + done.stderr
    written = sum(len(yaml.safe_load(suite.read_text("utf-8"))["tests"]) for suite in SUITES)
    assert f"{written} passed, {written} total" in done.stdout


def test_they_see_a_slip(tmp_path: Path) -> None:
    copy = shutil.copytree(CHART, tmp_path / "portcullis")
    budget = copy / "templates" / "poddisruptionbudget.yaml"
    text = budget.read_text("utf-8")
    budget.write_text(text.replace("AlwaysAllow", "IfHealthyBudget"), encoding="utf-8")
    done = run(tool("helm-unittest"), "--file", "tests/replicas_test.yaml", str(copy))
    assert text != budget.read_text("utf-8")
    assert done.returncode == 1
    assert re.search(r"1 failed, \d+ passed", done.stdout), done.stdout
