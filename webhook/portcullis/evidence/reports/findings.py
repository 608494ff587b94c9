"""What the readers of scanners' reports share: bounds, and one finding for each package that has it."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from portcullis.evidence.refusal import TOO_LARGE, ReportError
from portcullis.evidence.reports.severity import RANK
from portcullis.evidence.times import oldest
from portcullis.limits import Limits
from portcullis.model.evidence import Vulnerability

CVE = re.compile(r"CVE-\d{4}-\d{4,}", re.ASCII | re.IGNORECASE)


def require_few_findings(count: int, limits: Limits) -> None:
    """
    Raises:
        ReportError: more findings than ``findings`` (too-large).
    """
    if count > limits.findings:
        raise ReportError(f"the report has {count} findings; the limit findings is {limits.findings}", TOO_LARGE)


def other_names(own: str, names: Iterable[str | None]) -> tuple[str, ...]:
    """The aliases of a vulnerability: those of ``names`` that mean the same as ``own``.

    Several CVEs are the parts of an advisory, and no names of one thing: a VEX statement about one of them must not
    clear the others, so that none of them counts.
    """
    others = dict.fromkeys(name for name in names if name and name != own)
    if len({name for name in (own, *others) if CVE.fullmatch(name)}) > 1:
        return tuple(name for name in others if not CVE.fullmatch(name))
    return tuple(others)


def unique(findings: Iterable[Vulnerability]) -> tuple[Vulnerability, ...]:
    """The findings, each once by id, package and installed version, in their order; see :func:`_merged`."""
    found: dict[tuple[str, str, str], Vulnerability] = {}
    repeated: dict[tuple[str, str, str], list[Vulnerability]] = {}
    for finding in findings:
        key = (finding.id, finding.package, finding.installed)
        known = found.setdefault(key, finding)
        if known is not finding:
            repeated.setdefault(key, [known]).append(finding)
    for key, group in repeated.items():
        found[key] = _merged(group)
    return tuple(found.values())


def _merged(group: Sequence[Vulnerability]) -> Vulnerability:
    """Of rows of one finding (one package in several places) the most severe, with a fix that any of them knows and the
    worst of all that is said of it: so that no rule of a policy is passed by the order of rows."""
    worst_first = sorted(group, key=lambda finding: RANK[finding.severity])
    fixed = next((finding for finding in worst_first if finding.fixed), worst_first[0])
    known = [finding.exploited for finding in group if finding.exploited is not None]
    return replace(
        worst_first[0],
        aliases=tuple(dict.fromkeys(alias for finding in worst_first for alias in finding.aliases)),
        purl=_first(finding.purl for finding in worst_first),
        fixed=fixed.fixed,
        state=fixed.state,
        score=max((finding.score for finding in group if finding.score is not None), default=None),
        path=_first(finding.path for finding in worst_first),
        exploited=any(known) if known else None,
        epss=max((finding.epss for finding in group if finding.epss is not None), default=None),
        available=oldest(*(finding.available for finding in group)),
    )


def _first(texts: Iterable[str]) -> str:
    return next((text for text in texts if text), "")
