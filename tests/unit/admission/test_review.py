"""AdmissionReview in: strict and bounded. AdmissionReview out: what the API server can show."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fakes.reviews import UID, pod, review
from portcullis.admission.review import parse_review, readable_uid, render_error, render_review
from portcullis.errors import ReviewError
from portcullis.limits import DEFAULT_LIMITS, MIB, Limits
from portcullis.model.decision import Because, Decision, Verdict
from portcullis.model.request import AdmissionRequest, Caller, Operation

VECTORS = Path(__file__).resolve().parents[2] / "vectors" / "reviews"


def parse(body: bytes, limits: Limits = DEFAULT_LIMITS) -> AdmissionRequest:
    return parse_review(body, limits=limits, caller=Caller.PATH)


def encoded(document: Any) -> bytes:
    return json.dumps(document).encode()


def with_text(text: str) -> bytes:
    """A review whose object holds ``text`` verbatim as the JSON of one value."""
    document = review(pod("busybox"))
    document["request"]["object"]["x"] = "HERE"
    return encoded(document).replace(b'"HERE"', text.encode())


# -- reading -------------------------------------------------------------------------------------------------


def test_reads_what_the_gate_needs() -> None:
    request = parse((VECTORS / "pod-ephemeralcontainers-update.json").read_bytes())
    assert request.operation is Operation.UPDATE
    assert (request.kind.api_version, request.kind.kind) == ("v1", "Pod")
    assert (request.resource.resource, request.sub_resource) == ("pods", "ephemeralcontainers")
    assert (request.namespace, request.name) == ("shop", "web")
    assert (request.user.username, request.user.groups) == (
        "ada@example.test",
        ("developers", "system:authenticated"),
    )
    assert request.object is not None
    assert request.old_object is not None
    assert "ephemeralContainers" in request.object["spec"]
    assert "ephemeralContainers" not in request.old_object["spec"]
    assert request.raw["options"]["kind"] == "UpdateOptions"
    assert (request.dry_run, request.caller) == (False, Caller.PATH)


@pytest.mark.parametrize("path", sorted(VECTORS.glob("*.json")), ids=lambda path: path.stem)
def test_own_reviews_are_read(path: Path) -> None:
    document = json.loads(path.read_bytes())
    assert parse(path.read_bytes()).raw == document["request"]


def test_reviews_of_a_real_api_server_are_read(shared_data: Path) -> None:
    paths = sorted((shared_data / "reviews").glob("*.json"))
    assert len(paths) > 30
    for path in paths:
        document = json.loads(path.read_bytes())["request"]
        request = parse(path.read_bytes())
        assert request.raw == document, path.name
        assert (request.uid, request.sub_resource) == (document["uid"], document.get("subResource", ""))
        assert request.dry_run is document.get("dryRun", False)


@pytest.mark.parametrize("number", [2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63), 2**64 - 1])
def test_integers_stay_exact(number: int) -> None:
    request = parse(with_text(str(number)))
    assert request.object is not None
    assert request.object["x"] == number
    assert type(request.object["x"]) is int


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r'"a\u0000b"', "a\x00b"),
        (r'"\ud83d\ude00"', "😀"),
        (r'"{[\"\\"', '{["\\'),
        (r'"\\\\\"}"', '\\\\"}'),
        (r'"\\ud800"', "\\ud800"),
        ('"a:b,c"', "a:b,c"),
    ],
)
def test_odd_but_legal_strings_survive(text: str, value: str) -> None:
    request = parse(with_text(text))
    assert request.object is not None
    assert request.object["x"] == value


def test_fields_of_newer_api_servers_are_kept() -> None:
    document = review(pod("busybox"), someday={"a": 1})
    document["another"] = True
    assert parse(encoded(document)).raw["someday"] == {"a": 1}


@pytest.mark.parametrize("absent", ["name", "namespace", "object", "oldObject", "dryRun", "options"])
def test_what_the_api_server_may_omit(absent: str) -> None:
    document = review(pod("busybox"))
    del document["request"][absent]
    assert parse(encoded(document)).uid == UID


# -- refusing ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"apiVersion": "admission.k8s.io/v1beta1"}, "apiVersion is 'admission.k8s.io/v1beta1'"),
        ({"apiVersion": None}, "apiVersion is missing"),
        ({"apiVersion": 1}, "apiVersion is a int"),
        ({"kind": "Pod"}, "kind is 'Pod'"),
        ({"kind": "AdmissionReview" * 50}, "kind is 'AdmissionReview"),
    ],
)
def test_another_document_is_answered_with_its_uid(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ReviewError) as caught:
        parse(encoded({**review(pod("busybox")), **change}))
    assert says in caught.value.message
    assert len(caught.value.message) < 200
    assert caught.value.uid == UID


@pytest.mark.parametrize("uid", [None, "", 5, [], "x" * 129, "a b", "a\nb", "a\x00", "ü", "\u202e"])
def test_no_usable_uid(uid: object) -> None:
    with pytest.raises(ReviewError, match="uid") as caught:
        parse(encoded(review(pod("busybox"), uid=uid)))
    assert caught.value.uid == ""


@pytest.mark.parametrize("document", [[], "text", 1, None, {}, {"request": []}])
def test_json_that_is_no_review(document: object) -> None:
    with pytest.raises(ReviewError) as caught:
        parse(encoded(document))
    assert caught.value.uid == ""


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"kind": "Pod"}, "$.request.kind"),
        ({"kind": {"group": "", "version": "v1"}}, "$.request.kind"),
        ({"kind": {"group": "", "version": "v1", "kind": 5}}, "$.request.kind.kind"),
        ({"resource": None}, "$.request.resource"),
        ({"resource": {"group": 1, "version": "v1", "resource": "pods"}}, "$.request.resource.group"),
        ({"operation": "PATCH"}, "$.request.operation"),
        ({"operation": "create"}, "$.request.operation"),
        ({"name": 5}, "$.request.name"),
        ({"namespace": ["a"]}, "$.request.namespace"),
        ({"subResource": {}}, "$.request.subResource"),
        ({"userInfo": "root"}, "$.request.userInfo"),
        ({"userInfo": {"username": 0}}, "$.request.userInfo.username"),
        ({"userInfo": {"groups": "a"}}, "$.request.userInfo.groups"),
        ({"userInfo": {"groups": [1]}}, "$.request.userInfo.groups[0]"),
        ({"object": []}, "$.request.object"),
        ({"object": "pod"}, "$.request.object"),
        ({"oldObject": 1}, "$.request.oldObject"),
        ({"dryRun": "false"}, "$.request.dryRun"),
        ({"dryRun": 0}, "$.request.dryRun"),
    ],
)
def test_wrong_types_name_the_path(change: dict[str, Any], where: str) -> None:
    with pytest.raises(ReviewError) as caught:
        parse(encoded(review(pod("busybox"), **change)))
    assert f"`{where}`" in caught.value.message
    assert caught.value.uid == UID


@pytest.mark.parametrize("key", ["kind", "resource", "operation", "userInfo"])
def test_missing_fields_are_named(key: str) -> None:
    document = review(pod("busybox"))
    del document["request"][key]
    with pytest.raises(ReviewError, match=key) as caught:
        parse(encoded(document))
    assert caught.value.uid == UID


def test_hostile_text_in_an_error_is_short_and_clean() -> None:
    operation = "\x1b[31m\u202e" + "x" * 10_000
    with pytest.raises(ReviewError) as caught:
        parse(encoded(review(pod("busybox"), operation=operation)))
    assert len(caught.value.message) < 400
    assert caught.value.message.isprintable()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (r'"\ud800"', "surrogate"),
        (r'"\udc00\ud800"', "surrogate"),
        (r'{"\ud800": 1}', "surrogate"),
        ("NaN", "JSON"),
        ("Infinity", "JSON"),
        ("-Infinity", "JSON"),
        ("1e999", "range"),
        ("01", "JSON"),
        ('"a\nb"', "JSON"),
        ("{a: 1}", "JSON"),
        ("[1,]", "JSON"),
        (str(2**64), "64 bits"),
        (str(-(2**63) - 1), "64 bits"),
        ("9" * 5000, "range"),
        ('{"a": 1, "a": 2}', "'a' stands twice"),
        (r'{"a": 1, "\u0061": 2}', "'a' stands twice"),
        ('[{"b": {"image": "x", "image": "x"}}]', "'image' stands twice"),
    ],
)
def test_what_a_later_reader_could_take_for_something_else(text: str, says: str) -> None:
    with pytest.raises(ReviewError, match=says) as caught:
        parse(with_text(text))
    assert caught.value.uid == UID


def test_bytes_that_are_not_utf8() -> None:
    for bad in (b"\xff", b"\xed\xa0\x80", b"\xc0\xaf"):
        with pytest.raises(ReviewError, match="UTF-8") as caught:
            parse(with_text('"Z"').replace(b"Z", bad))
        assert caught.value.uid == UID


@pytest.mark.parametrize("codec", ["utf-16", "utf-32", "utf-8-sig"])
def test_other_encodings_are_no_review(codec: str) -> None:
    with pytest.raises(ReviewError):
        parse(json.dumps(review(pod("busybox"))).encode(codec))


@pytest.mark.parametrize("body", [b"", b"\n", b"{", b"kind: Pod", b"\x00", b'"', b'{"request":{"uid":"a'])
def test_no_json_at_all(body: bytes) -> None:
    with pytest.raises(ReviewError) as caught:
        parse(body)
    assert caught.value.uid == ""


def test_nothing_may_follow_the_review() -> None:
    body = encoded(review(pod("busybox")))
    assert parse(body + b"\n").uid == UID
    with pytest.raises(ReviewError):
        parse(body + b"{}")


# -- bounds --------------------------------------------------------------------------------------------------


def test_limit_review_bytes() -> None:
    body = encoded(review(pod("busybox")))
    assert parse(body, replace(DEFAULT_LIMITS, review_bytes=len(body))).uid == UID
    with pytest.raises(ReviewError, match="reviewBytes") as caught:
        parse(body, replace(DEFAULT_LIMITS, review_bytes=len(body) - 1))
    assert caught.value.uid == UID


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_limit_review_depth(opening: str, closing: str) -> None:
    def nested(depth: int) -> bytes:
        # the review, its request and the object are three levels already
        return with_text(opening * (depth - 3) + "1" + closing * (depth - 3))

    assert parse(nested(200)).uid == UID
    for depth in (201, 10_000, 100_000):
        with pytest.raises(ReviewError, match="reviewDepth") as caught:
            parse(nested(depth))
        assert caught.value.uid == UID


def test_brackets_inside_strings_are_no_depth() -> None:
    assert parse(with_text('"' + "[{" * 5000 + r"\"[\\" + '"')).uid == UID


def test_a_depth_limit_beyond_the_decoder_is_an_error_too() -> None:
    with pytest.raises(ReviewError, match="deeper") as caught:
        parse(with_text("[" * 50_000 + "]" * 50_000), replace(DEFAULT_LIMITS, review_depth=1_000_000))
    assert caught.value.uid == UID


def test_limit_review_values() -> None:
    body = with_text(json.dumps([[]] * 1000))
    assert parse(body, replace(DEFAULT_LIMITS, review_values=2100)).uid == UID
    with pytest.raises(ReviewError, match="reviewValues") as caught:
        parse(body, replace(DEFAULT_LIMITS, review_values=2000))
    assert caught.value.uid == UID


def test_a_review_near_the_limit_is_read() -> None:
    containers = [{"name": f"c{index}", "image": "busybox", "args": ["x" * 300]} for index in range(2000)]
    body = encoded(review(pod(containers=containers)))
    assert parse(body).uid == UID


# -- the uid of what cannot be read --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "uid"),
    [
        (b'{"request":{"uid":"abc"', "abc"),
        (b'{"kind":"x","a":{"uid":"no"},"request":{"b":{"uid":"no"},"c":["uid"],"uid" : "abc", garbage', "abc"),
        (rb'{"request":{"u\u0069d":"a\u0062c"', "abc"),
        (b'{"uid":"no","request":{"name":"uid"}}', ""),
        (b'{"request":{"uid":{"uid":"no"}}}', ""),
        (b'[{"request":{"uid":"no"}}]', ""),
        (b'{"request":{"uid":5,"x":"no"}}', ""),
        (b'{"request":{"uid":"a b"}}', ""),
        (b'{"request":{"uid":"\\ud800"}}', ""),
        (b'{"request":{"uid":"' + b"x" * 200 + b'"}}', ""),
        (b'"' + b'\\"' * 30_000, ""),
        (b"[" * 60_000, ""),
        (b"", ""),
    ],
)
def test_readable_uid(head: bytes, uid: str) -> None:
    assert readable_uid(head, limits=DEFAULT_LIMITS) == uid


def test_limit_review_head_bytes() -> None:
    body = b'{"pad":"' + b"x" * 1000 + b'","request":{"uid":"abc"}}'
    assert readable_uid(body, limits=replace(DEFAULT_LIMITS, review_head_bytes=2000)) == "abc"
    assert readable_uid(body, limits=replace(DEFAULT_LIMITS, review_head_bytes=1000)) == ""


def test_too_large_a_review_is_not_read_to_the_end() -> None:
    body = encoded(review(pod("busybox")))[:-1] + b" " * (9 * MIB) + b"}"
    with pytest.raises(ReviewError, match="reviewBytes") as caught:
        parse(body)
    assert caught.value.uid == UID


# -- answering -----------------------------------------------------------------------------------------------


def decision(**changes: Any) -> Decision:
    made = Decision(
        id="d-1",
        verdict=Verdict.REFUSED,
        code=403,
        because=Because.JUDGED,
        message="1 policy refuses Pod shop/web:\n[image-user] runs as root.\nDecision d-1",
        warnings=(),
        retry_after_seconds=None,
        violations=(),
        undecided=(),
        problems=(),
        images=(),
        policy_revision="sha256:abc",
        config_revision="",
        decided_at=datetime(2026, 11, 24, tzinfo=UTC),
        elapsed_ms=1.0,
        timings={},
        document=b"",
    )
    return replace(made, **changes)


def rendered(made: Decision) -> dict[str, Any]:
    document = json.loads(render_review(UID, made))
    assert (document["apiVersion"], document["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
    response: dict[str, Any] = document["response"]
    assert response["uid"] == UID
    return response


def test_admitted() -> None:
    response = rendered(decision(verdict=Verdict.ADMITTED, code=200, message="", warnings=("mind the tag",)))
    assert response == {
        "uid": UID,
        "allowed": True,
        "warnings": ["mind the tag"],
        "auditAnnotations": {"decision-id": "d-1", "policy-revision": "sha256:abc", "verdict": "admitted"},
    }


@pytest.mark.parametrize(
    ("verdict", "code", "retry", "reason", "details"),
    [
        (Verdict.REFUSED, 403, None, "Forbidden", None),
        (Verdict.REFUSED, 403, 3, "Forbidden", None),
        (Verdict.UNDECIDED, 429, 3, "TooManyRequests", {"retryAfterSeconds": 3}),
        (Verdict.UNDECIDED, 429, None, "TooManyRequests", None),
        (Verdict.UNDECIDED, 503, None, "ServiceUnavailable", None),
        (Verdict.UNDECIDED, 503, 3, "ServiceUnavailable", None),
    ],
)
def test_not_admitted(
    verdict: Verdict, code: int, retry: int | None, reason: str, details: dict[str, int] | None
) -> None:
    response = rendered(decision(verdict=verdict, code=code, retry_after_seconds=retry))
    assert response["allowed"] is False
    assert (response["status"]["code"], response["status"]["reason"]) == (code, reason)
    assert response["status"].get("details") == details
    assert response["status"]["message"].count("\n") == 2
    assert response["auditAnnotations"]["verdict"] == verdict


@pytest.mark.parametrize(("verdict", "code"), [(Verdict.ADMITTED, 403), (Verdict.REFUSED, 200), (Verdict.UNDECIDED, 7)])
def test_a_decision_at_odds_with_itself_admits_nothing(verdict: Verdict, code: int) -> None:
    response = rendered(decision(verdict=verdict, code=code))
    assert response["allowed"] is False
    assert response["status"]["code"] in (403, 500)


def test_text_that_goes_out_is_clean() -> None:
    hostile = "a\x1b[31m\u202eb\x00\x85\ud800\u2028c\r\nd\te"
    response = rendered(decision(message=hostile, warnings=(hostile, "", " \n", "\x07"), id="d\n1"))
    shown = response["status"]["message"]
    assert shown.split("\n")[1] == "d e"
    for text in (*shown.split("\n"), *response["warnings"], *response["auditAnnotations"].values()):
        assert text
        assert text.isprintable()
    assert len(response["warnings"]) == 2


def test_a_refusal_always_says_something() -> None:
    assert rendered(decision(message="\n "))["status"]["message"]


@pytest.mark.parametrize(
    ("code", "reason", "verdict"),
    [
        (400, "BadRequest", "refused"),
        (413, "RequestEntityTooLarge", "refused"),
        (503, "ServiceUnavailable", "undecided"),
        (429, "TooManyRequests", "undecided"),
        (999, "InternalError", "undecided"),
    ],
)
def test_render_error(code: int, reason: str, verdict: str) -> None:
    document = json.loads(render_error(UID, code=code, reason="review-malformed", message="no\x00thing"))
    response = document["response"]
    assert (response["uid"], response["allowed"]) == (UID, False)
    assert response["status"]["reason"] == reason
    assert response["status"]["message"] == "[review-malformed] no\ufffdthing"
    assert response["auditAnnotations"] == {"reason": "review-malformed", "verdict": verdict}
