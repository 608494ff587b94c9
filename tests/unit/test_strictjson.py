"""JSON that could be read in two ways is not read. More cases: vectors/attestations.py, registry/test_documents.py."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portcullis.strictjson import StrictJsonError, load_json


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "is not JSON: Expecting value (character 0)"),
        (b'{"a":1,"a":2}', 'is not strict JSON: the key "a" stands twice in one object'),
        (b"[NaN]", "is not strict JSON: NaN is no JSON number"),
        (b"[1e999]", "is not strict JSON: a number is too large"),
        (b"[" + b"9" * 5000 + b"]", "is not strict JSON: "),
        (b'["\\ud800"]', "holds a lone surrogate"),
        (b'{"\\udfff":1}', "holds a lone surrogate"),
        (b'["\xff"]', "is not UTF-8, as JSON must be (byte 2)"),
        (b"\xef\xbb\xbf[]", "is not JSON: "),
        ("[]".encode("utf-16"), "is not UTF-8"),
    ],
)
def test_what_is_refused(data: bytes, problem: str) -> None:
    with pytest.raises(StrictJsonError) as caught:
        load_json(data, max_depth=5)
    assert caught.value.problem.startswith(problem)
    assert not caught.value.too_deep


@pytest.mark.parametrize(("levels", "fine"), [(5, True), (6, False), (1_000_000, False)])
def test_depth(levels: int, fine: bool) -> None:
    data = b"[" * levels + b"]" * levels
    if fine:
        load_json(data, max_depth=5)
        return
    with pytest.raises(StrictJsonError, match="is nested deeper than the limit jsonDepth of 5") as caught:
        load_json(data, max_depth=5)
    assert caught.value.too_deep


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=20,
    ),
    st.booleans(),
)
def test_what_is_fine_is_read_as_it_is(tree: Any, ascii_only: bool) -> None:
    assert load_json(json.dumps(tree, ensure_ascii=ascii_only).encode(), max_depth=100) == tree
