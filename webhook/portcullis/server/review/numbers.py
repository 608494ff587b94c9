"""Numbers of charts and tables."""

from typing import Final

_THOUSAND: Final = 1000
_STEPS: Final = ("", "k", "M", "B")


def amount(number: int) -> str:
    """``1,204``."""
    return f"{number:,}"


def compact(number: int) -> str:
    """For an axis: ``950``, ``1.2k``, ``45k``, ``3M``."""
    size, step = float(number), 0
    # What would be rounded up to 1000 of a unit is one of the next.
    while size >= _THOUSAND - 0.5 and step < len(_STEPS) - 1:
        size, step = size / _THOUSAND, step + 1
    text = f"{size:.1f}" if step and size < 9.95 else f"{size:,.0f}"
    return f"{text.removesuffix('.0')}{_STEPS[step]}"


def share(part: float, whole: float) -> str:
    """``12 %``; never 0 % of something and never 100 % of less than all."""
    if whole <= 0 or part <= 0:
        return "0 %"
    percent = part * 100 / whole
    if percent < 1:
        return "under 1 %"
    return "over 99 %" if part < whole and percent > 99 else f"{percent:.0f} %"
