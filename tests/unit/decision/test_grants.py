"""Grants: each covers wholly, or not at all. The cases are numbered as the proof in decision/grants.py is."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from portcullis.decision.exceptions import Subject
from portcullis.decision.grants import Grants, NamedImage
from portcullis.model.decision import Problem, Stage
from portcullis.model.grant import CLOCK_SKEW, Grant, is_grant
from portcullis.model.image import Repository
from portcullis.model.place import Place

NOW = datetime(2026, 11, 27, 18, 0, tzinfo=UTC)
DIGEST, OTHER_DIGEST = "sha256:" + "a" * 64, "sha256:" + "b" * 64
GRANT = Grant(
    namespace="shop",
    name="payments-down",
    uid="u-1",
    policies=("image-user", "scan-required"),
    images=("registry.example/acme/**",),
    digests=(DIGEST,),
    covers_problems=True,
    reason="the scanner is down and payments must go out",
    created=NOW - timedelta(hours=1),
    expires=NOW + timedelta(hours=1),
)
WEB = NamedImage("registry.example/acme/web:1", Repository("registry.example", "acme/web"), DIGEST)
OTHER = NamedImage("registry.example/other/web:1", Repository("registry.example", "other/web"), DIGEST)
SUBJECT = Subject("image-user", Place("shop"), "Deployment", "checkout", WEB.repository)
OUTAGE = Problem(Stage.REGISTRY, "registry-unreachable", retryable=True, msg="no answer", image=WEB.written)
ENGINE = Problem(Stage.POLICY, "engine-unavailable", retryable=True, msg="OPA is not there")
WHOLE = replace(GRANT, images=(), digests=(), policies=("*",))
"""For everything in its namespace."""

Change = Callable[[Grant], Grant]
BROKEN: dict[str, tuple[Change, Subject]] = {
    "1: it has ended": (lambda one: replace(one, expires=NOW), SUBJECT),
    "1: it is made later than a clock may be ahead": (
        lambda one: replace(one, created=NOW + CLOCK_SKEW + timedelta(seconds=1)),
        SUBJECT,
    ),
    "2: another namespace": (lambda one: one, replace(SUBJECT, place=Place("shop-2"))),
    "2: no namespace": (lambda one: replace(one, namespace=""), replace(SUBJECT, place=Place(""))),
    "3: another policy": (lambda one: replace(one, policies=("image-users",)), SUBJECT),
}


def test_what_it_covers() -> None:
    assert Grants([GRANT]).covering(SUBJECT, WEB, NOW) is GRANT
    assert Grants([GRANT]).covering_undecided(SUBJECT, [OUTAGE, ENGINE], [WEB], NOW) is GRANT
    assert GRANT.id == "break-glass:shop/payments-down"
    assert is_grant(GRANT.id)
    assert not is_grant("EX-12")


def test_a_grant_without_images_covers_what_is_about_none_or_about_any() -> None:
    for image in (None, WEB, OTHER):
        assert Grants([WHOLE]).covering(SUBJECT, image, NOW) is WHOLE
    assert Grants([WHOLE]).covering_undecided(SUBJECT, [ENGINE], [], NOW) is WHOLE


@pytest.mark.parametrize(("change", "subject"), BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("grant", [GRANT, WHOLE], ids=["for one image", "for all"])
def test_one_step_that_fails_is_enough(grant: Grant, change: Change, subject: Subject) -> None:
    grants = Grants([change(grant)])
    assert grants.covering(subject, WEB, NOW) is None
    assert grants.covering_undecided(subject, [OUTAGE], [WEB], NOW) is None


IMAGES: dict[str, tuple[Change, NamedImage | None]] = {
    "about no image": (lambda one: one, None),
    "about no image, digests alone": (lambda one: replace(one, images=()), None),
    "another repository": (lambda one: one, OTHER),
    "another digest": (lambda one: one, replace(WEB, digest=OTHER_DIGEST)),
    "a digest that is not known": (lambda one: one, replace(WEB, digest="")),
    "an empty digest in the grant": (lambda one: replace(one, digests=("",)), replace(WEB, digest="")),
    "a name that cannot be read": (lambda one: one, replace(WEB, repository=None)),
    "a name that cannot be read, digests alone": (lambda one: replace(one, images=()), replace(WEB, repository=None)),
    "a pattern that cannot be read": (lambda one: replace(one, images=("registry.example/ac*",)), WEB),
}


@pytest.mark.parametrize(("change", "image"), IMAGES.values(), ids=IMAGES)
def test_4_an_image_that_one_condition_does_not_mean(change: Change, image: NamedImage | None) -> None:
    grants = Grants([change(GRANT)])
    assert grants.covering(SUBJECT, image, NOW) is None
    assert grants.covering_undecided(SUBJECT, [ENGINE], [image] if image else [], NOW) is None


UNDECIDED: dict[str, tuple[Change, list[Problem], list[NamedImage]]] = {
    "it covers no problems": (lambda one: replace(one, covers_problems=False), [OUTAGE], [WEB]),
    "the request has no images": (lambda one: one, [ENGINE], []),
    "another image beside": (lambda one: one, [OUTAGE], [WEB, OTHER]),
    "a problem about another image": (lambda one: one, [OUTAGE, replace(OUTAGE, image=OTHER.written)], [WEB]),
}


@pytest.mark.parametrize(("change", "problems", "images"), UNDECIDED.values(), ids=UNDECIDED)
def test_5_a_policy_that_could_not_be_evaluated(
    change: Change, problems: list[Problem], images: list[NamedImage]
) -> None:
    assert Grants([change(GRANT)]).covering_undecided(SUBJECT, problems, images, NOW) is None


def test_5_a_grant_for_everything_covers_no_problems_unless_it_says_so() -> None:
    grant = replace(WHOLE, covers_problems=False)
    assert Grants([grant]).covering(SUBJECT, None, NOW) is grant
    assert Grants([grant]).covering_undecided(SUBJECT, [ENGINE], [], NOW) is None


def test_two_grants_never_add_up() -> None:
    policy = replace(GRANT, name="policy", digests=(OTHER_DIGEST,))
    image = replace(GRANT, name="image", policies=("another",))
    problems = replace(GRANT, name="problems", policies=("another",))
    quiet = replace(GRANT, name="quiet", covers_problems=False)
    mine, theirs = replace(GRANT, name="mine"), replace(GRANT, name="theirs", images=("registry.example/other/**",))
    assert Grants([policy, image]).covering(SUBJECT, WEB, NOW) is None
    assert Grants([problems, quiet]).covering_undecided(SUBJECT, [OUTAGE], [WEB], NOW) is None
    assert Grants([mine, theirs]).covering_undecided(SUBJECT, [OUTAGE], [WEB, OTHER], NOW) is None


def test_it_covers_until_the_last_moment_and_from_a_clock_that_is_ahead() -> None:
    last = GRANT.expires - timedelta(microseconds=1)
    assert Grants([GRANT]).covering(SUBJECT, WEB, last) is GRANT
    assert Grants([GRANT]).covering(SUBJECT, WEB, GRANT.created - CLOCK_SKEW) is GRANT


def test_of_several_the_first_by_name() -> None:
    grants = Grants([replace(GRANT, name="b"), replace(GRANT, name="a"), replace(GRANT, name="0", policies=("x",))])
    found = grants.covering(SUBJECT, WEB, NOW)
    assert found is not None
    assert found.name == "a"


def test_what_a_grant_remembers_of_repositories_is_bounded_and_right() -> None:
    grants = Grants([replace(GRANT, digests=())])
    for number in range(2500):
        path = f"{'acme' if number % 2 else 'other'}/web{number}"
        image = NamedImage("", Repository("registry.example", path), "")
        assert (grants.covering(SUBJECT, image, NOW) is not None) is bool(number % 2)
    assert len(grants._read[0]._known) <= 1000
