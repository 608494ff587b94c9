"""What all pages of figures keep to: ids, names of drawings, nothing inline, colours that can be told."""

import re
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

import pytest

from fakes.auditlog import SCENES
from fakes.review import post
from unit.server.review.figuring import page, pages
from unit.server.review.test_style import contrast, tokens

pytestmark = pytest.mark.anyio

STYLE = (files("portcullis.server.review") / "static" / "figures.css").read_text()
DIGESTS = sorted({image.digest for record in SCENES.values() for image in record.decision.images[:1] if image.digest})


class Markup(HTMLParser):
    """Collects tags with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def keeps_to_it(text: str) -> None:
    tags = Markup(text).tags
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for name in re.findall(r"url\(#([^)]+)\)", text):
        assert name in ids
    for tag, attributes in tags:
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        assert tag != "style"
        assert tag != "script" or attributes.get("src")
        if tag == "svg":
            named = attributes.get("aria-label") or attributes.get("aria-labelledby")
            assert attributes.get("aria-hidden") == "true" or (attributes.get("role") == "img" and named)
        for name in (attributes.get("aria-labelledby") or "").split():
            assert name in ids
        if tag == "a" and (attributes.get("href") or "").startswith("#"):
            assert (attributes["href"] or "")[1:] in ids, attributes


async def test_every_page_keeps_to_it(tmp_path: Path) -> None:
    addresses = ["/", "/?within=7d", "/?within=30d", "/images", "/images?image=none", "/policies"]
    addresses += ["/policies/image-pinned", "/policies/image-user", "/policies/scan-required"]
    addresses += [f"/images/{quote(digest)}" for digest in DIGESTS]
    async with pages(tmp_path) as app:
        for address in addresses:
            answered = await page(app, address)
            assert answered.status == 200, address
            keeps_to_it(answered.body.decode())
        keeps_to_it((await post(app, "/policies/image-pinned/what-if")).body.decode())


async def test_a_chart_has_a_table_of_its_numbers(tmp_path: Path) -> None:
    async with pages(tmp_path) as app:
        text = (await page(app, "/?within=30d")).body.decode()
    (figure,) = re.findall(r'<figure class="chart" aria-labelledby="verdicts-name">.*?</figure>', text, re.DOTALL)
    assert re.search(r'role="img" aria-labelledby="verdicts-title verdicts-words"', figure)
    bars = re.findall(r'<g class="bar"><title>([^<]+)</title>', figure)
    rows = re.findall(r"<tr><th scope=\"row\".*?</tr>", figure, re.DOTALL)
    assert len(bars) == len(rows) == 31


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_bars_stand_out_from_the_ground(scheme: str) -> None:
    """Success criterion 1.4.11."""
    own = dict(zip(("light", "dark"), re.findall(r"--chart-admitted: (#[0-9a-f]{6})", STYLE), strict=True))
    colours = tokens()[scheme] | {"chart-admitted": own[scheme]}
    fills = set(re.findall(r"fill: var\(--([a-z-]+)\)", STYLE)) - {"line", "surface", "raised", "soft"}
    assert {"chart-admitted", "refused", "outage", "pending", "exception", "break-glass"} <= fills
    for name in fills:
        assert contrast(colours[name], colours["surface"]) >= 3, name


def test_every_kind_of_bar_has_its_colour_and_what_is_no_admission_a_pattern() -> None:
    template = (files("portcullis.server.review") / "templates" / "charts.html.j2").read_text()
    for key in ("admitted", "excepted", "break-glass", "refused", "outages", "pending", "violations", "undecided"):
        assert f".fill-{key}" in STYLE
        assert key == "admitted" or f'"{key}"' in template
