"""Patterns of identities, against Python's own engine as the judge of what they mean."""

import re
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portcullis.evidence.patterns import Pattern, PatternError

ATOMS = st.sampled_from(["a", "b", ".", r"\.", r"\d", r"\W", "[ab]", "[^a]", "[a-c1]", r"[\d.]", r"\-", "1"])
QUANTIFIERS = st.sampled_from(["", "*", "+", "?", "{2}", "{1,}", "{0,2}", "*?"])
# No endless quantifier in another one: with these it is Python's engine that does not end.
GROUPS = st.recursive(
    st.tuples(ATOMS, QUANTIFIERS).map("".join),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3).map("".join)
        | st.lists(inner, min_size=1, max_size=3).map(lambda ways: f"({'|'.join(ways)})")
        | inner.map(lambda one: f"(?:{one})?")
    ),
    max_leaves=6,
)
TEXTS = st.text(st.sampled_from("ab1.-\n\u00e4"), max_size=6)


@settings(max_examples=300, deadline=None)
@given(GROUPS, TEXTS)
def test_they_mean_what_python_says(pattern: str, text: str) -> None:
    assert Pattern(pattern).matches(text) is (re.fullmatch(pattern, text, re.ASCII) is not None)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of Python, about classes that it may read otherwise one day
@settings(deadline=None)
@given(st.text(max_size=30) | st.text(st.sampled_from("ab()[]{}|*+?^$\\.-,:1"), max_size=15), TEXTS)
def test_any_text_is_a_pattern_or_refused(pattern: str, text: str) -> None:
    with suppress(PatternError):
        read = Pattern(pattern)
        read.matches(text)
        if "$" not in pattern and "^" not in pattern:
            assert read.matches(text) is (re.fullmatch(pattern, text, re.ASCII) is not None)
