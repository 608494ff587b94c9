"""Walks through the policies with :class:`~portcullis.policy.linting.values.Value` instead of data.

Found on the way: paths that the input has not, also behind variables, function arguments and rules; and what is asked
of facts that may be unknown. A path is told only where the value can come from nowhere else than the input and none of
its places has the key, in every call by which it was reached. Not seen: keys in variables (``c[key]``), objects that
went through a builtin (``object.union``, ``json.filter``), what ``with`` replaces, and all below an object that
Kubernetes shapes (``input.request``, ``spec``, ``podSpec``).
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from portcullis.policy.linting.facts import FORMATTING, Tests, fact_of
from portcullis.policy.linting.places import Place, input_place
from portcullis.policy.linting.sources import Parsed
from portcullis.policy.linting.terms import (
    COMPREHENSIONS,
    EQUALITY,
    SCALARS,
    Term,
    branches,
    declared,
    imports,
    is_set,
    literal,
    operator,
    rule_path,
    where,
    written,
)
from portcullis.policy.linting.values import NOTHING, OTHER, Value, below, element, join

STEPS = 300_000
"""Expressions that are followed for one policy; what lies behind is not looked at."""
ROUNDS = 4
"""Walks through one body until its variables are known."""

Path = tuple[str, ...]
Spot = tuple[str, int, int, str]


class Enough(Exception):
    """The walk was longer than STEPS."""


class Rules:
    """The rules of all files, by where their value stands in ``data``."""

    def __init__(self, files: Sequence[Parsed]) -> None:
        self._found: dict[Path, list[tuple[Parsed, Term]]] = {}
        for file in files:
            for rule in file.rules:
                self._found.setdefault((*file.package, *rule_path(rule)), []).append((file, rule))

    def at(self, path: Path) -> Sequence[tuple[Parsed, Term]]:
        return self._found.get(path, ())

    def paths(self) -> Iterator[Path]:
        return iter(self._found)


class Flow:
    """One walk: that of one policy, from its verdicts on. ``keys`` is shared by all walks.

    ``keys``: for each reference to a key of the input the place that has it not, or None once it was seen to be there.
    ``inputs``: where references begin with a variable that holds something of the input. ``read``: the paths of the
    input that are reached.
    """

    def __init__(self, rules: Rules, keys: dict[Spot, tuple[Place, str] | None]) -> None:
        self.rules = rules
        self.keys = keys
        self.tests = Tests()
        self.reached: set[Path] = set()
        self.inputs: set[Spot] = set()
        self.read: set[str] = set()
        self._known: dict[tuple[Path, tuple[Value, ...], int, bool], Value] = {}
        self._steps = 0

    def step(self) -> None:
        self._steps += 1
        if self._steps > STEPS:
            raise Enough

    def rule(self, path: Path, arguments: tuple[Value, ...], sense: int, replaced: bool) -> Value:
        """What the rule, or the function with these arguments, gives."""
        key = (path, arguments, sense, replaced)
        if key in self._known:
            return self._known[key]
        self._known[key] = OTHER  # a set that calls itself does not compile
        self.reached.add(path)
        result = NOTHING
        for file, rule in self.rules.at(path):
            chain = list(branches(rule))
            for branch in chain:
                scope = _Scope(self, file, rule, replaced)
                result = join(result, scope.result(branch, arguments, sense if len(chain) == 1 else 0))
        self._known[key] = result
        return result

    def look_up(self, spot: Spot, value: Value, name: str) -> Value:
        """``value[name]``; where that cannot be, it is noted."""
        found, missing = below(value, name)
        if missing:
            place = min(value.places, key=lambda one: one.path)
            self.keys.setdefault(spot, (place, name))
        elif value != NOTHING:
            self.keys[spot] = None
            self.read.update(one.path for one in found.places)
            if not found.places:
                # Below an object that Kubernetes shapes; which part of it is not followed.
                self.read.update(one.path for one in value.places)
        return found


class _Scope:
    """One branch of a rule with its variables. ``sense`` as in :meth:`Tests.compared`."""

    def __init__(self, flow: Flow, file: Parsed, rule: Term, replaced: bool) -> None:
        self._flow = flow
        self._file = file
        self._rule = rule
        self._imports = imports(file.tree)
        self._replaced = replaced
        self._frames: list[dict[str, Value]] = [{}]
        self._changed = False

    def result(self, branch: Term, arguments: tuple[Value, ...], sense: int) -> Value:
        head = branch["head"]
        patterns = head.get("args") or ()
        for number, pattern in enumerate(patterns):
            self._bind(pattern, arguments[number] if number < len(arguments) else OTHER, new=True)
        with self._body(branch.get("body") or (), sense):
            value = NOTHING
            if "value" in head:
                value = self._value(head["value"], sense)
            if "key" in head:
                key = self._value(head["key"], 0)
                return Value(items=key) if is_set(self._rule) else Value(items=value)
            if len(head.get("ref") or ()) > len(rule_path(branch)):
                for part in head["ref"][1:]:
                    self._value(part, 0)
                return OTHER
            return value

    # -- variables ---------------------------------------------------------------------------------------------

    def _bind(self, pattern: Term, value: Value, *, new: bool = False) -> None:
        kind = pattern["type"]
        if kind == "var":
            self._assign(str(pattern["value"]), value, new=new)
        elif kind in ("array", "set"):
            for item in pattern["value"]:
                self._bind(item, element(value), new=new)
        elif kind == "object":
            for key, item in pattern["value"]:
                known, constant = literal(key)
                inner = below(value, constant)[0] if known and isinstance(constant, str) else element(value)
                self._bind(item, inner, new=new)
        else:
            self._value(pattern, 0)

    def _assign(self, name: str, value: Value, *, new: bool) -> None:
        frame = self._frames[-1] if new else next((one for one in reversed(self._frames) if name in one), None)
        if frame is None:
            if self._is_global(name):
                return
            frame = self._frames[-1]
        before = frame.get(name, NOTHING)
        after = join(before, value)
        if after != before or name not in frame:
            frame[name] = after
            self._changed = True

    def _is_global(self, name: str) -> bool:
        return (
            name in ("input", "data") or name in self._imports or bool(self._flow.rules.at((*self._file.package, name)))
        )

    @contextmanager
    def _body(self, body: Sequence[Term], sense: int) -> Iterator[None]:
        """Follows a body; within the context its variables are known."""
        self._frames.append(dict.fromkeys(declared(body), NOTHING))
        try:
            for _ in range(ROUNDS):
                self._changed = False
                for expression in body:
                    self._flow.step()
                    self._expression(expression, sense)
                if not self._changed:
                    break
            yield
        finally:
            self._frames.pop()

    # -- expressions -------------------------------------------------------------------------------------------

    def _expression(self, expression: Term, sense: int) -> None:
        sense = -sense if expression.get("negated") else sense
        before = self._replaced
        for modifier in expression.get("with") or ():
            self._value(modifier["value"], 0)
            target = modifier["target"]
            if target["type"] == "ref" and target["value"][0]["value"] == "input":
                self._replaced = True
        try:
            self._terms(expression, expression["terms"], sense)
        finally:
            self._replaced = before

    def _terms(self, expression: Term, terms: "Term | Sequence[Term]", sense: int) -> None:
        if not isinstance(terms, Mapping):
            self._call_expression(expression, terms, sense)
        elif "symbols" in terms:
            for symbol in terms["symbols"]:
                if symbol["type"] == "call":
                    *patterns, collection = symbol["value"][1:]
                    self._bind(patterns[-1], element(self._value(collection, sense)))
        elif "domain" in terms:
            self._every(terms, sense)
        else:
            value = self._value(terms, sense)
            if fact := fact_of(value):
                self._flow.tests.compared(
                    fact, frozenset({True}) if fact.name != "user.root" else None, sense, self._spot(terms)
                )

    def _every(self, terms: Term, sense: int) -> None:
        domain = self._value(terms["domain"], 0)
        frame = {}
        if terms.get("key") is not None and terms["key"]["type"] == "var":
            frame[str(terms["key"]["value"])] = NOTHING
        self._frames.append(frame)
        self._bind(terms["value"], element(domain), new=True)
        with self._body(terms["body"], sense):
            pass
        self._frames.pop()

    def _call_expression(self, expression: Term, terms: Sequence[Term], sense: int) -> None:
        name = operator(terms)
        if name == "assign":
            self._bind(terms[1], self._value(terms[2], 0))
        elif name in EQUALITY:
            self._equal(expression, terms[1], terms[2], sense)
        elif name == "neq":
            self._equal(expression, terms[1], terms[2], -sense)
        elif name in ("gt", "gte", "lt", "lte") and (inner := _counted(name, terms)):
            self._value(inner[0], inner[1] * sense)
        else:
            self._call(expression, terms, sense)

    def _equal(self, expression: Term, left: Term, right: Term, sense: int) -> None:
        if counted := _counted("equal", (left, left, right)):
            self._value(counted[0], counted[1] * sense)
            return
        first, second = self._value(left, sense), self._value(right, sense)
        for term, other in ((left, second), (right, first)):
            if term["type"] in ("var", "array", "object"):
                self._bind(term, other)
        for value, term in ((first, right), (second, left)):
            if fact := fact_of(value):
                known, constant = literal(term)
                self._flow.tests.compared(fact, frozenset({constant}) if known else None, sense, self._spot(expression))

    # -- calls -------------------------------------------------------------------------------------------------

    def _call(self, node: Term, terms: Sequence[Term], sense: int) -> Value:
        name = operator(terms)
        path = self._data_path(terms[0]["value"]) if terms[0].get("type") == "ref" else None
        if path is not None:
            arguments = tuple(self._value(term, 0) for term in terms[1:])
            if self._flow.rules.at(path):
                return self._flow.rule(path, arguments, sense, self._replaced)
            return OTHER
        if name in ("equal", "neq", "eq"):
            self._equal(node, terms[1], terms[2], -sense if name == "neq" else sense)
            return OTHER
        values = [self._value(term, 0) for term in terms[1:]]
        if name == "object.get" and literal(terms[2])[0] and isinstance(literal(terms[2])[1], str):
            found = self._flow.look_up(self._spot(terms[2]), values[0], literal(terms[2])[1])
            return join(found, values[2])
        if name == "internal.member_2" and (fact := fact_of(values[0])):
            self._flow.tests.compared(fact, _constants(terms[2]), sense, self._spot(node))
        elif name not in FORMATTING:
            for value in values:
                if fact := fact_of(value):
                    self._flow.tests.covered.add(fact)
        return OTHER

    def _data_path(self, reference: Sequence[Term]) -> Path | None:
        """Where in ``data`` a reference leads, as far as that is constant; None where it does not begin there."""
        first = reference[0]
        if first["type"] != "var":
            return None
        name = str(first["value"])
        if any(name in frame for frame in self._frames):
            return None
        head: Path
        if name in self._imports and self._imports[name][0] == "data":
            head = self._imports[name][1:]
        elif self._flow.rules.at((*self._file.package, name)):
            head = (*self._file.package, name)
        elif name == "data":
            head = ()
        else:
            return None
        path = list(head)
        for part in reference[1:]:
            if part["type"] != "string":
                break
            path.append(str(part["value"]))
        return tuple(path)

    # -- terms -------------------------------------------------------------------------------------------------

    def _value(self, term: Term, sense: int) -> Value:
        self._flow.step()
        kind, content = term["type"], term.get("value")
        if kind in SCALARS or content is None:
            return NOTHING
        if kind == "var":
            return self._reference([term], sense)
        if kind == "ref":
            return self._reference(content, sense)
        if kind in ("array", "set"):
            return Value(items=join(*(self._value(item, 0) for item in content)))
        if kind == "object":
            return self._object(content)
        if kind in COMPREHENSIONS:
            return self._comprehension(kind, content, sense)
        if kind == "call":
            return self._call(term, content, sense)
        if kind == "templatestring":
            for part in content["parts"]:
                if isinstance(part, Mapping) and isinstance(part.get("terms"), Mapping):
                    self._value(part["terms"], 0)
        return OTHER

    def _object(self, content: Sequence[Sequence[Term]]) -> Value:
        fields: dict[str, Value] = {}
        constant = True
        for key, value in content:
            known, name = literal(key)
            constant = constant and known and isinstance(name, str)
            if not known:
                self._value(key, 0)
            fields[str(name)] = self._value(value, 0)
        return Value(fields=tuple(sorted(fields.items()))) if constant else OTHER

    def _comprehension(self, kind: str, content: Term, sense: int) -> Value:
        with self._body(content["body"], sense):
            if kind == "objectcomprehension":
                self._value(content["key"], 0)
                return Value(items=self._value(content["value"], 0))
            return Value(items=self._value(content["term"], 0))

    def _reference(self, parts: Sequence[Term], sense: int) -> Value:
        path = self._data_path(parts)
        if path is not None:
            return self._data(path, parts, sense)
        first = parts[0]
        if first["type"] != "var":
            value = self._value(first, sense if len(parts) == 1 else 0)
        else:
            value = self._variable(str(first["value"]))
            if value.places:
                self._flow.inputs.add(self._spot(first))
        for part in parts[1:]:
            value = self._index(value, part)
        return value

    def _variable(self, name: str) -> Value:
        for frame in reversed(self._frames):
            if name in frame:
                return frame[name]
        alias = self._imports.get(name, ())
        if name != "input" and alias[:1] != ("input",):
            return NOTHING
        value = OTHER if self._replaced else Value(frozenset({input_place()}))
        for key in alias[1:]:
            value = below(value, key)[0]
        return value

    def _data(self, path: Path, parts: Sequence[Term], sense: int) -> Value:
        for length in range(len(path), 0, -1):
            found = self._flow.rules.at(path[:length])
            if found and not found[0][1]["head"].get("args"):
                rest = parts[max(1, len(parts) - self._after(path[:length], path, parts)) :]
                value = self._flow.rule(path[:length], (), sense, self._replaced)
                for part in rest:
                    value = self._index(value, part)
                return value
        for part in parts[1:]:
            if part["type"] not in SCALARS:
                self._value(part, 0)
        return OTHER

    def _after(self, rule: Path, path: Path, parts: Sequence[Term]) -> int:
        """How many parts of the reference stand after the rule: those of its constant path, and what follows."""
        constant = next((n for n, part in enumerate(parts[1:], 1) if part["type"] != "string"), len(parts))
        return len(path) - len(rule) + len(parts) - constant

    def _index(self, value: Value, part: Term) -> Value:
        if part["type"] == "string":
            return self._flow.look_up(self._spot(part), value, str(part["value"]))
        if part["type"] == "var":
            name = str(part["value"])
            if self._variable(name) == NOTHING:
                self._assign(name, OTHER, new=False)
        elif part["type"] not in SCALARS:
            inner = self._value(part, 0)
            if fact := fact_of(inner):
                self._flow.tests.covered.add(fact)
        return element(value)

    def _spot(self, node: Term) -> Spot:
        return (self._file.file.path, *where(node), written(node))


def _constants(term: Term) -> frozenset[object] | None:
    """The elements of a collection of scalars; None for any other term."""
    if term["type"] not in ("array", "set"):
        return None
    found = [literal(item) for item in term["value"]]
    return frozenset(value for _, value in found) if found and all(known for known, _ in found) else None


def _counted(name: str, terms: Sequence[Term]) -> tuple[Term, int] | None:
    """``count(x) > 0`` and its like: what is counted, and 1 where it holds for some, -1 where for none."""
    counted, number = terms[1], literal(terms[2])[1]
    if counted["type"] != "call" or operator(counted["value"]) != "count":
        return None
    sense = {("gt", 0): 1, ("gte", 1): 1, ("equal", 0): -1, ("lt", 1): -1, ("lte", 0): -1}.get((name, number), 0)
    return counted["value"][1], sense
