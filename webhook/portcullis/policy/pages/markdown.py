"""Pages in Markdown, for a repository: one index, and one page per policy.

What comes from a policy's METADATA is escaped. Its README is Markdown already and goes in as it is, with its links made
to fit the new place.
"""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from portcullis.model.ruling import Origin
from portcullis.policy.pages.model import Library, PolicyPage
from portcullis.policy.pages.readme import is_relative, relinked
from portcullis.text import clean

INDEX = PurePosixPath("policies.md")
FOLDER = PurePosixPath("policies")

MARK = "<!-- Made by `portcullis pages`: "
"""How every page begins."""

_ORIGINS = {
    Origin.GATEKEEPER: "Gatekeeper",
    Origin.ADMISSION: "OPA's admission control",
    Origin.CONFTEST: "conftest",
}
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#~&])")


def markdown_pages(library: Library, output: Path) -> dict[PurePosixPath, str]:
    """The text of every page by its path below ``output``, which is where links are reckoned from."""
    places = _places(library, output)
    pages = {INDEX: _index(library, output, places)}
    for page in library.pages:
        place = FOLDER / f"{page.name}.md"
        pages[place] = _page(page, output / place, places)
    return pages


def escaped(text: str) -> str:
    """Text that no reader of Markdown takes for markup."""
    return _SPECIAL.sub(r"\\\1", text)


def _places(library: Library, output: Path) -> dict[Path, Path]:
    """Which page stands for which README, both as absolute paths; folders stand for their README."""
    found = {}
    for folder, place in [
        (library.folder, INDEX),
        *((page.folder, FOLDER / f"{page.name}.md") for page in library.pages if page.folder is not None),
    ]:
        found[folder] = found[folder / "README.md"] = output / place
    return found


def _addresses(folder: Path, here: Path, places: dict[Path, Path]) -> Callable[[str], str]:
    """From links of a README in ``folder`` to links of the page ``here``."""

    def address_of(address: str) -> str:
        if not is_relative(address):
            return address
        path, mark, fragment = address.partition("#")
        target = Path(os.path.normpath(folder / path))
        return f"{_relative(places.get(target, target), here)}{mark}{fragment}"

    return address_of


def _relative(target: Path, here: Path) -> str:
    return PurePosixPath(os.path.relpath(target, here.parent)).as_posix()


def _index(library: Library, output: Path, places: dict[Path, Path]) -> str:
    here = output / INDEX
    address_of = _addresses(library.folder, here, places)
    parts = [f"{MARK}do not change it here. -->\n# Policies", relinked(library.readme.intro, address_of)]
    for category, pages in library.categories:
        parts.append(f"## {escaped(category[:1].upper() + category[1:])}")
        parts.append("\n".join(_rows(pages, library.profiled)))
    for section in library.readme.sections:
        parts += [f"## {section.title}", relinked(section.text, address_of)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _rows(pages: tuple[PolicyPage, ...], profiled: bool) -> Iterator[str]:
    yield f"| policy | it says | mode | severity | waits for |{' profiles |' if profiled else ''}"
    yield f"|---|---|---|---|---|{'---|' if profiled else ''}"
    for page in pages:
        # Old links lead to a heading of this page.
        link = f'<a id="{page.name}"></a>[{page.name}]({FOLDER}/{page.name}.md)'
        mode = f"{page.info.mode}, on request" if page.on_request else str(page.info.mode)
        cells = [link, escaped(page.title), mode, page.info.severity, page.waits_for]
        if profiled:
            cells.append(escaped(", ".join(f"{profile}: {mode}" for profile, mode in page.profiles)))
        yield f"| {' | '.join(cells)} |"


def _page(page: PolicyPage, here: Path, places: dict[Path, Path]) -> str:
    readme = page.folder or Path()
    parts = [
        f"{MARK}change policy.rego and README.md of the policy instead. -->\n# {escaped(page.name)}",
        f"**{escaped(page.title)}.**",
        relinked(page.introduction, _addresses(readme, here, places))
        if page.readme.intro
        else escaped(page.introduction),
        "\n".join(_facts(page)),
    ]
    for section in page.readme.sections:
        parts += [f"## {section.title}", relinked(section.text, _addresses(readme, here, places))]
    parts.append("## In portcullis.yaml")
    for words, yaml in page.snippets:
        parts += [words, f"```yaml\n{yaml}```"]
    if page.info.exceptions_forbidden:
        parts.append("The policy forbids exceptions to itself.")
    files = (*(source.path for source in page.sources), *page.tests)
    if links := [f"[{path.name}]({_relative(path, here)})" for path in files]:
        parts += ["## Source", f"{', '.join(links)}. [All policies](../{INDEX})"]
    return "\n\n".join(part for part in parts if part) + "\n"


def _facts(page: PolicyPage) -> Iterator[str]:
    yield "| | |"
    yield "|---|---|"
    for name, value in facts(page):
        yield f"| {name} | {escaped(value)} |"
    if page.info.docs:
        yield f"| more | <{page.info.docs}> |"


def facts(page: PolicyPage) -> Iterator[tuple[str, str]]:
    """What stands at the head of a page."""
    yield "default mode", f"{page.info.mode}, where it is asked for" if page.on_request else str(page.info.mode)
    yield "severity", page.info.severity
    yield "waits for", page.waits_for
    if len(page.info.rules) > 1 or page.info.rules[:1] != ("deny",):
        yield "rules", ", ".join(page.info.rules)
    yield "category", page.category
    if page.profiles:
        yield "profiles", ", ".join(f"{name} ({mode})" for name, mode in page.profiles)
    if page.info.origin is not Origin.NATIVE:
        yield "written for", _ORIGINS[page.info.origin]
    if page.info.unsupported:
        yield "not supported", clean(page.info.unsupported, 500)
    yield "exceptions", "forbidden" if page.info.exceptions_forbidden else "possible"
