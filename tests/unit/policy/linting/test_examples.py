"""docs/linting.md: the bad example of each rule fires that rule and no other, the good one none."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from portcullis.policy.linting.finding import RULES
from unit.policy.linting.support import HEAD, TEST, names, run

pytestmark = pytest.mark.opa

PAGE = (Path(__file__).resolve().parents[4] / "docs" / "linting.md").read_text("utf-8")
ALONE = frozenset({"parse-error", "compile-error", "type-error", "policy-set", "builtin-not-allowed"})
"""Rules that keep others from being looked for; linted apart."""
UNDOCUMENTED = frozenset({"not-supported"})


def examples() -> Iterator[tuple[str, str, list[str]]]:
    """Rule, good or bad, and the Rego blocks of it."""
    for section in re.split(r"^### ", PAGE, flags=re.MULTILINE)[1:]:
        rule = section.partition("\n")[0]
        for kind, text in re.findall(r"^(Bad|Good):(.*?)(?=^(?:Bad|Good):|\Z|^## )", section, re.DOTALL | re.MULTILINE):
            yield rule, kind.lower(), re.findall(r"^```rego\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


EXAMPLES = {(rule, kind): blocks for rule, kind, blocks in examples()}


def write(folder: Path, rule: str, kind: str) -> None:
    """The example as a policy; with METADATA and a test unless it is about these."""
    package = f"{rule}-{kind}".replace("-", "_")
    (place := folder / package).mkdir(parents=True)
    blocks = list(EXAMPLES[rule, kind])
    if (rule, kind) == ("missing-tests", "good"):
        blocks.insert(0, EXAMPLES[rule, "bad"][0])
    for number, block in enumerate(blocks):
        text = block.replace("{package}", package).replace("{name}", package.replace("_", "-"))
        whole = "package " in text
        name = "policy_test" if f"package portcullis.policies.{package}_test" in text else f"policy{number}"
        (place / f"{name}.rego").write_text(text if whole else HEAD.format(name=package) + text)
        if rule != "missing-tests":
            body = f"\tcount({package}.deny) == 0 with input as {{}}"
            (place / "policy_test.rego").write_text(TEST.format(name=package, body=body))


def test_every_rule_has_its_examples() -> None:
    assert {rule for rule, _ in EXAMPLES} == set(RULES) - UNDOCUMENTED
    assert all((rule, kind) in EXAMPLES for rule in set(RULES) - UNDOCUMENTED for kind in ("bad", "good"))


@pytest.mark.parametrize("rule", sorted(ALONE))
def test_a_bad_example_that_does_not_load(rule: str, opa_binary: Path, tmp_path: Path) -> None:
    write(tmp_path, rule, "bad")
    assert names(run(tmp_path, opa_binary).findings) == {rule}


def test_the_others(opa_binary: Path, tmp_path: Path) -> None:
    expected: dict[str, set[str]] = {}
    for rule, kind in EXAMPLES:
        if kind == "good" or rule not in ALONE:
            write(tmp_path, rule, kind)
            expected[f"{rule}-{kind}".replace("-", "_")] = {rule} if kind == "bad" else set()
    findings = run(tmp_path, opa_binary).findings
    assert {name: {one.rule for one in findings if Path(one.file).parent.name == name} for name in expected} == expected
