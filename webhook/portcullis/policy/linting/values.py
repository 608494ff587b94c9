"""What the walk through policies (flow.py) knows of a value instead of the value."""

from dataclasses import dataclass

from portcullis.policy.linting.places import Place


@dataclass(frozen=True, slots=True)
class Value:
    """Where data may come from: ``places`` of the input; a collection made in Rego with ``items``; an object made in
    Rego with ``fields``; ``other``: also from where nobody knows. Nothing in it: a constant, or not reached yet."""

    places: frozenset[Place] = frozenset()
    items: "Value | None" = None
    fields: tuple[tuple[str, "Value"], ...] | None = None
    other: bool = False

    @property
    def certain(self) -> bool:
        """Whether it can come from nowhere but places of the input."""
        return bool(self.places) and not self.other and self.items is None and self.fields is None


NOTHING = Value()
OTHER = Value(other=True)


def join(*values: Value) -> Value:
    """What may be any of the values."""
    result = NOTHING
    for value in values:
        if value in (NOTHING, result):
            continue
        result = value if result == NOTHING else _join(result, value)
    return result


def _join(one: Value, two: Value) -> Value:
    fields, other = one.fields, one.other or two.other
    if one.fields != two.fields:
        names = [tuple(name for name, _ in value.fields or ()) for value in (one, two)]
        if one.fields is not None and two.fields is not None and names[0] == names[1]:
            pairs = zip(one.fields, two.fields, strict=True)
            fields = tuple((name, join(left, right)) for (name, left), (_, right) in pairs)
        else:
            fields, other = None, True
    items = join(one.items, two.items) if one.items is not None and two.items is not None else one.items or two.items
    return Value(one.places | two.places, items, fields, other)


def element(value: Value) -> Value:
    """Any element of it."""
    found = [value.items] if value.items is not None else []
    for place in value.places:
        elements = place.elements()
        found.append(OTHER if elements is None else Value(elements))
    found.extend(each for _, each in value.fields or ())
    return join(*found, OTHER if value.other else NOTHING)


def below(value: Value, name: str) -> tuple[Value, bool]:
    """What stands under the key, and whether the input has no such key in any of the places that it may come from."""
    found: list[Value] = [OTHER] if value.other else []
    missing = value.certain
    for place in value.places:
        inner = place.field(name)
        missing = missing and inner is not None and not inner
        found.append(OTHER if inner is None else Value(inner))
    if value.items is not None:
        found.append(value.items)
    if value.fields is not None:
        found.append(dict(value.fields).get(name, OTHER))
    return join(*found), missing
