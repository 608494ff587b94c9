"""Package URLs, read and compared (https://github.com/package-url/purl-spec, ECMA-427).

A comparison is never generous: what a statement names must be there in what was found, so that a word about one
version, architecture or distribution says nothing of another.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

_SCHEME: Final = "pkg:"
_TYPE = re.compile(r"[a-z][a-z0-9.+-]*")
_KEY = re.compile(r"[a-z][a-z0-9._-]*")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CHARS: Final = 4096
"""Longest text that is read; real ones have some hundred characters."""

# Of these types names mean the same in any case (types/*-definition.json of the specification).
_ANY_CASE = frozenset({"alpm", "apk", "bitbucket", "composer", "deb", "github", "golang", "hex", "oci", "pypi"})
_ANY_CASE_NAMESPACE = _ANY_CASE | {"rpm"}

Key = tuple[str, str, str]
"""Type, namespace and name: what the package is, whichever version."""


class Purl(NamedTuple):
    """A package URL in its parts, decoded, in the canonical case of its type. What is unset is "" or empty.

    A named tuple, which is made in a third of the time of a frozen dataclass: a report has ten thousand of them.
    """

    type: str
    namespace: str
    name: str
    version: str = ""
    qualifiers: Mapping[str, str] = MappingProxyType({})
    subpath: str = ""

    @property
    def key(self) -> Key:
        return self[:3]

    def covers(self, found: "Purl") -> bool:
        """Whether ``found``, a package that is there, is what this one names: the same package, and each of version,
        qualifiers (arch, distro, epoch ...) and subpath that this one has is its own as well."""
        return (
            self.key == found.key
            and self.version in ("", found.version)
            and self.subpath in ("", found.subpath)
            and all(found.qualifiers.get(name) == value for name, value in self.qualifiers.items())
        )


def parse_purl(text: str) -> Purl | None:
    """The package URL in ``text``; None where it is none. Parts are split off as docs/how-to-parse.md of the
    specification says, from right to left; a broken escape, a type or a qualifier's name with other characters, and
    a qualifier that stands twice make it none."""
    if text[:4].lower() != _SCHEME or len(text) > _CHARS or ("%" in text and _BAD_ESCAPE.search(text)):
        return None
    try:
        return _parse(text[4:])
    except ValueError:  # a part that is not UTF-8
        return None


def _parse(text: str) -> Purl | None:
    rest, fragment = _split(text, "#")
    rest, query = _split(rest, "?")
    type_, _, path = rest.lstrip("/").partition("/")
    type_ = type_.lower()
    before, version = _split(path, "@")
    if "/" in version and (
        not before or before.endswith("/")
    ):  # the "@" of npm's scopes, which should have been escaped
        before, version = path, ""
    head, _, last = before.strip("/").rpartition("/")
    name = _decoded(last)
    qualifiers = _qualifiers(query)
    if _TYPE.fullmatch(type_) is None or not name or qualifiers is None:
        return None
    namespace = "/".join(_decoded(segment) for segment in head.split("/") if segment)
    subpath = "/".join(part for one in fragment.split("/") if (part := _decoded(one)) not in ("", ".", ".."))
    if type_ in _ANY_CASE:
        name = name.lower()
    if type_ in _ANY_CASE_NAMESPACE:
        namespace = namespace.lower()
    if type_ == "pypi":
        name = name.replace("_", "-")
    return Purl(type_, namespace, name, _decoded(version), qualifiers, subpath)


def _split(text: str, separator: str) -> tuple[str, str]:
    """What stands before and behind the last ``separator``; all is before it where there is none."""
    before, found, behind = text.rpartition(separator)
    return (before, behind) if found else (text, "")


def _qualifiers(query: str) -> Mapping[str, str] | None:
    found: dict[str, str] = {}
    if not query:
        return found
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        name = name.lower()
        if _KEY.fullmatch(name) is None or name in found:
            return None
        if value:
            found[name] = _decoded(value)
    return found


def _decoded(text: str) -> str:
    """
    Raises:
        UnicodeDecodeError: it is not UTF-8.
    """
    return unquote_to_bytes(text).decode("utf-8") if "%" in text else text
