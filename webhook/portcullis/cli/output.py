"""What commands print: results on stdout, all else on stderr; and what they exit with."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Final, ParamSpec, TypeVar

import typer
from rich.console import Console
from rich.text import Text

from portcullis.errors import ConfigError, PortcullisError
from portcullis.text import clean

API_VERSION: Final = "portcullis.dev/v1"

EXIT_REFUSED: Final = 1
EXIT_FAILED: Final = 2
EXIT_INTERRUPTED: Final = 130
EXIT_TERMINATED: Final = 143

PIPED_WIDTH: Final = 100
"""Columns of a table that goes into a file or a pipe, where COLUMNS does not say otherwise."""
WIDEST: Final = 140
"""Lines longer than this are hard to read, however wide the terminal."""


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"


ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", envvar="PORTCULLIS_CONFIG", help="portcullis.yaml; without it, the defaults."),
]
"""The container image sets the variable."""

FormatOption = Annotated[Format, typer.Option("--output", "-o", help="Table for people, or JSON for programs.")]

P = ParamSpec("P")
R = TypeVar("R")


def stdout() -> Console:
    """For results."""
    return _console(sys.stdout)


def stderr() -> Console:
    """For progress and errors."""
    return _console(sys.stderr)


def _console(stream: Any) -> Console:
    console = Console(file=stream, highlight=False, markup=False, emoji=False, soft_wrap=False)
    if "COLUMNS" not in os.environ and not console.is_terminal:
        console.width = PIPED_WIDTH
    console.width = min(console.width, WIDEST)
    return console


@contextmanager
def progress(text: str, *, log: bool = False) -> Iterator[Callable[[str], None]]:
    """A line on stderr that says what goes on while it goes on; gives the function that changes it.

    Args:
        log: where stderr is no terminal, one line for each text instead of nothing.
    """
    console = stderr()
    if console.is_terminal:
        with console.status(Text(text, style="dim")) as status:
            yield lambda words: status.update(Text(clean(words, 200), style="dim"))
        return

    def say(words: str) -> None:
        if log:
            console.print(Text(clean(words, 200)), soft_wrap=True)

    say(text)
    yield say


def print_json(document: Mapping[str, Any] | Sequence[Any]) -> None:
    """One JSON document. ASCII only, so that text from outside can do nothing to a terminal."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=True))
    sys.stdout.write("\n")


def print_error(title: str, message: str, hint: str = "") -> None:
    """One block on stderr: what failed, why, and what to do."""
    console = stderr()
    console.print(Text.assemble(("error", "bold red"), f": {clean(title, 400)}"), soft_wrap=True)
    for line in message.splitlines():
        console.print(Text(f"  {clean(line, 2000)}"), soft_wrap=True)
    if hint:
        console.print(Text(f"  {hint}", style="dim"), soft_wrap=True)


def reported(command: Callable[P, R]) -> Callable[P, R]:
    """A command whose PortcullisErrors are printed as one block, with exit code 2; no traceback reaches people
    for what is not a fault of the program."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except PortcullisError as error:
            first, _, rest = error.message.partition("\n")
            hint = "" if isinstance(error, ConfigError) else f"reason: {error.reason}"
            print_error(first, rest, hint)
        except BrokenPipeError:
            # The reader (head, less) has gone: nothing more to say, and nothing to say it on at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except KeyboardInterrupt:
            raise typer.Exit(EXIT_INTERRUPTED) from None
        raise typer.Exit(EXIT_FAILED)

    return run
