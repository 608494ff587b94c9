"""READMEs of policies: sections, parameters, links."""

import pytest

from portcullis.policy.pages.readme import Parameter, Readme, Section, anchor, is_relative, read_readme, relinked

TEXT = """# image-user: images run as a non-root user

What it is.

## Bad

```dockerfile
## no heading
FROM scratch
```

## Parameters

| parameter | default | meaning |
|---|---|---|
| `accept` | `false` | yes or no |
| `signers` | any one | names |
| several words | `1` | no parameter |

After the table.

### Smaller

belongs to Parameters
"""


def test_sections_and_parameters() -> None:
    readme = read_readme(TEXT)
    assert readme.intro == "What it is."
    assert [section.title for section in readme.sections] == ["Bad", "Parameters"]
    assert readme.sections[0].text == "```dockerfile\n## no heading\nFROM scratch\n```"
    assert readme.sections[1].text.endswith("### Smaller\n\nbelongs to Parameters")
    assert readme.parameters == (Parameter("accept", "false"), Parameter("signers", ""))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Readme()),
        ("only words\n", Readme(intro="only words")),
        ("# title\n", Readme()),
        ("## A\n## B\ntext\n", Readme(sections=(Section("A", ""), Section("B", "text")))),
        ("# title\n\nintro\n\n# again\n\n## A\n", Readme(intro="intro\n\n# again", sections=(Section("A", ""),))),
        ("> ## quoted\n", Readme(intro="> ## quoted")),
    ],
)
def test_texts_of_any_form(text: str, expected: Readme) -> None:
    assert read_readme(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[a](b.md)", "[a](<b.md>)"),
        ("[a](b.md#c), [d](e)", "[a](<b.md#c>), [d](<e>)"),
        ("`[a](b.md)` [c](d)", "`[a](b.md)` [c](<d>)"),
        ("``x ` [a](b.md)`` [c](d)", "``x ` [a](b.md)`` [c](<d>)"),
        ("```\n[a](b.md)\n```\n[c](d)", "```\n[a](b.md)\n```\n[c](<d>)"),
        ("no link", "no link"),
    ],
)
def test_links_are_changed_and_code_is_not(text: str, expected: str) -> None:
    assert relinked(text, lambda address: f"<{address}>") == expected


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("README.md", True),
        ("../x/README.md#y", True),
        ("#y", False),
        ("https://a.example/x", False),
        ("//a.example/x", False),
        ("/etc/passwd", False),
        ("mailto:a@b.example", False),
        ("javascript:alert(1)", False),
        ("http://[", False),
        ("", False),
    ],
)
def test_which_links_lead_beside_the_page(address: str, expected: bool) -> None:
    assert is_relative(address) is expected


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("What was signed", "what-was-signed"),
        ("In portcullis.yaml", "in-portcullisyaml"),
        ('A "quoted" <b>', "a-quoted-b"),
        ("a_b-c", "a_b-c"),
    ],
)
def test_anchors_are_those_of_github(title: str, expected: str) -> None:
    assert anchor(title) == expected
