"""Modes: what the operator's settings make of a rule."""

import pytest

from portcullis.decision.modes import Modes
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
    assert Modes(modes, namespaces).mode(policy(), D, namespace) is expected


@pytest.mark.parametrize(
    ("chosen", "rule", "expected"),
    [(None, W, W), (D, W, W), (W, W, W), (A, W, A), (None, A, A), (D, A, A), (W, A, A)],
)
def test_no_setting_makes_a_weaker_rule_stronger(chosen: Mode | None, rule: Mode, expected: Mode) -> None:
    modes = Modes({} if chosen is None else {"image-user": chosen})
    assert modes.mode(policy(), rule, "shop") is expected


def test_metadata_mode_does_not_weaken_a_warn_rule() -> None:
    assert Modes().mode(policy(mode=A), W, "") is W


@pytest.mark.parametrize(
    ("rules", "modes", "expected"),
    [((D,), {}, D), ((W, A), {}, W), ((A,), {}, A), ((D, W), {"*": A}, A), ((D, W), {"*": W}, W), ((), {}, A)],
)
def test_an_undecided_policy_counts_under_its_strongest_rule(
    rules: tuple[Mode, ...], modes: dict[str, Mode], expected: Mode
) -> None:
    assert Modes(modes).strongest(policy(rules=rules), "shop") is expected
