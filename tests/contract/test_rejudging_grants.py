"""Break-glass judged again, over a real OPA: a record holds the grants that let something through, so that it is
decided again alike when they have long ended, and under a draft by what they would have covered."""

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from contract.test_rejudging import LEGACY, SOFT, Down, Place, alike, asking, images, placed
from fakes.decisions import open_grant
from portcullis.audit import codec
from portcullis.decision.exceptions import Exceptions
from portcullis.decision.grants import Grants
from portcullis.decision.modes import Modes, Override
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.decision import Because, Decision, Verdict
from portcullis.model.grant import Grant
from portcullis.model.place import Scope
from portcullis.model.record import AuditRecord
from portcullis.model.request import Operation
from portcullis.model.ruling import Mode
from portcullis.takeover import Takeover
from unit.test_gate import pod

pytestmark = [pytest.mark.anyio, pytest.mark.opa]

ROOT = "registry.example/acme/root:1.4"


def grant(**fields: Any) -> Grant:
    """In force now."""
    now = datetime.now(UTC)
    return open_grant(**{"created": now - timedelta(minutes=1), "expires": now + timedelta(hours=1), **fields})


def requests() -> Iterator[tuple[str, Any, Any]]:
    """What is asked, and a registry."""
    yield "violated", asking(pod(ROOT)), images()
    yield "registry down", asking(pod(ROOT)), Down()
    yield "early and late", asking(pod(ROOT, hostNetwork=True)), images()
    unchanged = pod(ROOT, hostNetwork=True)
    yield "unchanged", asking(unchanged, old=unchanged, operation=Operation.UPDATE), images()
    yield "no reference", asking(pod("NOT AN IMAGE")), images()
    yield "malformed", asking({"apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": {"containers": 7}}), images()
    yield "excepted, too", asking(pod("registry.example/acme/old:1.4", hostNetwork=True)), images()


CASES = {name: (request, registry) for name, request, registry in requests()}


async def recorded(place: Place, request: Any, *grants: Grant) -> AuditRecord:
    """As the store gives it back."""
    place.grants = lambda _: Grants(grants)
    record = await place.record(request)
    return codec.decode(codec.encode(record))


@pytest.mark.parametrize("name", CASES)
async def test_a_record_is_decided_again_alike(name: str, opa_binary: Path) -> None:
    request, registry = CASES[name]
    async with placed(opa_binary, registry=registry, exceptions=Exceptions((LEGACY,))) as place:
        record = await recorded(place, request, grant(), grant(name="of-no-use", policies=("another",)))
        assert (record.decision.verdict, record.decision.because) == (Verdict.ADMITTED, Because.BREAK_GLASS)
        assert [one.name for one in record.decision.grants] == ["down"]
        again = await place.again(record)
        taken = await place.again(record, None, Takeover(place.standing, place.standing, DEFAULT_LIMITS))
    assert isinstance(again, Decision), again
    assert alike(again) == alike(record.decision)
    assert isinstance(taken, Decision)
    assert alike(taken) == alike(record.decision)


SAYING = Modes(SOFT, overrides=(Override(Scope(("shop",)), parameters={"words": {"say": "no"}}),))
DRAFTS: dict[str, tuple[str, tuple[str, ...], Modes, Verdict, Because]] = {
    "nothing refuses any more": ("violated", ("*",), Modes({"*": Mode.WARN}), Verdict.ADMITTED, Because.JUDGED),
    "no more than before": ("violated", ("not-root",), Modes(SOFT), Verdict.ADMITTED, Because.BREAK_GLASS),
    "more, which it does not name": ("violated", ("not-root",), SAYING, Verdict.REFUSED, Because.JUDGED),
    "more, which it covers, too": ("violated", ("*",), SAYING, Verdict.ADMITTED, Because.BREAK_GLASS),
    "nothing had changed": ("unchanged", ("*",), Modes({"*": Mode.WARN}), Verdict.ADMITTED, Because.UNCHANGED),
}


@pytest.mark.parametrize(("name", "policies", "modes", "verdict", "because"), DRAFTS.values(), ids=DRAFTS)
async def test_under_a_draft_a_grant_covers_what_it_would_have_covered(
    name: str, policies: tuple[str, ...], modes: Modes, verdict: Verdict, because: Because, opa_binary: Path
) -> None:
    request, registry = CASES[name]
    async with placed(opa_binary, registry=registry) as place:
        record = await recorded(place, request, grant(policies=policies))
        assert record.decision.because is Because.BREAK_GLASS
        again = await place.again(record, dataclasses.replace(place.standing, modes=modes))
    assert isinstance(again, Decision)
    assert (again.verdict, again.because) == (verdict, because)


async def test_what_was_let_through_early_was_looked_at(opa_binary: Path) -> None:
    """Policies that look at the images can be judged again, since a grant did not end the road."""
    request, registry = CASES["early and late"]
    async with placed(opa_binary, registry=registry) as place:
        record = await recorded(place, request, grant(policies=("no-host-network", "not-root")))
        soft = dataclasses.replace(place.standing, modes=Modes({"no-host-network": Mode.WARN, **SOFT}))
        again = await place.again(record, soft)
    assert isinstance(again, Decision)
    assert [(one.policy, one.exception) for one in again.covered] == [
        ("no-host-network", "break-glass:shop/down"),
        ("not-root", "break-glass:shop/down"),
    ]
