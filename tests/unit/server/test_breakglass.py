"""POST /validate-break-glass in process: what is said of a grant when it is made, and what the audit log has of it."""

import json
import logging
from dataclasses import dataclass, field
from typing import Any

import pytest

from fakes.asgi import call
from fakes.callers import by_path
from fakes.grants import REASON
from fakes.grants import grant as made_grant
from fakes.records import InMemoryRecords
from fakes.reviews import UID, review
from portcullis.audit.redact import Redactor
from portcullis.errors import RecordsError
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.record import AuditRecord, RecordFilter
from portcullis.model.request import Caller
from portcullis.model.ruling import CompiledBundle, Mode, Need, PolicyInfo
from portcullis.rejudging import NO_WORKLOAD, Inexact, begin
from portcullis.server.breakglass import BreakGlassHandler
from portcullis.server.clock import SystemClock
from portcullis.server.recording import Recorder
from portcullis.server.sampling import Sampling
from portcullis.server.telemetry import Metrics
from portcullis.standing import Current, Standing

pytestmark = pytest.mark.anyio

SEGMENT = "0123456789abcdef"
PATH = f"/{SEGMENT}/validate-break-glass"
ANY = RecordFilter()


def policy(name: str, *, exceptions_forbidden: bool = False) -> PolicyInfo:
    needs, rules = frozenset[Need](), (Mode.DENY,)
    return PolicyInfo(name, "", "", "high", Mode.DENY, "", needs, rules, exceptions_forbidden=exceptions_forbidden)


POLICIES = (policy("image-user"), policy("image-signed", exceptions_forbidden=True))


class FullDisk(InMemoryRecords):
    async def append(self, record: AuditRecord) -> None:
        raise RecordsError("the disk is full")


@dataclass
class Bench:
    records: InMemoryRecords = field(default_factory=InMemoryRecords)
    told: list[AuditRecord] = field(default_factory=list)

    def __post_init__(self) -> None:
        standing = Current(Standing(CompiledBundle("sha256:p", POLICIES), config_revision="c"))
        metrics, clock, text = Metrics(), SystemClock(), Redactor().text
        recorder = Recorder(
            records=self.records,
            clock=clock,
            metrics=metrics,
            standing=standing,
            text=text,
            sampling=Sampling(verifying=True, per_minute=5, clock=clock, metrics=metrics),
            also=self.told.append,
        )
        self.handler = BreakGlassHandler(
            recorder=recorder,
            standing=standing,
            clock=clock,
            text=text,
            limits=DEFAULT_LIMITS,
            callers=by_path(SEGMENT),
        )

    async def asked(self, made: Any, path: str = PATH, **request: Any) -> Any:
        described = {"name": "web", "namespace": "shop", **request}
        body = json.dumps(review(made, **described)).encode()
        return (await call(self.handler, path, [body], query=b"timeout=10s")).response

    def record(self) -> AuditRecord:
        (record,) = self.told
        return record


def grant(**said: Any) -> dict[str, Any]:
    """As the API server sends it."""
    made = made_grant(**said)
    return {**made, "metadata": {**made["metadata"], "name": "web", "namespace": "shop", "uid": "1"}}


async def test_who_makes_a_grant_and_why_is_recorded() -> None:
    bench = Bench()
    made = grant(digests=["sha256:" + "ab" * 32], coversProblems=True)
    answer = await bench.asked(made)
    record = bench.record()
    assert answer == {
        "uid": UID,
        "allowed": True,
        "auditAnnotations": {"decision-id": record.decision.id, "policy-revision": "sha256:p", "verdict": "admitted"},
    }
    assert (record.operation, record.kind, record.resource) == ("CREATE", "BreakGlass", "breakglasss")
    assert (record.namespace, record.name, record.username) == ("shop", "web", "ada@example.test")
    assert record.caller is Caller.PATH
    for said in (
        "break-glass:shop/web is granted",
        f"Until {made['spec']['expires']}",
        f"why: {REASON}",
        "policies: image-user",
        "images: registry.example/acme/**",
        "digests: sha256:abab",
        "problems are covered",
    ):
        assert said in record.decision.message
    assert [one.decision.id for one in await bench.records.search(ANY)] == [record.decision.id]


async def test_who_ends_a_grant_is_recorded() -> None:
    bench = Bench()
    answer = await bench.asked(None, operation="DELETE", oldObject=grant())
    assert answer["allowed"]
    record = bench.record()
    assert record.operation == "DELETE"
    assert record.decision.message.startswith("break-glass:shop/web is deleted. Until ")
    assert REASON in record.decision.message


@pytest.mark.parametrize("hours", [2, 25])
async def test_no_replay_takes_it_for_a_workload(hours: float) -> None:
    """Whether it was granted or refused."""
    bench = Bench()
    await bench.asked(grant(hours=hours))
    compiled = CompiledBundle("sha256:p", POLICIES)
    assert begin(bench.record(), Standing(compiled), compiled, DEFAULT_LIMITS) == Inexact(NO_WORKLOAD)


async def test_a_secret_in_a_reason_is_not_kept() -> None:
    bench = Bench()
    token = "ghp_" + "a1B2c3D4e5" * 3 + "f6G7h8"
    await bench.asked(grant(reason=f"the registry takes {token} no more"))
    assert token not in bench.record().decision.message
    assert "the registry takes" in bench.record().decision.message


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"hours": 25}, "spec.expires: more than 24 hours after the creation"),
        ({"hours": -1}, "spec.expires: not after the creation"),
        ({"expires": "tomorrow"}, "spec.expires: a time as RFC 3339"),
        ({"reason": "short"}, "spec.reason: a text of 10 to 500"),
        ({"policies": []}, "spec.policies: names"),
        ({"images": ["registry.example/acme*"]}, "spec.images: the image pattern"),
        ({"digests": ["sha256:12"]}, "spec.digests:"),
        ({"image": ["registry.example/acme/**"], "images": None}, "spec.image: there is no such field"),
    ],
)
async def test_what_could_never_count_is_refused_and_recorded(spec: dict[str, Any], said: str) -> None:
    bench = Bench()
    answer = await bench.asked(grant(**spec))
    assert not answer["allowed"]
    assert answer["status"]["code"] == 403
    assert answer["status"]["message"].startswith("[grant-invalid] break-glass:shop/web: ")
    assert said in answer["status"]["message"]
    record = bench.record()
    assert (record.decision.verdict, record.decision.problems[0].reason) == ("refused", "grant-invalid")
    assert record.decision.id in answer["status"]["message"]


async def test_one_that_has_no_time_of_creation_is_made_now() -> None:
    bench = Bench()
    made = grant()
    del made["metadata"]["creationTimestamp"]
    assert (await bench.asked(made))["allowed"]
    late = grant(hours=24.5)
    del late["metadata"]["creationTimestamp"]
    assert not (await bench.asked(late))["allowed"]


async def test_what_it_says_is_not_changed_and_all_else_is_nobodys_business() -> None:
    bench = Bench()
    old, labelled = grant(), grant()
    old["spec"] = labelled["spec"]
    labelled["metadata"]["labels"] = {"team": "a"}
    assert await bench.asked(labelled, operation="UPDATE", oldObject=old) == {"uid": UID, "allowed": True}
    assert bench.told == []
    answer = await bench.asked(grant(policies=["*"]), operation="UPDATE", oldObject=old)
    assert "a grant is never changed" in answer["status"]["message"]
    assert bench.record().decision.code == 403


async def test_objects_of_other_kinds_pass() -> None:
    bench = Bench()
    for other in ({**grant(), "apiVersion": "other.dev/v1"}, {**grant(), "kind": "Other"}):
        assert await bench.asked(other) == {"uid": UID, "allowed": True}
    assert await bench.asked(grant(hours=99), subResource="status") == {"uid": UID, "allowed": True}
    assert bench.told == []


@pytest.mark.parametrize(
    ("spec", "warnings"),
    [
        ({}, []),
        ({"policies": ["*"]}, []),
        ({"policies": ["image-user", "image-usr"]}, ["there is no policy image-usr"]),
        ({"policies": ["image-signed"]}, ["no exception is allowed from it: image-signed"]),
        ({"images": None}, ["without images and digests, everything in the namespace shop is covered"]),
        ({"images": None, "digests": ["sha256:" + "ab" * 32]}, []),
    ],
)
async def test_what_may_not_be_meant_is_a_warning(spec: dict[str, Any], warnings: list[str]) -> None:
    answer = await Bench().asked(grant(**spec))
    assert answer["allowed"]
    found = answer.get("warnings", [])
    assert len(found) == len(warnings)
    assert all(one.startswith("portcullis: ") and words in one for one, words in zip(found, warnings, strict=True))


async def test_a_long_warning_is_not_lost() -> None:
    """The API server cuts what is longer, and drops the rest."""
    answer = await Bench().asked(grant(policies=[f"policy-{number}" for number in range(60)]))
    (warning,) = answer["warnings"]
    assert len(warning) <= DEFAULT_LIMITS.warning_chars


async def test_a_stranger_writes_nothing() -> None:
    bench = Bench()
    for path in ("/validate-break-glass", "/fedcba9876543210/validate-break-glass"):
        answer = await bench.asked(grant(), path)
        assert answer["allowed"]
        assert "did not come the API server's way" in answer["warnings"][0]
    assert bench.told == []
    assert not await bench.records.search(ANY)


async def test_a_grant_is_made_although_it_cannot_be_recorded_and_the_log_has_it(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = Bench(records=FullDisk())
    with caplog.at_level(logging.ERROR):
        answer = await bench.asked(grant())
    assert answer["allowed"]
    assert "it is not in the audit log who did this, and why: the disk is full" in answer["warnings"][0]
    assert bench.record().name == "web"  # sinks have it
    assert "decision not recorded" in caplog.text + "".join(capsys.readouterr())


async def test_what_is_no_review_and_what_is_too_much() -> None:
    handler = Bench().handler
    assert (await call(handler, PATH, method="GET")).status == 405
    assert (await call(handler, PATH, [b"{}"])).status == 400
    assert (await call(handler, PATH, [b"x" * (DEFAULT_LIMITS.review_bytes + 1)])).status == 413
    for path, ours in {
        "/validate-break-glass": True,
        PATH: True,
        "/a/b/validate-break-glass": False,
        "/validate": False,
        "/validate-policies": False,
    }.items():
        assert handler.serves(path) is ours
