"""Globs: over the characters of a name, or over the segments of a path."""

from collections.abc import Sequence


def matches(pattern: Sequence[str], text: Sequence[str], *, many: str = "*", one: str = "?") -> bool:
    """Whether the whole text is meant. Goes back to the last ``many`` only: never worse than length times length.

    Args:
        pattern, text: texts, or lists of segments.
        many: stands for any number of characters or segments, also none.
        one: stands for a single one; all else stands for itself.
    """
    at = mark = seen = 0
    star = -1
    while seen < len(text):
        if at < len(pattern) and pattern[at] == many:
            star, mark = at, seen
            at += 1
        elif at < len(pattern) and pattern[at] in (one, text[seen]):
            at += 1
            seen += 1
        elif star >= 0:
            mark += 1
            at, seen = star + 1, mark
        else:
            return False
    return all(part == many for part in pattern[at:])
