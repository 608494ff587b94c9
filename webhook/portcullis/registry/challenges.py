"""What a registry asks for with 401: the header WWW-Authenticate.

Source: RFC 9110 sections 5.6 and 11.3 to 11.6.1; the parameters of Bearer are those of
https://distribution.github.io/distribution/spec/auth/token/.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from portcullis.errors import Malformed

_HEADER_CHARS: Final = 8192
"""All fields together; registries send about 200 characters."""
_CHALLENGES: Final = 10
_PARAMETERS: Final = 20

_ACCESS_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,65536}")

# One step each: the patterns start where the last one ended and cannot give back what they took.
_SEPARATORS: Final = re.compile(r"[ \t,]*+")
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]++")
_BLANKS: Final = re.compile(r"[ \t]*+")
_TOKEN68: Final = re.compile(r"[A-Za-z0-9._~+/-]++=*+(?=[ \t]*+(?:,|$))")
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*+)"')
_ESCAPED: Final = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class Challenge:
    """``scheme`` and the names of ``parameters`` are in lower case."""

    scheme: str
    parameters: Mapping[str, str]


def is_token(text: str) -> bool:
    """Whether an access token can be shown to a registry: no blank, no control character that would end a header.
    Wider than the b64token of RFC 6750, which some registries are, too."""
    return _ACCESS_TOKEN.fullmatch(text) is not None


def parse_challenges(fields: Sequence[str], host: str) -> Sequence[Challenge]:
    """Reads the values of all WWW-Authenticate fields of one answer of ``host``, in order.

    Raises:
        Malformed: not what RFC 9110 says, too long, or a parameter twice.
    """
    text = ", ".join(fields)
    try:
        if len(text) > _HEADER_CHARS:
            raise _Unreadable(f"it has more than {_HEADER_CHARS} characters")
        return _challenges(text)
    except _Unreadable as error:
        raise Malformed(f"{host} sends a WWW-Authenticate that is not what RFC 9110 says: {error}") from error


class _Unreadable(ValueError):
    """What is wrong with the header."""


def _challenges(text: str) -> Sequence[Challenge]:
    challenges: list[Challenge] = []
    position = _skip(text, 0)
    while position < len(text):
        if len(challenges) == _CHALLENGES:
            raise _Unreadable(f"it holds more than {_CHALLENGES} challenges")
        scheme, position = _token(text, position)
        _require_separator(text, position)
        parameters, position = _parameters(text, position)
        challenges.append(Challenge(scheme.lower(), parameters))
    return challenges


def _parameters(text: str, position: int) -> tuple[Mapping[str, str], int]:
    """The parameters of one challenge; those of the next begin with a scheme, which no "=" follows."""
    parameters: dict[str, str] = {}
    blanks = _end(_BLANKS, text, position)
    token68 = _TOKEN68.match(text, blanks)
    if token68 is not None and blanks > position and "=" not in token68.group().rstrip("="):
        return parameters, _skip(text, token68.end())
    position = _skip(text, position)
    while position < len(text):
        name, after = _token(text, position)
        equals = _end(_BLANKS, text, after)
        if text[equals : equals + 1] != "=":
            return parameters, position
        value, position = _value(text, _end(_BLANKS, text, equals + 1))
        if name.lower() in parameters or len(parameters) == _PARAMETERS:
            raise _Unreadable("a parameter is there twice, or there are too many")
        parameters[name.lower()] = value
        _require_separator(text, position)
        position = _skip(text, position)
    return parameters, position


def _value(text: str, position: int) -> tuple[str, int]:
    quoted = _QUOTED.match(text, position)
    if quoted is not None:
        return _ESCAPED.sub(r"\1", quoted.group(1)), quoted.end()
    return _token(text, position)


def _token(text: str, position: int) -> tuple[str, int]:
    found = _TOKEN.match(text, position)
    if found is None:
        raise _Unreadable("a name or a value is missing")
    return found.group(), found.end()


def _skip(text: str, position: int) -> int:
    return _end(_SEPARATORS, text, position)


def _end(pattern: re.Pattern[str], text: str, position: int) -> int:
    """Where a pattern that matches the empty text too ends."""
    found = pattern.match(text, position)
    return position if found is None else found.end()


def _require_separator(text: str, position: int) -> None:
    if position < len(text) and text[position] not in " \t,":
        raise _Unreadable("a character is out of place")
