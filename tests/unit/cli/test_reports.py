"""SARIF and JUnit."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree as ET

from fakes.decisions import VIOLATION, decision, judged, refused, undecided, unreadable
from portcullis.cli.decisions import Judged
from portcullis.cli.junit import junit
from portcullis.cli.sarif import sarif
from portcullis.model.decision import UndecidedPolicy
from portcullis.model.ruling import Mode, Need, PolicyInfo

POLICY = PolicyInfo(
    name="image-user",
    title="Images run as a non-root user",
    description="The first process must not be uid 0.",
    severity="high",
    mode=Mode.DENY,
    docs="https://docs.example/image-user",
    needs=frozenset({Need.CONFIG}),
    rules=(Mode.DENY,),
)


def run_of(*ones: Judged) -> dict[str, Any]:
    log = json.loads(json.dumps(sarif(ones, [POLICY])))
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    assert isinstance(run, dict)
    return run


def cases_of(*ones: Judged) -> Sequence[ET.Element]:
    return list(ET.fromstring(junit(ones)).iter("testcase"))


def test_sarif_has_a_rule_per_policy() -> None:
    (rule,) = run_of()["tool"]["driver"]["rules"]
    assert rule["id"] == "image-user"
    assert rule["helpUri"] == "https://docs.example/image-user"
    assert rule["properties"]["security-severity"] == "8.0"


def test_sarif_has_a_result_per_violation_at_its_document() -> None:
    results = run_of(judged(refused()))["results"]
    assert [(result["ruleId"], result["level"]) for result in results] == [
        ("image-pinned", "warning"),
        ("image-user", "error"),
    ]
    place = results[1]["locations"][0]["physicalLocation"]
    assert place == {"artifactLocation": {"uri": "deploy.yaml"}, "region": {"startLine": 3}}
    assert results[1]["message"]["text"].endswith(
        'container "web" (registry.example/acme/web:1.4) on linux/arm64: runs as root: the image names no USER. '
        "Set USER to a numeric id in the Dockerfile."
    )


def test_sarif_of_what_could_not_be_decided_is_no_success() -> None:
    for one in (judged(undecided()), unreadable()):
        (invocation,) = run_of(one)["invocations"]
        assert invocation["executionSuccessful"] is False
        assert invocation["toolExecutionNotifications"]
    assert [result["ruleId"] for result in run_of(judged(undecided()))["results"]] == ["image-user", "image-age"]


def test_sarif_leaves_out_what_was_not_asked() -> None:
    skipped = (UndecidedPolicy("scan-required", Mode.DENY, ()),)
    results = run_of(judged(replace(refused(), undecided=skipped)))["results"]
    assert [result["ruleId"] for result in results] == ["image-pinned", "image-user"]


def test_sarif_of_the_admitted_is_empty_and_a_success() -> None:
    run = run_of(judged(decision()))
    assert run["results"] == []
    assert run["invocations"][0]["executionSuccessful"] is True


def test_sarif_paths_are_uris() -> None:
    result = run_of(judged(refused(), source="my files/ä b.yaml#0"))["results"][0]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "my%20files/%C3%A4%20b.yaml"


def test_junit_counts_failures_and_errors_by_file() -> None:
    ones = [judged(decision()), judged(refused(), source="deploy.yaml#1"), unreadable()]
    root = ET.fromstring(junit(ones))
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("3", "1", "1")
    suites = [(suite.get("name"), suite.get("tests")) for suite in root.iter("testsuite")]
    assert suites == [("deploy.yaml", "2"), ("bad.yaml", "1")]


def test_junit_says_why() -> None:
    (case,) = cases_of(judged(refused()))
    failure = case.find("failure")
    assert failure is not None
    assert failure.get("message") == "image-user"
    assert "runs as root" in (failure.text or "")
    (case,) = cases_of(judged(undecided()))
    error = case.find("error")
    assert error is not None
    assert error.get("message") == "registry-unreachable"


def test_junit_is_xml_whatever_the_text() -> None:
    evil = "]]><x>&\x00\x1b\ufffe\ud800"
    bad = replace(VIOLATION, msg=evil, container=evil)
    (case,) = cases_of(judged(replace(refused(), violations=(bad,)), name=evil, source=f"{evil}#0"))
    assert "]]><x>&" in (case.get("name") or "")
