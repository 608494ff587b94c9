"""Rego in colours."""

import pytest

from portcullis.policy.bundle import builtin_policies
from portcullis.server.review.regotext import SHOWN_COLUMNS, SHOWN_LINES, Piece, coloured


def kinds(text: str) -> list[list[tuple[str, str]]]:
    return [[(piece.kind, piece.text) for piece in line if piece.kind] for line in coloured(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("# deny all", [[("comment", "# deny all")]]),
        ('x := "# no comment" # one', [[("string", '"# no comment"'), ("comment", "# one")]]),
        (r'x := "a \" b"', [[("string", r'"a \" b"')]]),
        ("import rego.v1", [[("keyword", "import")]]),
        ("deny contains v if {", [[("rule", "deny"), ("keyword", "contains"), ("keyword", "if")]]),
        ("count(x) > 12.5", [[("call", "count"), ("number", "12.5")]]),
        ("denying := inputs", [[]]),
        ("x := `a\n# b\nc` == 1", [[("string", "`a")], [("string", "# b")], [("string", "c`"), ("number", "1")]]),
        ("x := ``", [[("string", "``")]]),
        ('x := "never closed', [[("string", '"never closed')]]),
    ],
)
def test_kinds(text: str, expected: list[list[tuple[str, str]]]) -> None:
    assert kinds(text) == expected


@pytest.mark.parametrize(
    "path", sorted(builtin_policies().glob("*/policy.rego"))[:20], ids=lambda path: path.parent.name
)
def test_nothing_of_the_text_is_lost(path: object) -> None:
    text = path.read_text()  # type: ignore[attr-defined]
    assert ["".join(piece.text for piece in line) for line in coloured(text)] == text.splitlines()


def test_long_texts_are_cut() -> None:
    lines = coloured("x\n" * (SHOWN_LINES + 5))
    assert len(lines) == SHOWN_LINES
    assert coloured("y" * 5000) == ((Piece("", "y" * SHOWN_COLUMNS + "…"),),)
