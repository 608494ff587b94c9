"""Modes: what the operator's settings make of a rule."""

import pytest

from portcullis.decision.modes import Modes, Override
from portcullis.model.place import LabelRequirement, LabelSelector, Place, Scope, SelectorOperator
from portcullis.model.ruling import Mode, Need, PolicyInfo

D, W, A = Mode.DENY, Mode.WARN, Mode.AUDIT


def policy(name: str = "image-user", mode: Mode = D, rules: tuple[Mode, ...] = (D,)) -> PolicyInfo:
    return PolicyInfo(
        name=name,
        title=name,
        description="",
        severity="high",
        mode=mode,
        docs="",
        needs=frozenset({Need.REQUEST}),
        rules=rules,
    )


@pytest.mark.parametrize(
    ("modes", "namespaces", "namespace", "expected"),
    [
        pytest.param({}, {}, "shop", D, id="METADATA's own mode"),
        pytest.param({"image-user": W}, {}, "shop", W, id="by policy"),
        pytest.param({"*": A}, {}, "shop", A, id="by wildcard"),
        pytest.param({"*": A, "image-user": W}, {}, "shop", W, id="a name wins over the wildcard"),
        pytest.param({"image-user": D}, {"shop": {"image-user": A}}, "shop", A, id="a namespace wins"),
        pytest.param({"image-user": D}, {"shop": {"*": A}}, "shop", A, id="its wildcard wins over a general name"),
        pytest.param({"image-user": W}, {"shop": {"image-user": A}}, "bank", W, id="only in that namespace"),
        pytest.param({"image-users": A}, {}, "shop", D, id="no match by prefix"),
    ],
)
def test_deny_rules_take_the_nearest_setting(
    modes: dict[str, Mode], namespaces: dict[str, dict[str, Mode]], namespace: str, expected: Mode
) -> None:
    assert Modes(modes, namespaces).mode(policy(), D, Place(namespace)) is expected


@pytest.mark.parametrize(
    ("chosen", "rule", "expected"),
    [(None, W, W), (D, W, W), (W, W, W), (A, W, A), (None, A, A), (D, A, A), (W, A, A)],
)
def test_no_setting_makes_a_weaker_rule_stronger(chosen: Mode | None, rule: Mode, expected: Mode) -> None:
    modes = Modes({} if chosen is None else {"image-user": chosen})
    assert modes.mode(policy(), rule, Place("shop")) is expected


def test_metadata_mode_does_not_weaken_a_warn_rule() -> None:
    assert Modes().mode(policy(mode=A), W, Place("")) is W


@pytest.mark.parametrize(
    ("rules", "modes", "expected"),
    [((D,), {}, D), ((W, A), {}, W), ((A,), {}, A), ((D, W), {"*": A}, A), ((D, W), {"*": W}, W), ((), {}, A)],
)
def test_an_undecided_policy_counts_under_its_strongest_rule(
    rules: tuple[Mode, ...], modes: dict[str, Mode], expected: Mode
) -> None:
    assert Modes(modes).strongest(policy(rules=rules), Place("shop")) is expected


TEAM_A = Scope((), LabelSelector({"team": "a"}))


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        pytest.param(Place("dev-1", {}), (W,), id="by glob"),
        pytest.param(Place("prod", {"team": "a"}), (A,), id="by label"),
        pytest.param(Place("prod", {"team": "b"}), (D,), id="by no label"),
        pytest.param(Place("prod", None), (A, D), id="labels not known: both are possible"),
        pytest.param(Place("dev-1", {"team": "a"}), (W,), id="the first override decides"),
        pytest.param(Place("exact", {"team": "a"}), (W,), id="an exact name goes before all"),
        pytest.param(Place("", None), (D,), id="no namespace is in no scope"),
    ],
)
def test_overrides_are_asked_in_their_order(place: Place, expected: tuple[Mode, ...]) -> None:
    modes = Modes(
        {"image-user": D},
        {"exact": {"image-user": W}},
        (Override(Scope(("dev-*",)), {"image-user": W}), Override(TEAM_A, {"*": A})),
    )
    assert modes.chosen("image-user", place) == expected
    strongest = D if D in expected else expected[0]
    assert modes.mode(policy(), D, place) is strongest


def test_unknown_labels_never_weaken() -> None:
    weaker = Modes(overrides=(Override(TEAM_A, {"image-user": A}),))
    stronger = Modes({"image-user": A}, overrides=(Override(TEAM_A, {"image-user": D}),))
    assert weaker.mode(policy(), D, Place("shop")) is D
    assert stronger.mode(policy(), D, Place("shop")) is D
    assert stronger.mode(policy(), D, Place("shop", {"team": "b"})) is A


def test_parameters_of_a_place_replace_key_by_key_and_the_first_override_counts() -> None:
    modes = Modes(
        parameters={"image-age": {"days": 30, "note": "n"}},
        overrides=(
            Override(Scope(("dev-*",)), parameters={"image-age": {"days": 90}}),
            Override(Scope(("*",)), parameters={"image-age": {"days": 60, "more": True}}),
        ),
    )
    assert modes.parameters_at(Place("prod")).changed == {"image-age": {"days": 60, "note": "n", "more": True}}
    assert modes.parameters_at(Place("dev-1")).changed == {"image-age": {"days": 90, "note": "n", "more": True}}
    assert modes.parameters_at(Place("")).changed == {}


def test_parameters_that_hang_on_unknown_labels_are_unsure() -> None:
    modes = Modes(overrides=(Override(TEAM_A, parameters={"image-age": {"days": 1}}),))
    assert modes.parameters_at(Place("shop")).unsure == {"image-age"}
    assert modes.parameters_at(Place("shop", {})).unsure == set()
    assert modes.by_labels
    assert not Modes(overrides=(Override(Scope(("a",)), {"*": A}),)).by_labels


@pytest.mark.parametrize(
    ("requirement", "labels", "holds"),
    [
        (LabelRequirement("tier", SelectorOperator.IN, ("a", "b")), {"tier": "b"}, True),
        (LabelRequirement("tier", SelectorOperator.IN, ("a", "b")), {"tier": "c"}, False),
        (LabelRequirement("tier", SelectorOperator.IN, ("a",)), {}, False),
        (LabelRequirement("tier", SelectorOperator.NOT_IN, ("a",)), {}, True),
        (LabelRequirement("tier", SelectorOperator.NOT_IN, ("a",)), {"tier": "a"}, False),
        (LabelRequirement("tier", SelectorOperator.EXISTS), {"tier": ""}, True),
        (LabelRequirement("tier", SelectorOperator.EXISTS), {}, False),
        (LabelRequirement("tier", SelectorOperator.DOES_NOT_EXIST), {}, True),
        (LabelRequirement("tier", SelectorOperator.DOES_NOT_EXIST), {"tier": "a"}, False),
    ],
)
def test_label_requirements_mean_what_they_mean_to_kubernetes(
    requirement: LabelRequirement, labels: dict[str, str], holds: bool
) -> None:
    assert LabelSelector({}, (requirement,)).matches(labels) is holds
    assert not LabelSelector({"more": "x"}, (requirement,)).matches(labels)
