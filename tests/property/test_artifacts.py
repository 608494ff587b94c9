"""Manifests that carry attestations: whatever they hold, reading them ends in what they say or why not."""

import json
from contextlib import suppress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from portcullis.evidence.artifact import Artifact, plain, read_artifact, read_children
from portcullis.evidence.refusal import EvidenceError
from portcullis.evidence.trust import Trust
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.evidence import PredicateClass
from portcullis.model.image import Digest, Manifest
from vectors.attestations import OTHER, SUBJECT

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)
DIGESTS = st.sampled_from([str(SUBJECT), str(OTHER), "sha256:12", "", "md5:" + "0" * 32]) | st.text(max_size=80)


def descriptors() -> st.SearchStrategy[Any]:
    fields = {
        "mediaType": st.text(max_size=20) | JSON,
        "digest": DIGESTS | JSON,
        "size": st.integers() | st.booleans() | JSON,
        "annotations": st.dictionaries(st.text(max_size=8), st.text(max_size=8) | st.integers(), max_size=3) | JSON,
    }
    return st.fixed_dictionaries({}, optional=fields) | JSON


MANIFESTS = st.fixed_dictionaries(
    {},
    optional={
        "layers": st.lists(descriptors(), max_size=4) | JSON,
        "manifests": st.lists(descriptors(), max_size=4) | JSON,
        "subject": descriptors(),
        "config": descriptors(),
        "artifactType": st.text(max_size=20) | JSON,
    },
)


def manifest(content: bytes) -> Manifest:
    return Manifest("a/b", Digest(SUBJECT), content)


def check(content: bytes) -> None:
    found = read_artifact(manifest(content), "", DEFAULT_LIMITS)
    assert isinstance(found, Artifact)
    assert found.fault is None or found.fault.message
    for layer in found.layers:
        assert layer.size >= 0
        assert (layer.digest.algorithm, len(layer.digest.hex)) in {("sha256", 64), ("sha512", 128)}
        assert all(isinstance(text, str) for text in layer.annotations.values())
    with suppress(EvidenceError):
        assert all(child.size >= 0 for child in read_children(manifest(content), DEFAULT_LIMITS))


@given(st.binary(max_size=200))
def test_any_bytes(content: bytes) -> None:
    check(content)


@given(MANIFESTS | JSON)
def test_anything_like_a_manifest(document: Any) -> None:
    check(json.dumps(document).encode("utf-8", errors="surrogatepass"))


@given(st.text(max_size=60))
def test_a_media_type_without_its_parameters_stays_so(text: str) -> None:
    assert plain(plain(text)) == plain(text)


KNOWN = st.sampled_from(["https://cyclonedx.org/bom", "https://openvex.dev/ns", "https://example.test/own"])


@given(KNOWN, st.text(min_size=1, max_size=20))
def test_no_class_is_widened_by_what_is_written_behind_a_type(known: str, behind: str) -> None:
    trust = Trust(signers=[], rules=[], predicates={"https://example.test/own": PredicateClass.LINT})
    expected = trust.classes(known) if behind.startswith("/") else (PredicateClass.OTHER,)
    assert trust.classes(known + behind) == expected
