"""What lint finds, and the rules by which it does."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """What a finding does to the exit code: an error always fails, a warning under ``--strict``."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that is looked for. ``name`` is what ignores and SARIF know it by."""

    name: str
    level: Level
    title: str


RULES: Mapping[str, Rule] = {
    rule.name: rule
    for rule in (
        Rule("parse-error", Level.ERROR, "The file is no Rego."),
        Rule("compile-error", Level.ERROR, "OPA does not compile the policies."),
        Rule("type-error", Level.ERROR, "An expression can never hold, by the types of the policy input."),
        Rule("policy-set", Level.ERROR, "OPA compiles it, but no gate would load it."),
        Rule("builtin-not-allowed", Level.ERROR, "Policies do not get this builtin."),
        Rule("unknown-input", Level.ERROR, "The policy input has no such path."),
        Rule("three-states", Level.ERROR, "The policy fires only on the bad value of a fact that may be unknown."),
        Rule(
            "not-hoists", Level.ERROR, "OPA looks the reference up before the `not`; where it is absent, nothing fires."
        ),
        Rule("foreign-parameters", Level.ERROR, "A policy reads the parameters of another one."),
        Rule("missing-metadata", Level.WARNING, "METADATA lacks what refusals and pages show."),
        Rule("missing-tests", Level.WARNING, "No test names the policy, or one of its rules."),
        Rule("missing-fix", Level.WARNING, "A message does not say what to do."),
        Rule("ignore-invalid", Level.ERROR, "A comment that ignores findings names no rule, or no reason."),
        Rule("ignore-unused", Level.WARNING, "A comment ignores what is not found there."),
        Rule("not-supported", Level.ERROR, "A template or constraint of Gatekeeper that the gate cannot judge by."),
    )
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to mend. ``row`` and ``column`` count from 1; 0 where it is no single place.

    ``fix`` says how to mend it; ``docs`` is an address with more, or "".
    """

    rule: str
    level: Level
    file: str
    row: int
    column: int
    message: str
    fix: str = ""
    docs: str = ""

    @property
    def order(self) -> tuple[str, int, int, str, str]:
        return (self.file, self.row, self.column, self.rule, self.message)


def finding(rule: str, place: tuple[str, int, int], message: str, fix: str = "") -> Finding:
    """A finding of a rule of ours. ``place``: file, row and column."""
    return Finding(rule, RULES[rule].level, *place, message, fix)
