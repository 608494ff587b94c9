"""Pages of results: within their bounds, with each result once, and quiet: what does not change stays where it is."""

from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from fakes.reported import failing
from portcullis.cluster.reportpages import ENVELOPE_BYTES, Division, divide
from portcullis.cluster.reportresults import Result, Traits, results_of
from portcullis.limits import Limits

LIMITS = Limits(report_page_results=6, report_page_bytes=ENVELOPE_BYTES + 6 * 700, report_pages=1000)
Workloads = dict[int, tuple[int, int]]
"""By number: how many violations it has, and how long their text is."""

workload = st.tuples(st.integers(1, 5), st.integers(1, 900))
workloads = st.dictionaries(st.integers(0, 20), workload, max_size=20)


def results(found: Workloads) -> Sequence[Result]:
    every = failing(max(found, default=-1) + 1)
    made = []
    for number, (each, length) in found.items():
        (one,) = failing(1, each=each, msg="x" * length)
        made.append(type(one)(every[number].owner, "k", (), 1, one.decision, one.condition))
    return results_of(made)


def pages(found: Sequence[Result], old: Mapping[int, Sequence[Traits]], limits: Limits = LIMITS) -> Division:
    return divide(found, old, namespace="shop", limits=limits)


def traits(division: Division) -> dict[int, list[Traits]]:
    return {number: [one.traits for one in page] for number, page in division.pages.items()}


def within(division: Division, limits: Limits = LIMITS) -> bool:
    return all(
        0 < len(page) <= limits.report_page_results
        and ENVELOPE_BYTES + sum(one.size for one in page) <= limits.report_page_bytes
        for page in division.pages.values()
    )


def changed(old: Division, new: Division) -> int:
    numbers = old.pages.keys() | new.pages.keys()
    return sum(old.pages.get(number) != new.pages.get(number) for number in numbers)


@given(workloads, workloads)
def test_each_result_stands_once_within_the_bounds(first: Workloads, second: Workloads) -> None:
    before = pages(results(first), {})
    wanted = results(second)
    after = pages(wanted, traits(before))
    assert within(before)
    assert within(after)
    placed = [one for page in after.pages.values() for one in page]
    assert sorted(one.traits.fingerprint for one in placed) == sorted(one.traits.fingerprint for one in wanted)
    assert after.left_out == 0


@given(workloads)
def test_what_has_not_changed_changes_no_page(found: Workloads) -> None:
    before = pages(results(found), {})
    again = pages(results(found), traits(before))
    assert again.pages == before.pages or len(again.pages) < len(before.pages)
    assert pages(results(found), traits(again)).pages == again.pages


@given(workloads, st.integers(0, 20), st.one_of(st.none(), workload))
def test_a_change_of_one_workload_changes_few_pages(
    found: Workloads, number: int, becomes: tuple[int, int] | None
) -> None:
    """It has five results at most: the pages on which it stood, those to which it goes, and what is joined then."""
    before = pages(results(found), traits(pages(results(found), {})))
    other = {key: value for key, value in found.items() if key != number}
    if becomes is not None:
        other[number] = becomes
    after = pages(results(other), traits(before))
    assert changed(before, after) <= 2 * 5 + 2


@given(workloads, workloads)
def test_there_are_not_many_more_pages_than_it_takes(first: Workloads, second: Workloads) -> None:
    wanted = results(second)
    after = pages(wanted, traits(pages(results(first), {})))
    fresh = pages(wanted, {})
    assert len(after.pages) <= 4 * len(fresh.pages) + 1


@given(workloads)
def test_past_the_last_page_the_worst_are_kept_and_the_rest_is_counted(found: Workloads) -> None:
    limits = Limits(report_page_results=6, report_page_bytes=LIMITS.report_page_bytes, report_pages=2)
    wanted = results(found)
    made = pages(wanted, {}, limits)
    placed = [one for page in made.pages.values() for one in page]
    assert within(made, limits)
    assert len(made.pages) <= 2
    if made.left_out:
        (note,) = [one for one in placed if one.body["policy"] == "too-many-results"]
        assert f"{made.left_out} more" in note.body["message"]
        assert len(placed) - 1 + made.left_out == len(wanted)
        kept = {one.traits.fingerprint for one in placed}
        assert {one.traits.fingerprint for one in wanted[: len(placed) - 1]} <= kept
    else:
        assert len(placed) == len(wanted)
