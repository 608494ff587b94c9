"""The page on attacks names what is tried, and nothing else."""

import re
from pathlib import Path

from vectors.attacks import attacks

ROOT = Path(__file__).parents[2]
CONTROLS = {"logged-key", "vex"}
"""Good ones, from which others differ in one respect."""


def named() -> set[str]:
    """What stands in the last column of the tables."""
    rows = re.findall(r"^\|.*\| ([^|]*`) \|$", (ROOT / "docs" / "threat-model.md").read_text(), re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


def test_whatever_the_page_names_is_there() -> None:
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    there = set(re.findall(r"^(?:async )?def (test_\w+)", tests, re.MULTILINE))
    assert named() <= there | {attack.name for attack in attacks()}


def test_the_page_leaves_no_attack_out() -> None:
    names = [attack.name for attack in attacks()]
    assert len(set(names)) == len(names)
    assert set(names) - named() == CONTROLS
