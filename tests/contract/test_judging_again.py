"""A recorded decision under the policies that stand now, over a real OPA: as a reader has it judged."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from fakes import opa
from fakes.auditlog import SCENES
from fakes.records import InMemoryBundles
from portcullis.decision.modes import Modes
from portcullis.errors import EngineTimeout, EngineUnavailable
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.model.decision import Decision, Verdict
from portcullis.model.record import AuditRecord
from portcullis.model.ruling import Mode, PolicyBundle
from portcullis.rejudging import ENGINE_NOW, NO_DOCUMENT, OTHER_DOCUMENT, Inexact
from portcullis.server.clock import SystemClock
from portcullis.server.compose import POLICIES_KIND, bundle_document
from portcullis.server.replay import NO_SET
from portcullis.server.review.decisionagain import Rejudge
from portcullis.standing import Current, Standing

pytestmark = [pytest.mark.anyio, pytest.mark.opa]

USER = opa.policy("image-user", 'deny contains "runs as root" if input.containers[_].user.root == true')
STRICT = opa.policy("image-user", 'deny contains sprintf("named %v", [input.workload.name])')
THEN, NOW = opa.bundle(USER), opa.bundle(STRICT)


@dataclass
class Place:
    judge: Rejudge
    bundles: InMemoryBundles
    current: Current
    engine: Any


@asynccontextmanager
async def placed(opa_binary: Path, limits: Limits = DEFAULT_LIMITS) -> AsyncIterator[Place]:
    async with opa.running(opa_binary) as engine:
        bundles = InMemoryBundles()
        current = Current(Standing(await engine.compile(NOW)))
        judge = Rejudge(engine=engine, bundles=bundles, current=current, clock=SystemClock(), limits=limits)
        yield Place(judge, bundles, current, engine)


def record(judged_by: PolicyBundle = THEN, title: str = "clean") -> AuditRecord:
    found = SCENES[title]
    return replace(found, decision=replace(found.decision, policy_revision=judged_by.revision))


async def test_the_policies_of_now_judge_what_was_recorded(opa_binary: Path) -> None:
    async with placed(opa_binary) as place:
        await place.bundles.put(THEN.revision, POLICIES_KIND, bundle_document(THEN))
        found = await place.judge(record())
        assert isinstance(found, Decision)
        assert found.verdict is Verdict.REFUSED
        assert [violation.msg for violation in found.violations] == ["named checkout"]
        assert found.decided_at == record().decision.decided_at

        place.current.standing = replace(place.current.standing, modes=Modes({"image-user": Mode.AUDIT}))
        later = await place.judge(record())
        assert isinstance(later, Decision)
        assert later.verdict is Verdict.ADMITTED


async def test_a_record_of_the_same_policies_needs_no_other_set(opa_binary: Path) -> None:
    async with placed(opa_binary) as place:
        found = await place.judge(record(NOW))
        assert isinstance(found, Decision)


async def test_what_is_not_known_any_more_is_said(opa_binary: Path) -> None:
    async with placed(opa_binary) as place:
        assert await place.judge(record()) == Inexact(NO_SET, THEN.revision)
        broken = opa.bundle(opa.policy("broken", "deny contains"))
        await place.bundles.put(broken.revision, POLICIES_KIND, bundle_document(broken))
        found = await place.judge(record(broken))
        assert isinstance(found, Inexact)
        assert found.reason == NO_SET
        assert "broken.rego" in found.detail


INEXACT = {"by an unverified caller": NO_DOCUMENT, "of an older version": OTHER_DOCUMENT, "no document": OTHER_DOCUMENT}


@pytest.mark.parametrize(("title", "reason"), INEXACT.items())
async def test_a_record_that_cannot_be_judged_exactly(opa_binary: Path, title: str, reason: str) -> None:
    async with placed(opa_binary) as place:
        found = await place.judge(record(NOW, title))
        assert isinstance(found, Inexact)
        assert found.reason == reason


async def test_an_engine_that_does_not_answer_is_no_verdict(opa_binary: Path) -> None:
    async with placed(opa_binary) as place:
        await place.engine._supervisor.aclose()
        found = await place.judge(record(NOW))
        assert isinstance(found, Inexact)
        assert found.reason == ENGINE_NOW


class Slow(InMemoryBundles):
    async def get(self, revision: str) -> bytes | None:
        await asyncio.Event().wait()
        return None


async def test_it_takes_little_time_and_little_at_once(opa_binary: Path) -> None:
    limits = Limits(judge_again_seconds=0.2, judge_again_waiting=2)
    async with placed(opa_binary, limits) as place:
        judge = Rejudge(engine=place.engine, bundles=Slow(), current=place.current, clock=SystemClock(), limits=limits)
        found = await asyncio.gather(*(judge(record()) for _ in range(3)), return_exceptions=True)
        assert [type(one) for one in found] == [EngineTimeout, EngineTimeout, EngineUnavailable]
        with pytest.raises(EngineTimeout, match=r"0\.2 s \(limits\.judgeAgainSeconds\)"):
            await judge(record())
        assert isinstance(await place.judge(record(NOW)), Decision), "the engine is free again"
