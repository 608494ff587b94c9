"""The suite of the port Findings, over the stores that implement it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text, update

from fakes.records import a_decision
from fakes.running import NOON, a_moved_tag, a_result, a_round, a_whole_round
from portcullis.audit import findings as module
from portcullis.audit.findings import SqlFindings
from portcullis.audit.sql import SqlRecords
from portcullis.audit.tables import findings as table
from portcullis.errors import CursorInvalid, RecordsError
from portcullis.limits import Limits
from portcullis.model.record import Counted, PolicyTally
from portcullis.model.running import Condition, FindingFilter, Rejudged
from portcullis.ports import Findings

pytestmark = pytest.mark.anyio

LIMITS = Limits(search_rows=1000, append_seconds=30.0, store_seconds=30.0, read_seconds=20.0)
SHOP, TOOLS, BOTH = frozenset({"shop"}), frozenset({"tools"}), frozenset({"shop", "tools"})
GRANT = "break-glass:shop/urgent"

FAILING = a_result("checkout", Condition.FAILING, policies=["image-user", "image-shell"])
MOVED = a_result("cart", Condition.FAILING, moved=[a_moved_tag()], images=[("registry.example/web:1", "sha256:bb")])
UNKNOWN = a_result("db", Condition.UNKNOWN, policies=["scan-required"], namespace="tools")
URGENT = a_result("urgent", Condition.BREAK_GLASS, policies=["image-user"], break_glass=GRANT)
LET_IN = a_result("was-urgent", Condition.FAILING, policies=["image-user"], break_glass=GRANT)
EXCEPTED = a_result("old", Condition.EXCEPTED, policies=["image-user"], namespace="tools", kind="StatefulSet")
WARNED = a_result("tidy", Condition.WARNED, policies=["image-age"], images=[("registry.example/db:1", "sha256:cc")])
GOOD = a_result("good", namespace="tools")
EVERYTHING = (GOOD, WARNED, EXCEPTED, URGENT, LET_IN, UNKNOWN, MOVED, FAILING)
SORTED = (MOVED, FAILING, LET_IN, UNKNOWN, URGENT, EXCEPTED, WARNED, GOOD)
"""Those, as readers get them."""


@pytest.fixture
def limits() -> Limits:
    return LIMITS


@pytest.fixture
def findings(records: SqlRecords) -> Findings:
    return SqlFindings(records=records, limits=LIMITS)


def without_documents(results: Sequence[Rejudged]) -> Sequence[Rejudged]:
    return tuple(replace(one, decision=replace(one.decision, document=b"")) for one in results)


async def names(findings: Findings) -> list[str]:
    return [one.owner.name for one in (await findings.results()).results]


# -- rounds --------------------------------------------------------------------------------------------------------


async def test_before_the_first_round_there_is_nothing(findings: Findings) -> None:
    assert await findings.round() is None
    assert await findings.under_way() is None
    assert (await findings.results()).results == ()
    assert set((await findings.totals()).values()) == {0}
    assert await findings.policies() == ()
    assert await findings.namespaces() == ()


async def test_a_round_is_shown_when_it_has_ended_and_not_before(findings: Findings) -> None:
    await findings.begin(a_round())
    await findings.put("first", [FAILING])
    assert await findings.round() is None
    assert await findings.under_way() == a_round()
    assert await names(findings) == []
    assert sum((await findings.totals()).values()) == 0
    await findings.finish(a_round(ended=True))
    assert await findings.round() == a_round(ended=True)
    assert await findings.under_way() is None
    assert await names(findings) == ["checkout"]


async def test_results_of_a_round_take_the_place_of_those_of_the_one_before(
    findings: Findings, records: SqlRecords
) -> None:
    await a_whole_round(findings, [FAILING, GOOD])
    await findings.begin(a_round("second"))
    await findings.put("second", [replace(FAILING, condition=Condition.GOOD)])
    assert await names(findings) == ["checkout", "good"]
    assert (await findings.totals())[Condition.FAILING] == 1
    await findings.finish(a_round("second", ended=True))
    assert await names(findings) == ["checkout"]
    assert (await findings.totals())[Condition.FAILING] == 0
    assert await rows(records) == (1, 1, 1, 2)


async def test_a_round_that_was_given_up_is_forgotten_when_another_begins(
    findings: Findings, records: SqlRecords
) -> None:
    await a_whole_round(findings, [GOOD])
    await findings.begin(a_round("second"))
    await findings.put("second", [FAILING, MOVED])
    await findings.begin(a_round("third"))
    assert await rows(records) == (2, 1, 1, 0)
    assert await names(findings) == ["good"]
    for old in ("first", "second", "never"):
        with pytest.raises(RecordsError, match="not the one that goes on"):
            await findings.put(old, [FAILING])
        with pytest.raises(RecordsError, match="not the one that goes on"):
            await findings.finish(a_round(old, ended=True))
    await findings.finish(a_round("third", ended=True))
    assert await names(findings) == []
    assert await findings.round() == a_round("third", ended=True)


async def test_a_round_ends_once(findings: Findings) -> None:
    await a_whole_round(findings, EVERYTHING)
    with pytest.raises(RecordsError, match="not the one that goes on"):
        await findings.put("first", [GOOD])
    with pytest.raises(RecordsError, match="has an end"):
        await findings.finish(a_round("first"))


async def test_what_is_there_by_its_key_stays(findings: Findings) -> None:
    """After a commit whose outcome was unknown, the same is put again."""
    await findings.begin(a_round())
    await findings.put("first", [FAILING, GOOD])
    await findings.put("first", [FAILING, GOOD, WARNED])
    await findings.finish(a_round(ended=True))
    assert await names(findings) == ["checkout", "tidy", "good"]
    assert {tally.policy: tally.violations for tally in await findings.policies()} == {
        "image-age": 1,
        "image-shell": 1,
        "image-user": 1,
    }


async def test_many_results_are_put_and_removed_in_steps(
    findings: Findings, records: SqlRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STEP", 7)
    monkeypatch.setattr(module, "REMOVED_STEP", 10)
    many = [a_result(f"w{number:03}") for number in range(30)]
    await a_whole_round(findings, many)
    assert await names(findings) == [f"w{number:03}" for number in range(30)]
    await a_whole_round(findings, [GOOD], "second")
    assert await rows(records) == (1, 1, 1, 0)


async def test_a_round_has_so_many_groups_at_most(records: SqlRecords) -> None:
    findings = SqlFindings(records=records, limits=replace(LIMITS, running_workloads=2))
    await findings.begin(a_round())
    await findings.put("first", [GOOD, FAILING])
    with pytest.raises(RecordsError, match=r"at most 2 groups.*limits\.runningWorkloads"):
        await findings.put("first", [WARNED])


# -- results -------------------------------------------------------------------------------------------------------


async def test_results_come_back_as_they_were_without_documents_the_worst_first(findings: Findings) -> None:
    await a_whole_round(findings, EVERYTHING)
    page = await findings.results()
    assert page.results == without_documents(SORTED)
    assert page.next == ""


@pytest.mark.parametrize("limit", [1, 3, 8])
async def test_pages_show_every_result_once(findings: Findings, limit: int) -> None:
    await a_whole_round(findings, EVERYTHING)
    found: list[Rejudged] = []
    page = await findings.results(limit=limit)
    while True:
        found += page.results
        if not page.next:
            break
        page = await findings.results(limit=limit, after=page.next)
    assert found == list(without_documents(SORTED))


async def test_a_page_goes_on_where_it_was_in_the_next_round(findings: Findings) -> None:
    await a_whole_round(findings, EVERYTHING)
    page = await findings.results(limit=4)
    await a_whole_round(findings, [one for one in EVERYTHING if one is not URGENT], "second")
    rest = await findings.results(after=page.next)
    assert [one.owner.name for one in rest.results] == ["old", "tidy", "good"]


async def test_a_page_of_large_results_ends_early(findings: Findings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE_BYTES", 10)
    await a_whole_round(findings, EVERYTHING)
    page = await findings.results()
    assert [one.owner.name for one in page.results] == ["cart"]
    assert [one.owner.name for one in (await findings.results(after=page.next)).results] == ["checkout"]


async def test_a_cursor_of_another_is_an_error(findings: Findings) -> None:
    for after in ("x", "%", "W10", "bnVsbA", "WzksIiIsIiIsIiIsIiJd", "WzAsMSwxLDEsMV0", "é", "A" * 10_000):
        with pytest.raises(CursorInvalid):
            await findings.results(after=after)


async def test_the_rows_of_an_answer_are_bounded(findings: Findings) -> None:
    for limit in (0, -1, 1001):
        with pytest.raises(RecordsError, match=r"limits\.searchRows"):
            await findings.results(limit=limit)


FILTERS = (
    (FindingFilter(condition=Condition.FAILING), "cart checkout was-urgent"),
    (FindingFilter(condition=Condition.GOOD), "good"),
    (FindingFilter(namespace="tools"), "db old good"),
    (FindingFilter(kind="StatefulSet"), "old"),
    (FindingFilter(namespace="shop", kind="Deployment", name="urgent"), "urgent"),
    (FindingFilter(policy="image-user"), "checkout was-urgent urgent old"),
    (FindingFilter(policy="image-user", condition=Condition.EXCEPTED), "old"),
    (FindingFilter(policy="scan-required"), "db"),
    (FindingFilter(image="sha256:bb"), "cart"),
    (FindingFilter(image="sha256:b"), ""),
    (FindingFilter(image="registry.example/db"), "tidy"),
    (FindingFilter(image="%"), ""),
    (FindingFilter(moved=True), "cart"),
    (FindingFilter(break_glass=True), "was-urgent urgent"),
    (FindingFilter(namespace="nowhere"), ""),
)


async def test_all_conditions_of_a_filter_hold(findings: Findings) -> None:
    await a_whole_round(findings, EVERYTHING)
    for query, wanted in FILTERS:
        found = (await findings.results(query=query)).results
        assert [one.owner.name for one in found] == wanted.split(), query
        totals = await findings.totals(query=query)
        counted = sum(totals.values()) if query.condition is None else totals[query.condition]
        assert counted == len(found), query


@pytest.mark.parametrize(
    "name",
    ["", "'; DROP TABLE findings; --", "a\0b", "\ud800 lone", "x" * 10_000],
    ids=["empty", "injection", "nul", "surrogate", "long"],
)
async def test_any_text_is_kept_and_found_by(findings: Findings, name: str) -> None:
    odd = a_result(name, Condition.FAILING, policies=[name], namespace=name, kind=name, key=name, break_glass=name)
    odd = replace(odd, decision=replace(odd.decision, images=()), pods=(name,))
    await a_whole_round(findings, [odd, GOOD])
    query = FindingFilter(namespace=name, kind=name, name=name, policy=name)
    page = await findings.results(query=query, visible=frozenset({name, "tools"}))
    assert page.results[:1] == without_documents([odd])


# -- who may see what ----------------------------------------------------------------------------------------------


VISIBLE: tuple[tuple[frozenset[str] | None, str], ...] = (
    (None, "cart checkout was-urgent db urgent old tidy good"),
    (BOTH, "cart checkout was-urgent db urgent old tidy good"),
    (SHOP, "cart checkout was-urgent urgent tidy"),
    (TOOLS, "db old good"),
    (frozenset(), ""),
    (frozenset({"elsewhere"}), ""),
)


async def test_nothing_is_told_of_other_namespaces(findings: Findings) -> None:
    await a_whole_round(findings, EVERYTHING)
    for visible, wanted in VISIBLE:
        expected = [one for one in SORTED if one.owner.name in wanted.split()]
        assert (await findings.results(visible=visible)).results == without_documents(expected)
        assert await findings.totals(visible) == {
            condition: sum(one.condition is condition for one in expected) for condition in Condition
        }
        namespaces = [one.name for one in await findings.namespaces(visible)]
        assert namespaces == sorted({one.owner.namespace for one in expected})
        counted = sum(one.violations + one.excepted + one.undecided for one in await findings.policies(visible))
        assert counted == sum(len(one.decision.violations) + len(one.decision.undecided) for one in expected)


async def test_no_filter_finds_what_is_in_other_namespaces(findings: Findings) -> None:
    await a_whole_round(findings, EVERYTHING)
    for query in (
        FindingFilter(namespace="shop"),
        FindingFilter(policy="image-user"),
        FindingFilter(image="sha256:aa"),
    ):
        everything = (await findings.results(query=query)).results
        for visible, _ in VISIBLE:
            found = (await findings.results(query=query, visible=visible)).results
            assert found == tuple(one for one in everything if visible is None or one.owner.namespace in visible)
            assert sum((await findings.totals(visible, query)).values()) == len(found)


async def test_a_cursor_does_not_open_other_namespaces(findings: Findings) -> None:
    await a_whole_round(findings, EVERYTHING)
    everything = await findings.results(limit=1)
    mine = await findings.results(after=everything.next, visible=TOOLS)
    assert [one.owner.name for one in mine.results] == ["db", "old", "good"]


async def test_what_policies_find_is_counted_by_workloads(findings: Findings) -> None:
    twice = replace(FAILING.decision, violations=FAILING.decision.violations * 2)
    await a_whole_round(findings, [replace(FAILING, decision=twice), LET_IN, EXCEPTED, UNKNOWN, WARNED])
    assert await findings.policies() == (
        PolicyTally("image-user", "deny", violations=2, excepted=1),
        PolicyTally("image-age", "warn", violations=1),
        PolicyTally("image-shell", "deny", violations=1),
        PolicyTally("scan-required", "deny", undecided=1),
    )
    assert await findings.namespaces() == (Counted("shop", 3), Counted("tools", 2))


# -- what does not fit, and what is damaged ------------------------------------------------------------------------


async def test_of_a_large_result_the_worst_is_kept_and_the_rest_counted(records: SqlRecords) -> None:
    findings = SqlFindings(records=records, limits=replace(LIMITS, finding_bytes=4000))
    warned = a_result("x", Condition.WARNED, policies=["image-age"] * 100).decision
    undecided = a_decision(undecided=["scan-required"] * 3).undecided
    denied = FAILING.decision.violations
    decision = replace(FAILING.decision, violations=(*warned.violations, *denied), undecided=undecided)
    await a_whole_round(findings, [replace(FAILING, decision=decision, moved=(a_moved_tag(),))])
    (kept,) = (await findings.results()).results
    assert kept.moved == (a_moved_tag(),)
    assert kept.decision.violations[-2:] == denied
    shown = len(kept.moved) + len(kept.decision.violations) + len(kept.decision.undecided)
    assert 3 < shown < 20
    assert kept.omitted == 106 - shown
    (tally,) = [one for one in await findings.policies() if one.policy == "image-age"]
    assert tally.violations == 1


async def test_a_result_that_is_damaged_is_an_error(findings: Findings, records: SqlRecords) -> None:
    await a_whole_round(findings, [FAILING])
    for body in (b"", b"\0", b"x\x9c\x03\x00\x00\x00\x00\x01"):
        await records.change(lambda connection, body=body: connection.execute(update(table).values(body=body)))  # type: ignore[misc]
        with pytest.raises(RecordsError):
            await findings.results()
    assert (await findings.totals())[Condition.FAILING] == 1


async def test_rounds_of_any_time_come_back(findings: Findings) -> None:
    late = replace(a_round("late", started_at=NOON + timedelta(days=3650), ended=True), unreachable="pods: 403")
    await findings.begin(replace(late, ended_at=None))
    await findings.finish(late)
    assert await findings.round() == late


async def rows(records: SqlRecords) -> tuple[int, ...]:
    """How many there are of each table."""
    tables = ("rounds", "findings", "finding_images", "finding_policies")
    counts = ", ".join(f"(SELECT count(*) FROM {name})" for name in tables)
    found = await records.read(lambda connection: connection.execute(text(f"SELECT {counts}")).one())
    return tuple(found)
