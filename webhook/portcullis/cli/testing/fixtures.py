"""Fixtures: YAML files that say a manifest, the recorded facts of its images, and what the gate must say of both.

``apiVersion: portcullis.dev/v1, kind: PolicyFixture``, one per document. A fixture says all that its verdict hangs on:
no configuration file and no environment counts.
"""

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, JsonValue, ValidationError, model_validator
from pydantic_core import ErrorDetails

from portcullis.limits import Limits
from portcullis.model.decision import Verdict
from portcullis.model.ruling import Mode
from portcullis.policy.testing.sources import find_files
from portcullis.server.sectionbase import Section
from portcullis.strictyaml import Document, Lines, Rules, StrictYamlError, load_documents
from portcullis.text import clean

KIND = "PolicyFixture"
SUFFIXES = (".yaml", ".yml")
MAX_DEPTH = 100

_KIND = re.compile(rb"^[\"']?kind[\"']?:[ \t]*[\"']?PolicyFixture\b", re.MULTILINE)

Tree = dict[str, JsonValue]


def _regex(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"no regular expression: {error}") from None
    return text


class Pattern(Section):
    """A text by a regular expression that is found in it."""

    matches: Annotated[str, AfterValidator(_regex), Field(max_length=1000)]


class ExpectedViolation(Section):
    """One violation, or several that look alike. What is not said may be anything."""

    policy: str
    container: str | None = None
    image: str | None = None
    platform: str | None = None
    msg: str | Pattern | None = None
    mode: Mode | None = None
    exception: str | None = None
    """The id of the exception that covers it, "" for none."""
    count: Annotated[int, Field(ge=0)] | None = None
    """How many exactly; without it, one or more."""


class Expected(Section):
    """What the gate must say; at least one of these."""

    verdict: Verdict | None = None
    code: int | None = None
    violations: tuple[ExpectedViolation, ...] | None = None
    """Each must be there, and no other that refuses."""
    undecided: tuple[str, ...] | None = None
    """Policies that could not be judged: each of these, and no other in mode deny."""

    @model_validator(mode="after")
    def _something(self) -> "Expected":
        if all(one is None for one in (self.verdict, self.code, self.violations, self.undecided)):
            raise ValueError("says nothing: give verdict, code, violations or undecided")
        return self


class NamespaceFacts(Section):
    """The namespace as the API server knows it."""

    name: str = ""
    """For a manifest that names none."""
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class FactsFile(Section):
    """Facts from a file."""

    path: str
    image: str = ""
    """The image whose facts these are to be here, where the file holds those of one image by another name."""


class FixtureModel(Section):
    """One document."""

    api_version: Literal["portcullis.dev/v1"]
    kind: Literal["PolicyFixture"]
    name: Annotated[str, Field(min_length=1, max_length=200)]
    description: str = ""
    manifest: str | Tree | None = None
    decision: str | Tree | None = None
    facts: tuple[str | FactsFile | Tree, ...] = ()
    namespace: NamespaceFacts = NamespaceFacts()
    time: str = ""
    policies: tuple[str, ...] = ()
    """Names of those that judge; without it all that would in a cluster without configuration."""
    profile: str = ""
    modes: dict[str, Mode] = Field(default_factory=dict)
    parameters: dict[str, dict[str, JsonValue]] = Field(default_factory=dict)
    exceptions: tuple[Tree, ...] = ()
    expect: Expected

    @model_validator(mode="after")
    def _one_subject(self) -> "FixtureModel":
        if (self.manifest is None) == (self.decision is None):
            raise ValueError("either manifest or decision")
        if self.decision is not None and self.facts:
            raise ValueError("a decision brings its facts with it: facts has no place beside it")
        return self


@dataclass(frozen=True, slots=True)
class Fixture:
    """A fixture with where it stands."""

    file: Path
    line: int
    model: FixtureModel

    @property
    def folder(self) -> Path:
        """What its paths are relative to."""
        return self.file.parent


@dataclass(frozen=True, slots=True)
class BadFixture:
    """A document that is none; ``message`` says why, with the line where that is known."""

    file: Path
    line: int
    name: str
    message: str


class FixtureError(Exception):
    """A fixture cannot be judged: something that it names is not there, or is not what it should be."""


def find_fixtures(folders: Sequence[Path], limits: Limits) -> Iterator[Fixture | BadFixture]:
    """The fixtures below the folders, by path. Other YAML is passed over.

    Raises:
        PolicyCompileError: a folder that cannot be read.
    """
    seen: set[Path] = set()
    count = 0
    for folder in folders:
        for path in find_files(folder, SUFFIXES, limits):
            if path.resolve() in seen:
                continue
            seen.add(path.resolve())
            for fixture in read_fixtures(path, limits):
                count += 1
                if count > limits.fixtures:
                    yield BadFixture(path, 1, path.name, f"more than {limits.fixtures} fixtures (limits.fixtures)")
                    return
                yield fixture


def read_fixtures(path: Path, limits: Limits) -> Iterator[Fixture | BadFixture]:
    """The fixtures of one file; none where it holds something else."""
    try:
        if not path.is_file():
            return
        with path.open("rb") as stream:
            content = stream.read(limits.fixture_bytes + 1)
    except OSError as error:
        yield BadFixture(path, 1, path.name, f"cannot be read: {error.strerror}")
        return
    if _KIND.search(content) is None:
        return
    if len(content) > limits.fixture_bytes:
        bound = f"{limits.fixture_bytes} bytes (limits.fixtureBytes); keep facts in files of their own"
        yield BadFixture(path, 1, path.name, f"has more than {bound}")
        return
    line = 1
    try:
        text = content.decode("utf-8-sig")
        documents = []
        for document in load_documents(text, Rules(limits.input_values, MAX_DEPTH, as_kubectl=True)):
            line = document.line
            documents.append(document)
    except UnicodeDecodeError as error:
        yield BadFixture(path, content.count(b"\n", 0, error.start) + 1, path.name, "not UTF-8")
    except StrictYamlError as error:
        yield BadFixture(path, error.line or line, path.name, error.problem)
    else:
        yield from _fixtures(path, text, documents)


def _fixtures(path: Path, text: str, documents: Sequence[Document]) -> Iterator[Fixture | BadFixture]:
    starts = [document.line for document in documents]
    rows = text.split("\n")
    for at, document in enumerate(documents):
        if not (isinstance(document.value, dict) and document.value.get("kind") == KIND):
            continue
        last = starts[at + 1] - 1 if at + 1 < len(starts) else len(rows)
        yield _fixture(path, document, "\n".join(rows[document.line - 1 : last]))


def _fixture(path: Path, document: Document, text: str) -> Fixture | BadFixture:
    try:
        return Fixture(path, document.line, FixtureModel.model_validate_json(json.dumps(document.value)))
    except ValidationError as error:
        name = document.value.get("name")
        faults = [_fault(detail, document, text) for detail in _distinct(error.errors(include_url=False))]
        line = faults[0][0]
        said = [f"{path}:{at}: {message}" for at, message in faults]
        return BadFixture(path, line, clean(str(name or path.name), 200), "\n".join(said[:20]))


def _distinct(details: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """One fault per place: a value that may be of several shapes has one for each."""
    found: dict[tuple[str | int, ...], ErrorDetails] = {}
    for detail in details:
        found.setdefault(_location(detail), detail)
    return list(found.values())


_SHAPES = re.compile(r"str|dict\[.*|FactsFile|Pattern")


def _location(detail: ErrorDetails) -> tuple[str | int, ...]:
    """Without what pydantic adds for the shapes of a union."""
    return tuple(part for part in detail["loc"] if isinstance(part, int) or not _SHAPES.fullmatch(part))


def _fault(detail: ErrorDetails, document: Document, text: str) -> tuple[int, str]:
    location = _location(detail)
    line = document.line
    try:
        lines = Lines(text)
        for end in range(len(location), 0, -1):
            if (found := lines.get(location[:end])) is not None:
                line = document.line + found - 1
                break
    except StrictYamlError:
        pass  # the line of the document is near enough
    key = ".".join(clean(str(part), 80) for part in location) or "the fixture"
    return line, f"{key}: {_problem(detail, location)}"


_KEYS: Mapping[str, type[Section]] = {
    "": FixtureModel,
    "expect": Expected,
    "expect.violations": ExpectedViolation,
    "expect.violations.msg": Pattern,
    "namespace": NamespaceFacts,
    "facts": FactsFile,
}


def _problem(detail: ErrorDetails, location: tuple[str | int, ...]) -> str:
    if detail["type"] == "extra_forbidden":
        around = ".".join(part for part in location[:-1] if isinstance(part, str))
        model = _KEYS.get(around, FixtureModel)
        known = [field.alias or name for name, field in model.model_fields.items()]
        close = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.6)
        return (
            f"there is no such key; did you mean {close[0]}?"
            if close
            else (f"there is no such key; there are {', '.join(known)}")
        )
    if detail["type"] == "missing":
        return "is required"
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return message if detail["type"] == "value_error" else f"{clean(message, 300)} is expected"


def read_file(fixture: Fixture, path: str, limits: Limits) -> bytes:
    """A file that the fixture names.

    Raises:
        FixtureError: it cannot be read, or is too large.
    """
    place = fixture.folder / path
    try:
        if not place.is_file():
            raise FixtureError(f"{place}: there is no such file")
        with place.open("rb") as stream:
            content = stream.read(limits.input_bytes + 1)
    except OSError as error:
        raise FixtureError(f"{place}: cannot be read: {error.strerror}") from None
    if len(content) > limits.input_bytes:
        raise FixtureError(f"{place}: more than {limits.input_bytes} bytes (limits.inputBytes)")
    return content
