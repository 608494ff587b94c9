"""Globs over names: ``*`` stands for any number of characters, ``?`` for one, all else for itself."""


def matches(pattern: str, text: str) -> bool:
    """Whether the whole text is meant. Goes back to the last ``*`` only: never worse than length times length."""
    at = mark = seen = 0
    star = -1
    while seen < len(text):
        if at < len(pattern) and pattern[at] == "*":
            star, mark = at, seen
            at += 1
        elif at < len(pattern) and pattern[at] in ("?", text[seen]):
            at += 1
            seen += 1
        elif star >= 0:
            mark += 1
            at, seen = star + 1, mark
        else:
            return False
    return all(character == "*" for character in pattern[at:])
