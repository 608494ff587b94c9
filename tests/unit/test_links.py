"""Every link of every page of the repository leads somewhere: to a file, and to a heading in it."""

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import pytest

from portcullis.policy.pages.readme import anchor, is_relative, parser

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = {".venv", "node_modules", "build", "dist"}


def pages() -> Iterator[Path]:
    for path in sorted(ROOT.rglob("*.md")):
        parts = path.relative_to(ROOT).parts
        if not any(part.startswith(".") or part in LEFT_OUT for part in parts):
            yield path


def links(text: str) -> Iterator[str]:
    for token in parser().parse(text):
        for child in token.children or ():
            if child.type == "link_open":
                yield str(child.attrGet("href") or "")


def anchors(text: str) -> set[str]:
    """Of headings, numbered where one comes again, and of ``<a id="…">``."""
    found: set[str] = set(re.findall(r'<a id="([^"]+)">', text))
    tokens = parser().parse(text)
    for token, content in pairwise(tokens):
        if token.type == "heading_open":
            plain = "".join(child.content for child in content.children or ())
            name, number = anchor(plain), 0
            while (chosen := f"{name}-{number}" if number else name) in found:
                number += 1
            found.add(chosen)
    return found


def broken(page: Path, text: str) -> list[str]:
    """The links of the page with that text which lead nowhere."""
    found = []
    for link in links(text):
        path, _, fragment = unquote(link).partition("#")
        if path and not is_relative(link):
            continue
        target = (page.parent / path).resolve() if path else page
        if target == page:
            content = text
        elif target.exists():
            content = target.read_text("utf-8") if target.suffix == ".md" else ""
        else:
            found.append(link)
            continue
        if fragment and fragment not in anchors(content):
            found.append(link)
    return found


@pytest.mark.parametrize("page", [path.relative_to(ROOT).as_posix() for path in pages()])
def test_every_link_leads_somewhere(page: str) -> None:
    assert broken(ROOT / page, (ROOT / page).read_text("utf-8")) == []


def test_old_links_to_the_page_of_policies_still_work() -> None:
    """Until 0.1 all policies were described on one page."""
    index = anchors((ROOT / "docs" / "policies.md").read_text("utf-8"))
    assert {"image-user", "scan-required", "pod-privileges", "what-was-signed", "what-lies-in-layers"} <= index


def test_what_is_broken_is_found() -> None:
    text = (
        "# Here\n[a](none.md) [b](README.md#no-such-heading) [c](#there) [d](#here) [e](README.md#try-it)\n"
        "[f](https://none.example/x) [g](docs) `[h](none.md)`\n"
    )
    assert broken(ROOT / "PAGE.md", text) == ["none.md", "README.md#no-such-heading", "#there"]
