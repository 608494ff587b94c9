"""Pages as Markdown and HTML: what they say, and that nothing from a policy becomes markup."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath

import pytest

from portcullis.errors import PolicyCompileError
from portcullis.model.ruling import Mode, Need, Origin, PolicyInfo
from portcullis.policy.pages.html import html_pages
from portcullis.policy.pages.markdown import MARK, escaped, markdown_pages
from portcullis.policy.pages.model import Files, Library, PolicyPage, SourceFile, policy_page
from portcullis.policy.pages.readme import Readme, read_readme

ROOT = Path("/somewhere/policies")
INFO = PolicyInfo(
    name="team-label",
    title="Images come with a team label",
    description="The label says whom to ask.",
    severity="low",
    mode=Mode.WARN,
    docs="https://docs.example/team",
    needs=frozenset({Need.REQUEST, Need.IMAGE, Need.CONFIG}),
    rules=(Mode.DENY,),
)
README = """# team-label

See [the other](../other/README.md#parameters), [all](../README.md), [a page](../../docs/page.md) and `[no](link.md)`.

## Parameters

| parameter | default | meaning |
|:---|---:|---|
| `teams` | `[]` | names |
"""
HOSTILE = '<script>alert("x")</script>'
MARKUP = f"""# x

{HOSTILE} ![p](http://beacon.example/p.png) <img src=http://beacon.example/q.png onerror=alert(1)>
[j](javascript:alert(1)) [d](data:text/html,x) &lt;b&gt;

<div style="background:url(http://beacon.example/r)">

## {HOSTILE}

```html
{HOSTILE}
```
"""


def files(name: str = "team-label", readme: str = README, source: str = "package x\n# a < b\n") -> Files:
    folder = ROOT / name
    return Files(
        read_readme(readme), folder, (SourceFile(folder / "policy.rego", source),), (folder / "policy_test.rego",)
    )


def library(*pages: PolicyPage) -> Library:
    return Library(Readme(intro="Read [one](team-label/README.md)."), ROOT, pages)


def page(info: PolicyInfo = INFO, beside: Files | None = None, **more: bool) -> PolicyPage:
    return policy_page(info, beside or files(), {"strict": {"team-label": Mode.DENY}}, **more)


OTHER = page(replace(INFO, name="other"), files("other"))


class Elements(HTMLParser):
    """Every element with its attributes, and all text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_page_in_markdown() -> None:
    made = markdown_pages(library(page(), OTHER), ROOT.parent / "docs")
    assert set(made) == {PurePosixPath(name) for name in ("policies.md", "policies/team-label.md", "policies/other.md")}
    text = made[PurePosixPath("policies/team-label.md")]
    for part in (
        MARK,
        "# team-label\n\n**Images come with a team label.**\n",
        "[the other](other.md#parameters), [all](../policies.md), [a page](../page.md) and `[no](link.md)`",
        "| default mode | warn |\n| severity | low |\n| waits for | image configuration |\n| category | image |\n",
        "| profiles | strict (deny) |\n| exceptions | possible |\n| more | <https://docs.example/team> |",
        "policies:\n  modes: {team-label: deny}\n  overrides:\n",
        "    team-label:\n      teams: []\n",
        "    policies: [team-label]\n",
        "[policy.rego](../../policies/team-label/policy.rego), [policy_test.rego](../../policies/team-label/policy_t",
    ):
        assert part in text
    index = made[PurePosixPath("policies.md")]
    assert "Read [one](policies/team-label.md)." in index
    row = '| <a id="team-label"></a>[team-label](policies/team-label.md) | Images come with a team label | warn | low |'
    assert f"{row} image configuration | strict: deny |" in index


def test_a_page_in_html() -> None:
    made = html_pages(library(page(), OTHER), ROOT.parent / "site")
    shown = Elements(made[PurePosixPath("policies/team-label.html")])
    links = [attributes["href"] for tag, attributes in shown.found if tag == "a"]
    assert {
        "other.html#parameters",
        "../index.html",
        "../../docs/page.md",
        "../../policies/team-label/policy.rego",
        "../../policies/team-label/policy_test.rego",
        "https://docs.example/team",
        "#L1-2",
    } <= set(links)
    ids = {attributes["id"] for _, attributes in shown.found if "id" in attributes}
    assert {"main", "parameters", "source", "L1-1", "L1-2"} <= ids
    assert {link.removeprefix("#") for link in links if link and link.startswith("#")} <= ids
    assert not [attributes for _, attributes in shown.found if "style" in attributes]
    for words in ("Images come with a team label", "# a < b", "modes: {team-label: deny}", "strict (deny)"):
        assert words in shown.text
    index = made[PurePosixPath("index.html")]
    assert 'href="policies/team-label.html"' in index
    assert '<tr id="team-label">' in index


def test_files_may_be_read_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    beside = replace(files(), tests=(tmp_path / "policies" / "a b" / "x_test.rego",))
    made = html_pages(library(page(beside=beside)), tmp_path / "site", "https://git.example/main/")
    assert (
        'href="https://git.example/main/policies/a%20b/x_test.rego"' in made[PurePosixPath("policies/team-label.html")]
    )


@pytest.mark.parametrize("field", ["title", "description", "severity", "readme", "category", "source"])
def test_nothing_of_a_policy_becomes_markup(field: str) -> None:
    info = INFO
    beside = files(readme="")
    if field == "readme":
        beside = files(readme=MARKUP)
    elif field == "source":
        beside = files(readme="", source=f"package x\n# {HOSTILE}\n{HOSTILE}")
    else:
        info = replace(INFO, **{field: HOSTILE})
    made = html_pages(library(page(info, beside)), ROOT.parent / "site")
    seen = ""
    for html in made.values():
        shown = Elements(html)
        seen += shown.text
        tags = {tag for tag, _ in shown.found}
        assert tags.isdisjoint({"script", "img", "iframe", "object", "embed", "link", "form", "base"})
        for tag, attributes in shown.found:
            assert not [name for name in attributes if name.startswith("on") or name in ("style", "src")]
            scheme = (attributes.get("href") or "").partition(":")[0]
            assert scheme not in ("javascript", "data"), tag
    assert HOSTILE in seen


def test_the_policy_of_the_page_allows_its_style_alone() -> None:
    html = html_pages(library(page()), ROOT)[PurePosixPath("index.html")]
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', html)
    assert re.fullmatch(
        r"default-src &#39;none&#39;; style-src &#39;sha256-[A-Za-z0-9+/=]{44}&#39;; "
        r"base-uri &#39;none&#39;; form-action &#39;none&#39;",
        policy,
    )


def test_markdown_escapes_what_is_no_markdown() -> None:
    made = markdown_pages(library(page(replace(INFO, title=f"a|b {HOSTILE} [x](y)"))), ROOT)
    for text in made.values():
        assert HOSTILE not in text
    assert r"| a\|b \<script\>alert" in made[PurePosixPath("policies.md")]
    assert escaped("a*b_c`d") == r"a\*b\_c\`d"


@pytest.mark.parametrize(
    ("info", "words"),
    [
        (replace(INFO, category="python service"), "| category | python service |"),
        (replace(INFO, exceptions_forbidden=True), "| exceptions | forbidden |"),
        (replace(INFO, rules=(Mode.DENY, Mode.WARN)), "| rules | deny, warn |"),
        (replace(INFO, rules=(Mode.AUDIT,)), "| rules | audit |"),
        (replace(INFO, origin=Origin.GATEKEEPER), "| written for | Gatekeeper |"),
        (replace(INFO, origin=Origin.ADMISSION), "| written for | OPA's admission control |"),
        (replace(INFO, origin=Origin.CONFTEST), "| written for | conftest |"),
        (replace(INFO, unsupported="it is CEL"), "| not supported | it is CEL |"),
    ],
)
def test_what_stands_at_the_head(info: PolicyInfo, words: str) -> None:
    place = PurePosixPath("policies/team-label.md")
    assert words in markdown_pages(library(page(info)), ROOT)[place]
    assert words not in markdown_pages(library(page()), ROOT)[place]


def test_a_policy_on_request_says_so() -> None:
    made = markdown_pages(library(page(on_request=True)), ROOT)
    assert "warn, on request" in made[PurePosixPath("policies.md")]
    assert "    team-label: {}\n" in made[PurePosixPath("policies/team-label.md")]


@pytest.mark.parametrize(
    ("needs", "words", "category"),
    [
        ({Need.REQUEST}, "nothing", "workload"),
        ({Need.REQUEST, Need.IMAGE}, "the image's digest", "image"),
        ({Need.REQUEST, Need.IMAGE, Need.CONFIG}, "image configuration", "image"),
        ({Need.REQUEST, Need.IMAGE, Need.ATTESTATIONS}, "attestations", "evidence"),
        ({Need.REQUEST, Need.INVENTORY}, "objects of the cluster", "workload"),
    ],
)
def test_needs_in_words(needs: set[Need], words: str, category: str) -> None:
    made = page(replace(INFO, needs=frozenset(needs)))
    assert (made.waits_for, made.category) == (words, category)


@pytest.mark.parametrize("name", ["", "..", ".x", "a/b", "a\\b", "a b", "a\nb", "x" * 300])
def test_a_name_is_one_of_a_file(name: str) -> None:
    with pytest.raises(PolicyCompileError):
        page(replace(INFO, name=name))


def test_who_forbids_exceptions_says_so() -> None:
    text = markdown_pages(library(page(replace(INFO, exceptions_forbidden=True))), ROOT)[
        PurePosixPath("policies/team-label.md")
    ]
    assert "The policy forbids exceptions to itself." in text
    assert "exceptions:\n" not in text
