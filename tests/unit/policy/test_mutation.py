"""`make mutate`: which mutants are made, which survive, and which may. By the real OPA."""

from pathlib import Path

import pytest

from mutation.justified import Key, outdated, read_justified, unjustified
from mutation.library import parse
from mutation.mutants import mutants
from mutation.run import main

pytestmark = pytest.mark.opa

POLICY = """package portcullis.policies.two

import rego.v1

default place(_) := ""

place(one) := "ä…" if {
	one.a == 1; one.b > 2
} else := "c" if {
	(one.a + 1) > 2
}

deny contains sprintf("%s", [place(one)]) if {
	some one in input.list
	not one.fine
	every part in one.parts {
		part != 0
	}
	some i
	one.parts[i] == 7
}
"""
TESTS = """package portcullis.policies.two_test

import rego.v1

import data.portcullis.policies.two

test_found if {
	count(two.deny) == 1 with input as {"list": [{"parts": [7]}]}
}

test_fine if {
	two.deny == set() with input as {"list": [{"fine": true, "parts": [7]}, {"parts": [7, 0]}, {"parts": [8]}]}
}
"""


@pytest.fixture
def library(tmp_path: Path) -> Path:
    for path, text in {"two/policy.rego": POLICY, "two/policy_test.rego": TESTS, "lib/a.rego": "package a\n"}.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text, "utf-8")
    return tmp_path


def test_what_is_dropped(library: Path) -> None:
    module = parse(library / "two" / "policy.rego")
    made = list(mutants(module.text, module.tree))
    assert [(one.row, one.rule, one.dropped) for one in made] == [
        (5, "place", 'rule default place(_) := ""'),
        (7, "place", 'branch place(one) := "ä…" if { one.a == 1; one.b > 2'),
        (9, "place", 'branch else := "c" if { (one.a + 1) > 2'),
        (8, "place", "one.a == 1"),
        (8, "place", "one.b > 2"),
        (10, "place", "(one.a + 1) > 2"),
        (13, "deny", made[6].dropped),
        (14, "deny", "some one in input.list"),
        (15, "deny", "not one.fine"),
        (16, "deny", "every part in one.parts { part != 0 }"),
        (17, "deny", "part != 0"),
        (20, "deny", "one.parts[i] == 7"),
    ], "and no declaration"
    assert made[6].dropped.startswith('rule deny contains sprintf("%s", [place(one)]) if { some one')
    assert made[4].source == POLICY.replace("one.b > 2", "true")
    assert made[4].weakened == POLICY.replace("one.b > 2", "_ = [one.b, 2]")
    assert made[6].source == POLICY.replace("some one in", "false; some one in")
    assert made[0].source == POLICY.replace('default place(_) := ""', "")


def judged(library: Path, justified: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    path = library / "justified.toml"
    path.write_text(justified)
    code = main(["two", "--workers", "1", "--folder", str(library), "--justified", str(path)])
    return code, capsys.readouterr().out


ENTRY = '[[survivors]]\npolicy = "two"\nrule = "place"\ndropped = {!r}\nreason = "no test looks at the words"\n'
SURVIVING = ["one.a == 1", "one.b > 2", "(one.a + 1) > 2"]


def test_survivors_are_told_until_they_are_justified(library: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, shown = judged(library, "", capsys)
    assert code == 1
    assert "two/policy.rego:8: survives in place without: one.b > 2" in shown
    told = [line.partition(" without: ")[2] for line in shown.splitlines() if "survives" in line]
    assert set(SURVIVING) <= set(told)
    assert all("deny" not in line for line in shown.splitlines()), "the tests kill all of those"
    code, shown = judged(library, "\n".join(ENTRY.format(one) for one in told), capsys)
    assert (code, "justified;" in shown) == (0, True)
    code, shown = judged(library, "\n".join(ENTRY.format(one) for one in [*told, "not one.fine"]), capsys)
    assert code == 1
    assert "'not one.fine' in place is justified 1 times, survives 0 times" in shown


def test_what_cannot_be_judged(library: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["three", "--folder", str(library)]) == 2
    (library / "two" / "policy_test.rego").write_text(TESTS.replace("== 1 with", "== 2 with"))
    assert main(["two", "--folder", str(library)]) == 2
    (library / "two" / "policy_test.rego").write_text("package portcullis.policies.two_test\n")
    assert main(["two", "--folder", str(library)]) == 2
    (library / "two" / "policy.rego").write_text("package two\n\nx if {\n")
    assert main(["two", "--folder", str(library)]) == 2
    words = capsys.readouterr().err
    for said in ("there is no policy 'three'", "fails before anything is dropped", "has no tests", "rego_parse_error"):
        assert said in words


@pytest.mark.parametrize(
    "text",
    [
        ENTRY.format("x").replace("reason", "because"),
        ENTRY.format("x").replace("no test looks at the words", " "),
        ENTRY.format("x") + "count = 0\n",
        ENTRY.format("x") + "\n" + ENTRY.format("x"),
    ],
)
def test_an_entry_says_all_it_must(tmp_path: Path, text: str) -> None:
    (tmp_path / "justified.toml").write_text(text)
    with pytest.raises(ValueError, match=r"justified\.toml, entry"):
        read_justified(tmp_path / "justified.toml")


def test_counts() -> None:
    key = Key("a", "b", "c")
    assert unjustified([key, key], {key: 2}) == set()
    assert unjustified([key, key], {key: 1}) == {key}
    assert outdated([key], {key: 2}, ["other"]) == []
    assert len(outdated([key], {key: 2}, ["a"])) == 1
