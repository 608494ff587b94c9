"""The verdicts that the demo must have (expected.toml), and what differs from them."""

import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from importlib import resources

_LEADS = re.compile(r"^\[([a-z0-9-]+)\] ", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is expected of a case, or what came of it."""

    verdict: str
    code: int
    because: str
    refused_by: tuple[str, ...]
    warned_by: tuple[str, ...]


def load_expected() -> dict[str, Outcome]:
    """The table by case."""
    text = resources.files(__package__).joinpath("expected.toml").read_text("utf-8")
    return {name: _outcome(row) for name, row in tomllib.loads(text).items()}


def _outcome(row: dict[str, object]) -> Outcome:
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
    return Outcome(**values)  # type: ignore[arg-type]


def leads(lines: str) -> tuple[str, ...]:
    """The ``[policy]`` or ``[reason]`` that the lines of a refusal or of warnings begin with, sorted."""
    return tuple(sorted(set(_LEADS.findall(lines))))


def differences(expected: dict[str, Outcome], actual: dict[str, Outcome]) -> Sequence[str]:
    """One line for each value that is not as expected, each case that was not expected or did not come."""
    return [line for name in dict.fromkeys([*expected, *actual]) for line in _differences(name, expected, actual)]


def _differences(name: str, expected: dict[str, Outcome], actual: dict[str, Outcome]) -> Iterator[str]:
    if name not in actual:
        yield f"{name}: was expected and did not come"
    elif name not in expected:
        yield f"{name}: is not in expected.toml"
    else:
        for field in fields(Outcome):
            wanted, came = getattr(expected[name], field.name), getattr(actual[name], field.name)
            if wanted != came:
                yield f"{name}: {field.name} should be {_shown(wanted)}, is {_shown(came)}"


def _shown(value: object) -> str:
    return ", ".join(value) or "nothing" if isinstance(value, tuple) else str(value)
