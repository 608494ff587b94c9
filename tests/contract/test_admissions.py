"""The suite of the port Admissions: what the audit log knows of how objects were let in."""

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import update

from fakes.records import a_decision, a_record
from portcullis.audit.judgedtags import SqlAdmissions
from portcullis.audit.sql import SqlRecords
from portcullis.audit.tables import decisions
from portcullis.errors import RecordsError
from portcullis.limits import Limits
from portcullis.model.decision import Because, UndecidedPolicy, Verdict, Violation
from portcullis.model.record import AuditRecord
from portcullis.model.request import Caller
from portcullis.model.ruling import Mode
from portcullis.model.running import ObjectRef
from portcullis.ports import Admissions

pytestmark = pytest.mark.anyio

FIRST, SECOND = "sha256:" + "1" * 64, "sha256:" + "2" * 64
WRITTEN = "registry.example/acme/web:1"
LONG = f"registry.example/{'a' * 400}:1"
POD = ObjectRef("v1", "Pod", "shop", "web-1")
GRANT = "break-glass:shop/down"
VIOLATED = Violation("image-user", Mode.DENY, "high", "runs as root")


@pytest.fixture
def limits() -> Limits:
    return Limits(append_seconds=20, store_seconds=30)


@pytest.fixture
def admissions(records: SqlRecords) -> Admissions:
    return SqlAdmissions(records=records, verified_only=True)


def let_in(digest: str = FIRST, *, written: str = WRITTEN, **changes: Any) -> AuditRecord:
    """A pod that was let in; ``changes`` of its decision or its record."""
    decision = a_decision(images=[(written, digest)])
    of_decision = {key: changes.pop(key) for key in list(changes) if hasattr(decision, key)}
    fields = {"kind": "Pod", "namespace": "shop", "name": "web-1", "dry_run": False, "caller": Caller.PATH, **changes}
    return replace(a_record(replace(decision, **of_decision)), **fields)


async def test_the_newest_decision_that_let_it_in(records: SqlRecords, admissions: Admissions) -> None:
    await records.append_many([let_in(FIRST), newest := let_in(SECOND)])
    (found,) = await admissions.admitted([POD])
    assert (found.object, found.decision_id, found.break_glass) == (POD, newest.decision.id, "")
    assert found.digests == {WRITTEN: SECOND}


@pytest.mark.parametrize(
    "change",
    [
        {"verdict": Verdict.REFUSED},
        {"verdict": Verdict.UNDECIDED},
        {"because": Because.UNCHANGED},
        {"dry_run": True},
        {"caller": Caller.UNVERIFIED},
        {"namespace": "bank"},
        {"kind": "Deployment"},
        {"name": "web-2"},
    ],
)
async def test_what_does_not_count(records: SqlRecords, admissions: Admissions, change: dict[str, Any]) -> None:
    await records.append_many([let_in(FIRST), let_in(SECOND, **change)])
    (found,) = await admissions.admitted([POD])
    assert found.digests == {WRITTEN: FIRST}


async def test_strangers_count_where_nobody_is_told_from_them(records: SqlRecords) -> None:
    await records.append(let_in(caller=Caller.UNVERIFIED))
    assert len(await SqlAdmissions(records=records, verified_only=False).admitted([POD])) == 1


async def test_each_object_in_order_and_those_that_are_not_known_are_left_out(
    records: SqlRecords, admissions: Admissions
) -> None:
    owner = ObjectRef("apps/v1", "Deployment", "shop", "web")
    await records.append_many([let_in(), let_in(SECOND, kind="Deployment", name="web")])
    objects = [owner, replace(POD, name="other"), POD]
    assert [one.object for one in await admissions.admitted(objects)] == [owner, POD]
    assert await admissions.admitted([]) == ()


async def test_the_digests_are_of_the_newest_that_looked_at_the_images(
    records: SqlRecords, admissions: Admissions
) -> None:
    """An update that changed nothing may have been let in by break-glass, without a look at them."""
    covered = replace(VIOLATED, exception=GRANT)
    unseen = let_in("", because=Because.BREAK_GLASS, violations=(covered,))
    await records.append_many([let_in(SECOND), looked := let_in(FIRST), unseen])
    (found,) = await admissions.admitted([POD])
    assert (found.decision_id, found.digests, found.break_glass) == (looked.decision.id, {WRITTEN: FIRST}, GRANT)


@pytest.mark.parametrize(("digest", "written"), [("", WRITTEN), ("sha256:abc", WRITTEN)])
async def test_an_image_that_was_not_resolved_says_nothing(
    records: SqlRecords, admissions: Admissions, digest: str, written: str
) -> None:
    await records.append(let_in(digest, written=written))
    (found,) = await admissions.admitted([POD])
    assert found.digests == {}


async def test_long_references_are_found_as_they_were_written(records: SqlRecords, admissions: Admissions) -> None:
    await records.append(let_in(written=LONG))
    (found,) = await admissions.admitted([POD])
    assert found.digests == {LONG: FIRST}


UNKNOWN = UndecidedPolicy("image-user", Mode.DENY, ())


@pytest.mark.parametrize(
    "change",
    [
        {"violations": (replace(VIOLATED, exception="EX-1"), replace(VIOLATED, exception=GRANT))},
        {"undecided": (replace(UNKNOWN, exception=GRANT),)},
    ],
)
@pytest.mark.parametrize("because", [Because.BREAK_GLASS, Because.JUDGED])
async def test_what_break_glass_let_in_says_by_which_grant(
    records: SqlRecords, admissions: Admissions, change: dict[str, Any], because: Because
) -> None:
    """A grant that covers something without which the request would have been admitted all the same let nothing in."""
    await records.append(let_in(because=because, **change))
    (found,) = await admissions.admitted([POD])
    assert found.break_glass == (GRANT if because is Because.BREAK_GLASS else "")


@pytest.mark.parametrize("damage", ["{", "[]"])
async def test_a_damaged_record_is_an_error(records: SqlRecords, admissions: Admissions, damage: str) -> None:
    await records.append(let_in())
    await records.change(lambda connection: connection.execute(update(decisions).values(body=damage)))
    with pytest.raises(RecordsError):
        await admissions.admitted([POD])
