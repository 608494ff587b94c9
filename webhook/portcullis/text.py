"""Text from outside, made fit to be shown: in a terminal, a log line, a warning."""

import unicodedata

# Format characters that change how the rest of a line reads (Unicode TR9 and TR36): embeddings, overrides and
# isolates. The whole category Cf is replaced, which also takes zero-width characters.
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def clean(text: str, limit: int) -> str:
    """``text`` on one line, unprintable characters replaced by U+FFFD, blanks folded, at most ``limit``
    characters (the last of which is an ellipsis where something was cut)."""
    shown = text[: limit * 4]
    if not shown.isascii() or not shown.isprintable():
        shown = "".join(
            " " if character in "\n\r\t" else "\ufffd" if unicodedata.category(character) in _UNSAFE else character
            for character in shown
        )
    shown = " ".join(shown.split())
    return shown if len(shown) <= limit else f"{shown[: limit - 1]}…"


def quoted(text: str, limit: int = 80) -> str:
    """The first ``limit`` characters of ``text`` as Python writes them: exact, whatever is not printable escaped
    (bidirectional overrides, too), with an ellipsis behind where something was cut. For a text that is refused for
    its very characters; elsewhere :func:`clean` reads better."""
    return repr(text[:limit]) + ("…" if len(text) > limit else "")


def sentence(text: str) -> str:
    """``text`` that ends as a sentence does; empty text stays empty."""
    return text if not text or text[-1] in ".!?…" else f"{text}."
