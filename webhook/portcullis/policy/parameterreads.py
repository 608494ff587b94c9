"""Whose parameters rules read, by their compiled form.

All parameters lie in one object by policy, ``data.portcullis.parameters``, and a library hands out those of the policy
that it is told the name of. So a read is followed from where the name is chosen by an argument, through calls, to where
the argument is a text. What is not understood counts as a read of all of them:

* a *whole* is that object, or a rule that is nothing but it under another name;
* a reference into a whole by a text reads the parameters of that policy, by an argument of the function those of
  whatever the argument is in a call, and any other reference to it reads all;
* a reference to a function that is no call of it, such as in ``with``, reads all where the function reads by argument.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from portcullis.policy.syntax import PARAMETERS, Module, Path, Rule, RuleSet, Term, constant_path


@dataclass(slots=True)
class _Reads:
    """Of one rule: of policies by name, by the position of arguments, or of every policy."""

    names: set[str] = field(default_factory=set)
    arguments: set[int] = field(default_factory=set)
    every: bool = False

    @property
    def size(self) -> tuple[int, int, bool]:
        """Grows with all that is added."""
        return len(self.names), len(self.arguments), self.every


class ParameterReads:
    """Of a whole set of rules."""

    def __init__(self, rules: RuleSet) -> None:
        self._rules = rules
        self._paths = list(dict.fromkeys(rule.path for module in rules.modules for rule in module.rules))
        self._wholes: set[Path] = {PARAMETERS}
        while more := {path for path in self._paths if path not in self._wholes and self._is_whole(path)}:
            self._wholes |= more
        self._reads = {path: _Reads() for path in self._paths}
        self._settle()

    def of(self, modules: Sequence[Module]) -> frozenset[str] | None:
        """The policies whose parameters any rule of the modules reads; None for all. What a function reads by argument
        counts where it is called."""
        found = [self._reads[path] for path in {rule.path for module in modules for rule in module.rules}]
        if any(reads.every for reads in found):
            return None
        return frozenset(name for reads in found for name in reads.names)

    def _is_whole(self, path: Path) -> bool:
        """Whether each rule at the path is a whole, or a value without any data."""
        rules = self._rules.at(path)
        return any(map(self._names_whole, rules)) and all(
            self._names_whole(rule) or not any(_data(found) for found in _found(_parts(rule))) for rule in rules
        )

    def _names_whole(self, rule: Rule) -> bool:
        """``x := whole``, which OPA compiles to a variable that equals it."""
        if rule.is_function or rule.keys or rule.otherwise is not None or "key" in rule.head or len(rule.body) != 1:
            return False
        terms, value = rule.body[0].get("terms"), rule.head.get("value")
        if not isinstance(terms, list) or rule.body[0].get("negated") or rule.body[0].get("with") or len(terms) != 3:
            return False
        operator, variable, reference = terms
        return (
            operator == {"type": "ref", "value": [{"type": "var", "value": "eq"}]}
            and variable == value
            and variable.get("type") == "var"
            and reference.get("type") == "ref"
            and _data(reference["value"])
            and _whole_path(reference["value"]) in self._wholes
        )

    def _settle(self) -> None:
        """Until nothing is added any more."""
        found = {path: [(rule, list(_found(_parts(rule)))) for rule in self._branches(path)] for path in self._paths}
        grows = True
        while grows:
            grows = False
            for path, branches in found.items():
                if path in self._wholes:
                    continue
                reads = self._reads[path]
                before = reads.size
                for rule, things in branches:
                    arguments = [argument.get("value") for argument in rule.head.get("args") or ()]
                    for thing in things:
                        self._add(reads, thing, arguments)
                grows = grows or reads.size != before

    def _branches(self, path: Path) -> Iterator[Rule]:
        for rule in self._rules.at(path):
            branch: Rule | None = rule
            while branch is not None:
                yield branch
                branch = branch.otherwise

    def _add(self, reads: _Reads, thing: "_Thing", arguments: Sequence[object]) -> None:
        if isinstance(thing, _Call):
            called = self._reads.get(_whole_path(thing.operator) or ())
            if called is None:
                self._add(reads, thing.operator, arguments)
            else:
                reads.names |= called.names
                reads.every = reads.every or called.every
                for position in called.arguments:
                    given = thing.arguments[position] if position < len(thing.arguments) else {}
                    _choose(reads, given, arguments)
            return
        if not _data(thing):
            return
        path = constant_path(thing)
        for place in [*self._rules.led_to(path), *self._into(path)]:
            if place in self._wholes:
                if len(thing) - 1 > len(place) and path[: len(place)] == place:
                    _choose(reads, thing[len(place) + 1], arguments)
                else:
                    reads.every = True
            elif place in self._reads:
                other = self._reads[place]
                reads.names |= other.names
                reads.every = reads.every or other.every or bool(other.arguments)

    def _into(self, path: Path) -> Iterator[Path]:
        """The parameters themselves, which no rule defines."""
        length = min(len(path), len(PARAMETERS))
        if path[:length] == PARAMETERS[:length]:
            yield PARAMETERS


@dataclass(frozen=True, slots=True)
class _Call:
    operator: Sequence[Term]
    arguments: Sequence[Term]


_Thing = _Call | Sequence[Term]
"""A call of something in ``data``, or a reference."""


def _choose(reads: _Reads, name: Term, arguments: Sequence[object]) -> None:
    """A read of the policy that ``name`` tells."""
    if name.get("type") == "string":
        reads.names.add(str(name["value"]))
    elif name.get("type") == "var" and name["value"] in arguments:
        reads.arguments.add(arguments.index(name["value"]))
    else:
        reads.every = True


def _data(thing: _Thing) -> bool:
    reference = thing.operator if isinstance(thing, _Call) else thing
    return reference[0].get("type") == "var" and reference[0].get("value") == "data"


def _whole_path(reference: Sequence[Term]) -> Path | None:
    path = constant_path(reference)
    return path if len(path) == len(reference) - 1 else None


def _parts(rule: Rule) -> list[Any]:
    return [rule.head, list(rule.body)]


def _found(tree: object) -> Iterator[_Thing]:
    """Calls and references in the tree, without recursion."""
    waiting = [tree]
    while waiting:
        item = waiting.pop()
        if isinstance(item, list):
            waiting.extend(item)
        elif isinstance(item, Mapping):
            items = item.get("value") if item.get("type") == "call" else item.get("terms")
            if isinstance(items, list) and items and items[0].get("type") == "ref" and _data(items[0]["value"]):
                yield _Call(items[0]["value"], items[1:])
                waiting.extend(items[0]["value"][1:])
                waiting.extend(items[1:])
                waiting.extend(value for key, value in item.items() if key not in ("value", "terms"))
                continue
            if item.get("type") == "ref":
                yield item["value"]
            waiting.extend(item.values())
