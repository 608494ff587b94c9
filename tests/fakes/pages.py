"""The pages for operators, as one text: docs/operators.md first."""

from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"
OPERATORS = "\n".join(path.read_text("utf-8") for path in (DOCS / "operators.md", *sorted(DOCS.glob("operators-*.md"))))
