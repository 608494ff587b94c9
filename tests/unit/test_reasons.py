"""docs/reasons.md: every reason code that the program or its policies can give is there, and no other."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from portcullis import errors
from portcullis.evidence import refusal

ROOT = Path(__file__).resolve().parents[2]
CODE = re.compile(r"[a-z]+(-[a-z]+)+|vulnerabilities")
ROW = re.compile(r"^\| `(?P<code>[a-z-]+)` \| (?P<cause>.+?) \| (?P<remedy>.+?) \|$", re.MULTILINE)

# Functions whose argument at that place is a reason.
PLACES = {"Problem": 1, "failure": 1, "PolicyFailure": 1, "Rejected": 0}


def error_tree(root: type[errors.PortcullisError]) -> Iterator[type[errors.PortcullisError]]:
    yield root
    for child in root.__subclasses__():
        yield from error_tree(child)


def in_python(source: str) -> Iterator[str]:
    """Reasons that are written out: arguments, and ``reason = …`` of classes and functions."""
    for node in ast.walk(ast.parse(source)):
        found: list[ast.expr] = []
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in PLACES:
                found += node.args[PLACES[name] : PLACES[name] + 1]
            found += [keyword.value for keyword in node.keywords if keyword.arg == "reason"]
        elif isinstance(node, ast.Assign) and any(getattr(target, "id", "") == "reason" for target in node.targets):
            found.append(node.value)
        for value in found:
            for constant in ast.walk(value):
                text = constant.value if isinstance(constant, ast.Constant) else None
                if isinstance(text, str) and CODE.fullmatch(text):
                    yield text


def in_rego(source: str) -> Iterator[str]:
    yield from re.findall(r'"reason": "([a-z-]+)"', source)
    yield from re.findall(r'\bsaid\("([a-z-]+)"', source)


def given() -> set[str]:
    codes = {error.reason for error in error_tree(errors.PortcullisError)}
    codes |= {value for name, value in vars(refusal).items() if name.isupper() and isinstance(value, str)}
    for path in (ROOT / "webhook" / "portcullis").rglob("*.py"):
        codes.update(in_python(path.read_text()))
    for path in (ROOT / "policies").rglob("*.rego"):
        if not path.name.endswith("_test.rego"):
            codes.update(in_rego(path.read_text()))
    return codes


def documented() -> list[str]:
    return [row["code"] for row in ROW.finditer((ROOT / "docs" / "reasons.md").read_text())]


def test_every_error_has_its_own_reason() -> None:
    reasons = [error.reason for error in error_tree(errors.PortcullisError) if error.__module__ == errors.__name__]
    assert len(reasons) == len(set(reasons))
    assert all(CODE.fullmatch(reason) for reason in reasons)


def test_every_reason_is_documented() -> None:
    assert given() - set(documented()) == set()


def test_nothing_is_documented_that_is_never_given() -> None:
    assert set(documented()) - given() == set()


def test_each_stands_once_and_says_cause_and_remedy() -> None:
    codes = documented()
    assert len(codes) == len(set(codes))
    lines = [line for line in (ROOT / "docs" / "reasons.md").read_text().splitlines() if line.startswith("| `")]
    assert len(lines) == len(codes), "a row that is not code, cause, remedy"


def test_the_collector_finds_what_it_must() -> None:
    source = 'Problem(Stage.X, "a-b", retryable=True)\nclass E:\n    reason = "c-d"\nf(reason="e-f" if x else "g-h")'
    assert set(in_python(source)) == {"a-b", "c-d", "e-f", "g-h"}
    assert {
        "digest-mismatch",
        "attestation-unsigned",
        "inspection-pending",
        "scan-stale",
        "too-many-reviews",
    } <= given()
