"""Where the bars of charts lie, and the words that say the same."""

import pytest

from portcullis.server.review.charts import (
    HEIGHT,
    LEAST_HEIGHT,
    PATTERNS,
    TICKS,
    WIDEST_BAR,
    Column,
    Part,
    Series,
    share_bar,
    sparkline,
    stacked_bars,
    top_of,
)

ADMITTED, REFUSED = Series("admitted", "admitted"), Series("refused", "refused")


def columns(*values: tuple[int, ...]) -> list[Column]:
    return [Column(f"hour {at}", f"{at:02}", value, f"/decisions?since={at}") for at, value in enumerate(values)]


@pytest.mark.parametrize(
    ("peak", "top"),
    [(0, 1), (1, 1), (2, 2), (3, 4), (5, 6), (7, 8), (10, 10), (11, 20), (100, 100), (101, 200), (9_999_999, 10**7)],
)
def test_the_axis_ends_at_a_round_number_above_the_peak(peak: int, top: int) -> None:
    assert top_of(peak) == top


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        pytest.param((0, 0), (), id="nothing"),
        pytest.param((5, 5), (Part("admitted", 80.0, 80.0), Part("refused", 0.0, 80.0)), id="halves"),
        pytest.param((10, 0), (Part("admitted", 0.0, 160.0),), id="one kind alone"),
        pytest.param(
            (999_999, 1),
            (Part("admitted", LEAST_HEIGHT, HEIGHT - LEAST_HEIGHT), Part("refused", 0.0, LEAST_HEIGHT)),
            id="one among a million is seen",
        ),
        pytest.param((0, 8), (Part("refused", 32.0, 128.0),), id="not full"),
    ],
)
def test_parts_are_stacked_from_the_ground(values: tuple[int, int], parts: tuple[Part, ...]) -> None:
    # The second column makes the axis end at ten, or higher where the first is.
    chart = stacked_bars("c", "Decisions", (ADMITTED, REFUSED), columns(values, (10, 0)))
    assert chart.bars[0].parts == parts


@pytest.mark.parametrize("count", [1, 2, 7, 24, 42, 720])
def test_bars_stay_inside_and_apart(count: int) -> None:
    chart = stacked_bars("c", "Decisions", (ADMITTED,), columns(*[(at,) for at in range(count)]))
    assert len(chart.bars) == count
    assert all(bar.left >= 0 and bar.left + bar.width <= 100 and 0 < bar.width <= WIDEST_BAR for bar in chart.bars)
    assert all(one.left + one.width < other.left for one, other in zip(chart.bars, chart.bars[1:], strict=False))
    assert 1 <= len(chart.ticks) <= TICKS
    assert not chart.ticks[0].fine


def test_huge_numbers_fit() -> None:
    chart = stacked_bars("c", "Decisions", (ADMITTED, REFUSED), columns((10**15, 10**15), (1, 0)))
    assert chart.levels == ("2,000,000B", "1,000,000B", "0")
    assert all(part.top >= 0 and part.top + part.height <= HEIGHT for bar in chart.bars for part in bar.parts)


@pytest.mark.parametrize(
    ("values", "levels", "middle"),
    [([(0,)], ("1", "0"), False), ([(1,)], ("1", "0"), False), ([(3,)], ("4", "2", "0"), True)],
)
def test_levels_are_whole_numbers(values: list[tuple[int, ...]], levels: tuple[str, ...], middle: bool) -> None:
    chart = stacked_bars("c", "Decisions", (ADMITTED,), columns(*values))
    assert chart.levels == levels
    assert chart.middle is middle


@pytest.mark.parametrize(
    ("values", "empty", "description"),
    [
        ([], True, "There is nothing to show."),
        ([(0, 0), (0, 0)], True, "hour 0 to hour 1: none."),
        ([(1200, 3)], False, "hour 0: 1,200 admitted, 3 refused."),
        ([(1, 0), (1200, 3)], False, "hour 0 to hour 1: 1,201 admitted, 3 refused. Most in one bar: 1,203 (hour 1)."),
    ],
)
def test_the_description_says_what_is_seen(values: list[tuple[int, ...]], empty: bool, description: str) -> None:
    chart = stacked_bars("c", "Decisions", (ADMITTED, REFUSED), columns(*values))
    assert (chart.empty, chart.description) == (empty, description)


def test_each_bar_and_the_legend_have_their_numbers() -> None:
    chart = stacked_bars("c", "Decisions", (ADMITTED, REFUSED), columns((7, 0), (0, 0), (1200, 3)))
    assert [bar.words for bar in chart.bars] == [
        "hour 0: 7 admitted",
        "hour 1: none",
        "hour 2: 1,200 admitted, 3 refused",
    ]
    assert [(total.series.key, total.count) for total in chart.totals] == [("admitted", "1,207"), ("refused", "3")]


@pytest.mark.parametrize(
    ("values", "bars", "words"),
    [
        ([], [], "nothing"),
        ([0, 0], [], "Mon: 0; Tue: 0"),
        ([4, 2], [(0.0, 24.0), (49.0, 12.0)], "Mon: 4; Tue: 2"),
        ([1_000_000, 1], [(0.0, 24.0), (49.0, LEAST_HEIGHT)], "Mon: 1,000,000; Tue: 1"),
        ([0, 5], [(49.0, 24.0)], "Mon: 0; Tue: 5"),
    ],
)
def test_sparkline(values: list[int], bars: list[tuple[float, float]], words: str) -> None:
    line = sparkline(values, ["Mon", "Tue"][: len(values)])
    assert [(bar.left, bar.height) for bar in line.bars] == bars
    assert all(bar.top + bar.height == line.height for bar in line.bars)
    assert line.words == words


@pytest.mark.parametrize(
    ("parts", "widths", "words"),
    [
        ([], [], "nothing"),
        ([("registry", 0.0, "0 ms")], [0.0], "registry: 0 ms (0 %)"),
        (
            [("registry", 7.5, "7.5 ms"), ("policy", 2.5, "2.5 ms")],
            [75.0, 25.0],
            "registry: 7.5 ms (75 %); policy: 2.5 ms (25 %)",
        ),
        ([("clock went back", -3.0, "-3 ms"), ("policy", 1.0, "1 ms")], [0.0, 100.0], None),
    ],
)
def test_shares_fill_the_whole(parts: list[tuple[str, float, str]], widths: list[float], words: str | None) -> None:
    bar = share_bar("t", "Time", parts)
    assert [one.width for one in bar.shares] == widths
    assert words is None or bar.words == words
    assert all(one.left + one.width <= 100.0001 for one in bar.shares)


def test_patterns_begin_again() -> None:
    bar = share_bar("t", "Time", [(f"stage {at}", 1.0, "1 ms") for at in range(PATTERNS + 1)])
    assert [one.key for one in bar.shares] == [f"part-{at}" for at in (1, 2, 3, 4, 5, 6, 1)]
