"""What searched columns hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portcullis.audit.tables import KEY_CHARS, key

TEXT = st.text(st.characters(codec=None)) | st.text("ab", min_size=200, max_size=600)


@given(TEXT)
def test_a_key_can_be_stored_and_indexed_by_any_database(text: str) -> None:
    """PostgreSQL refuses NUL, what is not UTF-8, and index entries above 2,704 bytes."""
    assert len(key(text)) <= KEY_CHARS
    assert len(key(text).encode()) <= 4 * KEY_CHARS
    assert "\0" not in key(text)


@given(TEXT, TEXT)
def test_different_texts_have_different_keys(one: str, other: str) -> None:
    if all(character.isprintable() for character in one + other):
        assert (key(one) == key(other)) == (one == other)


@pytest.mark.parametrize("text", ["", "shop", "registry.example/acme/web:1.4", "größe", "x" * KEY_CHARS])
def test_ordinary_text_is_its_own_key(text: str) -> None:
    assert key(text) == text


def test_long_texts_that_begin_alike_stay_apart() -> None:
    assert key("x" * 1000 + "a") != key("x" * 1000 + "b")
    assert key("x" * 1000).startswith("xxx")
