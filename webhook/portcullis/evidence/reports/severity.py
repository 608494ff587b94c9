"""Severities: every tool's words, and CVSS scores, onto the canonical ones."""

from collections.abc import Mapping
from types import MappingProxyType

from portcullis.model.evidence import Severity

_WORDS: Mapping[str, Severity] = MappingProxyType(
    {
        "critical": Severity.CRITICAL,
        "defcon1": Severity.CRITICAL,
        "high": Severity.HIGH,
        "important": Severity.HIGH,
        "medium": Severity.MEDIUM,
        "moderate": Severity.MEDIUM,
        "low": Severity.LOW,
        "negligible": Severity.NEGLIGIBLE,
        "info": Severity.NEGLIGIBLE,
        "none": Severity.NEGLIGIBLE,
    }
)
_SPELLED: dict[str | None, Severity] = {
    spelled: severity for word, severity in _WORDS.items() for spelled in (word, word.title(), word.upper())
}
"""In the three ways in which tools spell them, so that most findings need one look; a dict, as the fastest."""
WORST_FIRST: tuple[Severity, ...] = tuple(Severity)
RANK: Mapping[Severity, int] = MappingProxyType({severity: rank for rank, severity in enumerate(WORST_FIRST)})
"""0 for the worst. Unknown comes last: a word that says something is preferred to none."""


def severity_of(word: str | None) -> Severity:
    """The canonical severity of a tool's word, in whatever case it writes it.

    Known are the words of Trivy, Grype, Anchore, Clair (``Defcon1``), Docker Scout, GitLab and CycloneDX (``info``
    and ``none`` are negligible), and those of vendors (``Moderate``, ``Important``). Any other word, and none, is
    unknown: how grave that is, policies say.
    """
    known = _SPELLED.get(word)
    if known is not None:
        return known
    return _WORDS.get(word.strip().lower(), Severity.UNKNOWN) if word else Severity.UNKNOWN


def severity_of_score(score: float) -> Severity:
    """By the bands of CVSS (v3.1 and v4.0, "Qualitative Severity Rating Scale"); a score of none of them is unknown."""
    if not 0 <= score <= 10:
        return Severity.UNKNOWN
    if score >= 9:
        return Severity.CRITICAL
    if score >= 7:
        return Severity.HIGH
    if score >= 4:
        return Severity.MEDIUM
    return Severity.LOW if score > 0 else Severity.NEGLIGIBLE


def cvss_score(value: object) -> float | None:
    """A CVSS score as reports give it, as a number or as text; None where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        score = float(value)
    except ValueError:
        return None
    # NaN is in no range.
    return score if 0 <= score <= 10 else None
