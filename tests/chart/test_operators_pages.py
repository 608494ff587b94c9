"""The values that the pages for operators show are ones that the chart takes."""

import re
from pathlib import Path

import pytest
import yaml

from chart.support import template

DOCS = Path(__file__).resolve().parents[2] / "docs"
SHOWN = [
    pytest.param(block, id=f"{page.stem}-{number}")
    for page in sorted(DOCS.glob("operators-*.md"))
    for number, block in enumerate(
        re.findall(r"^```yaml\n# values\.yaml\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    )
]


@pytest.mark.parametrize("block", SHOWN)
def test_values_that_are_shown_are_taken(block: str) -> None:
    done = template(values=yaml.safe_load(block))
    assert done.returncode == 0, done.stderr
