"""How long things take, counted where they happen; whoever shows the figures reads them from there."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Final

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0)
"""Upper bounds up to the longest time-out that a webhook can have."""


class Durations:
    """How many took how long.

    Args:
        bounds: upper bounds in seconds, each included, in order.
    """

    __slots__ = ("_bounds", "_counts", "total")

    def __init__(self, bounds: Sequence[float] = SECONDS) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.total = 0.0
        """Seconds of all of them."""

    def observe(self, seconds: float) -> None:
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self.total += seconds

    @property
    def count(self) -> int:
        return sum(self._counts)

    def cumulative(self) -> Iterator[tuple[str, int]]:
        """Each upper bound, ``+Inf`` last, with the number of those that took no longer."""
        return zip([*map(str, self._bounds), "+Inf"], accumulate(self._counts), strict=True)
