"""Reads the manifests that ``check`` decides: files, folders and standard input; YAML, JSON, Lists."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from portcullis.errors import ConfigError, ManifestError
from portcullis.limits import Limits
from portcullis.model.json import JSONObject
from portcullis.strictyaml import Document, Rules, StrictYamlError, load_documents
from portcullis.text import clean

STANDARD_INPUT = "-"
SUFFIXES = frozenset({".yaml", ".yml", ".json"})


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object. ``source`` is ``deploy.yaml#0`` (with ``.items[1]`` inside a List), ``file`` the path as given
    or found, ``line`` where the document begins, from 1."""

    source: str
    file: str
    line: int
    object: JSONObject


@dataclass(frozen=True, slots=True)
class BadManifest:
    """A file or document that cannot be read as an object; it counts as undecided."""

    source: str
    file: str
    line: int
    error: ManifestError


def find_files(paths: Sequence[str], limits: Limits) -> tuple[str, ...]:
    """The files that ``paths`` stand for, ``-`` for standard input; folders give their *.yaml, *.yml and *.json
    at any depth, sorted by path.

    Raises:
        ConfigError: a path that is not there, or more files than the limit.
    """
    found: dict[str, None] = {}
    for text in paths:
        path = Path(text)
        if text == STANDARD_INPUT or path.is_file():
            names = [text]
        elif path.is_dir():
            inside = (file for file in path.rglob("*") if file.suffix in SUFFIXES)
            # A link to nothing is kept: it cannot be read, which is to be said.
            names = sorted(str(file) for file in inside if file.is_file() or not file.exists())
        elif path.exists():
            names = [text]  # a pipe, such as the shell's <(…)
        else:
            raise ConfigError(f"{clean(text, 300)}: there is no such file or folder")
        found.update(dict.fromkeys(names))
        if len(found) > limits.input_files:
            raise ConfigError(f"{clean(text, 300)}: more than {limits.input_files} files (limits.inputFiles)")
    return tuple(found)


def read_manifests(
    files: Sequence[str], *, standard_input: BinaryIO, limits: Limits
) -> Iterator[Manifest | BadManifest]:
    """The objects of the files in order. What cannot be read is a BadManifest in its place; nothing is raised."""
    for file in files:
        yield from _read_file(file, standard_input, limits)


def _read_file(file: str, standard_input: BinaryIO, limits: Limits) -> Iterator[Manifest | BadManifest]:
    index = 0
    line = 1
    try:
        text = _read_text(file, standard_input, limits)
        for document in _documents(file, text, limits):
            line = document.line
            if document.value is None:
                continue  # an empty document between two separators; kubectl passes over it, too
            if index >= limits.input_documents:
                raise ManifestError(f"more than {limits.input_documents} documents (limits.inputDocuments)")
            yield from _objects(f"{file}#{index}", file, document.line, document.value)
            index += 1
    except ManifestError as error:
        yield BadManifest(f"{file}#{index}", file, line, error)


def _read_text(file: str, standard_input: BinaryIO, limits: Limits) -> str:
    try:
        if file == STANDARD_INPUT:
            content = standard_input.read(limits.input_bytes + 1)
        else:
            with Path(file).open("rb") as stream:
                content = stream.read(limits.input_bytes + 1)
    except OSError as error:
        raise ManifestError(f"cannot be read: {error.strerror}") from None
    if len(content) > limits.input_bytes:
        raise ManifestError(f"more than {limits.input_bytes} bytes (limits.inputBytes)")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ManifestError(f"not UTF-8 at byte {error.start}") from None


def _documents(file: str, text: str, limits: Limits) -> Iterator[Document]:
    """JSON where the name says so or the text reads as such; YAML for all else."""
    if file.endswith(".json"):
        return iter(_json_documents(text, limits))
    if text.lstrip()[:1] in ("{", "["):
        try:
            return iter(_json_documents(text, limits))
        except ManifestError as error:
            if not isinstance(error.__cause__, json.JSONDecodeError):
                raise
    return _yaml_documents(text, limits)


def _yaml_documents(text: str, limits: Limits) -> Iterator[Document]:
    try:
        yield from load_documents(text, Rules(limits.input_values, limits.review_depth, as_kubectl=True))
    except StrictYamlError as error:
        hint = {"": "", "values": " (limits.inputValues)", "depth": " (limits.reviewDepth)"}[error.bound]
        raise ManifestError(f"{error}{hint}") from None


def _json_documents(text: str, limits: Limits) -> list[Document]:
    """One JSON value after the other, as kubectl takes them."""
    decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)
    documents: list[Document] = []
    values = 0
    position = _skip_blanks(text, 0)
    while position < len(text):
        line = text.count("\n", 0, position) + 1 if not documents else documents[-1].line
        try:
            value, end = decoder.raw_decode(text, position)
        except json.JSONDecodeError as error:
            raise ManifestError(f"line {error.lineno}, column {error.colno}: not JSON: {error.msg}") from error
        except RecursionError:
            raise ManifestError(f"nested deeper than {limits.review_depth} (limits.reviewDepth)") from None
        except ValueError as error:
            raise ManifestError(f"not JSON: {clean(str(error), 200)}") from None
        values += _check_tree(value, limits.input_values - values, limits)
        documents.append(Document(line, value))
        if len(documents) > limits.input_documents:
            raise ManifestError(f"more than {limits.input_documents} documents (limits.inputDocuments)")
        position = _skip_blanks(text, end)
    return documents


def _skip_blanks(text: str, position: int) -> int:
    while position < len(text) and text[position] in " \t\r\n":
        position += 1
    return position


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree = dict(pairs)
    if len(tree) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ManifestError(f"the key {clean(twice, 80)!r} is there twice")
    return tree


def _no_constant(name: str) -> NoReturn:
    raise ManifestError(f"{name} is not JSON")


def _check_tree(value: Any, room: int, limits: Limits) -> int:
    """Depth, number of values (which is returned), numbers that Kubernetes can hold, text that UTF-8 can carry."""
    count = 0
    waiting: list[tuple[Any, int]] = [(value, 0)]
    while waiting:
        tree, depth = waiting.pop()
        count += 1
        if count > room:
            raise ManifestError(f"more than {limits.input_values} values (limits.inputValues)")
        if isinstance(tree, str):
            _check_text(tree)
        elif isinstance(tree, int) and not -(2**63) <= tree < 2**64:
            raise ManifestError("a number of more than 64 bits")
        elif isinstance(tree, float) and not math.isfinite(tree):
            raise ManifestError("a number too large for JSON")
        elif isinstance(tree, (dict, list)):
            if depth >= limits.review_depth:
                raise ManifestError(f"nested deeper than {limits.review_depth} (limits.reviewDepth)")
            children = tree.values() if isinstance(tree, dict) else tree
            waiting.extend((child, depth + 1) for child in children)
            if isinstance(tree, dict):
                for key in tree:
                    _check_text(key)
    return count


def _check_text(text: str) -> None:
    try:
        text.isascii() or text.encode()
    except UnicodeEncodeError:
        raise ManifestError(f"{clean(text, 80)!r} holds half of a surrogate pair") from None


def _objects(source: str, file: str, line: int, value: Any) -> Iterator[Manifest | BadManifest]:
    """The object itself, or the items of a List."""
    if not isinstance(value, Mapping):
        yield _bad(source, file, line, f"not an object but {_json_type(value)}")
    elif not (isinstance(value.get("kind"), str) and value["kind"]):
        yield _bad(source, file, line, "an object without a 'kind'")
    elif not (isinstance(value.get("apiVersion"), str) and value["apiVersion"]):
        yield _bad(source, file, line, f"{clean(value['kind'], 80)} without an 'apiVersion'")
    elif value["kind"].endswith("List") and isinstance(value.get("items"), list):
        typed = value["kind"].removesuffix("List")
        for index, item in enumerate(value["items"]):
            if typed and isinstance(item, Mapping):  # the items of a PodList do not say what they are
                item = {"apiVersion": value["apiVersion"], "kind": typed, **item}  # noqa: PLW2901
            yield from _objects(f"{source}.items[{index}]", file, line, item)
    else:
        yield Manifest(source, file, line, value)


def _bad(source: str, file: str, line: int, message: str) -> BadManifest:
    return BadManifest(source, file, line, ManifestError(message))


def _json_type(value: Any) -> str:
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return "a boolean"
    return "a string" if isinstance(value, str) else "a number"
