"""Exceptions: each covers a violation wholly, or not at all."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from portcullis.decision.exceptions import Exceptions, PolicyException, Subject
from portcullis.model.image import Repository
from portcullis.model.imagepattern import parse_pattern
from portcullis.model.place import LabelSelector, Place, Scope

NOW = datetime(2026, 11, 27, tzinfo=UTC)
OLD = Repository("registry.example", "old/web")
LEGACY = PolicyException(
    id="EX-12",
    policies=frozenset({"image-shell"}),
    scope=Scope(("legacy",)),
    reason="moves to distroless",
    owner="payments",
    expires=NOW + timedelta(days=1),
    images=(parse_pattern("registry.example/old/**"),),
)
COVERED = Subject("image-shell", Place("legacy"), "Deployment", "checkout", OLD)


def test_what_it_covers() -> None:
    assert Exceptions([LEGACY]).covering(COVERED, NOW) is LEGACY


@pytest.mark.parametrize(
    "subject",
    [
        pytest.param(replace(COVERED, policy="image-user"), id="another policy"),
        pytest.param(replace(COVERED, place=Place("legacy-2")), id="another namespace"),
        pytest.param(replace(COVERED, place=Place("")), id="no namespace"),
        pytest.param(replace(COVERED, image=Repository("registry.example", "new/web")), id="another image"),
        pytest.param(replace(COVERED, image=None), id="no image"),
    ],
)
def test_one_condition_that_fails_is_enough(subject: Subject) -> None:
    assert Exceptions([LEGACY]).covering(subject, NOW) is None


@pytest.mark.parametrize(
    "exception",
    [
        pytest.param(replace(LEGACY, kinds=frozenset({"Pod"})), id="another kind"),
        pytest.param(replace(LEGACY, names=("cart-*",)), id="another name"),
        pytest.param(replace(LEGACY, scope=Scope((), LabelSelector({"a": "b"}))), id="labels are not known"),
        pytest.param(replace(LEGACY, expires=NOW), id="it ends now"),
    ],
)
def test_other_conditions(exception: PolicyException) -> None:
    assert Exceptions([exception]).covering(COVERED, NOW) is None


def test_it_covers_until_the_last_moment() -> None:
    last = LEGACY.expires - timedelta(microseconds=1)
    assert Exceptions([LEGACY]).covering(COVERED, last) is LEGACY
    assert Exceptions([LEGACY]).covering(COVERED, LEGACY.expires) is None


def test_conditions_of_two_never_add_up() -> None:
    """One is for the namespace with another image, the other for the image in another namespace."""
    here = replace(LEGACY, id="A", images=(parse_pattern("registry.example/new/**"),))
    there = replace(LEGACY, id="B", scope=Scope(("other",)))
    assert Exceptions([here, there]).covering(COVERED, NOW) is None


def test_the_first_that_covers_it_is_named() -> None:
    narrow = replace(LEGACY, id="B", kinds=frozenset({"Deployment"}), names=("check*",))
    assert Exceptions([narrow, LEGACY]).covering(COVERED, NOW) is narrow
