"""The catalogue: what may be written in it, and what a pattern means."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from portcullis.errors import ConfigError
from portcullis.inspection.catalogue import BUILT_IN, Index, Rule, load_catalogue
from portcullis.inspection.patterns import any_of, parse_pattern
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.contents import FindingClass

RULE = '[[rules]]\nid = "mine"\nclasses = ["shells"]\nfiles = ["mysh"]\n'


@pytest.mark.parametrize(
    ("pattern", "inside", "outside"),
    [
        ("sh", ["sh", "bin/sh", "a/b/sh"], ["bash", "sh/x", "sh.d"]),
        (".aws/credentials", [".aws/credentials", "root/.aws/credentials"], ["credentials", "x.aws/credentials"]),
        ("/usr/include", ["usr/include"], ["x/usr/include", "usr/include/x"]),
        ("gcc-[0-9]*", ["gcc-1", "usr/bin/gcc-12"], ["gcc-", "gcc-x", "gcc"]),
        ("*.pem", ["a.pem", "b/.pem"], ["pem", "a.pem.txt", "a.pem/x"]),
        ("lib*.a", ["libc.a", "x/lib.a"], ["lib.so", "xlib.a"]),
        ("a/**/b", ["a/b", "a/x/b", "z/a/x/y/b"], ["a/xb", "ab"]),
        ("node_modules/**", ["node_modules/x", "a/node_modules/x/y"], ["node_modules", "xnode_modules/x"]),
        ("/**/x", ["x", "a/x"], ["ax"]),
        ("a?", ["ab", "z/a+"], ["a", "a/b", "abc"]),
        ("a.b", ["a.b"], ["axb"]),
        ("(x)+", ["(x)+"], ["xx"]),
        ("é", ["é"], ["e"]),
    ],
)
def test_patterns(pattern: str, inside: list[str], outside: list[str]) -> None:
    regex = any_of([pattern])
    assert regex is not None
    index = Index([(rule, parse_pattern(pattern)) for rule in load_catalogue([]).modes[:1]])
    for path, expected in [*((path, True) for path in inside), *((path, False) for path in outside)]:
        content = path.encode()
        assert (regex.fullmatch(content) is not None) is expected, path
        assert bool(index.matches(content.rpartition(b"/")[2], content)) is expected, path


@pytest.mark.parametrize("pattern", ["", "/", "a/", "a//b", "./a", "../a", "a**", "[", "a[!x]", "a]b", "[z-a]"])
def test_patterns_that_mean_nothing(pattern: str) -> None:
    with pytest.raises(ConfigError, match="rule mine: files: "):
        load_catalogue([("f.toml", RULE.replace("mysh", pattern))])


def test_the_built_in_rules() -> None:
    catalogue = load_catalogue([])
    classes = {name for rule in catalogue.rules for name in rule.classes}
    assert classes == set(FindingClass)
    assert len({rule.id for rule in catalogue.rules}) == len(catalogue.rules)
    assert re.fullmatch("[0-9a-f]{16}", catalogue.revision)


def test_every_field_is_described() -> None:
    """docs/catalogue.md is the reference of the file's format, and names every built-in rule."""
    page = (Path(__file__).parents[3] / "docs" / "catalogue.md").read_text()
    for name in Rule.__struct_encode_fields__:
        assert f"| `{name}` |" in page
    for rule in load_catalogue([]).rules:
        assert f"`{rule.id}`" in page


class TestOperatorsFiles:
    def test_one_adds_rules(self) -> None:
        before, after = load_catalogue([]), load_catalogue([("f.toml", RULE)])
        assert {rule.id for rule in after.rules} - {rule.id for rule in before.rules} == {"mine"}
        assert after.revision != before.revision

    def test_a_rule_of_the_same_id_replaces_one(self) -> None:
        after = load_catalogue([("f.toml", RULE.replace("mine", "shell"))])
        (shell,) = [rule for rule in after.rules if rule.id == "shell"]
        assert shell.files == ("mysh",)

    def test_later_files_replace_earlier_ones(self) -> None:
        after = load_catalogue([("f.toml", RULE), ("g.toml", RULE.replace("mysh", "other"))])
        (mine,) = [rule for rule in after.rules if rule.id == "mine"]
        assert mine.files == ("other",)

    def test_rules_are_switched_off(self) -> None:
        after = load_catalogue([("f.toml", 'disable = ["shell", "busybox"]')])
        assert not {"shell", "busybox"} & {rule.id for rule in after.rules}

    def test_the_same_rules_have_the_same_revision(self) -> None:
        assert load_catalogue([("f.toml", BUILT_IN)]).revision == load_catalogue([]).revision

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("rules = [1\n2]", r"f.toml: is not TOML: .*line 2, column 1"),
            ("rule = []", "f.toml: Object contains unknown field `rule`"),
            (RULE + "colour = 1\n", r"f.toml: Object contains unknown field `colour` - at `\$.rules\[0\]`"),
            (RULE.replace("shells", "shell"), r"f.toml: Invalid enum value 'shell' - at `\$.rules\[0\].classes"),
            (RULE.replace('["shells"]', "[]"), "f.toml: Expected `array` of length >= 1"),
            (RULE.replace("mine", "My Rule"), r"f.toml: Expected `str` matching regex .* - at `\$.rules\[0\].id`"),
            (RULE.replace('["mysh"]', '"mysh"'), "f.toml: Expected `array`, got `str`"),
            (RULE + RULE, "f.toml: the rule mine is there twice"),
            (RULE.replace('files = ["mysh"]', ""), "f.toml: rule mine: needs one of files and folders"),
            (RULE + 'bits = "4000"\n', "f.toml: rule mine: needs one of files and folders"),
            (RULE.replace("files", "folders") + "executable = true\n", "executable and content are for files"),
            (RULE.replace('files = ["mysh"]', "capabilities = true\nexecutable = true"), "need files"),
            (RULE + 'without = "1000"\n', "without needs bits"),
            (RULE.replace('files = ["mysh"]', 'bits = "9"'), "Expected `str` matching regex"),
            (RULE + 'content = "("\n', "rule mine: content: is no regular expression"),
            (RULE.replace('files = ["mysh"]', 'variables = ["X"]'), "variables are for the class secrets"),
            (RULE + "minBytes = -1\n", "Expected `int` >= 0"),
            (RULE + 'except = ["a//b"]\n', "rule mine: except: 'a//b' is empty, ends with a slash or has two in a row"),
            ('disable = ["nothing"]', "f.toml: disable: there is no rule 'nothing'"),
        ],
    )
    def test_mistakes(self, text: str, problem: str) -> None:
        with pytest.raises(ConfigError, match=problem):
            load_catalogue([("f.toml", text)])

    def test_their_number_is_bounded(self) -> None:
        limits = replace(DEFAULT_LIMITS, catalogue_rules=len(load_catalogue([]).rules))
        assert load_catalogue([], limits=limits)
        with pytest.raises(ConfigError, match="limit catalogueRules allows"):
            load_catalogue([("f.toml", RULE)], limits=limits)
