"""Compiled Rego as OPA hands it out (GET /v1/policies): modules, their rules, and what a reference leads to.

In the compiled form every reference is written out from ``data`` or ``input``, local variables have names of
their own, calls and ``some … in`` are plain expressions. The JSON is OPA's AST (ast.Module); it holds no
locations, so rows are looked up in the source.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from portcullis.errors import CompileProblem
from portcullis.model.ruling import Mode, Origin, PolicySource
from portcullis.policy.bundle import LIBRARY, policy_name
from portcullis.text import clean

Term = Mapping[str, Any]
Path = tuple[str, ...]

PARAMETERS: Path = ("portcullis", "parameters")
INVENTORY: Path = ("inventory",)


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """One rule. ``path`` is where its value stands in ``data`` as far as that is constant; ``keys`` are the
    variable parts of its head after that. ``otherwise`` is the ``else`` branch."""

    path: Path
    keys: tuple[Term, ...]
    head: Mapping[str, Any]
    body: Sequence[Mapping[str, Any]]
    otherwise: "Rule | None"

    @property
    def is_function(self) -> bool:
        return "args" in self.head

    @property
    def is_set(self) -> bool:
        """Whether it is a multi-value rule (``contains``)."""
        return "key" in self.head and "value" not in self.head


@dataclass(frozen=True, slots=True, eq=False)
class Module:
    source: PolicySource
    package: Path
    rules: tuple[Rule, ...]
    annotations: tuple[Mapping[str, Any], ...]
    tree: Mapping[str, Any]


def read_module(source: PolicySource, tree: Mapping[str, Any]) -> Module:
    """Raises KeyError, TypeError, IndexError or AttributeError where the tree is none that OPA makes."""
    package = tuple(str(part["value"]) for part in tree["package"]["path"][1:])
    rules = tuple(_rule(package, rule) for rule in tree.get("rules") or ())
    return Module(source, package, rules, tuple(tree.get("annotations") or ()), tree)


def _rule(package: Path, rule: Mapping[str, Any]) -> Rule:
    head = rule["head"]
    reference = head["ref"]
    constant = [str(reference[0]["value"])]
    for part in reference[1:]:
        if part["type"] != "string":
            break
        constant.append(str(part["value"]))
    keys = tuple(reference[len(constant) :])
    otherwise = rule.get("else")
    if otherwise is not None and "ref" not in otherwise["head"]:
        otherwise = {**otherwise, "head": {**otherwise["head"], "ref": reference}}
    return Rule(
        path=(*package, *constant),
        keys=keys,
        head=head,
        body=rule.get("body") or (),
        otherwise=_rule(package, otherwise) if otherwise is not None else None,
    )


class RuleSet:
    """All rules of a policy set."""

    def __init__(self, modules: Sequence[Module]) -> None:
        self.modules = tuple(modules)
        self._rules: dict[Path, list[Rule]] = {}
        for module in modules:
            for rule in module.rules:
                self._rules.setdefault(rule.path, []).append(rule)

    def at(self, path: Path) -> Sequence[Rule]:
        return self._rules.get(path, ())

    def led_to(self, constant: Path) -> Iterator[Path]:
        """The paths of the rules that a reference with this constant beginning may lead to: those at its end or
        above it, and those below."""
        yield from (constant[:length] for length in range(len(constant) + 1) if constant[:length] in self._rules)
        yield from (path for path in self._rules if len(path) > len(constant) and path[: len(constant)] == constant)

    def policies(self) -> Mapping[str, Sequence[Module]]:
        """The modules of each policy, by its name."""
        found: dict[str, list[Module]] = {}
        for module in self.modules:
            if name := policy_name(module.package):
                found.setdefault(name, []).append(module)
        return dict(sorted(found.items()))


def constant_path(reference: Sequence[Term]) -> Path:
    """``("portcullis", "lib", "x")`` of ``data.portcullis.lib.x[i]``: the constant parts after the head."""
    parts: list[str] = []
    for part in reference[1:]:
        if part["type"] != "string":
            break
        parts.append(str(part["value"]))
    return tuple(parts)


def verdict_rules(modules: Sequence[Module]) -> tuple[Mode, ...]:
    """Which of deny, warn and audit the modules of a policy define."""
    defined = {rule.path[3] for module in modules for rule in module.rules if len(rule.path) == 4}
    return tuple(mode for mode in Mode if mode in defined)


def find_problems(rules: RuleSet) -> list[CompileProblem]:
    """What OPA accepts and a policy set must not hold: verdicts that are no sets, policies without a verdict,
    and references to data that is not there (which would be undefined without a word)."""
    problems: list[CompileProblem] = []
    for name, modules in rules.policies().items():
        if not any(_verdict(module, rule) for module in modules for rule in module.rules):
            source = modules[0].source
            problems.append(problem_at(source, "package", f"policy {name} defines none of deny, warn, audit"))
    for module in rules.modules:
        if module.source.origin is not Origin.NATIVE:
            continue  # foreign.py looks after these
        for rule in module.rules:
            verdict = _verdict(module, rule)
            if verdict and not (rule.is_set and len(rule.path) == 4 and not rule.keys):
                message = f"{verdict} must be a set of messages: `{verdict} contains … if {{ … }}`"
                problems.append(problem_at(module.source, verdict, message))
        problems.extend(_unknown_data(rules, module))
    return problems


def _verdict(module: Module, rule: Rule) -> str:
    """``deny``, ``warn`` or ``audit`` for a rule of a policy that has anything to do with it."""
    name = rule.path[3] if policy_name(module.package) else ""
    return name if name in set(Mode) else ""


def _unknown_data(rules: RuleSet, module: Module) -> Iterator[CompileProblem]:
    seen: set[Path] = set()
    for path in data_paths(module):
        if path in seen:
            continue
        seen.add(path)
        if path[:2] == PARAMETERS or path[:1] == INVENTORY:
            continue
        allowed = path[:2] == LIBRARY or path[: len(module.package)] == module.package
        text = clean(".".join(("data", *path)), 200)
        if not allowed:
            reach = "its own package, data.portcullis.lib, .parameters and data.inventory"
            message = f"{text} is out of reach: a policy may use {reach}"
            yield problem_at(module.source, path[-1] if path else "data", message)
        elif not any(rules.led_to(path)):
            yield problem_at(module.source, path[-1], f"{text} does not exist")


def data_paths(module: Module) -> Iterator[Path]:
    """The constant beginnings of all references to ``data`` in the module."""
    for reference in _references(module.tree):
        if reference[0] == {"type": "var", "value": "data"}:
            yield constant_path(reference)


def _references(tree: object) -> Iterator[Sequence[Term]]:
    """Every reference in the tree, without recursion."""
    waiting = [tree]
    while waiting:
        item = waiting.pop()
        if isinstance(item, Mapping):
            if item.get("type") == "ref" and isinstance(item.get("value"), list):
                yield item["value"]
            waiting.extend(value for key, value in item.items() if key not in ("annotations", "package"))
        elif isinstance(item, list):
            waiting.extend(item)


def problem_at(source: PolicySource, word: str, message: str) -> CompileProblem:
    """A problem at the line of the source where the word stands: as a rule, else as a key of METADATA, else
    anywhere in the code; row 0 where it is nowhere."""
    quoted = re.escape(word)
    for pattern in (rf"^(?:default\s+)?{quoted}\b", rf"^#.*\b{quoted}:", rf"^[^#\n]*\b{quoted}\b"):
        if found := re.search(pattern, source.text, re.MULTILINE):
            row = source.text.count("\n", 0, found.start()) + 1
            return CompileProblem(source.path, source.row + row, source.column + 1, message)
    return CompileProblem(source.path, source.row, 0, message)
