"""Regular expressions in linear time: those of Rust's regex crate, which pydantic brings along.

Python's own go back and try again, so that a careless expression, or a text made for it, can take hours in which
nothing else is answered. Rust's never go back (https://docs.rs/regex, "Untrusted input"): what they do not have, such
as look-around and back-references, they refuse when they are compiled, and a compiled one is bounded in size.
"""

from collections.abc import Callable

from pydantic_core import SchemaError, SchemaValidator, core_schema

from portcullis.text import clean

MAX_CHARS = 1000
"""Of one expression."""


def linear(expression: str) -> Callable[[str], bool]:
    """Tells whether ``expression`` fits anywhere in a text.

    Raises:
        ValueError: it is no such expression; says why.
    """
    try:
        validator = SchemaValidator(core_schema.str_schema(pattern=expression, strict=True))
    except SchemaError as error:
        raise ValueError(_reason(str(error))) from None
    return validator.isinstance_python


def _reason(text: str) -> str:
    """The engine's last line, which says what is wrong."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    return clean(lines[-1].removeprefix("error: ") if lines else "no regular expression", 200)
