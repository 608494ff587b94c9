"""Text from outside is made fit to be shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portcullis.text import clean, quoted, sentence


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("a\nb\tc\r\nd", "a b c d"),
        ("  blanks \x00 ", "blanks \ufffd"),
        ("\x1b[31mred", "\ufffd[31mred"),
        ("rtl\u202egpj", "rtl\ufffdgpj"),
        ("zero\u200bwidth", "zero\ufffdwidth"),
        ("surrogate \ud800", "surrogate \ufffd"),
        ("grüße 🚢", "grüße 🚢"),
        ("x" * 30, "x" * 19 + "…"),
    ],
)
def test_clean(text: str, shown: str) -> None:
    assert clean(text, 20) == shown


@given(st.text(), st.integers(min_value=1, max_value=300))
def test_clean_text_is_one_printable_line_within_its_limit(text: str, limit: int) -> None:
    shown = clean(text, limit)
    assert len(shown) <= limit
    assert shown.isprintable() or not shown
    shown.encode()


@pytest.mark.parametrize(
    ("text", "shown"),
    [("plain", "'plain'"), ("it's\n", '"it\'s\\n"'), ("\u202ex", "'\\u202ex'"), ("x" * 7, "'xxxxxx'…"), ("", "''")],
)
def test_quoted(text: str, shown: str) -> None:
    assert quoted(text, 6) == shown


@pytest.mark.parametrize(("text", "ended"), [("", ""), ("a", "a."), ("a.", "a."), ("a?", "a?"), ("a…", "a…")])
def test_sentence(text: str, ended: str) -> None:
    assert sentence(text) == ended
