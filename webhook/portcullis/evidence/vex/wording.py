"""What the readers of VEX documents share: bounds, and texts fit to be shown."""

from portcullis.evidence.refusal import TOO_LARGE, EvidenceError
from portcullis.limits import Limits
from portcullis.text import clean

_REASON_CHARS = 500
"""Of an impact statement: it is repeated at each finding that it is about."""
_NAME_CHARS = 300


class Tally:
    """Counts what a document says, against ``vex_statements`` and ``vex_products``."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._statements = 0
        self._products = 0
        self._reasons = 0

    def statement(self) -> None:
        """
        Raises:
            EvidenceError: too many (too-large).
        """
        self._statements += 1
        if self._statements > self._limits.vex_statements:
            raise EvidenceError(
                f"the VEX document has more statements than the limit vexStatements ({self._limits.vex_statements})",
                TOO_LARGE,
            )

    def products(self, count: int, names: int) -> None:
        """``count`` products and subcomponents of one statement, whose vulnerability has ``names`` names: they are
        looked up by each, so each counts.

        Raises:
            EvidenceError: too many (too-large).
        """
        self._products += max(count, 1) * max(names, 1)
        if self._products > self._limits.vex_products:
            raise EvidenceError(
                "the VEX document has more products, times the names of the vulnerability, than the limit "
                f"vexProducts ({self._limits.vex_products})",
                TOO_LARGE,
            )

    def reasons(self, count: int) -> None:
        """``count`` products of a group, for which a reason is given: a group is short to write and long to read.

        Raises:
            EvidenceError: too many (too-large).
        """
        self._reasons += count
        if self._reasons > self._limits.vex_products:
            raise EvidenceError(
                "the VEX document gives reasons for more products of groups than the limit vexProducts "
                f"({self._limits.vex_products})",
                TOO_LARGE,
            )


def reason(text: str | None) -> str:
    """A justification or an impact statement on one line; what is cut ends in an ellipsis."""
    return clean(text or "", _REASON_CHARS)


def name(text: object) -> str:
    """An id, an author or a version, for people."""
    return clean(str(text or ""), _NAME_CHARS)
