"""Laws of admission: whatever is sent is read or refused in the words of the error tree, and nothing else happens."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from fakes.reviews import UID, pod, request, review, update
from portcullis.admission.review import parse_review, readable_uid
from portcullis.admission.unchanged import same, unchanged
from portcullis.admission.workloads import WorkloadReader
from portcullis.errors import PortcullisError, ReviewError, WorkloadError
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.request import Caller

READER = WorkloadReader(limits=DEFAULT_LIMITS)


def attempt(action: Callable[[], Any]) -> Any:
    """What ``action`` gives, or the error of ours that it raises; any other error fails the test."""
    try:
        return action()
    except PortcullisError as error:
        return error


numbers = st.one_of(
    st.integers(min_value=-(2**63), max_value=2**64 - 1), st.floats(allow_nan=False, allow_infinity=False)
)
trees = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, st.text(max_size=8)),
    lambda children: st.one_of(
        st.lists(children, max_size=4), st.dictionaries(st.text(max_size=4), children, max_size=4)
    ),
    max_leaves=15,
)
plain = st.recursive(
    st.sampled_from([None, True, False, 0, 1, 1.0, "", "1"]),
    lambda children: st.lists(children, max_size=2) | st.dictionaries(st.sampled_from("ab"), children, max_size=2),
    max_leaves=4,
)
"""Small trees of values that Python takes for equal and JSON does not."""

fields = st.sampled_from(
    [
        "spec",
        "template",
        "metadata",
        "containers",
        "initContainers",
        "volumes",
        "image",
        "reference",
        "name",
        "labels",
        "kind",
    ]
)
shapes = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=3)),
    lambda children: st.one_of(st.lists(children, max_size=3), st.dictionaries(fields, children, max_size=4)),
    max_leaves=20,
)


@given(trees, st.booleans())
def test_what_is_read_is_what_was_sent(tree: Any, ascii_only: bool) -> None:
    document = review({**pod("busybox"), "x": tree})
    body = json.dumps(document, ensure_ascii=ascii_only).encode()
    made = parse_review(body, limits=DEFAULT_LIMITS, caller=Caller.PATH)
    assert same(made.raw, document["request"])
    # whoever comes later can write it down again
    assert same(msgspec.json.decode(msgspec.json.encode(made.raw)), document["request"])
    assert readable_uid(body, limits=DEFAULT_LIMITS) == UID


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_in_an_orderly_way(body: bytes) -> None:
    result = attempt(lambda: parse_review(body, limits=DEFAULT_LIMITS, caller=Caller.PATH))
    assert isinstance(result, ReviewError)
    assert result.message.isprintable()


@given(st.data())
def test_a_damaged_review_is_read_or_refused(data: st.DataObject) -> None:
    body = bytearray(json.dumps(review(pod("busybox"))).encode())
    for _ in range(data.draw(st.integers(min_value=1, max_value=3))):
        start = data.draw(st.integers(min_value=0, max_value=len(body)))
        end = data.draw(st.integers(min_value=start, max_value=min(start + 4, len(body))))
        body[start:end] = data.draw(
            st.one_of(st.binary(max_size=3), st.sampled_from([b'"', b"{", b"]", b"\\", b"\\ud800"]))
        )
    result = attempt(lambda: parse_review(bytes(body), limits=DEFAULT_LIMITS, caller=Caller.PATH))
    if isinstance(result, ReviewError):
        assert result.message.isprintable()
    else:
        assert result.uid == result.raw["uid"]


@given(
    st.dictionaries(fields, shapes, max_size=4),
    st.sampled_from(["v1/Pod", "apps/v1/Deployment", "v1/ReplicationController"]),
)
def test_any_object_is_a_workload_or_a_workload_error(judged: dict[str, Any], what: str) -> None:
    api_version, _, kind = what.rpartition("/")
    made = {**judged, "apiVersion": api_version, "kind": kind}
    unchanged(update(made, made), READER)
    result = attempt(lambda: READER.read(request(made)))
    if isinstance(result, WorkloadError):
        assert result.message.isprintable()
    else:
        assert all(isinstance(one.image, str) for one in result.containers)
        assert (result.pod_spec is None) is (result.pod_metadata is None)


@given(plain, plain)
def test_same_agrees_with_canonical_json(left: Any, right: Any) -> None:
    def canonical(tree: Any) -> str:
        return json.dumps(tree, sort_keys=True)

    assert same(left, right) is (canonical(left) == canonical(right))
    assert same(left, json.loads(json.dumps(left)))
