"""Snippets of Rego as policies of their own, linted together: one run of OPA for all of a table."""

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path

from portcullis.limits import DEFAULT_LIMITS
from portcullis.policy.linting.finding import Finding
from portcullis.policy.linting.linter import Report, lint
from portcullis.policy.memory import memory_goal

HEAD = """# METADATA
# title: A policy
# description: Of a test.
# custom: {{severity: low, mode: deny}}
package portcullis.policies.{name}

import rego.v1

"""
TEST = """package portcullis.policies.{name}_test

import rego.v1

import data.portcullis.policies.{name}

test_verdicts if {{
{body}
}}
"""


def whole(name: str, text: str) -> str:
    """The snippet as a policy; one that says its package stays as it is."""
    return text if "package " in text else HEAD.format(name=name) + text + "\n"


def run(folder: Path, binary: Path, regal: Path | None = None) -> Report:
    return asyncio.run(lint([folder], binary=binary, regal=regal, limits=DEFAULT_LIMITS, memory_bytes=memory_goal()))


def lint_snippets(snippets: Mapping[str, str], folder: Path, binary: Path) -> Mapping[str, list[Finding]]:
    """The findings of each snippet, by its name. Each gets a test that names its verdicts."""
    for name, text in snippets.items():
        place = folder / name
        place.mkdir()
        (place / "policy.rego").write_text(whole(name, text))
        if "package " not in text:
            verdicts = [verdict for verdict in ("deny", "warn", "audit") if f"{verdict} contains" in text]
            body = "\n".join(f"\tcount({name}.{verdict}) == 0 with input as {{}}" for verdict in verdicts)
            (place / "policy_test.rego").write_text(TEST.format(name=name, body=body))
    report = run(folder, binary)
    found: dict[str, list[Finding]] = {name: [] for name in snippets}
    for one in report.findings:
        found[Path(one.file).parent.name].append(one)
    return found


def names(findings: Iterable[Finding]) -> set[str]:
    return {one.rule for one in findings}
