"""Each limit is one that the program keeps to, and that a test crosses."""

import dataclasses
import re
from pathlib import Path

import pytest

import portcullis
from portcullis.limits import Limits

TESTS = Path(__file__).parents[1]
NAMES = [field.name for field in dataclasses.fields(Limits)]


def text_of(folder: Path) -> str:
    return "\n".join(path.read_text() for path in folder.rglob("*.py") if path != Path(__file__))


@pytest.fixture(scope="module")
def program() -> str:
    return text_of(Path(portcullis.__file__).parent)


@pytest.fixture(scope="module")
def tests() -> str:
    return text_of(TESTS)


@pytest.mark.parametrize("name", NAMES)
def test_the_program_reads_it(name: str, program: str) -> None:
    assert re.search(rf"limits(\(\))?\.{name}\b", program)


@pytest.mark.parametrize("name", NAMES)
def test_a_test_sets_it_or_waits_for_its_message(name: str, tests: str) -> None:
    """Whether that test crosses it only a reader can say; one that nothing names is crossed by none."""
    camel = re.sub(r"_(.)", lambda found: found[1].upper(), name)
    message = f"|limits?[. ]{camel}\\b" if camel == name else f"|\\b{camel}\\b"
    assert re.search(rf"\b{name}=|\"{name}\":{message}", tests)
