"""audit.redaction, audit.sinks and audit.unverifiedPerMinute: strict, and what hangs on them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fakes.collector import collecting
from fakes.records import a_decision, a_record
from portcullis.audit.redact import REDACTED, Redactor
from portcullis.errors import ConfigError
from portcullis.limits import Limits
from portcullis.server.settings import Settings
from portcullis.server.sinks import open_sinks
from portcullis.server.telemetry import Metrics

pytestmark = pytest.mark.anyio


def settings(**audit: Any) -> Settings:
    return Settings.from_tree({"audit": audit})


def test_rules_of_an_operator() -> None:
    redaction = {
        "annotations": ["vault.example/*"],
        "labels": ["cost"],
        "paths": ["object.spec.sources[*].auth", 'userInfo.extra["x.example/claims"]'],
        "patterns": [{"name": "acme", "regex": "ACME-[0-9]{4}"}],
        "keep": ["object.spec.note"],
    }
    made = settings(redaction=redaction)
    rules = made.audit.redaction.rules()
    assert (len(rules.paths), len(rules.keep), rules.annotations) == (2, 1, ("vault.example/*",))
    assert Redactor(rules).text("ACME-1234") == REDACTED
    assert made.revision != settings().revision


@pytest.mark.parametrize(
    ("audit", "where", "problem"),
    [
        ({"redaction": {"path": []}}, "audit.redaction.path", "did you mean paths?"),
        ({"redaction": {"paths": ["a..b"]}}, "audit.redaction.paths.0", "cannot be read from character 2"),
        ({"redaction": {"keep": [""]}}, "audit.redaction.keep.0", "0 parts"),
        ({"redaction": {"patterns": [{"name": "a", "regex": "("}]}}, "patterns.0.regex", "unclosed group"),
        ({"redaction": {"patterns": [{"name": "a", "regex": "(?=a)b"}]}}, "patterns.0.regex", "look-around"),
        ({"redaction": {"patterns": [{"name": "a", "regex": "a*"}]}}, "patterns.0.regex", "empty text"),
        ({"redaction": {"patterns": [{"name": "A b", "regex": "a"}]}}, "patterns.0.name", "pattern"),
        ({"redaction": {"annotations": ["a"] * 101}}, "audit.redaction.annotations", "at most 100"),
        ({"sinks": [{}]}, "audit.sinks.0", "one of stdout, file and otlp"),
        ({"sinks": [{"stdout": {}, "file": {"path": "x"}}]}, "audit.sinks.0", "one of stdout, file and otlp"),
        ({"sinks": [{"file": {"path": "x", "files": 0}}]}, "audit.sinks.0.file.files", "greater than or equal to 1"),
        ({"sinks": [{"otlp": {"endpoint": "collector:4318"}}]}, "audit.sinks.0.otlp", "https://host:port/v1/logs"),
        ({"sinks": [{"otlp": {"endpoint": "http://c.example/v1/logs"}}]}, "audit.sinks.0.otlp", "insecure: true"),
        ({"sinks": [{"otlp": {"endpoint": "https://u:p@c.example/v1/logs"}}]}, "audit.sinks.0.otlp", "without user"),
        ({"unverifiedPerMinute": -1}, "audit.unverifiedPerMinute", "greater than or equal to 0"),
    ],
)
def test_what_cannot_be_meant_is_refused(audit: dict[str, Any], where: str, problem: str) -> None:
    with pytest.raises(ConfigError) as raised:
        settings(**audit)
    assert where in raised.value.message
    assert problem in raised.value.message


def test_no_decision_hangs_on_where_it_is_told() -> None:
    told = settings(
        sinks=[{"otlp": {"endpoint": "https://c.example/v1/logs", "headersFile": "h"}}], unverifiedPerMinute=1
    )
    assert told.revision == settings().revision
    assert b"c.example" not in told.document


async def test_sinks_are_made_fed_and_closed(tmp_path: Path) -> None:
    metrics = Metrics()
    with collecting() as collector:
        files = [{"file": {"path": str(tmp_path / name), "input": name == "b"}} for name in ("a", "b")]
        sections = settings(sinks=[*files, {"otlp": {"endpoint": collector.url}}]).audit.sinks
        async with open_sinks(sections, Limits()) as sinks:
            sinks.observe(metrics)
            assert sinks.have_files
            sinks.offer(a_record(a_decision("d-1", document=b'{"a":1}')))
        assert len(collector.received) == 1
    a, b = (json.loads((tmp_path / name).read_text()) for name in ("a", "b"))
    assert ("input" in a, b["input"]) == (False, {"a": 1})
    page = metrics.page().decode()
    for name in ("file-0", "file-1", "otlp"):
        assert f'portcullis_audit_sink_dropped_total{{sink="{name}"}} 0.0' in page


async def test_a_sink_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    sections = settings(sinks=[{"stdout": {}}, {"file": {"path": str(tmp_path)}}]).audit.sinks
    with pytest.raises(ConfigError, match=r"audit\.sinks\.1: .* cannot be written"):
        async with open_sinks(sections, Limits()):
            pass


def test_without_the_extra_otlp_says_what_to_install() -> None:
    """In a process of its own, in which the packages are not to be found."""
    program = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from portcullis.audit.sinks.otlp import OtlpSink\n"
        "from portcullis.errors import ConfigError\n"
        "try: OtlpSink('http://127.0.0.1:1/v1/logs', document=False)\n"
        "except ConfigError as error: print(error.message)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert "pip install 'portcullis[otlp]'" in done.stdout


def test_the_packages_of_otlp_are_imported_for_such_a_sink_only() -> None:
    names = "('opentelemetry.sdk', 'opentelemetry.exporter')"
    program = f"import sys, portcullis.server.app; print([name for name in sys.modules if name.startswith({names})])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.stdout == "[]\n"
