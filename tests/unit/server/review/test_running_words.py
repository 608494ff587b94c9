"""What is said of what runs."""

from dataclasses import replace

import pytest

from fakes.running import a_moved_tag, a_result
from portcullis.model.decision import Decision
from portcullis.model.running import Condition, ObjectRef, Rejudged
from portcullis.server.review.runningwords import WORDS, owner_address, running_sentence, running_whys

GRANT = "break-glass:shop/urgent"


def covered_problem() -> Rejudged:
    """A workload of which nothing is known, and that a grant lets stand."""
    result = a_result("web", Condition.UNKNOWN, policies=["scan-required"])
    undecided = tuple(replace(one, exception=GRANT) for one in result.decision.undecided)
    decision: Decision = replace(result.decision, undecided=undecided)
    return replace(result, condition=Condition.BREAK_GLASS, decision=decision, break_glass=GRANT)


SENTENCES = {
    "failing": (
        a_result("web", Condition.FAILING, policies=["image-user", "image-shell", "image-user"]),
        "Deployment shop/web fails: it violates image-user and image-shell.",
    ),
    "moved": (
        a_result("web", Condition.FAILING, moved=[a_moved_tag(), a_moved_tag()]),
        "Deployment shop/web fails: 2 tags have moved since it was admitted.",
    ),
    "both": (
        a_result("web", Condition.FAILING, policies=["image-user"], moved=[a_moved_tag()]),
        "Deployment shop/web fails: it violates image-user and 1 tag has moved since it was admitted.",
    ),
    "unknown": (
        a_result("web", Condition.UNKNOWN, policies=["scan-required"]),
        "Nobody knows how Deployment shop/web stands: scan-required could not be evaluated.",
    ),
    "by a grant": (
        a_result("web", Condition.BREAK_GLASS, policies=["image-user"], break_glass=GRANT),
        "Deployment shop/web stands by break-glass, although image-user is against it.",
    ),
    "in an outage": (
        covered_problem(),
        "Deployment shop/web stands by break-glass, although scan-required is against it.",
    ),
    "mended since": (
        a_result("web", Condition.BREAK_GLASS, break_glass=GRANT),
        "Deployment shop/web was let in by break-glass. By now no policy is against it.",
    ),
    "excepted": (
        a_result("web", Condition.EXCEPTED, policies=["image-user"]),
        "Deployment shop/web stands by an exception, although it violates image-user.",
    ),
    "warned": (
        a_result("web", Condition.WARNED, policies=["image-age"]),
        "Deployment shop/web violates image-age, which is not enforced here.",
    ),
    "warned of nothing known": (
        replace(
            a_result("web", Condition.UNKNOWN, policies=["scan-required"]),
            condition=Condition.WARNED,
        ),
        "Deployment shop/web could not be judged by scan-required, which is not enforced here.",
    ),
    "good": (a_result("web"), "Deployment shop/web is good: no policy is violated."),
}


@pytest.mark.parametrize(("result", "expected"), SENTENCES.values(), ids=SENTENCES)
def test_how_it_stands_in_a_sentence(result: Rejudged, expected: str) -> None:
    assert running_sentence(result) == expected


def test_every_condition_has_words_of_its_own() -> None:
    assert list(WORDS) == list(Condition)
    assert len({words.word for words in WORDS.values()}) == len({words.sign for words in WORDS.values()}) == len(WORDS)


def test_what_makes_it_fail_comes_first_and_what_is_covered_names_what_covers_it() -> None:
    failing = a_result("web", Condition.FAILING, policies=["image-user"], moved=[a_moved_tag()])
    assert [(why.name, why.refuses) for why in running_whys(failing)] == [("tag-moved", True), ("image-user", True)]
    assert running_whys(failing)[0].words == "web runs bb…, judged was aa…: registry.example/web:1"
    covered = running_whys(covered_problem())
    assert [(why.name, why.exception) for why in covered if why.is_policy] == [("scan-required", GRANT)]


@pytest.mark.parametrize(
    ("owner", "expected"),
    [
        (ObjectRef("apps/v1", "Deployment", "shop", "web"), "/running/shop/Deployment/web"),
        (ObjectRef("v1", "Node", "", "n1"), "/running/-/Node/n1"),
        (ObjectRef("v1", "a b", "shop", "?#<x>"), "/running/shop/a%20b/%3F%23%3Cx%3E"),
        (ObjectRef("v1", "../..", "shop", "/"), "/running/shop/..../-"),
    ],
)
def test_an_address_leads_to_one_page(owner: ObjectRef, expected: str) -> None:
    assert owner_address(owner) == expected
