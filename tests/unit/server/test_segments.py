"""The words by which the API server is told apart."""

import pytest

from portcullis.server.segments import PathSegments

ONE, TWO, THREE = "0123456789abcdef", "fedcba9876543210", "ABCDEFGHIJKLMNO-_"


def accepted(segments: PathSegments) -> set[str]:
    return {word for word in (ONE, TWO, THREE, "") if segments.accepts(word.encode())}


def test_without_any_nobody_is_told_apart() -> None:
    segments = PathSegments()
    assert (segments.told_apart, accepted(segments)) == (False, set())


def test_the_configured_word_counts_always() -> None:
    segments = PathSegments(ONE)
    segments.take([TWO])
    assert (segments.told_apart, accepted(segments)) == (True, {ONE, TWO})
    segments.take([])
    assert accepted(segments) == {ONE}


def test_shared_words_follow_the_secret() -> None:
    segments = PathSegments(shared=True)
    assert (segments.told_apart, accepted(segments)) == (True, set())
    segments.take([ONE, TWO])
    assert accepted(segments) == {ONE, TWO}
    segments.take([TWO, THREE])
    assert accepted(segments) == {TWO, THREE}


@pytest.mark.parametrize("word", ["", "short", "a" * 129, "0123456789abcde/", "0123456789abcdef\n", "é" * 16])
def test_what_is_no_such_word_opens_nothing(word: str) -> None:
    segments = PathSegments(shared=True)
    segments.take([word])
    assert not segments.accepts(word.encode())
    assert not segments.accepts(b"")


def test_bytes_of_any_kind_may_be_asked_about() -> None:
    assert not PathSegments(ONE).accepts(b"\xff\x00")
