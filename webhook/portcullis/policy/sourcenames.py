"""Which file of its author each file of a compiled set is, kept beside the set: who works on the files later says what
is wrong in the author's words."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from portcullis.errors import CompileProblem
from portcullis.model.ruling import Origin, PolicySource
from portcullis.text import clean

FILE = "names.json"


class _Name(msgspec.Struct):
    """``moved``: columns, and in Rego v0 rows, are no longer those of the author."""

    path: str
    row: int
    column: int
    moved: bool


@dataclass(frozen=True, slots=True)
class SourceNames:
    """By name of the file in the set. What is not among them Portcullis wrote itself."""

    names: Mapping[str, _Name]

    def path(self, name: str) -> str:
        found = self.names.get(name)
        return clean(found.path, 300) if found is not None else name

    def problem(self, name: str, row: int, column: int, message: str) -> CompileProblem:
        """The problem, at the place that the author knows."""
        found = self.names.get(name)
        if found is None:
            return CompileProblem(name, row, column, message)
        if found.moved or not row:
            return CompileProblem(self.path(name), 0, 0, message)
        return CompileProblem(self.path(name), found.row + row, found.column + column, message)

    def spelt_out(self, message: str, folder: Path) -> str:
        """A message of OPA about files in ``folder``."""
        for name in sorted(self.names):
            message = message.replace(str(folder / name), self.path(name)).replace(f"{name}:", f"{self.path(name)}:")
        return message


def write_names(workspace: Path, sources: Mapping[str, PolicySource]) -> None:
    """Writes ``workspace/names.json``."""
    names = {
        name: _Name(source.path, source.row, source.column, source.origin is not Origin.NATIVE)
        for name, source in sources.items()
    }
    (workspace / FILE).write_bytes(msgspec.json.encode(names))


def read_names(workspace: Path) -> SourceNames:
    """What :func:`write_names` wrote there; none where nothing did."""
    try:
        return SourceNames(msgspec.json.decode((workspace / FILE).read_bytes(), type=dict[str, _Name]))
    except FileNotFoundError:
        return SourceNames({})
