"""What is otherwise between two decisions."""

from dataclasses import replace

import pytest

from fakes.auditlog import HOSTILE, SCENES
from portcullis.model.decision import Decision, JudgedImage, Violation
from portcullis.model.ruling import Mode
from portcullis.server.review.decisiondiff import SHOWN, Change, difference

CLEAN = SCENES["clean"].decision
ROOT = Violation("image-user", Mode.DENY, "high", "runs as root", container="web")
DIGEST, OTHER = "sha256:" + "aa" * 32, "sha256:" + "bb" * 32


def with_(*violations: Violation) -> Decision:
    return replace(CLEAN, violations=violations)


VIOLATIONS = {
    "appears": ((), (ROOT,), [Change("new", "image-user", "", "refuses: runs as root", "web")]),
    "goes": ((ROOT,), (), [Change("gone", "image-user", "refuses: runs as root", "", "web")]),
    "stays": ((ROOT,), (ROOT,), []),
    "is only warned of": (
        (ROOT,),
        (replace(ROOT, mode=Mode.WARN),),
        [Change("changed", "image-user", "refuses: runs as root", "warn: runs as root", "web")],
    ),
    "is excepted": (
        (ROOT,),
        (replace(ROOT, exception="EX-1"),),
        [Change("changed", "image-user", "refuses: runs as root", "excepted by EX-1: runs as root", "web")],
    ),
    "says something else": (
        (ROOT,),
        (replace(ROOT, msg="runs as uid 0"),),
        [Change("changed", "image-user", "refuses: runs as root", "refuses: runs as uid 0", "web")],
    ),
    "is said twice": (
        (),
        (ROOT, replace(ROOT, msg="again")),
        [Change("new", "image-user", "", "refuses: runs as root (and 1 more)", "web")],
    ),
    "is in another container": (
        (ROOT,),
        (replace(ROOT, container="db", platform="linux/arm64"),),
        [
            Change("new", "image-user", "", "refuses: runs as root", "db on linux/arm64"),
            Change("gone", "image-user", "refuses: runs as root", "", "web"),
        ],
    ),
    "what refuses comes first": (
        (),
        (replace(ROOT, policy="a", mode=Mode.AUDIT), ROOT),
        [
            Change("new", "image-user", "", "refuses: runs as root", "web"),
            Change("new", "a", "", "audit: runs as root", "web"),
        ],
    ),
}


@pytest.mark.parametrize(("before", "after", "expected"), VIOLATIONS.values(), ids=VIOLATIONS)
def test_a_violation(before: tuple[Violation, ...], after: tuple[Violation, ...], expected: list[Change]) -> None:
    assert list(difference(with_(*before), with_(*after)).violations) == expected


IMAGES = {
    "another version": (
        [("r.example/web:1", DIGEST)],
        [("r.example/web:2", OTHER)],
        [Change("changed", "r.example/web", f"r.example/web:1@{DIGEST}", f"r.example/web:2@{OTHER}")],
    ),
    "the same tag, moved": (
        [("r.example:5000/web:1", DIGEST)],
        [("r.example:5000/web:1", OTHER)],
        [Change("changed", "r.example:5000/web", f"r.example:5000/web:1@{DIGEST}", f"r.example:5000/web:1@{OTHER}")],
    ),
    "pinned": (
        [("web:1", DIGEST)],
        [(f"web:1@{DIGEST}", DIGEST)],
        [],
    ),
    "another image": (
        [("web:1", DIGEST)],
        [("db:1", "")],
        [Change("new", "db", "", "db:1"), Change("gone", "web", f"web:1@{DIGEST}", "")],
    ),
    "two of one repository": (
        [("web:1", DIGEST)],
        [("web:1", DIGEST), ("web:2", OTHER)],
        [Change("new", "web (2)", "", f"web:2@{OTHER}")],
    ),
}


@pytest.mark.parametrize(("before", "after", "expected"), IMAGES.values(), ids=IMAGES)
def test_an_image(before: list[tuple[str, str]], after: list[tuple[str, str]], expected: list[Change]) -> None:
    old, new = (replace(CLEAN, images=tuple(JudgedImage(*one) for one in images)) for images in (before, after))
    assert list(difference(old, new).images) == expected
    assert not difference(old, new, images=False).images


def test_what_could_not_be_evaluated() -> None:
    outage = SCENES["an outage"].decision
    found = difference(CLEAN, outage, images=False)
    assert (found.before.kind, found.after.kind) == ("admitted", "outage")
    assert found.undecided[0] == Change("new", "image-user", "", "deny: registry-unreachable")
    assert difference(outage, outage).nothing
    assert not found.nothing


def test_much_of_it_is_counted() -> None:
    many = [replace(ROOT, container=f"{number}") for number in range(SHOWN + 7)]
    found = difference(CLEAN, with_(*many), images=False)
    assert (len(found.violations), found.more) == (SHOWN, 7)


def test_hostile_text_is_only_text() -> None:
    found = difference(CLEAN, SCENES["hostile"].decision)
    assert any(change.name == HOSTILE for change in found.violations)
