"""The files that lint looks at, and their trees as OPA parses them, with the place of every term.

``opa parse`` takes one file; it takes about 20 ms, and some run at the same time.
"""

import asyncio
import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from portcullis.errors import ConfigError, EngineMalformed, PolicyCompileError
from portcullis.limits import Limits
from portcullis.policy.gatekeeper.files import CONSTRAINTS, SUFFIXES, TEMPLATES
from portcullis.policy.gatekeeper.load import SAMPLES
from portcullis.policy.linting.advice import advice
from portcullis.policy.linting.finding import Finding, finding
from portcullis.policy.process import Completed, run_opa
from portcullis.policy.reading import decoded, fault, read_content, walk
from portcullis.text import clean

AT_ONCE = 4
"""Files that are parsed at the same time."""

TREE_FACTOR = 400
"""Bytes of a parsed tree with places for each byte of its source, at most; real ones have about 150."""
TREE_LEAST = 4 * 1024 * 1024

_PACKAGE = re.compile(r"^[ \t]*package[ \t]+(\w+)", re.MULTILINE)
_LIBRARY_PACKAGE = re.compile(r"^package[ \t]+portcullis\.lib\.(\w+)", re.MULTILINE)
_LIBRARY_NAME = re.compile(r"\bportcullis\.lib\.(\w+)")
_WHOLE_LIBRARY = re.compile(r"\bportcullis\.lib(?!\.\w)")

Tree = Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class LintFile:
    """One Rego file. ``path`` is how findings name it; ``own``: findings in it are told, else it is only context."""

    path: str
    place: Path
    text: str
    own: bool = True

    @property
    def is_test(self) -> bool:
        return self.path.endswith("_test.rego")

    @property
    def is_objects(self) -> bool:
        """Whether it is no Rego: objects of Gatekeeper."""
        return not self.path.endswith(".rego")

    @property
    def is_native(self) -> bool:
        """Whether it was written for Portcullis, as far as its first lines tell."""
        found = _PACKAGE.search(self.text)
        return found is None or found[1] == "portcullis"


@dataclass(frozen=True, slots=True, eq=False)
class Parsed:
    """A file and its tree."""

    file: LintFile
    tree: Tree

    @property
    def package(self) -> tuple[str, ...]:
        return tuple(str(part["value"]) for part in self.tree["package"]["path"][1:])

    @property
    def rules(self) -> Sequence[Tree]:
        return self.tree.get("rules") or ()

    @property
    def native(self) -> bool:
        return self.package[:1] == ("portcullis",)

    def comments(self) -> Iterator[tuple[int, int, str]]:
        """Row, column and text (without its ``#``) of every comment."""
        for comment in self.tree.get("comments") or ():
            text = base64.b64decode(comment["Text"]).decode("utf-8", "replace")
            yield comment["Location"]["row"], comment["Location"]["col"], text


def find_files(folders: Sequence[Path], limits: Limits, *, own: bool = True) -> list[LintFile]:
    """Every ``*.rego`` in the folders and below, hidden names left out, and the YAML and JSON files that hold
    ConstraintTemplates or constraints of Gatekeeper (not those below ``samples``); a file may be given itself.

    Raises:
        ConfigError: a path that is not there or cannot be read, or more than ``policy_files``, ``policy_bytes`` or
            ``policy_set_bytes`` allow.
    """
    try:
        return list(_found(folders, limits, own=own).values())
    except PolicyCompileError as error:
        raise ConfigError(error.message) from error


def _found(folders: Sequence[Path], limits: Limits, *, own: bool) -> dict[Path, LintFile]:
    found: dict[Path, LintFile] = {}
    total = 0
    for folder in folders:
        for path in _paths(folder, limits):
            place = path.resolve()
            if place in found:
                continue
            text = _read(path, limits)
            if text is None:
                continue
            total += len(text)
            if len(found) >= limits.policy_files:
                raise fault(str(folder), f"more Rego files than the limit policyFiles ({limits.policy_files})")
            if total > limits.policy_set_bytes:
                raise fault(str(folder), f"the policies exceed the limit policySetBytes ({limits.policy_set_bytes})")
            found[place] = LintFile(str(path), place, text, own)
    return found


def needed(own: Sequence[LintFile], shared: Sequence[LintFile]) -> list[LintFile]:
    """Those shared files whose package the own ones name, and what these name in turn. By the text: a name in a
    comment costs a file that is parsed for nothing."""
    packages: dict[str, list[LintFile]] = {}
    for file in shared:
        if found := _LIBRARY_PACKAGE.search(file.text):
            packages.setdefault(found[1], []).append(file)
    wanted: set[str] = set()
    waiting = list(own)
    while waiting:
        text = waiting.pop().text
        named = set(packages) if _WHOLE_LIBRARY.search(text) else set(_LIBRARY_NAME.findall(text))
        for name in (named & packages.keys()) - wanted:
            wanted.add(name)
            waiting.extend(packages[name])
    return [file for name, files in packages.items() if name in wanted for file in files]


def _paths(folder: Path, limits: Limits) -> Iterator[Path]:
    """What may be linted: Rego, and YAML or JSON that is no sample. What is given by itself is taken as it is."""
    if folder.is_file():
        yield folder
        return
    for path in walk(folder, str(folder), limits):
        if path.suffix == ".rego" or (path.suffix in SUFFIXES and SAMPLES not in path.parts):
            yield path


def _read(path: Path, limits: Limits) -> str | None:
    """The text; None for a YAML or JSON file that names nothing of Gatekeeper's, whatever it is."""
    content = read_content(path, str(path), limits)
    if path.suffix in SUFFIXES and not any(group.encode() in content for group in (TEMPLATES, CONSTRAINTS)):
        return None
    return decoded(content, str(path), limits)


async def parse_files(binary: Path, files: Sequence[LintFile], limits: Limits) -> tuple[list[Parsed], list[Finding]]:
    """The trees of those that parse, and why the others do not.

    Raises:
        EngineUnavailable, EngineMalformed: OPA is not there or not as documented.
    """
    room = asyncio.Semaphore(AT_ONCE)

    async def parse(file: LintFile) -> Parsed | list[Finding]:
        async with room:
            return await _parse(binary, file, limits)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(parse(file)) for file in files]
    outcomes = [task.result() for task in tasks]
    parsed = [outcome for outcome in outcomes if isinstance(outcome, Parsed)]
    return parsed, [one for outcome in outcomes if not isinstance(outcome, Parsed) for one in outcome]


async def _parse(binary: Path, file: LintFile, limits: Limits) -> Parsed | list[Finding]:
    done = await _run(binary, file, limits)
    if done.code != 0 and not file.is_native:
        older = await _run(binary, file, limits, "--v0-compatible")
        done = older if older.code == 0 else done
    if done.code == 0:
        try:
            return Parsed(file, msgspec.json.decode(done.stdout, type=dict[str, Any]))
        except (msgspec.MsgspecError, RecursionError) as error:
            raise EngineMalformed(f"`opa parse` gave no tree of {file.path}") from error
    errors = opa_errors(done.stderr, done.stdout)
    if not errors:
        said = clean((done.stderr or done.stdout).decode("utf-8", "replace"), 500)
        errors = [OpaError(f"`opa parse` ended with status {done.code}: {said}")]
    return _faults(file, errors)


async def _run(binary: Path, file: LintFile, limits: Limits, *options: str) -> Completed:
    return await run_opa(
        binary,
        ("parse", *options, "--format", "json", "--json-include", "locations,comments", str(file.place)),
        seconds=limits.compile_seconds,
        output_bytes=TREE_LEAST + TREE_FACTOR * len(file.text),
    )


def _faults(file: LintFile, errors: "Sequence[OpaError]") -> list[Finding]:
    """One finding for each place: of several errors at one place OPA's last says no more than its first."""
    found: dict[int, Finding] = {}
    for error in errors:
        if error.message == "illegal token" and error.location.row in found:
            continue
        row, column = _inside(file, error.location.row, error.location.col)
        one = finding(
            "parse-error", (file.path, row, column), clean(error.message, 500), advice(error.message, file.text, row)
        )
        found.setdefault(error.location.row, one)
    return list(found.values())


def _inside(file: LintFile, row: int, column: int) -> tuple[int, int]:
    """A place at the end of the file is told as the end of its last line that says anything."""
    lines = file.text.rstrip().split("\n")
    if row <= len(lines):
        return row, column
    return len(lines), len(lines[-1]) + 1


class OpaLocation(msgspec.Struct, frozen=True):
    """Where OPA sees an error."""

    file: str = ""
    row: int = 0
    col: int = 0


class OpaError(msgspec.Struct):
    """An error as ``--format json`` writes it."""

    message: str
    code: str = ""
    location: OpaLocation = OpaLocation()


class _Errors(msgspec.Struct):
    errors: list[OpaError]


def opa_errors(*outputs: bytes) -> list[OpaError]:
    """The errors in what OPA printed; none where it is of another form."""
    for output in outputs:
        try:
            if errors := msgspec.json.decode(output, type=_Errors).errors:
                return errors
        except msgspec.MsgspecError:
            continue
    return []
