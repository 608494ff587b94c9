"""Comments that ignore findings: ``# portcullis-lint: ignore=RULE[,RULE] REASON``, at the end of the line or on the
line above. A reason is required, so that whoever reads it knows why."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from portcullis.policy.linting.finding import RULES, Finding, finding
from portcullis.policy.linting.sources import Parsed
from portcullis.text import clean

MARK = "portcullis-lint:"
REGAL = "regal/"

_FORM = re.compile(rf"\s*{MARK}\s*ignore=(?P<rules>[a-z0-9/,-]+)(?:\s+(?P<reason>\S.*))?\s*")
_ALWAYS = frozenset({"parse-error", "ignore-invalid", "ignore-unused"})
"""What cannot be ignored."""


@dataclass(slots=True)
class Ignore:
    """One comment. ``rows`` are those that it is about."""

    file: str
    row: int
    column: int
    rules: frozenset[str]
    rows: frozenset[int]
    used: set[str] = field(default_factory=set)


def sift(files: Sequence[Parsed], findings: Iterable[Finding], unchecked: frozenset[str]) -> Iterator[Finding]:
    """The findings that are not ignored, and what is wrong with the comments.

    ``unchecked``: rules (and ``regal/``) that did not look at everything this time, so that an ignore of theirs may
    be unused for that.
    """
    ignores: dict[str, list[Ignore]] = {}
    faults: list[Finding] = []
    for file in files:
        for row, column, text in file.comments():
            if MARK not in text:
                continue
            outcome = _read(file, row, column, text)
            if isinstance(outcome, Finding):
                faults.append(outcome)
            else:
                ignores.setdefault(file.file.path, []).append(outcome)
    for one in findings:
        about = [
            ignore
            for ignore in ignores.get(one.file, ())
            if one.rule in ignore.rules and one.row in ignore.rows and one.rule not in _ALWAYS
        ]
        for ignore in about:
            ignore.used.add(one.rule)
        if not about:
            yield one
    yield from faults
    for ignore in (ignore for listed in ignores.values() for ignore in listed):
        for rule in sorted(ignore.rules - ignore.used):
            if rule not in unchecked and not (rule.startswith(REGAL) and REGAL in unchecked):
                place = (ignore.file, ignore.row, ignore.column)
                yield finding("ignore-unused", place, f"{rule} finds nothing here", "remove the comment")


def _read(file: Parsed, row: int, column: int, text: str) -> Ignore | Finding:
    place = (file.file.path, row, column)
    found = _FORM.fullmatch(text)
    form = "`# portcullis-lint: ignore=RULE reason`"
    if found is None:
        return finding("ignore-invalid", place, "this comment ignores nothing", f"write {form}")
    if not found["reason"]:
        return finding("ignore-invalid", place, "this comment gives no reason", f"write {form}")
    rules = frozenset(found["rules"].split(","))
    if unknown := sorted(rule for rule in rules if rule not in RULES and not rule.startswith(REGAL)):
        names = clean(", ".join(unknown), 200)
        return finding("ignore-invalid", place, f"there is no rule {names}", "see the rules in docs/linting.md")
    if always := sorted(rules & _ALWAYS):
        return finding("ignore-invalid", place, f"{', '.join(always)} cannot be ignored", "mend it")
    alone = file.file.text.split("\n")[row - 1].lstrip().startswith("#")
    return Ignore(file.file.path, row, column, rules, frozenset({row + 1} if alone else {row}))
