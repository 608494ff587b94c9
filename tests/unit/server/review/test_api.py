"""The JSON API: what it answers, what it refuses, and in which words. Over a real store."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jsonschema
import pytest
from structlog.testing import capture_logs

from fakes.clock import StandingClock
from fakes.decisions import DIGEST, refused, undecided
from fakes.decisions import decision as a_decision
from fakes.decisions import record as a_record
from fakes.readers import Exchange, send
from fakes.review import guarded, review_parts
from fakes.running import a_moved_tag, a_result, a_whole_round
from portcullis.audit.findings import SqlFindings
from portcullis.audit.ledger import SqlLedger
from portcullis.audit.sql import SqlRecords
from portcullis.limits import Limits
from portcullis.model.decision import JudgedImage
from portcullis.model.record import AuditRecord, RecordFilter, RecordPage
from portcullis.model.ruling import CompiledBundle, Mode, PolicyInfo
from portcullis.model.running import Condition
from portcullis.server.recordjson import record_json
from portcullis.server.review.apiqueries import DecisionParameters
from portcullis.server.review.app import create_review_app
from portcullis.standing import Standing

pytestmark = pytest.mark.anyio

POLICY = PolicyInfo("image-user", "Images run as a user", "Not root.", "high", Mode.DENY, "https://d", frozenset(), ())


NOW = StandingClock(datetime(2026, 11, 25, tzinfo=UTC).timestamp())


RESULTS = (
    a_result("checkout", Condition.FAILING, policies=["image-user"], moved=[a_moved_tag()]),
    a_result("urgent", Condition.BREAK_GLASS, policies=["image-user"], break_glass="break-glass:shop/urgent"),
    a_result("good"),
)


def records() -> list[AuditRecord]:
    made = [refused(), undecided(), a_decision(document=b'{"big":[1,2]}')]
    return [
        a_record(replace(decision, id=f"7c4f5a3e-0f5b-4a39-9c55-00000000000{number}"), name="checkout", sequence=number)
        for number, decision in enumerate(made, 1)
    ]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlRecords]:
    kept = SqlRecords(url=f"sqlite:///{tmp_path_factory.mktemp('log')}/audit.db")

    async def fill() -> None:
        await kept.start()
        await kept.append_many(records())
        await a_whole_round(SqlFindings(records=kept), RESULTS)

    asyncio.run(fill())
    yield kept
    asyncio.run(kept.aclose())


def app(ledger: Any, **fields: Any) -> Any:
    values = {"current": lambda: Standing(CompiledBundle("sha256:now", (POLICY,))), "clock": NOW, **fields}
    return guarded(create_review_app(review_parts(ledger, **values)))


@pytest.fixture(scope="module")
def usual(store: SqlRecords) -> Any:
    return app(SqlLedger(records=store))


async def ask(made: Any, address: str) -> Exchange:
    return await send(made, f"/api/v1{address}")


def problem(exchange: Exchange, status: int, reason: str) -> Any:
    assert exchange.status == status, exchange.body
    assert exchange.headers["content-type"] == "application/problem+json"
    found = exchange.json
    assert (found["status"], found["reason"], found["type"]) == (status, reason, "about:blank")
    return found


# -- what is answered --------------------------------------------------------------------------------------------------


async def test_records_are_those_of_the_commands(usual: Any) -> None:
    found = (await ask(usual, "/decisions")).json
    expected = [record_json(one, document=False) for one in reversed(records())]
    assert found["items"] == json.loads(json.dumps(expected))
    assert (found["kind"], found["next"], found["searchedTo"]) == ("AuditRecordList", None, None)
    one = (await ask(usual, f"/decisions/{records()[2].decision.id}?input=true")).json
    place = one.pop("place")
    assert (place["position"], len(place["hash"]), set(place)) == (3, 64, {"chain", "replica", "position", "hash"})
    assert one == json.loads(json.dumps(record_json(records()[2], document=True)))
    assert one["input"] == {"big": [1, 2]}


async def test_the_input_is_there_on_request_only(usual: Any, store: SqlRecords) -> None:
    address = f"/decisions/{records()[0].decision.id}"
    assert "input" not in (await ask(usual, address)).json
    assert "input" not in (await ask(usual, f"{address}?input=false")).json

    class Without(SqlLedger):
        async def get(self, decision_id: str, visible: Any = None) -> AuditRecord:
            return a_record(a_decision(document=b""))

    assert (await ask(app(Without(records=store)), f"{address}?input=true")).json["input"] is None


async def test_pages_by_cursor(usual: Any) -> None:
    first = (await ask(usual, "/decisions?limit=2")).json
    assert ([one["sequence"] for one in first["items"]], first["next"]) == ([3, 2], 2)
    second = (await ask(usual, f"/decisions?limit=2&before={first['next']}")).json
    assert ([one["sequence"] for one in second["items"]], second["next"]) == ([1], None)


async def test_every_condition_reaches_the_ledger(store: SqlRecords) -> None:
    asked: list[RecordFilter] = []

    class Asked(SqlLedger):
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
    assert (await ask(app(Asked(records=store)), f"/decisions?{query}")).status == 200
    (found,) = asked
    assert (found.since.isoformat(), found.until.isoformat()) == (  # type: ignore[union-attr]
        "2026-03-01T11:00:00+00:00",
        "2026-03-02T00:00:00+00:00",
    )
    assert (found.dry_run, found.before, found.limit, found.visible) == (False, 9, 7, None)
    for name in names - {"since", "until", "dry_run", "before", "limit"}:
        assert getattr(found, name) == values[name]


async def test_the_decision_before_it(usual: Any) -> None:
    before = (await ask(usual, f"/decisions/{records()[2].decision.id}/previous")).json
    assert before["id"] == records()[1].decision.id
    problem(await ask(usual, f"/decisions/{records()[0].decision.id}/previous"), 404, "not-found")


async def test_images(usual: Any) -> None:
    found = (await ask(usual, "/images")).json
    assert ([one["digest"] for one in found["items"]], found["next"]) == ([DIGEST], None)
    one = (await ask(usual, f"/images/{DIGEST}")).json
    assert (one["decisions"], one["refused"], one["namespaces"], len(one["workloads"])) == (2, 1, 1, 1)
    assert one["facts"] is None  # their documents are about no image
    assert (await ask(usual, "/images?written=other/")).json["items"] == []


async def test_policies_and_the_overview(usual: Any) -> None:
    found = (await ask(usual, "/policies")).json
    names = [(one["name"], one["loaded"]) for one in found["items"]]
    assert names == [("image-age", False), ("image-pinned", False), ("image-user", True)]
    assert (found["policyRevision"], found["until"]) == ("sha256:now", "2026-11-25T00:00:00Z")
    span = "since=2026-11-24T00:00:00Z&until=2026-11-25T00:00:00Z"
    one = (await ask(usual, f"/policies/image-user?{span}")).json
    assert (one["title"], one["since"], one["defaultMode"]) == (POLICY.title, "2026-11-24T00:00:00Z", "deny")
    assert one["namespaces"] == [{"name": "shop", "count": 1}]
    assert one["images"] == [{"name": DIGEST, "count": 1}]
    assert one["tallies"] == [{"mode": "deny", "violations": 1, "excepted": 0, "undecided": 1}]
    assert sum(bucket["violations"] for bucket in one["buckets"]) == 1
    problem(await ask(usual, "/policies/nothing"), 404, "not-found")
    problem(
        await ask(usual, "/policies/image-age?since=2025-01-01T00:00:00Z&until=2025-01-02T00:00:00Z"), 404, "not-found"
    )
    overview = (await ask(usual, "/overview")).json
    assert overview["extent"]["records"] == 3
    totals = {name: sum(one[name] for one in overview["verdicts"]) for name in ("admitted", "refused", "outages")}
    assert totals == {"admitted": 1, "refused": 1, "outages": 1}
    assert {one["policy"] for one in overview["policies"]} == {"image-user", "image-pinned", "image-age"}


async def test_what_runs(usual: Any) -> None:
    found = (await ask(usual, "/running")).json
    assert (found["kind"], found["next"], found["underWaySince"]) == ("RunningList", None, None)
    assert (found["round"]["workloads"], found["round"]["complete"]) == (3, True)
    assert found["totals"] == {"failing": 1, "unknown": 0, "break-glass": 1, "excepted": 0, "warned": 0, "good": 1}
    assert [(one["owner"]["name"], one["condition"]) for one in found["items"]] == [
        ("checkout", "failing"), ("urgent", "break-glass"), ("good", "good"),
    ]  # fmt: skip
    assert found["items"][0]["moved"][0]["running"] == "sha256:bb"
    assert found["items"][0]["violations"][0]["policy"] == "image-user"
    whole = (await ask(usual, "/running/shop/Deployment/checkout")).json
    assert whole["items"] == found["items"][:1]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("condition=good", ["good"]),
        ("moved=true", ["checkout"]),
        ("breakGlass=true", ["urgent"]),
        ("policy=image-user", ["checkout", "urgent"]),
        ("namespace=shop&kind=Deployment&name=good", ["good"]),
        ("image=registry.example/web", ["checkout", "urgent", "good"]),
        ("namespace=bank", []),
    ],
)
async def test_conditions_on_what_runs(usual: Any, query: str, expected: list[str]) -> None:
    found = (await ask(usual, f"/running?{query}")).json
    assert [one["owner"]["name"] for one in found["items"]] == expected


async def test_what_runs_by_cursor(usual: Any) -> None:
    first = (await ask(usual, "/running?limit=2")).json
    second = (await ask(usual, f"/running?limit=2&after={first['next']}")).json
    assert [one["owner"]["name"] for one in second["items"]] == ["good"]
    problem(await ask(usual, "/running?after=x"), 422, "cursor-invalid")
    problem(await ask(usual, "/running/shop/Deployment/nobody"), 404, "not-found")


async def test_every_answer_is_as_the_openapi_document_says(usual: Any) -> None:
    document = (await ask(usual, "/openapi.json")).json
    schemas = document["components"]["schemas"]
    identity = records()[0].decision.id
    for path, address in {
        "/decisions": "/decisions", "/decisions/{id}": f"/decisions/{identity}?input=true",
        "/decisions/{id}/previous": f"/decisions/{records()[1].decision.id}/previous", "/images": "/images",
        "/images/{digest}": f"/images/{DIGEST}", "/policies": "/policies", "/policies/{name}": "/policies/image-user",
        "/overview": "/overview", "/running": "/running",
        "/running/{namespace}/{kind}/{name}": "/running/shop/Deployment/checkout",
    }.items():  # fmt: skip
        answers = document["paths"][path]["get"]["responses"]
        schema = answers["200"]["content"]["application/json"]["schema"]
        jsonschema.validate((await ask(usual, address)).json, {**schema, "components": {"schemas": schemas}})
        assert set(answers["503"]["content"]) == {"application/problem+json"}
    assert set(document["paths"]) == {
        "/decisions", "/decisions/{id}", "/decisions/{id}/previous", "/images", "/images/{digest}", "/policies",
        "/policies/{name}", "/overview", "/running", "/running/{namespace}/{kind}/{name}",
    }  # fmt: skip
    parameters = {one["name"] for one in document["paths"]["/decisions"]["get"]["parameters"]}
    assert parameters == {field.alias for field in DecisionParameters.model_fields.values()}


async def test_half_of_a_surrogate_pair_in_an_old_record_is_no_error(store: SqlRecords) -> None:
    class Old(SqlLedger):
        async def page(self, query: RecordFilter) -> RecordPage:
            broken = a_decision(images=(JudgedImage("a\ud800", ""),), message="\udfff")
            return RecordPage((a_record(broken, username="\ud800"),))

    found = (await ask(app(Old(records=store)), "/decisions")).json
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
    "/images?after=tampered": ("after", "none of ours"),
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
async def test_what_is_misspelt_is_told_and_does_not_widen_the_answer(usual: Any, address: str) -> None:
    parameter, words = UNFIT[address]
    found = problem(await ask(usual, address), 422, "cursor-invalid" if "after=" in address else "query-invalid")
    (error,) = found["errors"]
    assert error["parameter"] == parameter
    assert words in error["message"]


HOSTILE = [
    "' OR 1=1 --", '"; DROP TABLE decisions; --', "<script>alert(1)</script>", "%", "_", "*", "\\", "$1", "{{7*7}}",
    "a\r\nset-cookie: x=1", "\u202e", "\U0001f600", "../../etc/passwd", "\ufffd", "x" * 1024, "-1", "NaN", "null",
]  # fmt: skip


@pytest.mark.parametrize("value", HOSTILE)
async def test_hostile_values_find_nothing(usual: Any, value: str) -> None:
    for name in ("namespace", "kind", "name", "username", "image", "digest", "policy", "exception", "reason"):
        answered = await ask(usual, f"/decisions?{name}={quote(value, safe='')}")
        assert (answered.status, answered.json["items"]) == (200, []), name
    answered = await ask(usual, f"/decisions?text={quote(value, safe='')}")
    assert answered.status == 200
    for path in ("/decisions/{}", "/decisions/{}/previous", "/images/{}", "/policies/{}"):
        answered = await ask(usual, path.format(quote(value, safe="")))
        assert answered.status == 404
        assert answered.headers["content-type"] == "application/problem+json"
        assert "set-cookie" not in answered.headers


@pytest.mark.parametrize("identity", ["\x00", "a\x00", "a\nb\n", "x" * 10_240])
async def test_names_that_nothing_has_are_asked_of_nobody(store: SqlRecords, identity: str) -> None:
    class Unasked(SqlLedger):
        async def get(self, *_: Any) -> None:
            raise AssertionError

        image = get  # type: ignore[assignment]

    made = app(Unasked(records=store))
    for path in ("/decisions", "/images", "/running"):
        problem(await ask(made, f"{path}/{quote(identity, safe='')}"), 404, "not-found")


async def test_what_is_not_there_says_no_more(usual: Any) -> None:
    identities = ("a", "7c4f5a3e-0f5b-4a39-9c55-0f6d1f6f2b1f")
    assert len({(await ask(usual, f"/decisions/{identity}")).body for identity in identities}) == 1
    problem(await ask(usual, "/nothing"), 404, "not-found")
    problem(await ask(usual, "/decisions/"), 404, "not-found")


async def test_limits_of_the_operator_hold_for_the_api_too(store: SqlRecords) -> None:
    made = app(SqlLedger(records=store), limits=Limits(search_rows=50, span_days=10))
    for path in ("/decisions", "/images", "/running"):
        found = problem(await ask(made, f"{path}?limit=51"), 422, "query-invalid")
        assert "limits.searchRows (50)" in found["detail"]
        assert (await ask(made, f"{path}?limit=50")).status == 200
    address = "/overview?since=2026-01-01T00:00:00Z&until=2026-01-{}T00:00:00Z"
    assert (await ask(made, address.format(11))).status == 200
    problem(await ask(made, address.format(12)), 422, "query-invalid")


async def test_nothing_is_changed_by_it(usual: Any) -> None:
    assert (await send(usual, "/api/v1/decisions", method="HEAD")).status == 200
    for method in ("PUT", "DELETE", "PATCH"):
        answered = await send(usual, "/api/v1/decisions", method=method)
        problem(answered, 405, "method-not-allowed")
    assert (await send(usual, "/api/v1/decisions", method="POST")).status == 403


async def test_a_log_that_does_not_answer_is_an_outage(tmp_path: Path) -> None:
    gone = SqlRecords(url=f"sqlite:///{tmp_path}/audit.db")
    await gone.aclose()
    made = app(SqlLedger(records=gone))
    for address in (
        "/decisions",
        "/decisions/a",
        "/images",
        f"/images/{DIGEST}",
        "/policies",
        "/policies/p",
        "/overview",
        "/running",
        "/running/shop/Deployment/web",
    ):
        answered = await ask(made, address)
        assert "is closed" in problem(answered, 503, "audit-unavailable")["detail"]
        assert answered.headers["retry-after"] == "5"


async def test_a_fault_of_ours_tells_nothing_of_itself(store: SqlRecords) -> None:
    class Broken(SqlLedger):
        async def page(self, query: RecordFilter) -> RecordPage:
            raise RuntimeError("s3cret")

    made = app(Broken(records=store))

    async def as_a_server(*call: Any) -> None:
        with pytest.raises(RuntimeError, match="s3cret"):
            await made(*call)

    with capture_logs() as logged:
        answered = await send(as_a_server, "/api/v1/decisions")
    assert logged[0]["event"] == "the API failed"
    assert "s3cret" not in answered.body.decode()
    problem(answered, 500, "internal-error")


async def test_a_search_that_ran_out_of_time_says_how_far_it_came(store: SqlRecords) -> None:
    class Slow(SqlLedger):
        async def page(self, query: RecordFilter) -> RecordPage:
            return RecordPage((), 17, records()[0].decision.decided_at - timedelta(days=1))

    found = (await ask(app(Slow(records=store)), "/decisions")).json
    assert (found["items"], found["next"], found["searchedTo"]) == ([], 17, "2026-11-23T12:30:15.250000Z")
