"""Pages in HTML: no script, no address that loads by itself, one style that the Content-Security-Policy names by its
digest. Jinja2 escapes whatever comes from a policy; a README goes through CommonMark without raw HTML."""

import base64
import hashlib
import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it.token import Token
from markupsafe import Markup

from portcullis.policy.pages.markdown import facts
from portcullis.policy.pages.model import Library
from portcullis.policy.pages.readme import anchor, is_relative, parser

INDEX = PurePosixPath("index.html")
FOLDER = PurePosixPath("policies")

MARK = "<!doctype html>\n<!-- Made by `portcullis pages`. -->\n"
"""How every page begins."""

_WIDE = {
    "<pre>": '<pre tabindex="0">',
    "<table>": '<div class="wide"><table>',
    "</table>": "</table></div>",
}
"""What may be wider than a telephone moves in a frame of its own, by the keyboard too."""


def html_pages(library: Library, output: Path, files: str = "") -> dict[PurePosixPath, str]:
    """The text of every page by its path below ``output``.

    Args:
        files: the address under which files of the working directory can be read, such as that of a branch on a
            forge; "" links to the files themselves, seen from ``output``.
    """
    places = _Places(library, output, files)
    pages = {INDEX: _render("index.html.j2", library=library, markdown=places.renderer(INDEX, library.folder))}
    for page in library.pages:
        place = FOLDER / f"{page.name}.html"
        pages[place] = _render(
            "policy.html.j2",
            page=page,
            facts=facts(page),
            markdown=places.renderer(place, page.folder or library.folder),
            file=lambda path, place=place: places.file(path, place),
        )
    return pages


class _Places:
    """Where links lead."""

    def __init__(self, library: Library, output: Path, files: str) -> None:
        self._output = output
        self._files = files.rstrip("/")
        self._pages = {library.folder: INDEX, library.folder / "README.md": INDEX}
        for page in library.pages:
            if page.folder is not None:
                place = FOLDER / f"{page.name}.html"
                self._pages[page.folder] = self._pages[page.folder / "README.md"] = place

    def file(self, path: Path, here: PurePosixPath) -> str:
        """The address of a file for the page ``here``."""
        if self._files:
            inside = os.path.relpath(path, Path.cwd())
            return f"{self._files}/{quote(PurePosixPath(inside).as_posix())}"
        return quote(PurePosixPath(os.path.relpath(path, (self._output / here).parent)).as_posix())

    def renderer(self, here: PurePosixPath, folder: Path) -> Callable[[str], Markup]:
        """From the Markdown of a README in ``folder`` to HTML of the page ``here``."""

        def address_of(address: str) -> str:
            if not is_relative(address):
                return address
            path, mark, fragment = address.partition("#")
            target = Path(os.path.normpath(folder / path))
            page = self._pages.get(target)
            found = os.path.relpath(page, here.parent) if page is not None else self.file(target, here)
            return f"{found}{mark}{fragment}"

        return lambda text: rendered(text, address_of)


def rendered(text: str, address_of: Callable[[str], str | None]) -> Markup:
    """CommonMark as HTML. Columns are aligned by classes, because the policy of the page allows no inline style.

    Args:
        address_of: from an address in the text to the one in the page; None for what has none there, which is then
            text and no link.
    """
    markdown = parser()
    tokens = markdown.parse(text)
    nowhere = False
    for token in _all(tokens):
        if token.type == "link_open":
            address = address_of(str(token.attrGet("href") or ""))
            nowhere = token.hidden = address is None
            token.attrSet("href", address or "")
            token.attrSet("rel", "noreferrer")
        elif token.type == "link_close":
            token.hidden = nowhere
        token.attrs.pop("style", None)
    for token, content in pairwise(tokens):
        if token.type == "heading_open":
            token.attrSet("id", anchor(content.content))
    html = str(markdown.renderer.render(tokens, markdown.options, {}))
    # These tags are the renderer's own: the text between them is escaped.
    for tag, instead in _WIDE.items():
        html = html.replace(tag, instead)
    return Markup(html)  # noqa: S704  raw HTML is off


def _all(tokens: Sequence[Token]) -> Sequence[Token]:
    return [one for token in tokens for one in (token, *(token.children or ()))]


@lru_cache(maxsize=1)
def _environment() -> Environment:
    loader = PackageLoader("portcullis.policy.pages")
    made = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    style, _, _ = loader.get_source(made, "style.css")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    made.globals.update(
        mark=Markup(MARK),  # noqa: S704  a constant
        style=Markup(style),  # noqa: S704  our own file
        policy=f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'",
        anchor=anchor,
    )
    return made


def _render(template: str, **values: object) -> str:
    return _environment().get_template(template).render(values)
