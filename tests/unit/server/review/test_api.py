"""The JSON API: what it answers, what it refuses, and in which words."""

import json
from dataclasses import replace
from datetime import timedelta
from functools import cache
from typing import Any
from urllib.parse import quote

import jsonschema
import pytest
from structlog.testing import capture_logs

from fakes.decisions import DIGEST, refused, undecided
from fakes.decisions import decision as a_decision
from fakes.decisions import record as a_record
from fakes.ledger import InMemoryLedger
from fakes.readers import Exchange, send
from fakes.review import guarded, review_parts
from portcullis.limits import Limits
from portcullis.model.decision import JudgedImage
from portcullis.model.record import AuditRecord, RecordFilter, RecordPage
from portcullis.model.ruling import CompiledBundle, Mode, PolicyInfo
from portcullis.server.recordjson import record_json
from portcullis.server.review.apiqueries import DecisionParameters
from portcullis.server.review.app import create_review_app
from portcullis.standing import Standing

pytestmark = pytest.mark.anyio

POLICY = PolicyInfo("image-user", "Images run as a user", "Not root.", "high", Mode.DENY, "https://d", frozenset(), ())


def records() -> list[AuditRecord]:
    made = [refused(), undecided(), a_decision(document=b'{"big":[1,2]}')]
    return [
        a_record(replace(decision, id=f"7c4f5a3e-0f5b-4a39-9c55-00000000000{number}"), name="checkout")
        for number, decision in enumerate(made, 1)
    ]


def ledger() -> InMemoryLedger:
    return InMemoryLedger(records())


@cache
def usual_app() -> Any:
    return app(ledger())


def app(kept: Any, **fields: Any) -> Any:
    compiled = CompiledBundle("sha256:now", (POLICY,))
    return guarded(create_review_app(review_parts(kept, current=lambda: Standing(compiled), **fields)))


async def ask(address: str, kept: Any = None, **fields: Any) -> Exchange:
    made = usual_app() if kept is None and not fields else app(kept or ledger(), **fields)
    return await send(made, f"/api/v1{address}")


def problem(exchange: Exchange, status: int, reason: str) -> Any:
    assert exchange.status == status, exchange.body
    assert exchange.headers["content-type"] == "application/problem+json"
    found = exchange.json
    assert (found["status"], found["reason"], found["type"]) == (status, reason, "about:blank")
    return found


# -- what is answered --------------------------------------------------------------------------------------------------


async def test_records_are_those_of_the_commands() -> None:
    kept = ledger()
    found = (await ask("/decisions", kept)).json
    assert found["items"] == [
        json.loads(json.dumps(record_json(one, document=False))) for one in reversed(kept.records)
    ]
    assert (found["kind"], found["next"], found["searchedTo"]) == ("AuditRecordList", None, None)
    one = (await ask(f"/decisions/{kept.records[2].decision.id}?input=true")).json
    place = {"chain": "chain-1", "replica": "replica-1", "position": 3, "hash": "ab" * 32}
    expected = {**record_json(kept.records[2], document=True), "place": place}
    assert one == json.loads(json.dumps(expected))
    assert one["input"] == {"big": [1, 2]}


async def test_the_input_is_there_on_request_only() -> None:
    kept = InMemoryLedger([a_record(a_decision(document=b""))])
    address = f"/decisions/{kept.records[0].decision.id}"
    assert "input" not in (await ask(address, kept)).json
    assert "input" not in (await ask(f"{address}?input=false", kept)).json
    assert (await ask(f"{address}?input=true", kept)).json["input"] is None


async def test_pages_by_cursor() -> None:
    first = (await ask("/decisions?limit=2")).json
    assert ([one["sequence"] for one in first["items"]], first["next"]) == ([3, 2], 2)
    second = (await ask(f"/decisions?limit=2&before={first['next']}")).json
    assert ([one["sequence"] for one in second["items"]], second["next"]) == ([1], None)


async def test_every_condition_reaches_the_ledger() -> None:
    asked: list[RecordFilter] = []

    class Asked(InMemoryLedger):
        async def page(self, query: RecordFilter) -> RecordPage:
            asked.append(query)
            return RecordPage(())

    values = {
        "since": "2026-03-01T12:00:00+01:00", "until": "2026-03-02T00:00:00Z", "namespace": "shop", "kind": "Pod",
        "name": "a", "username": "jane@example.com", "image": "web:1", "digest": DIGEST, "policy": "p",
        "exception": "EX-1", "verdict": "refused", "mode": "warn", "reason": "too-large", "because": "break-glass",
        "caller": "path", "text": "runs as root", "dryRun": "false", "before": "9", "limit": "7",
    }  # fmt: skip
    names = {"dry_run" if name == "dryRun" else name for name in values}
    assert names == set(RecordFilter.__dataclass_fields__) - {"visible"}
    query = "&".join(f"{name}={quote(value)}" for name, value in values.items())
    assert (await ask(f"/decisions?{query}", Asked(()))).status == 200
    (found,) = asked
    assert (found.since.isoformat(), found.until.isoformat()) == (  # type: ignore[union-attr]
        "2026-03-01T11:00:00+00:00",
        "2026-03-02T00:00:00+00:00",
    )
    assert (found.dry_run, found.before, found.limit, found.visible) == (False, 9, 7, None)
    for name in names - {"since", "until", "dry_run", "before", "limit"}:
        assert getattr(found, name) == values[name]


async def test_the_decision_before_it() -> None:
    kept = ledger()
    address = "/decisions/{}/previous"
    before = (await ask(address.format(kept.records[2].decision.id))).json
    assert before["id"] == kept.records[1].decision.id
    problem(await ask(address.format(kept.records[0].decision.id)), 404, "not-found")


async def test_images() -> None:
    found = (await ask("/images")).json
    assert ([one["digest"] for one in found["items"]], found["next"]) == ([DIGEST], None)
    one = (await ask(f"/images/{DIGEST}")).json
    assert (one["decisions"], len(one["workloads"])) == (2, 2)
    assert (await ask("/images?written=other/")).json["items"] == []


async def test_policies_and_the_overview() -> None:
    found = (await ask("/policies")).json
    assert [(one["name"], one["loaded"]) for one in found["items"]] == [("image-pinned", False), ("image-user", True)]
    assert found["policyRevision"] == "sha256:now"
    one = (await ask("/policies/image-user?since=1970-01-02T00:00:00Z&until=1970-01-03T00:00:00Z")).json
    assert (one["title"], one["since"], one["defaultMode"]) == (POLICY.title, "1970-01-02T00:00:00Z", "deny")
    assert one["namespaces"] == [{"name": "shop", "count": 3}]
    problem(await ask("/policies/nothing"), 404, "not-found")
    overview = (await ask("/overview")).json
    assert overview["extent"]["records"] == 3
    assert [one["policy"] for one in overview["policies"]] == ["image-pinned", "image-user"]


async def test_every_answer_is_as_the_openapi_document_says() -> None:
    document = (await ask("/openapi.json")).json
    schemas = document["components"]["schemas"]
    identity = records()[0].decision.id
    for path, address in {
        "/decisions": "/decisions", "/decisions/{id}": f"/decisions/{identity}?input=true",
        "/decisions/{id}/previous": f"/decisions/{records()[1].decision.id}/previous", "/images": "/images",
        "/images/{digest}": f"/images/{DIGEST}", "/policies": "/policies", "/policies/{name}": "/policies/image-user",
        "/overview": "/overview",
    }.items():  # fmt: skip
        answers = document["paths"][path]["get"]["responses"]
        schema = answers["200"]["content"]["application/json"]["schema"]
        jsonschema.validate((await ask(address)).json, {**schema, "components": {"schemas": schemas}})
        assert set(answers["503"]["content"]) == {"application/problem+json"}
    assert set(document["paths"]) == {
        "/decisions", "/decisions/{id}", "/decisions/{id}/previous", "/images", "/images/{digest}", "/policies",
        "/policies/{name}", "/overview",
    }  # fmt: skip
    parameters = {one["name"] for one in document["paths"]["/decisions"]["get"]["parameters"]}
    assert parameters == {field.alias for field in DecisionParameters.model_fields.values()}


async def test_half_of_a_surrogate_pair_in_an_old_record_is_no_error() -> None:
    broken = a_decision(images=(JudgedImage("a\ud800", ""),), message="\udfff")
    found = (await ask("/decisions", InMemoryLedger([a_record(broken, username="\ud800")]))).json
    assert found["items"][0]["message"] == "\udfff"


# -- what is refused ---------------------------------------------------------------------------------------------------

UNFIT = {
    "/decisions?namespcae=shop": ("namespcae", "there is no such parameter"),
    "/decisions?dry_run=true": ("dry_run", "there is no such parameter"),
    "/decisions?visible=shop": ("visible", "there is no such parameter"),
    "/decisions?Namespace=shop": ("Namespace", "there is no such parameter"),
    "/decisions?namespace=shop&namespace=bank": ("namespace", "it is given more than once"),
    "/decisions?x=1&x=2": ("x", "it is given more than once"),
    "/decisions?namespace=": ("namespace", "at least 1"),
    "/decisions?verdict=": ("verdict", "'admitted', 'refused' or 'undecided'"),
    "/decisions?verdict=refused'--": ("verdict", "'admitted', 'refused' or 'undecided'"),
    "/decisions?mode=DENY": ("mode", "'deny', 'warn' or 'audit'"),
    "/decisions?because=exempt": ("because", "'judged'"),
    "/decisions?caller=root": ("caller", "'certificate'"),
    "/decisions?dryRun=1": ("dryRun", "true or false is expected"),
    "/decisions?since=yesterday": ("since", "RFC 3339"),
    "/decisions?since=2026-03-01T12:00:00": ("since", "with its zone"),
    "/decisions?since=1700000000": ("since", "RFC 3339"),
    "/decisions?since=2026-02-30T12:00:00Z": ("since", "RFC 3339"),
    "/decisions?since=0001-01-01T00:00:00%2B14:00": ("since", "RFC 3339"),
    "/decisions?until=9999-12-31T23:59:59-23:59": ("until", "RFC 3339"),
    "/decisions?until=9500-12-31T23:59:59Z": ("until", "between 1970 and 9000"),
    "/decisions?until=1969-12-31T23:59:59Z": ("until", "between 1970 and 9000"),
    "/decisions?before=0": ("before", "greater than or equal to 1"),
    "/decisions?before=-1": ("before", "decimal digits"),
    "/decisions?before=1e3": ("before", "decimal digits"),
    "/decisions?before=%D9%A1": ("before", "decimal digits"),
    "/decisions?before=1.0": ("before", "decimal digits"),
    "/decisions?before=1_0": ("before", "decimal digits"),
    "/decisions?before=9223372036854775808": ("before", "less than or equal to"),
    f"/decisions?before={'9' * 100}": ("before", "decimal digits"),
    "/decisions?limit=0": ("limit", "greater than or equal to 1"),
    "/decisions?limit=1001": ("limit", "less than or equal to 1000"),
    "/decisions?limit=99999999999999999999": ("limit", "decimal digits"),
    "/decisions?name=a%00b": ("name", "pattern"),
    f"/decisions?name={'x' * 1025}": ("name", "at most 1024"),
    f"/decisions?text={'x' * 10_240}": ("text", "at most 1024"),
    "/images?limit=-1": ("limit", "decimal digits"),
    "/images?after=tampered": ("after", "no place in the list"),
    "/images?before=1": ("before", "there is no such parameter"),
    f"/images/{DIGEST}?x=1": ("x", "there is no such parameter"),
    f"/decisions/{DIGEST}?inputs=true": ("inputs", "there is no such parameter"),
    f"/decisions/{DIGEST}?input=yes": ("input", "true or false is expected"),
    "/policies?since=2026-03-01T00:00:00Z&until=2026-03-01T00:00:00Z": ("since", "before until"),
    "/policies?since=2026-03-01T00:00:00Z&until=2025-03-01T00:00:00Z": ("since", "before until"),
    "/overview?since=1970-01-01T00:00:00Z&until=8999-01-01T00:00:00Z": ("since", "400 days"),
    "/overview?limit=1": ("limit", "there is no such parameter"),
    "/policies/x?y=1": ("y", "there is no such parameter"),
}


@pytest.mark.parametrize("address", UNFIT)
async def test_what_is_misspelt_is_told_and_does_not_widen_the_answer(address: str) -> None:
    parameter, words = UNFIT[address]
    found = problem(await ask(address), 422, "cursor-invalid" if "after=" in address else "query-invalid")
    (error,) = found["errors"]
    assert error["parameter"] == parameter
    assert words in error["message"]


HOSTILE = [
    "' OR 1=1 --", '"; DROP TABLE decisions; --', "<script>alert(1)</script>", "%", "_", "*", "\\", "$1", "{{7*7}}",
    "a\r\nset-cookie: x=1", "\u202e", "\U0001f600", "../../etc/passwd", "\ufffd", "x" * 1024, "-1", "NaN", "null",
]  # fmt: skip


@pytest.mark.parametrize("value", HOSTILE)
async def test_hostile_values_find_nothing(value: str) -> None:
    for name in ("namespace", "kind", "name", "username"):
        answered = await ask(f"/decisions?{name}={quote(value, safe='')}")
        assert (answered.status, answered.json["items"]) == (200, [])
    for path in ("/decisions/{}", "/decisions/{}/previous", "/images/{}", "/policies/{}"):
        answered = await ask(path.format(quote(value, safe="")))
        assert answered.status == 404
        assert answered.headers["content-type"] == "application/problem+json"
        assert "set-cookie" not in answered.headers


@pytest.mark.parametrize("identity", ["\x00", "a\x00", "a\nb\n", "x" * 10_240])
async def test_names_that_nothing_has_are_asked_of_nobody(identity: str) -> None:
    class Unasked(InMemoryLedger):
        async def get(self, *_: Any) -> None:
            raise AssertionError

        image = get  # type: ignore[assignment]

    for path in ("/decisions", "/images"):
        problem(await ask(f"{path}/{quote(identity, safe='')}", Unasked(())), 404, "not-found")


async def test_what_is_not_there_says_no_more() -> None:
    texts = {(await ask(f"/decisions/{identity}")).body for identity in ("a", "7c4f5a3e-0f5b-4a39-9c55-0f6d1f6f2b1f")}
    assert len(texts) == 1
    problem(await ask("/nothing"), 404, "not-found")
    problem(await ask("/decisions/"), 404, "not-found")


async def test_a_limit_of_the_operator_holds_for_the_api_too() -> None:
    for path in ("/decisions", "/images"):
        found = problem(await ask(f"{path}?limit=51", limits=Limits(search_rows=50)), 422, "query-invalid")
        assert "limits.searchRows (50)" in found["detail"]


async def test_a_span_may_be_as_long_as_the_operator_says() -> None:
    address = "/overview?since=2026-01-01T00:00:00Z&until=2026-01-12T00:00:00Z"
    assert (await ask(address, limits=Limits(span_days=11))).status == 200
    problem(await ask(address, limits=Limits(span_days=10)), 422, "query-invalid")


async def test_nothing_is_changed_by_it() -> None:
    for method in ("HEAD", "PUT", "DELETE", "PATCH"):
        answered = await send(usual_app(), "/api/v1/decisions", method=method)
        problem(answered, 405, "method-not-allowed")
    assert (await send(usual_app(), "/api/v1/decisions", method="POST")).status == 403


async def test_a_log_that_does_not_answer_is_an_outage() -> None:
    kept = ledger()
    kept.failing = True
    for address in (
        "/decisions",
        "/decisions/a",
        "/images",
        f"/images/{DIGEST}",
        "/policies",
        "/policies/p",
        "/overview",
    ):
        answered = await ask(address, kept)
        assert "does not answer" in problem(answered, 503, "audit-unavailable")["detail"]
        assert answered.headers["retry-after"] == "5"


async def test_a_fault_of_ours_tells_nothing_of_itself() -> None:
    class Broken(InMemoryLedger):
        async def page(self, query: RecordFilter) -> RecordPage:
            raise RuntimeError("s3cret")

    async def as_a_server(*call: Any) -> None:
        with pytest.raises(RuntimeError, match="s3cret"):
            await app(Broken(()))(*call)

    with capture_logs() as logged:
        answered = await send(as_a_server, "/api/v1/decisions")
    assert logged[0]["event"] == "the API failed"
    assert "s3cret" not in answered.body.decode()
    problem(answered, 500, "internal-error")


async def test_a_search_that_ran_out_of_time_says_how_far_it_came() -> None:
    class Slow(InMemoryLedger):
        async def page(self, query: RecordFilter) -> RecordPage:
            return RecordPage((), 17, records()[0].decision.decided_at - timedelta(days=1))

    found = (await ask("/decisions", Slow(()))).json
    assert (found["items"], found["next"], found["searchedTo"]) == ([], 17, "2026-11-23T12:30:15.250000Z")
