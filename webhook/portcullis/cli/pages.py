"""``portcullis pages``: a page for each policy of a folder, and the list of them."""

import asyncio
import os
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated

import typer

from portcullis.cli.output import (
    EXIT_REFUSED,
    ConfigOption,
    print_error,
    progress,
    reported,
    stdout,
)
from portcullis.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping


class PageFormat(StrEnum):
    HTML = "html"
    MARKDOWN = "markdown"


@reported
def pages(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR", help="Folders of policies.")],
    output: Annotated[Path, typer.Option("--output", help="The folder that the pages are written to.")],
    form: Annotated[PageFormat, typer.Option("--format", help="HTML, or Markdown for a repository.")] = PageFormat.HTML,
    files: Annotated[
        str, typer.Option("--files", help="The address at which files of this folder are published; HTML links there.")
    ] = "",
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 where the pages are not up to date.")
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Write a page for each policy, and the list of them.

    They are made from METADATA, README and Rego. Pages of policies that are gone are removed.
    """
    if files and not files.startswith(("https://", "http://")):
        raise ConfigError("--files must be an http or https address")
    with progress("compiling the policies"):
        made, mark = _made(folders, output.resolve(), form, files, config)
    stale = _stale(output, made, mark)
    changed = [place for place, text in made.items() if _present(output / place) != text]
    if check:
        if changed or stale:
            names = ", ".join(str(place) for place in sorted({*changed, *stale}))
            print_error("the pages are not up to date", names, "Write them again, without --check.")
            raise typer.Exit(EXIT_REFUSED)
        return
    try:
        for place in changed:
            (output / place).parent.mkdir(parents=True, exist_ok=True)
            (output / place).write_text(made[place], encoding="utf-8")
        for place in stale:
            (output / place).unlink()
    except OSError as error:
        raise ConfigError(f"{error.filename}: cannot be written: {error.strerror}") from error
    stdout().print(f"{len(made)} pages in {output}, {len(changed)} written, {len(stale)} removed", soft_wrap=True)


def _made(
    folders: list[Path], output: Path, form: PageFormat, files: str, config: Path | None
) -> "tuple[Mapping[PurePosixPath, str], str]":
    """The pages by their place below ``output``, and the words that all of them begin with."""
    from portcullis.policy.pages import html, markdown
    from portcullis.policy.pages.gathering import gather
    from portcullis.policy.supervisor import OpaSupervisor
    from portcullis.server.settings import load_settings

    settings = load_settings(config, os.environ)
    limits = settings.bounds()
    opa = OpaSupervisor(binary=settings.opa.binary, limits=limits)
    library = asyncio.run(gather(folders, binary=opa.binary(), memory_bytes=opa.memory_bytes, limits=limits))
    if not library.pages:
        raise ConfigError("there is no policy in what was given")
    if form is PageFormat.HTML:
        return html.html_pages(library, output, files), html.MARK
    return markdown.markdown_pages(library, output), markdown.MARK


def _stale(output: Path, made: "Mapping[PurePosixPath, str]", mark: str) -> list[PurePosixPath]:
    """Pages that were made before, and are none any more. What does not begin as a page does is left alone."""
    found = []
    for folder in {place.parent for place in made} - {PurePosixPath()}:
        for path in sorted((output / folder).glob("*")):
            place = folder / path.name
            if place not in made and path.is_file() and (_present(path) or "").startswith(mark):
                found.append(place)
    return found


def _present(path: Path) -> str | None:
    """The text of the file; None where there is none that is text."""
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return None
