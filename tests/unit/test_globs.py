"""Globs over characters and over segments."""

import pytest

from portcullis.globs import matches


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("dev-*", "dev-1", True),
        ("dev-*", "dev-", True),
        ("dev-*", "adev-1", False),
        ("*-dev", "a-b-dev", True),
        ("*-dev", "dev", False),
        ("a?c", "abc", True),
        ("a?c", "ac", False),
        ("*a*b*", "xxaxxbxx", True),
        ("*a*b*", "xxbxxaxx", False),
        ("", "", True),
        ("", "a", False),
        ("*", "", True),
        ("a.c", "abc", False),
        ("[a]", "a", False),
    ],
)
def test_over_characters(pattern: str, text: str, expected: bool) -> None:
    assert matches(pattern, text) is expected


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("a/**", "a/b/c", True),
        ("a/**", "a", True),
        ("a/*", "a/b/c", False),
        ("a/*/c", "a/b/c", True),
        ("**/c", "ab/c", True),
    ],
)
def test_over_segments(pattern: str, path: str, expected: bool) -> None:
    assert matches(pattern.split("/"), path.split("/"), many="**", one="*") is expected


def test_a_hostile_pattern_takes_no_longer_than_its_length_times_that_of_the_text() -> None:
    assert not matches("*a" * 500 + "b", "a" * 5_000)
