"""The pages of policies: those in force, and everything about one of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import PurePosixPath
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from markupsafe import Markup

from portcullis.model.record import PolicyBucket, PolicyTally
from portcullis.model.ruling import Mode, PolicyInfo
from portcullis.policy.pages.html import rendered
from portcullis.policy.pages.model import NEEDS
from portcullis.policy.pages.readme import is_relative
from portcullis.server.review.charts import Column, Series, Sparkline, StackedBars, sparkline, stacked_bars
from portcullis.server.review.overview import lately
from portcullis.server.review.parts import ReviewParts, parts_of
from portcullis.server.review.policyfiles import PolicyParts, Shelf, Shelves
from portcullis.server.review.problems import PageProblem
from portcullis.server.review.reader import Reader, reader_of
from portcullis.server.review.regotext import coloured
from portcullis.server.review.rendering import address, render
from portcullis.server.review.scopewords import exception_rows, mode_rows, modes_here
from portcullis.server.review.whatif import WhatIf, what_if_deny
from portcullis.standing import Standing
from portcullis.times import rfc3339

AREA: Final = "/policies"
WEEK: Final = timedelta(days=7)
MONTH: Final = timedelta(days=30)
LINES: Final = 40
"""Sparklines of the list at most: each is a question to the log."""
SHOWN_DAYS: Final = 8
"""Of a sparkline: the days that the last week touches."""
_DAY: Final = timedelta(days=1)
_NAME_CHARS: Final = 300

_VIOLATIONS: Final = Series("violations", "violations")
_EXCEPTED: Final = Series("excepted", "excepted")
_UNDECIDED: Final = Series("undecided", "undecided")

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class PolicyRow:
    """A line of the list. ``info`` is None for a policy that only the log knows. Counts are of the last week; ``line``
    is None where nothing was found, or where there are too many to ask for all."""

    name: str
    info: PolicyInfo | None
    category: str
    refused: int
    reported: int
    excepted: int
    undecided: int
    line: Sparkline | None = None

    @property
    def violations(self) -> int:
        return self.refused + self.reported


def shelves_of(request: Request) -> Shelves:
    """One for the application, made when it is first asked for."""
    state = request.app.state
    if not hasattr(state, "shelves"):
        parts = parts_of(request)
        state.shelves = Shelves(parts.bundles, parts.limits)
    shelves = state.shelves
    assert isinstance(shelves, Shelves)
    return shelves


# -- the list -------------------------------------------------------------------------------------------------


@router.get("/policies")
async def policies_page(request: Request) -> Response:
    """Policies in force by category, and those that only the log has any more."""
    parts, reader = parts_of(request), reader_of(request)
    standing, now = parts.current(), parts.clock.now()
    tallies = await parts.ledger.policies(lately(now, WEEK), reader.visible)
    shelf = await shelves_of(request).of(standing)
    rows = await _with_lines(parts, reader, now, policy_rows(standing, shelf, tallies))
    in_force = [row for row in rows if row.info is not None]
    return render(
        request,
        "policies.html.j2",
        area=AREA,
        categories=[
            (category, [row for row in in_force if row.category == category])
            for category in sorted({row.category for row in in_force})
        ],
        gone=[row for row in rows if row.info is None],
        total=len(in_force),
        peak=max((row.violations for row in rows), default=0),
        revision=standing.compiled.revision,
    )


def policy_rows(standing: Standing, shelf: Shelf, tallies: Sequence[PolicyTally]) -> Sequence[PolicyRow]:
    """A row for each policy in force, in its order, and behind them for each that has tallies alone."""
    infos = {info.name: info for info in standing.compiled.policies}
    names = [*infos, *sorted({tally.policy for tally in tallies} - infos.keys())]
    return [_row(name, infos.get(name), shelf.parts.get(name), tallies) for name in names]


def _row(name: str, info: PolicyInfo | None, parts: PolicyParts | None, tallies: Sequence[PolicyTally]) -> PolicyRow:
    own = [tally for tally in tallies if tally.policy == name]
    return PolicyRow(
        name=name,
        info=info,
        category=parts.page.category if parts is not None else (info.category if info is not None else "") or "other",
        refused=sum(tally.violations for tally in own if tally.mode == Mode.DENY),
        reported=sum(tally.violations for tally in own if tally.mode != Mode.DENY),
        excepted=sum(tally.excepted for tally in own),
        undecided=sum(tally.undecided for tally in own),
    )


async def _with_lines(
    parts: ReviewParts, reader: Reader, now: datetime, rows: Sequence[PolicyRow]
) -> Sequence[PolicyRow]:
    """The rows with a sparkline where something was violated, as far as LINES goes, the most violated first."""
    busy = sorted((row for row in rows if row.violations), key=lambda row: -row.violations)[:LINES]
    # More than a week, so that days are read and not hours.
    span = lately(now, WEEK + _DAY)
    lines = {}
    for row in busy:
        days = by_day(await parts.ledger.policy(row.name, span, reader.visible))[-SHOWN_DAYS:]
        lines[row.name] = sparkline([one.violations for one in days], [f"{one.start:%d %b}" for one in days])
    return [replace(row, line=lines.get(row.name)) for row in rows]


def by_day(buckets: Sequence[PolicyBucket]) -> Sequence[PolicyBucket]:
    """Summed up by days of UTC, whatever the buckets are."""
    days: dict[datetime, PolicyBucket] = {}
    for one in buckets:
        start = one.start.replace(hour=0, minute=0, second=0, microsecond=0)
        known = days.get(start) or PolicyBucket(start)
        days[start] = PolicyBucket(
            start,
            known.violations + one.violations,
            known.excepted + one.excepted,
            known.undecided + one.undecided,
        )
    return [days[start] for start in sorted(days)]


# -- one policy -----------------------------------------------------------------------------------------------


@router.get("/policies/{name:path}/what-if")
async def asked_before(name: str) -> Response:
    """The address of an answer, opened again: the question is on the page of the policy."""
    return RedirectResponse(f"{address(f'{AREA}/{name}')}#what-if", 303)


@router.get("/policies/{name:path}")
async def policy_page(request: Request, name: str) -> Response:
    """Everything about one policy."""
    return await _policy(request, name, None)


@router.post("/policies/{name:path}/what-if")
async def what_if(request: Request, name: str) -> Response:
    """The same, with what the policy would do in mode deny."""
    parts, reader = parts_of(request), reader_of(request)
    standing = parts.current()
    info = _info(standing, name)
    if info is None:
        raise _no_such(name)
    found = await what_if_deny(parts.ledger, info, standing.compiled.revision, reader.visible)
    return await _policy(request, name, found)


async def _policy(request: Request, name: str, answer: WhatIf | None) -> Response:
    parts, reader = parts_of(request), reader_of(request)
    standing, now, visible = parts.current(), parts.clock.now(), reader.visible
    info = _info(standing, name)
    span = lately(now, MONTH)
    ledger = parts.ledger
    buckets = await ledger.policy(name, span, visible)
    if info is None and not any(one.violations or one.excepted or one.undecided for one in buckets):
        raise _no_such(name)
    namespaces = await ledger.policy_namespaces(name, span, visible)
    images = await ledger.policy_images(name, span, visible)
    uses = [await ledger.image(one.name, visible) for one in images]
    shelf = await shelves_of(request).of(standing)
    files = shelf.parts.get(name)
    return render(
        request,
        "policy.html.j2",
        area=AREA,
        name=name,
        info=info,
        files=files,
        problem=shelf.problem,
        needs=_needs(info),
        sections=_sections(files),
        introduction=_markdown(files.page.readme.intro) if files is not None else "",
        sources=_sources(files),
        chart=violations_chart(buckets, span.until, name),
        month=sum(one.violations for one in buckets),
        namespaces=namespaces,
        images=[(one, use.written if use is not None else "") for one, use in zip(images, uses, strict=True)],
        modes=mode_rows(standing.modes, info, visible) if info is not None else (),
        here=modes_here(standing.modes, info, visible) if info is not None else (),
        exceptions=exception_rows(standing.exceptions.all, now, visible, name),
        answer=answer,
    )


def _info(standing: Standing, name: str) -> PolicyInfo | None:
    return next((one for one in standing.compiled.policies if one.name == name), None)


def _no_such(name: str) -> PageProblem:
    return PageProblem(
        404,
        "There is no such policy here",
        f"No policy in force has the name {name[:_NAME_CHARS]}, and no decision of the last 30 days that you may see.",
        "Begin with the list of policies.",
    )


def _needs(info: PolicyInfo | None) -> Sequence[str]:
    return [NEEDS[need] for need in NEEDS if info is not None and need in info.needs]


def violations_chart(buckets: Sequence[PolicyBucket], until: datetime, name: str) -> StackedBars:
    """By day."""
    columns = []
    for one in by_day(buckets):
        span = {"since": rfc3339(one.start), "until": rfc3339(min(one.start + _DAY, until), "seconds")}
        link = address("/decisions", policy=name, **span)
        values = (one.violations, one.excepted, one.undecided)
        columns.append(Column(f"{one.start:%d %b %Y}", f"{one.start:%d %b}", values, link))
    return stacked_bars("violations", "Violations by day", (_VIOLATIONS, _EXCEPTED, _UNDECIDED), columns)


def _sections(files: PolicyParts | None) -> Sequence[tuple[str, Markup]]:
    """Of its README. The parameters stand with the configuration."""
    if files is None:
        return ()
    return [(section.title, _markdown(section.text)) for section in files.page.readme.sections]


def _markdown(text: str) -> Markup:
    """CommonMark without raw HTML; headings below those of the page are left to the text."""
    return rendered(text, _address_of)


def _address_of(address_in_readme: str) -> str | None:
    """From an address in a README to one here: other policies have pages, other files have not."""
    if not is_relative(address_in_readme):
        return None if address_in_readme.startswith("#") else address_in_readme
    path = PurePosixPath(address_in_readme.partition("#")[0])
    if path.name == "README.md" and path.parent.name not in ("", ".", ".."):
        return f"{AREA}/{path.parent.name}"
    return None


@dataclass(frozen=True, slots=True)
class ShownFile:
    """A Rego file in colours. ``role`` says what it is to the policy; ``id`` is its name in addresses of lines."""

    id: str
    path: str
    role: str
    lines: Sequence[object]


def _sources(files: PolicyParts | None) -> Sequence[ShownFile]:
    if files is None:
        return ()
    listed = [("source", one) for one in files.sources]
    listed += [("test", one) for one in files.tests]
    listed += [("library", one) for one in files.libraries]
    return [ShownFile(f"f{at}", one.path, role, coloured(one.text)) for at, (role, one) in enumerate(listed, start=1)]
