"""Charts as numbers: where each bar of an SVG lies, and the words that say the same.

``templates/charts.html.j2`` draws them. The drawings have no viewBox: across they are measured in percent and up in
pixels, so that they fit a telephone and a wide screen with text and patterns of one size. Colours are classes of the
style sheet, beside patterns; what cannot be seen stands in a table of the same numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from portcullis.server.review.numbers import amount, compact, share

HEIGHT: Final = 160.0
"""Of the plot, in pixels."""
LEAST_HEIGHT: Final = 2.0
"""Of a part that is not nothing: one refusal among a million decisions is still seen."""
WIDEST_BAR: Final = 12.0
"""Percent: a single bucket is a bar, too, and no wall."""
GAP: Final = 0.2
"""Of the room of a bar, what stays empty."""
TICKS: Final = 7
"""Labels below the plot, at most."""
LAST_TICK: Final = 86.0
"""Percent: a label that begins behind it would run out of the plot of a telephone."""
PATTERNS: Final = 6
"""How many parts of a bar of shares look different; then they begin again."""

_TOPS: Final = (1, 2, 4, 6, 8, 10)


@dataclass(frozen=True, slots=True)
class Series:
    """One kind of things that are counted. ``key`` names its colour and its pattern in the style sheet."""

    key: str
    label: str


@dataclass(frozen=True, slots=True)
class Column:
    """One bucket. ``tick`` is the short label below it, ``label`` the whole one; ``values`` in the order of the series;
    ``link`` leads to what was counted."""

    label: str
    tick: str
    values: tuple[int, ...]
    link: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a bar. ``top`` and ``height`` in pixels from the top of the plot."""

    key: str
    top: float
    height: float


@dataclass(frozen=True, slots=True)
class Bar:
    """``left`` and ``width`` in percent; ``words`` say what it shows."""

    left: float
    width: float
    parts: tuple[Part, ...]
    words: str


@dataclass(frozen=True, slots=True)
class Tick:
    """A label below the plot: from ``left`` percent on, or ``until`` there at the right end, where it would not fit. A
    ``fine`` one is left out where room is scarce."""

    left: float
    text: str
    fine: bool
    until: bool = False


@dataclass(frozen=True, slots=True)
class Total:
    """An entry of the legend, with the sum of its series."""

    series: Series
    count: str


@dataclass(frozen=True, slots=True)
class StackedBars:
    """Buckets over time, each a bar of stacked parts.

    ``levels`` are the labels of the axis, from the top down to nought. ``empty`` says that all is nought.
    """

    id: str
    title: str
    description: str
    height: float
    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]
    levels: tuple[str, ...]
    totals: tuple[Total, ...]
    columns: tuple[Column, ...]
    empty: bool

    @property
    def middle(self) -> bool:
        """Whether there is a line at half of the height."""
        return len(self.levels) > 2


def stacked_bars(
    chart_id: str, title: str, series: Sequence[Series], columns: Sequence[Column], *, height: float = HEIGHT
) -> StackedBars:
    """Lays the columns out.

    Args:
        chart_id: unique on its page; what the drawing refers to itself by.
        columns: in the order of time, each with as many values as there are series, none below nought.
    """
    peak = max((sum(column.values) for column in columns), default=0)
    top = top_of(peak)
    sums = [sum(column.values[at] for column in columns) for at in range(len(series))]
    room = 100 / max(len(columns), 1)
    width = min(room * (1 - GAP), WIDEST_BAR)
    bars = [
        Bar(
            left=round(room * at + (room - width) / 2, 4),
            width=round(width, 4),
            parts=_parts(series, column.values, top, height),
            words=f"{column.label}: {_counted(series, column.values)}",
        )
        for at, column in enumerate(columns)
    ]
    return StackedBars(
        id=chart_id,
        title=title,
        description=_description(series, columns, sums, peak),
        height=height,
        bars=tuple(bars),
        ticks=_ticks(columns, room),
        levels=tuple(compact(level) for level in ((top, top // 2, 0) if top % 2 == 0 else (top, 0))),
        totals=tuple(Total(one, amount(count)) for one, count in zip(series, sums, strict=True)),
        columns=tuple(columns),
        empty=peak == 0,
    )


def top_of(peak: int) -> int:
    """The end of an axis that holds ``peak``: 1, 2, 4, 6, 8 or 10 and a power of ten, so that its half is whole."""
    power = 1
    while peak > 10 * power:
        power *= 10
    return next(step * power for step in _TOPS if step * power >= peak)


def _parts(series: Sequence[Series], values: Sequence[int], top: int, height: float) -> tuple[Part, ...]:
    """From the ground up. What is made higher to be seen is taken from the highest part."""
    heights = [max(value / top * height, LEAST_HEIGHT) if value else 0.0 for value in values]
    if (over := sum(heights) - height) > 0:
        heights[heights.index(max(heights))] -= over
    parts, ground = [], height
    for one, own in zip(series, heights, strict=True):
        if own:
            ground -= own
            parts.append(Part(one.key, round(max(ground, 0.0), 2), round(own, 2)))
    return tuple(parts)


def _counted(series: Sequence[Series], values: Sequence[int]) -> str:
    told = [f"{amount(value)} {one.label}" for one, value in zip(series, values, strict=True) if value]
    return ", ".join(told) or "none"


def _description(series: Sequence[Series], columns: Sequence[Column], sums: Sequence[int], peak: int) -> str:
    if not columns:
        return "There is nothing to show."
    span = columns[0].label if len(columns) == 1 else f"{columns[0].label} to {columns[-1].label}"
    if not peak:
        return f"{span}: none."
    highest = next(column for column in columns if sum(column.values) == peak)
    most = f" Most in one bar: {amount(peak)} ({highest.label})." if len(columns) > 1 else ""
    return f"{span}: {_counted(series, sums)}.{most}"


def _ticks(columns: Sequence[Column], room: float) -> tuple[Tick, ...]:
    """Every n-th column has a label, at its left edge; every second of them is fine."""
    step = -(-len(columns) // TICKS) or 1
    ticks = []
    for at in range(0, len(columns), step):
        until = at > 0 and room * at > LAST_TICK
        left = room * (at + 1) if until else room * at
        ticks.append(Tick(round(left, 4), columns[at].tick, fine=bool(at // step % 2), until=until))
    return tuple(ticks)


# -- a row of small bars --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SmallBar:
    """In pixels."""

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Sparkline:
    """A chart of the size of a word. ``words`` tell all of its values."""

    width: int
    height: int
    bars: tuple[SmallBar, ...]
    words: str


def sparkline(values: Sequence[int], labels: Sequence[str], *, width: int = 98, height: int = 24) -> Sparkline:
    """One bar for each value; the highest fills the height.

    Args:
        labels: of the values, such as days.
    """
    peak = max(values, default=0)
    room = width / max(len(values), 1)
    bars = tuple(
        SmallBar(
            left=round(room * at, 2),
            top=round(height - own, 2),
            width=round(room * (1 - GAP), 2),
            height=round(own, 2),
        )
        for at, value in enumerate(values)
        if (own := max(value / peak * height, LEAST_HEIGHT) if value else 0.0)
    )
    told = "; ".join(f"{label}: {amount(value)}" for label, value in zip(labels, values, strict=True))
    return Sparkline(width, height, bars, told or "nothing")


# -- shares of a whole ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a whole; ``left`` and ``width`` in percent, ``key`` names its colour and pattern."""

    key: str
    label: str
    value: str
    share: str
    left: float
    width: float


@dataclass(frozen=True, slots=True)
class ShareBar:
    """One bar across, of parts. ``words`` tell all of them."""

    id: str
    title: str
    words: str
    shares: tuple[Share, ...]


def share_bar(chart_id: str, title: str, parts: Sequence[tuple[str, float, str]]) -> ShareBar:
    """Args:
    parts: label, size, and the size in words; those of no size are told in words and have no width.
    """
    sizes = [max(size, 0.0) for _, size, _ in parts]
    whole = sum(sizes)
    shares, left = [], 0.0
    for at, ((label, _, value), size) in enumerate(zip(parts, sizes, strict=True)):
        width = size / whole * 100 if whole else 0.0
        key = f"part-{at % PATTERNS + 1}"
        shares.append(Share(key, label, value, share(size, whole), round(left, 4), round(width, 4)))
        left += width
    told = "; ".join(f"{one.label}: {one.value} ({one.share})" for one in shares)
    return ShareBar(chart_id, title, told or "nothing", tuple(shares))
