"""Numbers, sizes and digests as commands show them."""

from typing import Final

SHORT: Final = 300
"""Characters of one text from outside."""
HEX_SHOWN: Final = 12
"""Digits of a digest: as Docker shows it, and enough to find it by."""


def plural(number: int, unit: str) -> str:
    """``1 file``, ``1,204 files``."""
    return f"{number} {unit}" if number == 1 else f"{number:,} {unit}s"


def size_of(count: int) -> str:
    """Bytes: ``48.6 MiB``."""
    size = float(count)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def digest_of(digest: str) -> str:
    """``sha256:3f1b9e3ca104…``"""
    algorithm, _, digits = digest.partition(":")
    return f"{algorithm}:{digits[:HEX_SHOWN]}…"


def hours_of(hours: float) -> str:
    """``3 hours``, ``12 days``."""
    if abs(hours) < 48:
        return plural(round(hours), "hour")
    return plural(round(hours / 24), "day")
