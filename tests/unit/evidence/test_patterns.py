"""Patterns of identities: what they match, what is refused, and that none of them takes long."""

import pytest

from portcullis.evidence.patterns import Pattern, PatternError

WORKFLOW = r"https://github\.com/acme/[^/]+/\.github/workflows/(scan|build)\.ya?ml@refs/(heads/main|tags/v\d+(\.\d+)*)"


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        (WORKFLOW, "https://github.com/acme/web/.github/workflows/scan.yml@refs/heads/main", True),
        (WORKFLOW, "https://github.com/acme/web/.github/workflows/build.yaml@refs/tags/v1.20.3", True),
        (WORKFLOW, "https://github.com/acme/web/x/.github/workflows/scan.yml@refs/heads/main", False),
        (WORKFLOW, "https://github.com/acme/web/.github/workflows/scan.yml@refs/heads/main2", False),
        (WORKFLOW, "https://github.com/acme/web/.github/workflows/scan.yml@refs/heads/mai", False),
        (WORKFLOW, "https://githubXcom/acme/web/.github/workflows/scan.yml@refs/heads/main", False),
        ("a", "a", True),
        ("a", "a\n", False),
        ("^a$", "a", True),
        ("^a$", "a\n", False),
        (r"a\$", "a$", True),
        (r"a\\$", "a\\", True),
        ("a|", "", True),
        ("()", "", True),
        (".*", "", True),
        (".*", "a\nb", False),
        ("[]a]+", "]a", True),
        ("[a-]+", "-a", True),
        ("[^a-c]", "b", False),
        ("[^a-c]", "\n", True),
        (r"[\w.-]+@acme\.example", "dev.one-2@acme.example", True),
        (r"\w+", "ä", False),
        (r"\W\D\S", "äaä", True),
        ("a{2}", "aa", True),
        ("a{2}", "aaa", False),
        ("a{2,}", "aaaa", True),
        ("a{1,2}", "aaa", False),
        ("a{0}", "", True),
        ("(a*)*", "aaa", True),
        ("(a*)+b", "aab", True),
        ("(a+b?){2,}", "abaab", True),
        ("(a+b?){2,}", "ab", False),
        ("(" * 20 + "a" + ")+" * 20, "aaa", True),
        ("(" * 20 + "a" + ")+" * 20, "", False),
        ("a+?b??", "aab", True),
        ("(?:ab)+", "abab", True),
        (r"\{x\}", "{x}", True),
    ],
)
def test_what_matches(pattern: str, text: str, matches: bool) -> None:
    assert Pattern(pattern).matches(text) is matches


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("", "0 characters"),
        ("x" * 1001, "1001 characters"),
        ("(", "a ( without its )"),
        (")", "a ) without its ("),
        ("[a", "ends too early"),
        ("[]", "ends too early"),
        ("\\", "ends too early"),
        ("*a", "a * in a place"),
        ("a**", "behind a quantifier"),
        ("a++", "behind a quantifier"),
        ("a*{2}", "behind a quantifier"),
        ("a{", "begins no {n}"),
        ("a{,2}", "begins no {n}"),
        ("a{2,1}", "end is before its begin"),
        ("a{99999}", "begins no {n}"),
        ("a{9999}", "too large"),
        ("(((a{99}){99}){99}){99}", "too large"),
        ("a}", "a } in a place"),
        ("a^b", "a ^ inside"),
        ("a$b", "a $ inside"),
        ("(?=a)", "of a kind that is not read"),
        ("(?i)a", "of a kind that is not read"),
        ("(?P<x>a)", "of a kind that is not read"),
        (r"(a)\1", r"\1, which is not read"),
        (r"\ba", r"\b, which is not read"),
        (r"\x41", r"\x, which is not read"),
        ("[z-a]", "a range in a class that is none"),
        (r"[\d-z]", "a range in a class that is none"),
        ("[[:alpha:]]", "a [ in a class"),
        ("(" * 31 + ")" * 31, "nested more than 30 deep"),
    ],
)
def test_what_is_refused(pattern: str, says: str) -> None:
    with pytest.raises(PatternError) as refused:
        Pattern(pattern)
    assert says in str(refused.value)


@pytest.mark.parametrize("pattern", ["(a+)+b", "(a|a)*b", "(a*)*b", "a*a*a*a*a*a*b", "(.*)*(.*)*b", "(a?){90}a{200,}b"])
def test_what_other_engines_never_end_with(pattern: str) -> None:
    assert not Pattern(pattern).matches("a" * 2048)
    assert Pattern(pattern).matches("a" * 300 + "b")
