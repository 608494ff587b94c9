"""The words of all tools, and scores, onto one scale."""

import pytest

from portcullis.evidence.reports.findings import unique
from portcullis.evidence.reports.severity import cvss_score, severity_of, severity_of_score
from portcullis.model.evidence import Severity, Vulnerability

WORDS: dict[Severity, list[str | None]] = {
    Severity.CRITICAL: ["CRITICAL", "Critical", "critical", "Defcon1", " critical\n", "CriTical"],
    Severity.HIGH: ["HIGH", "High", "Important", "important"],
    Severity.MEDIUM: ["MEDIUM", "Medium", "Moderate"],
    Severity.LOW: ["LOW", "Low"],
    Severity.NEGLIGIBLE: ["Negligible", "NEGLIGIBLE", "info", "Info", "none"],
    Severity.UNKNOWN: ["UNKNOWN", "Unknown", "UNSPECIFIED", "Undefined", "", None, "severe", "hìgh"],
}


@pytest.mark.parametrize(
    ("word", "severity"), [(word, severity) for severity, words in WORDS.items() for word in words]
)
def test_words(word: str | None, severity: Severity) -> None:
    assert severity_of(word) is severity


@pytest.mark.parametrize(
    ("score", "severity"),
    [
        (10.0, Severity.CRITICAL),
        (9.0, Severity.CRITICAL),
        (8.9, Severity.HIGH),
        (7.0, Severity.HIGH),
        (6.9, Severity.MEDIUM),
        (4.0, Severity.MEDIUM),
        (3.9, Severity.LOW),
        (0.1, Severity.LOW),
        (0.0, Severity.NEGLIGIBLE),
        (10.1, Severity.UNKNOWN),
        (-1.0, Severity.UNKNOWN),
        (float("nan"), Severity.UNKNOWN),
    ],
)
def test_bands(score: float, severity: Severity) -> None:
    assert severity_of_score(score) is severity


@pytest.mark.parametrize(
    ("value", "score"),
    [
        (9, 9.0),
        (9.8, 9.8),
        ("9.8", 9.8),
        ("0", 0.0),
        (11, None),
        (-1.0, None),
        ("nan", None),
        ("inf", None),
        ("high", None),
        ("", None),
        (True, None),
        (None, None),
        ([], None),
    ],
)
def test_scores(value: object, score: float | None) -> None:
    assert cvss_score(value) == score


def test_rows_of_one_finding_are_one_in_whatever_order() -> None:
    rows = [
        Vulnerability("CVE-1", ("A",), "p", "", "1", "", Severity.LOW, 2.0, "affected", "/a", None, 0.5),
        Vulnerability("CVE-1", ("B",), "p", "pkg:x/p@1", "1", "2", Severity.HIGH, None, "fixed", "", True),
        Vulnerability("CVE-1", ("A",), "p", "", "1", "", Severity.UNKNOWN, 9.0, "", "/b", False),
    ]
    for order in (rows, rows[::-1], rows[1:] + rows[:1]):
        (only,) = unique(order)
        assert set(only.aliases) == {"A", "B"}
        assert (only.purl, only.fixed, only.state, only.path) == ("pkg:x/p@1", "2", "fixed", "/a")
        assert (only.severity, only.score, only.exploited, only.epss) == (Severity.HIGH, 9.0, True, 0.5)


def test_a_fix_that_only_the_milder_row_knows() -> None:
    rows = [
        Vulnerability("CVE-1", package="p", severity=Severity.HIGH, state="affected"),
        Vulnerability("CVE-1", package="p", severity=Severity.LOW, fixed="2", state="fixed"),
    ]
    (only,) = unique(rows)
    assert (only.severity, only.fixed, only.state) == (Severity.HIGH, "2", "fixed")
    assert (
        len(unique([*rows, Vulnerability("CVE-1", package="q"), Vulnerability("CVE-1", package="p", installed="2")]))
        == 3
    )
