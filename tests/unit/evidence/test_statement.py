"""Statements: what is read of one, and which digests they name. Bad ones are in tests/vectors/attestations.py."""

from typing import Any

import pytest

from portcullis.evidence.refusal import EvidenceError
from portcullis.evidence.statement import names, parse_statement, predicate_object
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.model.image import Digest
from vectors.attestations import OTHER, SUBJECT, SUBJECT_512, VULN, compact, statement


def subject(**digests: Any) -> dict[str, Any]:
    return {"name": "x", "digest": digests}


@pytest.mark.parametrize("kind", ["https://in-toto.io/Statement/v0.1", "https://in-toto.io/Statement/v1"])
def test_a_statement(kind: str) -> None:
    read = parse_statement(compact(statement(kind=kind, predicate={"a": "é"})), DEFAULT_LIMITS)
    assert read.predicate_type == VULN
    assert read.subjects == [{"sha256": SUBJECT.hex}]
    assert predicate_object(read) == '{"a":"é"}'.encode()


@pytest.mark.parametrize(
    ("subjects", "named"),
    [
        ([subject(sha256=SUBJECT.hex)], {SUBJECT}),
        (
            [subject(sha256=OTHER.hex), subject(sha512=SUBJECT_512.hex, sha256=SUBJECT.hex)],
            {OTHER, SUBJECT, SUBJECT_512},
        ),
        ([subject(sha512=SUBJECT.hex)], set()),
        ([subject(sha1="0" * 40, gitCommit=SUBJECT.hex)], set()),
        ([{"uri": f"pkg:oci/web@{SUBJECT}"}, {"name": SUBJECT, "digest": None}], set()),
        ([subject(sha256=SUBJECT.hex.upper())], set()),
        ([subject(sha256=int("1" * 64))], set()),
        ([], set()),
    ],
)
def test_which_digests_are_named(subjects: list[Any], named: set[Digest]) -> None:
    read = parse_statement(compact(statement(subject=subjects)), DEFAULT_LIMITS)
    assert {digest for digest in (SUBJECT, OTHER, SUBJECT_512) if names(read, digest)} == named


@pytest.mark.parametrize("judged", ["sha256:", "sha256:ab", f"md5:{'0' * 32}", f"sha512:{'ab' * 32}"])
def test_what_is_no_digest_is_named_by_nothing(judged: str) -> None:
    digest = Digest(judged)
    read = parse_statement(compact(statement(subject=[subject(**{digest.algorithm: digest.hex})])), DEFAULT_LIMITS)
    assert not names(read, digest)


def test_subjects_are_counted() -> None:
    payload = compact(statement(subject=[subject(sha256=SUBJECT.hex)] * 3))
    assert len(parse_statement(payload, Limits(statement_subjects=3)).subjects) == 3
    with pytest.raises(EvidenceError) as refused:
        parse_statement(payload, Limits(statement_subjects=2))
    assert (refused.value.reason, "the limit statementSubjects is 2" in refused.value.message) == ("too-large", True)


@pytest.mark.parametrize(
    ("predicate", "read"), [(b"null", b"{}"), (b' {"a":1}', b'{"a":1}'), (b'"text"', b'"text"'), (b"{ }", b"{ }")]
)
def test_predicates(predicate: bytes, read: bytes) -> None:
    payload = compact({k: v for k, v in statement().items() if k != "predicate"})[:-1]
    assert predicate_object(parse_statement(payload + b',"predicate":' + predicate + b"}", DEFAULT_LIMITS)) == read


@pytest.mark.parametrize("predicate", [[], 1, 1.5, True, False])
def test_what_is_no_predicate(predicate: object) -> None:
    read = parse_statement(compact({**statement(), "predicate": predicate}), DEFAULT_LIMITS)
    with pytest.raises(EvidenceError, match="neither an object nor a text"):
        predicate_object(read)
