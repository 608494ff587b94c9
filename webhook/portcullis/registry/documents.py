"""JSON from registries, read strictly.

Registries and the runtimes that pull from them are written in Go, whose decoder takes the last of two equal keys
and matches field names without regard to case: ``{"User": "1000", "user": "0"}`` is user 0 there. A document that
could be read in two ways is therefore refused, not read in one of them.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from portcullis.errors import Malformed, TooLarge
from portcullis.strictjson import StrictJsonError, load_json
from portcullis.text import clean


def parse_object(content: bytes, *, depth: int, what: str) -> Mapping[str, Any]:
    """A JSON object from bytes.

    Args:
        depth: how deep it may nest.
        what: names the document in messages.

    Raises:
        Malformed: no JSON object in UTF-8, a key twice in one object, NaN or Infinity, a lone surrogate.
        TooLarge: it nests deeper than ``depth``.
    """
    try:
        document = load_json(content, max_depth=depth)
    except StrictJsonError as error:
        raise (TooLarge if error.too_deep else Malformed)(f"{what} {error.problem}") from error
    if not isinstance(document, dict):
        raise Malformed(f"{what} is no JSON object")
    return document


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of one JSON object. Null is read as absent, as Go does.

    Every method raises Malformed where the value has another type. ``where`` names the object in messages.
    """

    document: Mapping[str, Any]
    where: str

    @classmethod
    def of(cls, value: object, where: str, known: Collection[str]) -> "Fields":
        """Wraps an object after checking that none of its keys is one of ``known`` in another case."""
        if not isinstance(value, Mapping):
            raise Malformed(f"{where} is no JSON object")
        folded = {name.casefold() for name in known}
        for key in value:
            if key not in known and key.casefold() in folded:
                raise Malformed(f"{where} has the key {clean(repr(key), 60)}, which some readers take for another")
        return cls(value, where)

    def has(self, key: str) -> bool:
        return self.document.get(key) is not None

    def text(self, key: str) -> str:
        """ "" where absent."""
        value = self.document.get(key)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self._wrong(key, "no text")
        return value

    def count(self, key: str) -> int | None:
        """A whole number of at least 0; None where absent."""
        value = self.document.get(key)
        if value is None:
            return None
        if type(value) is not int or value < 0:
            raise self._wrong(key, "no number of bytes or the like")
        return value

    def flag(self, key: str) -> bool:
        value = self.document.get(key)
        if value is not None and not isinstance(value, bool):
            raise self._wrong(key, "neither true nor false")
        return bool(value)

    def object(self, key: str, known: Collection[str]) -> "Fields":
        """An empty object where absent."""
        value = self.document.get(key)
        return Fields.of({} if value is None else value, f"{key} of {self.where}", known)

    def items(self, key: str) -> Sequence[Any]:
        """A list; empty where absent."""
        value = self.document.get(key)
        if value is None:
            return ()
        if not isinstance(value, list):
            raise self._wrong(key, "no list")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts; empty where absent."""
        values = self.items(key)
        if not all(isinstance(value, str) for value in values):
            raise self._wrong(key, "no list of texts")
        return tuple(values)

    def mapping(self, key: str) -> Mapping[str, Any]:
        """An object whose keys are data; empty where absent."""
        value = self.document.get(key)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self._wrong(key, "no object")
        return value

    def text_mapping(self, key: str) -> Mapping[str, str]:
        """An object of texts; empty where absent. A null value is "", as in Go."""
        values = self.mapping(key)
        if not all(value is None or isinstance(value, str) for value in values.values()):
            raise self._wrong(key, "no object of texts")
        return {name: value or "" for name, value in values.items()}

    def _wrong(self, key: str, problem: str) -> Malformed:
        return Malformed(f"{key} of {self.where} is {problem}")
