"""What tests cover of the sources, line by line. All shares are exact: 999 of 1000 lines are never 100 percent, and 199
of 200 lines meet a threshold of 99.5 (opa#6307)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from portcullis.errors import EngineMalformed

TESTS = "_test.rego"


@dataclass(frozen=True, slots=True)
class Gap:
    """Lines that no test reached, from ``first`` to ``last``, with their text."""

    file: str
    first: int
    last: int
    text: tuple[str, ...]

    @property
    def place(self) -> str:
        return f"{self.file}:{self.first}" if self.first == self.last else f"{self.file}:{self.first}-{self.last}"


@dataclass(frozen=True, slots=True)
class FileCoverage:
    file: str
    covered: int
    lines: int


@dataclass(frozen=True, slots=True)
class Coverage:
    """Lines of the sources under test, tests themselves left out."""

    files: tuple[FileCoverage, ...]
    gaps: tuple[Gap, ...]

    @property
    def covered(self) -> int:
        return sum(file.covered for file in self.files)

    @property
    def lines(self) -> int:
        return sum(file.lines for file in self.files)

    @property
    def percent(self) -> str:
        return percent(self.covered, self.lines)

    def meets(self, threshold: Decimal) -> bool:
        """Whether at least that many percent of the lines are covered. Nothing to cover is covered."""
        return Fraction(self.covered * 100) >= Fraction(threshold) * self.lines


def percent(covered: int, lines: int) -> str:
    """With two digits, cut and not rounded, so that 100 means all."""
    hundredths = covered * 10_000 // lines if lines else 10_000
    return f"{hundredths // 100}.{hundredths % 100:02}".rstrip("0").rstrip(".")


def read_coverage(report: Mapping[str, Any], source_of: Callable[[str], tuple[str, str, bool]]) -> Coverage:
    """OPA's report (``opa test --coverage --format json``).

    Args:
        source_of: name, text, and whether it is under test, of a file in the report.

    Raises:
        EngineMalformed: it is none.
    """
    texts: dict[str, str] = {}
    covered: dict[str, set[int]] = {}
    missed: dict[str, set[int]] = {}
    try:
        # OPA 1.21 names a file of a bundle in two ways, once for what is covered and once for what is not.
        for path, found in report["files"].items():
            name, text, own = source_of(path)
            if own and not name.endswith(TESTS):
                texts[name] = text
                covered.setdefault(name, set()).update(_rows(found.get("covered") or ()))
                missed.setdefault(name, set()).update(_rows(found.get("not_covered") or ()))
    except (KeyError, TypeError, AttributeError) as error:
        raise EngineMalformed("OPA's coverage has an unknown shape") from error
    files: list[FileCoverage] = []
    gaps: list[Gap] = []
    for name in sorted(texts):
        uncovered = missed[name] - covered[name]
        files.append(FileCoverage(name, len(covered[name]), len(covered[name]) + len(uncovered)))
        gaps += _gaps(name, texts[name].split("\n"), sorted(uncovered))
    return Coverage(tuple(files), tuple(gaps))


def _rows(ranges: Sequence[Mapping[str, Any]]) -> set[int]:
    return {row for one in ranges for row in range(int(one["start"]["row"]), int(one["end"]["row"]) + 1)}


def _gaps(name: str, lines: Sequence[str], rows: Sequence[int]) -> list[Gap]:
    """Rows that follow one another as one."""
    gaps: list[Gap] = []
    start = 0
    for at, row in enumerate(rows):
        if at + 1 == len(rows) or rows[at + 1] != row + 1:
            first = rows[start]
            gaps.append(Gap(name, first, row, tuple(lines[first - 1 : row])))
            start = at + 1
    return gaps
