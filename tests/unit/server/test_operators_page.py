"""docs/operators.md and the pages beside it name the keys, metrics, events and defaults that are really there."""

import re
from pathlib import Path
from typing import Any

import pytest

from fakes.pages import OPERATORS as PAGE
from portcullis.limits import Limits
from portcullis.server.settings import Settings, configuration_schema, load_settings
from portcullis.server.telemetry import Metrics

ROOT = Path(__file__).resolve().parents[3]


def keys(schema: dict[str, Any]) -> set[str]:
    """Every key of every section that the schema reaches."""
    found: set[str] = set()
    for section in [schema, *schema["$defs"].values()]:
        if section.get("title") != "Limits":
            found.update(section.get("properties", {}))
    return found


def test_every_key_is_described() -> None:
    words = set(re.findall(r"[A-Za-z]+", PAGE))
    assert keys(configuration_schema()) - words == set()


def test_every_described_limit_is_one() -> None:
    section = PAGE.partition("### limits")[2].partition("\n## ")[0]
    described = set(re.findall(r"`([a-z]+[A-Z][A-Za-z]+)`", section))
    assert described
    assert described <= set(configuration_schema()["$defs"]["Limits"]["properties"])


@pytest.mark.parametrize(
    ("row", "value"),
    [
        ("`reviewBytes` | 8 MiB", Limits().review_bytes / 2**20),
        ("`inFlight`, `inFlightBytes` | 200, 256 MiB", Limits().in_flight),
        ("`appendSeconds` | 0.3", Limits().append_seconds),
        ("`storeSeconds` | 3", Limits().store_seconds),
        ("`distinctImages` | 100", Limits().distinct_images),
        ("`stopDelaySeconds` | `5`", Settings().server.stop_delay_seconds),
        ("`drainSeconds` | `20`", Settings().server.drain_seconds),
        ("`port` | `8443`", Settings().server.port),
    ],
)
def test_defaults_are_those_of_the_program(row: str, value: float) -> None:
    assert f"| {row} |" in PAGE
    assert float(re.findall(r"[\d.]+", row)[0]) == value


def test_every_metric_is_described() -> None:
    metrics = {line.split()[2] for line in Metrics().page().decode().splitlines() if line.startswith("# TYPE")}
    plain = {name for name in metrics if not name.endswith("_created")}
    assert plain
    assert {name for name in plain if f"`{name}`" not in PAGE} == set()


def test_every_event_is_described() -> None:
    """Those of the log that operators may look for."""
    source = "".join(path.read_text() for path in (ROOT / "webhook" / "portcullis" / "server").rglob("*.py"))
    for event in re.search(r"Events: (.*)", PAGE)[1].split("`")[1::2]:  # type: ignore[index]
        assert f'"{event}"' in source, event


def test_the_smallest_configuration_is_one(tmp_path: Path) -> None:
    first = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[0]
    (tmp_path / "portcullis.yaml").write_text(first)
    settings = load_settings(tmp_path / "portcullis.yaml", {})
    assert settings.server.tls.configured
    assert settings.audit.database


def test_the_trust_example_is_one(tmp_path: Path) -> None:
    example = re.findall(r"```yaml\n(trust:.*?)```", PAGE, re.DOTALL)[0]
    (tmp_path / "portcullis.yaml").write_text(example)
    assert load_settings(tmp_path / "portcullis.yaml", {}).trust.rules


def examples() -> list[str]:
    """Whole sections of portcullis.yaml: what is none, such as an object of Kubernetes, begins with other keys."""
    blocks = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    sections = set(configuration_schema()["properties"])
    return [block for block in blocks if set(re.findall(r"^(\w+):", block, re.MULTILINE)) <= sections]


@pytest.mark.parametrize("example", examples(), ids=lambda text: " ".join(text.split())[:40])
def test_every_example_is_a_configuration(example: str, tmp_path: Path) -> None:
    (tmp_path / "portcullis.yaml").write_text(example)
    cluster = {"PORTCULLIS_CLUSTER__WEBHOOK__NAME": "portcullis"} if example.startswith("cluster:") else {}
    load_settings(tmp_path / "portcullis.yaml", cluster)


def test_there_are_examples() -> None:
    assert len(examples()) > 10
