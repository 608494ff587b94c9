"""The files that watch the gate as Python values, and what their questions ask for."""

import functools
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import promql_parser
import yaml

from chart.generate_dashboard import TARGET
from chart.support import CHART, ROOT, values_of

RULES = CHART / "rules" / "portcullis.yaml"
PAGE = ROOT / "docs" / "alerts.md"
MONITORED = values_of(CHART / "ci" / "monitoring-values.yaml")


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
