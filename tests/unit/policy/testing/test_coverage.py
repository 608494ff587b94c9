"""Shares of covered lines are exact."""

from decimal import Decimal

import pytest

from portcullis.errors import EngineMalformed
from portcullis.policy.testing.coverage import Coverage, FileCoverage, percent, read_coverage


@pytest.mark.parametrize(
    ("covered", "lines", "shown"),
    [(1, 1, "100"), (0, 1, "0"), (0, 0, "100"), (199_999, 200_000, "99.99"), (1, 3, "33.33"), (1, 2, "50")],
)
def test_percent_is_cut_and_never_rounded_up(covered: int, lines: int, shown: str) -> None:
    assert percent(covered, lines) == shown


@pytest.mark.parametrize(
    ("covered", "lines", "threshold", "meets"),
    [
        (199, 200, "99.5", True),
        (199, 200, "99.500001", False),
        (199_999, 200_000, "100", False),
        (2, 3, "66.67", False),  # what rounding would let through
        (2, 3, "66.66", True),
        (0, 0, "100", True),
        (1, 3, "33.333333333333333333", True),
    ],
)
def test_thresholds(covered: int, lines: int, threshold: str, meets: bool) -> None:
    assert Coverage((FileCoverage("a.rego", covered, lines),), ()).meets(Decimal(threshold)) is meets


def rows(*pairs: tuple[int, int]) -> list[dict[str, dict[str, int]]]:
    return [{"start": {"row": first}, "end": {"row": last}} for first, last in pairs]


def test_gaps_are_ranges_with_their_text() -> None:
    files = {
        "own": {"covered": rows((1, 2))},
        "own/own": {"not_covered": rows((2, 3), (4, 5), (7, 7))},  # OPA names a file of a bundle in two ways
        "tests": {"covered": rows((1, 9))},
        "beside": {"not_covered": rows((1, 9))},
    }
    sources = {
        "own": ("p/policy.rego", "\n".join("abcdefg"), True),
        "own/own": ("p/policy.rego", "\n".join("abcdefg"), True),
        "tests": ("p/policy_test.rego", "", True),
        "beside": ("builtin/lib/a.rego", "", False),
    }
    coverage = read_coverage({"files": files}, sources.__getitem__)
    assert coverage.files == (FileCoverage("p/policy.rego", 2, 6),)
    assert [(gap.place, gap.text) for gap in coverage.gaps] == [
        ("p/policy.rego:3-5", ("c", "d", "e")),
        ("p/policy.rego:7", ("g",)),
    ]


@pytest.mark.parametrize("report", [{}, {"files": []}, {"files": {"a": {"covered": [{}]}}}])
def test_what_is_no_report_is_said(report: dict[str, object]) -> None:
    with pytest.raises(EngineMalformed):
        read_coverage(report, lambda path: (path, "", True))
