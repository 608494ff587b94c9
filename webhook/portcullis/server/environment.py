"""PORTCULLIS_SECTION__KEY: the environment laid over the configuration file."""

import json
import types
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr

from portcullis.errors import ConfigError
from portcullis.strictyaml import Location

PREFIX = "PORTCULLIS_"
_SEPARATOR = "__"
_VARIABLE_CHARS = 128 * 1024


def overlay(
    tree: Mapping[str, Any], environ: Mapping[str, str], model: type[BaseModel]
) -> tuple[dict[str, Any], Mapping[Location, str]]:
    """``tree`` with the variables put in, and which variable stands at which location.

    ``PORTCULLIS_SERVER__TLS__CERTFILE`` is ``server.tls.certFile``: case and ``_`` within a name do not matter. Text
    is taken as it is; numbers, true, false, lists and maps are JSON. Only names with ``__`` count (and sections
    that are no map): Kubernetes gives every pod variables such as ``PORTCULLIS_PORT`` for a service of that name.

    Raises:
        ConfigError: a variable that names no key, or whose value cannot be read; names the variable, never the
            value.
    """
    result = dict(tree)
    variables: dict[Location, str] = {}
    for name in sorted(environ):
        words = name.removeprefix(PREFIX).split(_SEPARATOR)
        if not name.startswith(PREFIX) or (len(words) == 1 and _field(model, words[0]) is None):
            continue
        location, annotation = _locate(name, words, model)
        if location in variables:
            raise ConfigError(f"{name}: sets the same key as {variables[location]}")
        _put(result, location, _value(name, environ[name], annotation), name)
        variables[location] = name
    return result, variables


def _locate(name: str, words: list[str], model: type[BaseModel]) -> tuple[Location, Any]:
    location: list[str] = []
    annotation: Any = model
    for word in words:
        section = _model_of(annotation)
        found = _field(section, word) if section is not None else None
        if found is None:
            where = ".".join(location) or "the configuration"
            raise ConfigError(f"{name}: {where} has no such key")
        alias, annotation = found
        location.append(alias)
    return tuple(location), annotation


def _field(model: type[BaseModel], word: str) -> tuple[str, Any] | None:
    """Alias and annotation of the field that ``word`` names."""
    wanted = word.replace("_", "").lower()
    for field_name, field in model.model_fields.items():
        if field_name.replace("_", "") == wanted:
            return field.alias or field_name, field.annotation
    return None


def _choices(annotation: Any) -> tuple[Any, ...]:
    """The types of ``X | Y``, without the marks of Annotated."""
    if get_origin(annotation) is Annotated:
        return _choices(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(choice for part in get_args(annotation) for choice in _choices(part))
    return (annotation,)


def _model_of(annotation: Any) -> type[BaseModel] | None:
    for choice in _choices(annotation):
        if isinstance(choice, type) and issubclass(choice, BaseModel):
            return choice
    return None


def _value(name: str, text: str, annotation: Any) -> Any:
    if len(text) > _VARIABLE_CHARS:
        raise ConfigError(f"{name}: is longer than {_VARIABLE_CHARS} characters")
    if any(
        isinstance(choice, type) and issubclass(choice, (str, Path, Enum, SecretStr)) for choice in _choices(annotation)
    ):
        return text
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise ConfigError(f"{name}: is neither a JSON number, true, false, null, list nor map") from None


def _no_constant(text: str) -> Any:
    raise ValueError(text)


def _put(tree: dict[str, Any], location: Location, value: Any, name: str) -> None:
    node = tree
    for part in location[:-1]:
        child = node.get(str(part))
        if child is None:
            child = {}
        if not isinstance(child, dict):
            raise ConfigError(f"{name}: {part} is no map in the configuration file")
        child = dict(child)
        node[str(part)] = child
        node = child
    node[str(location[-1])] = value
