"""AuditRecord <-> JSON."""

import contextlib
import json
import string
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.records import a_decision, a_record
from portcullis.audit import codec
from portcullis.model.decision import (
    Because,
    Decision,
    JudgedImage,
    Problem,
    Stage,
    UndecidedPolicy,
    Verdict,
    Violation,
)
from portcullis.model.grant import Grant
from portcullis.model.record import AuditRecord
from portcullis.model.request import Caller
from portcullis.model.ruling import Mode

# A high surrogate followed by a low one is one character to JSON; no decoder makes such a pair of two.
TEXT = st.text(st.characters(codec=None, exclude_characters=[chr(code) for code in range(0xDC00, 0xE000)]))
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | FLOATS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
DETAILS = st.dictionaries(TEXT, JSON, max_size=3)
MOMENT = datetime(2026, 11, 27, 18, 0, tzinfo=UTC)
MOMENTS = st.datetimes(timezones=st.just(UTC))
PROBLEMS = st.builds(
    Problem, st.sampled_from(Stage), TEXT, st.booleans(), TEXT, image=TEXT, pending=st.booleans(), eta_seconds=FLOATS
)
VIOLATIONS = st.builds(
    Violation,
    policy=TEXT,
    mode=st.sampled_from(Mode),
    severity=TEXT,
    msg=TEXT,
    container=TEXT,
    container_kind=TEXT,
    image=TEXT,
    digest=TEXT,
    platform=TEXT,
    field=TEXT,
    fix=TEXT,
    docs=TEXT,
    details=DETAILS,
)
DOCUMENTS = (
    st.just(b"")
    | st.binary()
    | DETAILS.map(lambda tree: json.dumps(tree).encode())
    | st.sampled_from([b' {"a": 1}\n', b'{"input":{},"a":"\\ud800"}', b"NaN", b"1e999", '"é"'.encode("utf-16")])
)
TEXTS = st.lists(TEXT, max_size=2).map(tuple)
DECISIONS = st.builds(
    Decision,
    id=TEXT,
    verdict=st.sampled_from(Verdict),
    code=st.sampled_from([200, 403, 429, 503]),
    because=st.sampled_from(Because),
    message=TEXT,
    warnings=st.lists(TEXT, max_size=2).map(tuple),
    retry_after_seconds=st.none() | st.integers(1, 5),
    violations=st.lists(VIOLATIONS, max_size=2).map(tuple),
    undecided=st.lists(
        st.builds(
            UndecidedPolicy,
            TEXT,
            st.sampled_from(Mode),
            st.lists(PROBLEMS, max_size=2).map(tuple),
            TEXT,
            st.none() | MOMENTS,
        ),
        max_size=2,
    ).map(tuple),
    problems=st.lists(PROBLEMS, max_size=2).map(tuple),
    images=st.lists(st.builds(JudgedImage, TEXT, TEXT, st.none() | MOMENTS), max_size=2).map(tuple),
    policy_revision=TEXT,
    config_revision=TEXT,
    decided_at=MOMENTS,
    elapsed_ms=FLOATS,
    timings=st.dictionaries(st.sampled_from(Stage), FLOATS, max_size=3),
    document=DOCUMENTS,
    masked=st.lists(TEXT, max_size=2).map(tuple),
    masked_places=st.integers(0, 10_000),
    grants=st.lists(
        st.builds(Grant, TEXT, TEXT, TEXT, TEXTS, TEXTS, TEXTS, st.booleans(), TEXT, MOMENTS, MOMENTS), max_size=2
    ).map(tuple),
)
RECORDS = st.builds(
    AuditRecord,
    uid=TEXT,
    username=TEXT,
    groups=st.lists(TEXT, max_size=2).map(tuple),
    operation=TEXT,
    kind=TEXT,
    api_version=TEXT,
    resource=TEXT,
    sub_resource=TEXT,
    namespace=TEXT,
    name=TEXT,
    dry_run=st.booleans(),
    caller=st.sampled_from(Caller),
    webhook_version=TEXT,
    decision=DECISIONS,
    sequence=st.integers(0, 2**63 - 1),
    sampled=st.booleans(),
)


@given(RECORDS)
def test_what_is_encoded_is_decoded_exactly(record: AuditRecord) -> None:
    encoded = codec.encode(record)
    assert codec.decode(encoded) == record
    json.loads(encoded.decode(), parse_constant=pytest.fail)


@given(RECORDS)
def test_what_is_packed_is_unpacked_exactly(record: AuditRecord) -> None:
    assert codec.unpack(codec.pack(record)) == replace(record, sequence=0)


@given(RECORDS)
def test_the_body_is_ascii_and_names_the_input_it_lacks(record: AuditRecord) -> None:
    body = codec.encode_body(record)
    assert body.isascii()
    assert json.loads(body)["decision"]["inputHash"] == codec.input_hash(record.decision.document)
    assert "input" not in json.loads(body)
    assert body.decode().startswith(codec.SAMPLED_BODY) is record.sampled


@given(st.binary() | TEXT.map(lambda text: text.encode("utf-8", "replace")))
def test_any_other_bytes_are_refused(data: bytes) -> None:
    for read in (codec.decode, codec.unpack, codec.decode_body):
        with pytest.raises(codec.CodecError):
            read(data)


@given(RECORDS, st.data())
def test_a_record_with_one_byte_lost_is_never_a_fault_of_ours(record: AuditRecord, data: st.DataObject) -> None:
    encoded = codec.encode(record)
    lost = data.draw(st.integers(0, len(encoded) - 1))
    with contextlib.suppress(codec.CodecError):
        codec.decode(encoded[:lost] + encoded[lost + 1 :])


def test_the_names_are_the_format() -> None:
    """Written down here once more: whoever changes a name breaks every reader of exported records."""
    decision = replace(
        a_decision(
            "d-1",
            verdict=Verdict.REFUSED,
            code=403,
            images=[("web:1", "sha256:aa")],
            denied=["image-user"],
            undecided=["scan-required"],
            document=b'{"time":{}}',
        ),
        retry_after_seconds=2,
        masked=("/request/object/data",),
        masked_places=3,
        grants=(
            Grant("shop", "down", "u-9", ("*",), ("reg/**",), ("sha256:aa",), True, "it is needed", MOMENT, MOMENT),
        ),
    )
    problem = {
        "stage": "registry",
        "reason": "registry-unreachable",
        "retryable": True,
        "image": "",
        "msg": "no route to host",
        "pending": False,
        "etaSeconds": 0.0,
    }
    assert json.loads(codec.encode(replace(a_record(decision), uid="u-1", sequence=7))) == {
        "apiVersion": "portcullis.dev/v1",
        "kind": "AuditRecord",
        "sequence": 7,
        "request": {
            "uid": "u-1",
            "username": "jane@example.com",
            "groups": ["developers", "system:authenticated"],
            "operation": "CREATE",
            "kind": "Deployment",
            "apiVersion": "apps/v1",
            "resource": "deployments",
            "subResource": "",
            "namespace": "shop",
            "name": "checkout",
            "dryRun": False,
        },
        "caller": "certificate",
        "webhookVersion": "0.1.0",
        "decision": {
            "id": "d-1",
            "verdict": "refused",
            "code": 403,
            "because": "judged",
            "message": "1 policy refuses Deployment shop/checkout",
            "warnings": ["[image-age] old"],
            "retryAfterSeconds": 2,
            "violations": [
                {
                    "policy": "image-user",
                    "mode": "deny",
                    "severity": "high",
                    "container": "web",
                    "containerKind": "",
                    "image": "web:1",
                    "digest": "",
                    "platform": "",
                    "field": "",
                    "msg": "runs as root",
                    "fix": "",
                    "docs": "",
                    "details": {},
                    "exception": "",
                    "exceptedUntil": None,
                }
            ],
            "undecided": [
                {
                    "policy": "scan-required",
                    "mode": "warn",
                    "problems": [problem],
                    "exception": "",
                    "exceptedUntil": None,
                }
            ],
            "problems": [problem],
            "images": [{"written": "web:1", "digest": "sha256:aa", "staleSince": None}],
            "policyRevision": "sha256:policies",
            "configRevision": "sha256:configuration",
            "decidedAt": "2026-03-01T12:00:00.123456Z",
            "elapsedMs": 12.5,
            "timings": {"registry": 10.25, "gate": 12.5},
            "masked": ["/request/object/data"],
            "maskedPlaces": 3,
            "grants": [
                {
                    "namespace": "shop",
                    "name": "down",
                    "uid": "u-9",
                    "policies": ["*"],
                    "images": ["reg/**"],
                    "digests": ["sha256:aa"],
                    "coversProblems": True,
                    "reason": "it is needed",
                    "created": "2026-11-27T18:00:00Z",
                    "expires": "2026-11-27T18:00:00Z",
                }
            ],
            "inputHash": "sha256:4689cf09034caa9c412d309751745eb5231efa9874a697d730279cb4c146303c",
        },
        "input": {"time": {}},
    }


def test_a_zone_is_turned_into_utc() -> None:
    moment = datetime(2026, 1, 1, 1, 0, tzinfo=timezone(timedelta(hours=2)))
    body = json.loads(codec.encode_body(a_record(a_decision(decided_at=moment))))
    assert body["decision"]["decidedAt"] == "2025-12-31T23:00:00Z"


def test_names_of_a_later_version_are_ignored_and_missing_defaults_are_filled() -> None:
    tree = json.loads(codec.encode_body(a_record(a_decision(denied=["image-user"], undecided=["scan-required"]))))
    tree["request"]["later"] = tree["decision"]["later"] = tree["later"] = {"x": 1}
    del tree["decision"]["violations"][0]["docs"]
    del tree["decision"]["undecided"][0]["exception"], tree["decision"]["grants"]
    read = codec.decode_body(json.dumps(tree).encode()).decision
    assert (read.violations[0].docs, read.undecided[0].exception, read.grants) == ("", "", ())


def _nested(depth: int) -> Any:
    tree: Any = "bottom"
    for _ in range(depth):
        tree = [tree]
    return tree


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (float("inf"), "inf"),
        (float("nan"), "nan"),
        (10**5000, "(an integer of 16610 bits)"),
        (2**64, 2**64),
        ({1, 2}, "(set)"),
        (b"bytes", "(bytes)"),
        (MappingProxyType({"a": 1}), {"a": 1}),
        (None, None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_details_that_json_cannot_carry_do_not_lose_the_record(value: object, shown: object) -> None:
    decision = a_decision(denied=["custom"])
    violation = replace(decision.violations[0], details={"value": value, "kept": "é\ud800"})
    encoded = codec.encode(a_record(replace(decision, violations=(violation,))))
    json.loads(encoded, parse_constant=pytest.fail)
    assert codec.decode(encoded).decision.violations[0].details == {"value": shown, "kept": "é\ud800"}


def test_details_nested_without_end_do_not_lose_the_record() -> None:
    decision = a_decision(denied=["custom"])
    violation = replace(decision.violations[0], details={"value": _nested(50_000), "kept": 1})
    encoded = codec.encode(a_record(replace(decision, violations=(violation,))))
    assert codec.decode(encoded).decision.violations[0].details["kept"] == 1
    assert b"nested too deeply" in encoded


def test_an_input_that_was_exchanged_is_noticed() -> None:
    encoded = codec.encode(a_record(a_decision(document=b'{"user":"mallory"}')))
    with pytest.raises(codec.CodecError, match="hash"):
        codec.decode(encoded.replace(b'{"user":"mallory"}', b'{"user":"alice"}'))


def test_an_input_named_within_details_is_not_the_input() -> None:
    decision = a_decision(denied=["custom"], document=b'{"a":",\\"input\\":","input":{"b":[]}}')
    violation = replace(decision.violations[0], details={"input": {"fake": 1}})
    record = a_record(replace(decision, violations=(violation,)))
    assert codec.decode(codec.encode(record)) == record


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: tree.update(apiVersion="portcullis.dev/v2"),
        lambda tree: tree.update(kind="Decision"),
        lambda tree: tree.pop("decision"),
        lambda tree: tree["decision"].pop("id"),
        lambda tree: tree["decision"].update(verdict="maybe"),
        lambda tree: tree["decision"].update(code="200"),
        lambda tree: tree["decision"].update(violations=[1]),
        lambda tree: tree["decision"].update(violations=None),
        lambda tree: tree["decision"].update(decidedAt="yesterday"),
        lambda tree: tree["request"].update(groups="admins"),
        lambda tree: tree.update(request=[]),
        lambda tree: tree.update(caller="trusted"),
    ],
)
def test_a_record_of_another_form_is_refused(change: Any) -> None:
    tree = json.loads(codec.encode_body(a_record(a_decision(denied=["image-user"]))))
    change(tree)
    with pytest.raises(codec.CodecError):
        codec.decode_body(json.dumps(tree).encode())


def test_printable_text_needs_no_escape() -> None:
    record = replace(a_record(), name=string.ascii_letters)
    assert string.ascii_letters.encode() in codec.encode(record)
