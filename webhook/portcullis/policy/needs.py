"""Which facts a policy reads: its needs, derived from its compiled rules (design rule 3).

An abstract evaluation. Every expression is followed with a :class:`Value` instead of data: the places of the input
(inputs.py) that its data may come from. Reading a place adds what stands behind it; what this code does not
understand adds every need.

Why the result is never too small:

1. A value leaves an expression only through a reference, a call, a comparison, a collection or a rule's head.
2. A reference adds what its own place needs (that it is there, how many elements it has).
3. A builtin, a comparison, a truth test or the policy's verdict that is handed a value adds all below its places.
   What a builtin returns is then known to come from facts that are counted already, so it carries none.
4. A function or rule of the set is followed with the values that it is given, and hands its own on.
5. A variable that is bound once is another name of a value; one that is bound more often compares, and 3 holds.
6. Order never matters: bodies are evaluated until nothing changes, and places are only ever added.

Two functions of equal arguments that disagree are an error of the policy, which refuses: that comparison adds
nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from portcullis.model.ruling import Mode, Need
from portcullis.policy.bindings import EQUALITY, SCALARS, Bindings, Unclear, operator_name, variable_name
from portcullis.policy.inputs import EVERY_NEED, INPUT, INVENTORY_TREE, Node, closed
from portcullis.policy.syntax import INVENTORY, PARAMETERS, Module, Path, Rule, RuleSet, Term, constant_path

STEPS = 500_000
"""Expressions that are followed for one policy before it is given every need."""

ROUNDS = 20
"""Evaluations of one body until nothing changes; each brings at least one new name its value."""


@dataclass(frozen=True, slots=True)
class Value:
    """Where data may come from: ``nodes`` of the input, or a collection made in Rego whose ``keys`` (of a set:
    its elements) and ``items`` come from there. Nothing in it: data that is not from the input."""

    nodes: frozenset[Node] = frozenset()
    keys: "Value | None" = None
    items: "Value | None" = None


NOTHING = Value()


def derive_needs(rules: RuleSet, modules: Sequence[Module], arities: Mapping[str, int]) -> frozenset[Need]:
    """The needs of the policy with these modules, closed (config implies image, and so on).

    Args:
        rules: the whole set: libraries are followed.
        modules: those of the policy.
        arities: number of arguments of each builtin.
    """
    analysis = _Analysis(rules, arities)
    package = modules[0].package
    try:
        for mode in Mode:
            if rules.at((*package, mode)):
                analysis.read_all(analysis.rule((*package, mode), ()))
    except (Unclear, RecursionError, LookupError, TypeError, ValueError, AttributeError):
        # Also a tree of a shape that OPA has never been seen to make.
        return EVERY_NEED
    return closed(analysis.needs)


class _Analysis:
    """Follows the rules of one policy and gathers its needs."""

    def __init__(self, rules: RuleSet, arities: Mapping[str, int]) -> None:
        self.rules = rules
        self.arities = arities
        self.needs: set[Need] = set()
        self._known: dict[tuple[Path, tuple[Value, ...]], Value] = {}
        self._steps = 0

    def step(self) -> None:
        self._steps += 1
        if self._steps > STEPS:
            raise Unclear

    def touch(self, value: Value) -> None:
        """The value is there; its contents are not looked at."""
        for node in value.nodes:
            self.needs |= node.own

    def read_all(self, value: Value | None) -> None:
        """All of the value is looked at."""
        if value is None:
            return
        for node in value.nodes:
            self.needs |= node.below
        self.read_all(value.keys)
        self.read_all(value.items)

    def rule(self, path: Path, arguments: tuple[Value, ...]) -> Value:
        """What the rule, or the function with these arguments, gives."""
        if (path, arguments) not in self._known:
            result = NOTHING
            for rule in self.rules.at(path):
                branch: Rule | None = rule
                while branch is not None:
                    result = join(result, _Scope(self, branch, arguments).result())
                    branch = branch.otherwise
            self._known[path, arguments] = result
        return self._known[path, arguments]


class _Scope:
    """One rule (or one ``else`` branch) with its variables."""

    def __init__(self, analysis: _Analysis, rule: Rule, arguments: tuple[Value, ...]) -> None:
        self._analysis = analysis
        self._rule = rule
        self._arguments = arguments
        self._names: dict[str, Value] = {}
        self._changed = False
        self._bindings = Bindings(rule, self._arity)

    def result(self) -> Value:
        head = self._rule.head
        for _ in range(ROUNDS):
            self._changed = False
            for pattern, argument in zip(head.get("args") or (), self._arguments, strict=True):
                self._unify(pattern, argument)
            self._body(self._rule.body)
            key = self._value(head["key"]) if "key" in head else NOTHING
            value = self._value(head["value"]) if "value" in head else NOTHING
            keys = [self._value(part) for part in self._rule.keys]
            if not self._changed:
                break
        else:
            raise Unclear
        if self._rule.is_set:
            value = Value(keys=key, items=key)
        for part in reversed(keys):
            value = Value(keys=part, items=value)
        return value

    # -- variables ---------------------------------------------------------------------------------------------

    def _bind(self, name: str, value: Value) -> None:
        before = self._names.get(name, NOTHING)
        after = join(before, value)
        if after != before:
            self._names[name] = after
            self._changed = True

    def _unify(self, pattern: Term, value: Value) -> None:
        """``pattern`` meets data from ``value``: a name for it where this is its only binding, else compared."""
        name = variable_name(pattern)
        if name:
            self._bind(name, value)
            if self._bindings.of(name) > 1:
                self._analysis.read_all(self._names.get(name))
        else:
            self._analysis.read_all(value)
            self._analysis.read_all(self._value(pattern))

    # -- expressions -------------------------------------------------------------------------------------------

    def _body(self, body: Sequence[Mapping[str, Any]]) -> None:
        for expression in body:
            self._analysis.step()
            for modifier in expression.get("with") or ():
                self._modifier(modifier)
            self._expression(expression)

    def _expression(self, expression: Mapping[str, Any]) -> None:
        terms = expression["terms"]
        if isinstance(terms, list):
            self._call_expression(expression, terms)
        elif "domain" in terms:
            domain = self._value(terms["domain"])
            element = self._element(domain)
            if terms.get("key") is not None:
                self._unify(terms["key"], domain.keys or NOTHING)
            self._unify(terms["value"], element)
            self._body(terms["body"])
        elif "symbols" in terms:
            if not all(variable_name(symbol) for symbol in terms["symbols"]):
                raise Unclear
        else:
            self._analysis.read_all(self._value(terms))

    def _call_expression(self, expression: Mapping[str, Any], terms: Sequence[Term]) -> None:
        if operator_name(terms[0]) not in EQUALITY:
            arity = self._arity(terms[0])
            result = self._call(terms[0], terms[1 : arity + 1])
            if len(terms) == arity + 1:  # nothing takes the result: whether it is true decides
                self._analysis.read_all(result)
            for term in terms[arity + 1 :]:
                self._unify(term, result)
            return
        left, right = terms[1:]
        bound = self._bindings.renames(expression)
        if bound is not None:
            self._unify(*((left, self._value(right)) if variable_name(left) == bound else (right, self._value(left))))
        elif variable_name(left) and variable_name(right):
            self._analysis.read_all(self._value(left))
            self._analysis.read_all(self._value(right))
        elif variable_name(left):
            self._unify(left, self._value(right))
        elif variable_name(right):
            self._unify(right, self._value(left))
        else:
            self._unify(left, self._value(right))

    def _modifier(self, modifier: Mapping[str, Any]) -> None:
        """``with target as value``. A replaced input or parameter only brings data that is counted here; a
        replaced function would change what calls mean, unless by a constant."""
        target, value = modifier["target"], modifier["value"]
        self._analysis.read_all(self._value(value))
        if target["type"] != "ref":
            raise Unclear
        head = target["value"][0].get("value")
        if head == "input" or (head == "data" and constant_path(target["value"])[:2] == PARAMETERS):
            return
        if value["type"] not in SCALARS:
            raise Unclear

    # -- calls -------------------------------------------------------------------------------------------------

    def _arity(self, operator: Term) -> int:
        reference = operator["value"]
        if reference[0]["value"] == "data":
            rules = self._analysis.rules.at(constant_path(reference))
            if not rules:
                raise Unclear
            return len(rules[0].head.get("args") or ())
        return self._analysis.arities[operator_name(operator)]

    def _call(self, operator: Term, terms: Sequence[Term]) -> Value:
        name = operator_name(operator)
        arguments = tuple(self._value(term) for term in terms)
        if operator["value"][0]["value"] == "data":
            return self._analysis.rule(constant_path(operator["value"]), arguments)
        if name == "object.get" and terms[1]["type"] == "string":
            self._analysis.read_all(arguments[2])
            return self._field(arguments[0], str(terms[1]["value"]))
        if name in ("count", "object.keys"):
            self._element(arguments[0])
            self._analysis.read_all(arguments[0].keys)
            return NOTHING
        for argument in arguments:
            self._analysis.read_all(argument)
        return NOTHING

    # -- terms -------------------------------------------------------------------------------------------------

    def _value(self, term: Term) -> Value:
        kind, content = term["type"], term.get("value")
        if kind in SCALARS:
            return NOTHING
        if kind == "var":
            return self._variable_value(str(content))
        assert content is not None
        if kind == "ref":
            return self._reference(content)
        if kind in ("array", "set"):
            items = join(*(self._value(item) for item in content))
            return Value(keys=items if kind == "set" else None, items=items)
        if kind == "object":
            return Value(
                keys=join(*(self._value(key) for key, _ in content)),
                items=join(*(self._value(value) for _, value in content)),
            )
        if kind in ("arraycomprehension", "setcomprehension", "objectcomprehension"):
            return self._comprehension(kind, content)
        if kind == "call":
            return self._call(content[0], content[1:])
        raise Unclear

    def _comprehension(self, kind: str, content: Mapping[str, Any]) -> Value:
        self._body(content["body"])
        if kind == "objectcomprehension":
            return Value(keys=self._value(content["key"]), items=self._value(content["value"]))
        items = self._value(content["term"])
        return Value(keys=items if kind == "setcomprehension" else None, items=items)

    def _variable_value(self, name: str) -> Value:
        if name == "input":
            return Value(frozenset({INPUT}))
        if name == "data":
            raise Unclear
        return self._names.get(name, NOTHING)

    def _reference(self, parts: Sequence[Term]) -> Value:
        if parts[0]["type"] == "var" and parts[0]["value"] == "data":
            return self._data(parts)
        value = self._value(parts[0])
        for part in parts[1:]:
            value = self._index(value, part)
        return value

    def _data(self, parts: Sequence[Term]) -> Value:
        path = constant_path(parts)
        if path[:1] == INVENTORY:
            value = Value(frozenset({INVENTORY_TREE}))
            self._analysis.read_all(value)
            for part in parts[2:]:
                value = self._index(value, part)
            return value
        if path[:2] == PARAMETERS:
            for part in parts[3:]:
                self._index(NOTHING, part)
            return NOTHING
        result = NOTHING
        found = list(self._analysis.rules.led_to(path))
        if not found:
            raise Unclear
        for rule in found:
            if self._analysis.rules.at(rule)[0].is_function:
                continue  # functions are no data: a reference passes them by
            value = self._analysis.rule(rule, ())
            if len(rule) > len(path):
                self._analysis.read_all(value)
                value = NOTHING
            for part in parts[len(rule) + 1 :]:
                value = self._index(value, part)
            result = join(result, value)
        return result

    def _index(self, value: Value, part: Term) -> Value:
        """``value[part]``: a field, or any element, whose key is compared with ``part`` or bound to it."""
        if part["type"] == "string":
            return self._field(value, str(part["value"]))
        if part["type"] not in SCALARS:
            self._unify(part, value.keys or NOTHING)
            if not variable_name(part):
                self._analysis.read_all(value.keys)
        else:
            self._analysis.read_all(value.keys)
        return self._element(value)

    def _field(self, value: Value, key: str) -> Value:
        self._analysis.read_all(value.keys)
        found = join(Value(frozenset(node.child(key) for node in value.nodes)), value.items or NOTHING)
        self._analysis.touch(found)
        return found

    def _element(self, value: Value) -> Value:
        nodes = frozenset().union(*(node.children() for node in value.nodes)) if value.nodes else frozenset()
        found = join(Value(nodes), value.items or NOTHING)
        self._analysis.touch(found)
        return found


def join(*values: Value) -> Value:
    """What comes from any of the values."""
    result = NOTHING
    for value in values:
        if value in (NOTHING, result):
            continue
        if result == NOTHING:
            result = value
            continue
        result = Value(
            result.nodes | value.nodes,
            _join_optional(result.keys, value.keys),
            _join_optional(result.items, value.items),
        )
    return result


def _join_optional(one: Value | None, other: Value | None) -> Value | None:
    return join(one, other) if one is not None and other is not None else one or other
