"""The READMEs of policies: their parts, and the Dockerfiles in them, by Hadolint."""

import re
from dataclasses import dataclass

import pytest

from fakes.judging import FOLDER, POLICIES
from portcullis.cli.hadolint import run_hadolint
from portcullis.limits import DEFAULT_LIMITS

PARTS = {"Bad", "Good", "Messages"}


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """One fenced block in the README of a policy, under the heading "Bad" or "Good"."""

    policy: str
    heading: str
    number: int
    text: str

    def __str__(self) -> str:
        return f"{self.policy}-{self.heading}-{self.number}"


def readme(policy: str) -> str:
    return (FOLDER / policy / "README.md").read_text("utf-8")


def sections(policy: str) -> dict[str, str]:
    found = re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", readme(policy), flags=re.MULTILINE | re.DOTALL)
    assert len(dict(found)) == len(found), "a heading stands twice"
    return dict(found)


def dockerfiles(policy: str) -> list[Dockerfile]:
    return [
        Dockerfile(policy, heading, number, text)
        for heading, section in sections(policy).items()
        if heading in ("Bad", "Good")
        for number, text in enumerate(re.findall(r"^```dockerfile\n(.*?)^```$", section, re.MULTILINE | re.DOTALL))
    ]


ALL = [one for policy in POLICIES for one in dockerfiles(policy)]


@pytest.mark.parametrize("policy", POLICIES)
def test_a_readme_has_its_parts(policy: str) -> None:
    source = (FOLDER / policy / "policy.rego").read_text("utf-8")
    title = re.search(r"^# title: (.+)$", source, re.MULTILINE)
    assert title
    first, _, rest = readme(policy).partition("\n")
    assert first.lower() == f"# {policy}: {title[1]}".lower()
    assert len(rest.partition("\n## ")[0].strip()) > 60, "what it refuses, and why"
    parts = sections(policy)
    takes_parameters = {"Parameters"} if re.search(r'"\w+": \{\s*"type":', source) else set()
    assert set(parts) == PARTS | takes_parameters
    for heading in ("Bad", "Good"):
        assert re.search(r"^```(?:dockerfile|yaml)$", parts[heading], re.MULTILINE), heading


@pytest.mark.parametrize("example", ALL, ids=str)
def test_dockerfiles_are_such_and_good_ones_hold_no_error(example: Dockerfile) -> None:
    report = run_hadolint(example.text.encode(), "Dockerfile", None, DEFAULT_LIMITS)
    assert "DL1000" not in {finding.rule for finding in report.findings}, "does not parse"
    if example.heading == "Good":
        assert [one for one in report.findings if one.level == "error"] == []


def test_most_policies_about_images_show_dockerfiles() -> None:
    assert len({one.policy for one in ALL if one.heading == "Bad"}) > 15
