"""What the configuration says of a policy, in words, and to whom."""

from datetime import UTC, datetime, timedelta

import pytest

from portcullis.decision.exceptions import PolicyException
from portcullis.decision.modes import Modes, Override
from portcullis.model.imagepattern import parse_pattern
from portcullis.model.place import LabelRequirement, LabelSelector, Scope, SelectorOperator
from portcullis.model.record import Visible
from portcullis.model.ruling import Mode, PolicyInfo
from portcullis.server.review.scopewords import (
    SOON,
    ModeHere,
    ModeRow,
    concerns,
    exception_rows,
    mode_rows,
    modes_here,
    scope_words,
)

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
POLICY = PolicyInfo("image-shell", "t", "d", "medium", Mode.DENY, "", frozenset(), (Mode.DENY,))
PROD = LabelSelector({"env": "prod"})
MODES = Modes(
    modes={"*": Mode.WARN},
    namespaces={
        "shop": {"*": Mode.AUDIT},
        "legacy": {"image-shell": Mode.WARN, "*": Mode.DENY},
        "other": {"x": Mode.WARN},
    },
    overrides=(
        Override(Scope(("team-*",), PROD), {"image-shell": Mode.DENY}),
        Override(Scope(("far-*",)), {"image-shell": Mode.AUDIT}),
        Override(Scope(("team-*",)), {"image-user": Mode.AUDIT}),
    ),
)


def test_the_lines_stand_in_the_order_in_which_they_are_asked() -> None:
    assert mode_rows(MODES, POLICY, None) == (
        ModeRow("in the namespace legacy", Mode.WARN, "policies.namespaces.legacy.image-shell", for_all=False),
        ModeRow("in the namespace shop", Mode.AUDIT, "policies.namespaces.shop.*", for_all=True),
        ModeRow(
            "in namespaces team-*, where the label env is prod",
            Mode.DENY,
            "policies.overrides.0.image-shell",
            for_all=False,
        ),
        ModeRow("in namespaces far-*", Mode.AUDIT, "policies.overrides.1.image-shell", for_all=False),
        ModeRow("everywhere else", Mode.WARN, "policies.modes.*", for_all=True),
        ModeRow("where nothing else is said", Mode.DENY, "METADATA of the policy", for_all=False),
    )


def test_a_reader_of_few_namespaces_is_told_of_no_others() -> None:
    rows = mode_rows(MODES, POLICY, frozenset({"shop", "team-a"}))
    assert [row.where for row in rows] == [
        "in the namespace shop",
        "in namespaces team-*, where the label env is prod",
        "everywhere else",
        "where nothing else is said",
    ]


@pytest.mark.parametrize(
    ("visible", "here"),
    [
        (None, ()),
        (frozenset(), ()),
        (
            frozenset({"shop", "legacy", "team-a", "far-b"}),
            (
                ModeHere("far-b", Mode.AUDIT, unsure=False),
                ModeHere("legacy", Mode.WARN, unsure=False),
                ModeHere("shop", Mode.AUDIT, unsure=False),
                ModeHere("team-a", Mode.DENY, unsure=True),
            ),
        ),
    ],
)
def test_the_mode_in_the_namespaces_of_the_reader(visible: Visible, here: tuple[ModeHere, ...]) -> None:
    assert modes_here(MODES, POLICY, visible) == here


@pytest.mark.parametrize(
    ("scope", "words"),
    [
        (Scope(), "everywhere"),
        (Scope(("a", "b-*")), "in namespaces a, b-*"),
        (Scope(labels=LabelSelector()), "where labels are any"),
        (
            Scope(
                ("a",),
                LabelSelector(
                    {"app": "x"},
                    (
                        LabelRequirement("tier", SelectorOperator.IN, ("1", "2")),
                        LabelRequirement("old", SelectorOperator.DOES_NOT_EXIST),
                    ),
                ),
            ),
            "in namespaces a, where the label app is x and the label tier is one of 1, 2 and the label old is not set",
        ),
    ],
)
def test_scopes_in_words(scope: Scope, words: str) -> None:
    assert scope_words(scope) == words


def test_names_of_other_namespaces_are_left_out() -> None:
    scope = Scope(("shop", "legacy", "team-*"))
    assert scope_words(scope, frozenset({"shop"})) == "in namespaces shop and others"
    assert scope_words(scope, frozenset({"shop", "team-a"})) == "in namespaces shop, team-* and others"
    assert scope_words(Scope(("shop",)), frozenset({"shop"})) == "in namespaces shop"


@pytest.mark.parametrize(
    ("scope", "visible", "expected"),
    [
        (Scope(("shop",)), None, True),
        (Scope(("shop",)), frozenset({"shop"}), True),
        (Scope(("shop",)), frozenset({"legacy"}), False),
        (Scope(("s*",)), frozenset({"shop"}), True),
        (Scope(labels=PROD), frozenset({"shop"}), True),
        (Scope(), frozenset({"shop"}), True),
        (Scope(), frozenset(), False),
    ],
)
def test_what_concerns_a_reader(scope: Scope, visible: Visible, expected: bool) -> None:
    assert concerns(scope, visible) is expected


def exception(
    name: str, days: float, *, policies: tuple[str, ...] = ("image-shell",), **fields: object
) -> PolicyException:
    values: dict[str, object] = {"scope": Scope(), "reason": "r", "owner": "o"}
    return PolicyException(
        id=name,
        policies=frozenset(policies),
        expires=NOW + timedelta(days=days),
        **(values | fields),  # type: ignore[arg-type]
    )


def test_exceptions_that_end_next_stand_first_and_those_that_ended_last_behind() -> None:
    rows = exception_rows(
        [exception("ended long ago", -9), exception("later", 90), exception("ended", -1), exception("next", 3)],
        NOW,
        None,
    )
    assert [(row.id, row.ended, row.soon) for row in rows] == [
        ("next", False, True),
        ("later", False, False),
        ("ended", True, False),
        ("ended long ago", True, False),
    ]


@pytest.mark.parametrize(
    ("days", "soon", "ended"), [(0, False, True), (SOON.days, True, False), (14.001, False, False)]
)
def test_when_an_exception_ends_soon(days: float, soon: bool, ended: bool) -> None:
    (row,) = exception_rows([exception("EX", days)], NOW, None)
    assert (row.soon, row.ended) == (soon, ended)


def test_exceptions_of_one_policy_in_words() -> None:
    found = exception(
        "EX-1",
        3,
        scope=Scope(("legacy",)),
        kinds=frozenset({"Pod", "Job"}),
        names=("web-*",),
        images=(parse_pattern("registry.example/old/**"),),
    )
    other = exception("EX-2", 3, policies=("image-user",))
    (row,) = exception_rows([found, other], NOW, None, "image-shell")
    assert row.where == "in namespaces legacy; kinds Job, Pod; names web-*; images registry.example/old/**"
    assert exception_rows([found], NOW, frozenset({"shop"}), "image-shell") == ()
