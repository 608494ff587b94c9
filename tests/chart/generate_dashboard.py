"""Writes charts/portcullis/dashboards/portcullis.json: the dashboard of Grafana, with the rows of dashboardrows.py.

uv run --frozen --no-sync python tests/chart/generate_dashboard.py
"""

import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from chart.dashboardrows import ROWS, Panel

TARGET = Path(__file__).resolve().parents[2] / "charts" / "portcullis" / "dashboards" / "portcullis.json"

JOB = 'job="portcullis",instance=~"$instance"'
"""Selects the replicas that the reader has chosen."""
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDE = 24


def dashboard() -> dict[str, Any]:
    return {
        "uid": "portcullis",
        "title": "Portcullis",
        "description": "The admission gate: what it decides, how long it takes, and what it waits for.",
        "tags": ["portcullis", "kubernetes", "security"],
        "editable": True,
        "graphTooltip": 1,
        "refresh": "1m",
        "schemaVersion": 39,
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": [_source(), _instances()]},
        "annotations": {"list": []},
        "links": [],
        "panels": list(_panels()),
    }


def _source() -> dict[str, Any]:
    return {"name": "datasource", "label": "Source", "type": "datasource", "query": "prometheus", "hide": 0}


def _instances() -> dict[str, Any]:
    question = 'label_values(portcullis_build_info{job="portcullis"}, instance)'
    return {
        "name": "instance",
        "label": "Replica",
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": question, "refId": "instances"},
        "definition": question,
        "includeAll": True,
        "allValue": ".+",
        "multi": True,
        "current": {"selected": True, "text": "All", "value": "$__all"},
        "refresh": 2,
        "sort": 1,
        "hide": 0,
    }


def _panels() -> Iterator[dict[str, Any]]:
    numbers, top = itertools.count(1), 0
    for title, panels in ROWS:
        yield {
            "id": next(numbers),
            "type": "row",
            "title": title,
            "collapsed": False,
            "panels": [],
            "gridPos": _at(0, top, WIDE, 1),
        }
        top += 1
        small = panels[0].kind == "stat"
        width, height = (3, 4) if small else (8, 8)
        for place, panel in enumerate(panels):
            line, column = divmod(place, WIDE // width)
            yield _panel(panel, next(numbers), _at(column * width, top + line * height, width, height))
        top += -(-len(panels) // (WIDE // width)) * height


def _at(x: int, y: int, width: int, height: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": width, "h": height}


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.limit is not None:
        steps.append({"color": "red", "value": panel.limit})
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0, "thresholds": {"mode": "absolute", "steps": steps}}
    if panel.kind == "timeseries":
        defaults["custom"] = {
            "fillOpacity": 20 if panel.stacked else 0,
            "lineWidth": 1,
            "showPoints": "never",
            "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "off" if panel.limit is None else "line"},
        }
        options: dict[str, Any] = {
            "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["mean", "max"], "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    else:
        options = {"colorMode": "value", "graphMode": "area", "reduceOptions": {"calcs": ["lastNotNull"]}}
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.text,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": [
            {
                "refId": chr(ord("A") + at),
                "datasource": SOURCE,
                "expr": question.replace("$job", JOB),
                "legendFormat": name,
            }
            for at, (question, name) in enumerate(panel.queries)
        ],
    }


def render() -> str:
    return json.dumps(dashboard(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
