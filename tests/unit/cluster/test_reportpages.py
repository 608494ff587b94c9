"""Pages of many results: as few as it takes, and one change writes one or two of them."""

from dataclasses import replace

import pytest

from fakes.decisions import VIOLATION
from fakes.reported import failing, rejudged
from portcullis.cluster.reportpages import Division, divide
from portcullis.cluster.reportresults import Traits, results_of
from portcullis.limits import Limits
from portcullis.model.running import Rejudged

MANY = 1000


def divided(given: list[Rejudged], before: Division | None = None, **limits: int) -> Division:
    old: dict[int, list[Traits]] = {}
    if before is not None:
        old = {number: [one.traits for one in page] for number, page in before.pages.items()}
    return divide(results_of(given), old, namespace="shop", limits=Limits(**limits))


def changed(before: Division, after: Division) -> int:
    return sum(before.pages.get(at) != after.pages.get(at) for at in before.pages.keys() | after.pages.keys())


@pytest.fixture(scope="module")
def many() -> list[Rejudged]:
    """Workloads with two violations each."""
    return list(failing(MANY, each=2))


@pytest.fixture(scope="module")
def before(many: list[Rejudged]) -> Division:
    return divided(many)


def test_thousands_of_results_fill_their_pages(before: Division) -> None:
    sizes = [len(page) for page in before.pages.values()]
    assert sum(sizes) == 2 * MANY
    assert len(sizes) == 10
    assert max(sizes) == 200
    assert max(sum(one.size for one in page) for page in before.pages.values()) < 256 * 1024


@pytest.mark.parametrize("change", ["goes", "comes", "says something else", "is no longer refused but warned"])
def test_one_change_writes_one_page_or_two(many: list[Rejudged], before: Division, change: str) -> None:
    place = 567
    other = list(many)
    if change == "goes":
        del other[place]
    elif change == "comes":
        other.append(rejudged(owner=replace(other[0].owner, name="another"), violations=(VIOLATION,)))
    else:
        (words, mode) = ("root again", "deny") if change == "says something else" else (VIOLATION.msg, "warn")
        violations = tuple(replace(one, msg=words, mode=mode) for one in other[place].decision.violations)
        other[place] = rejudged(owner=other[place].owner, violations=violations)
    after = divided(other, before)
    assert 1 <= changed(before, after) <= 2
    assert divided(other, after).pages == after.pages


def test_pages_that_nearly_everything_has_left_are_joined(many: list[Rejudged], before: Division) -> None:
    after = divided(many[::50], before)
    assert len(after.pages) == 1
    assert sum(map(len, after.pages.values())) == 2 * MANY // 50


def test_a_number_that_others_have_is_left_to_them() -> None:
    given = list(failing(3))
    made = divide(results_of(given), {}, namespace="shop", limits=Limits(report_page_results=1), taken={1, 3})
    assert sorted(made.pages) == [2, 4, 5]


def test_where_a_page_may_be_smaller_than_anything_all_is_left_out() -> None:
    made = divided(list(failing(3)), report_page_bytes=1)
    assert (made.pages, made.left_out) == ({}, 3)
