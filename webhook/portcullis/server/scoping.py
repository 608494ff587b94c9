"""What portcullis.yaml says of places: overrides of modes and parameters, and exceptions."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, model_validator

from portcullis.decision.exceptions import PolicyException
from portcullis.decision.modes import Override
from portcullis.errors import ConfigError
from portcullis.model.imagepattern import ImagePattern, parse_pattern
from portcullis.model.place import LabelRequirement, LabelSelector, Scope, SelectorOperator
from portcullis.model.ruling import Mode, PolicyInfo
from portcullis.server.sectionbase import Section
from portcullis.times import parse_rfc3339

NamespaceGlob = Annotated[str, Field(pattern=r"^[a-z0-9*?-]{1,63}$")]
NameGlob = Annotated[str, Field(pattern=r"^[A-Za-z0-9.:*?-]{1,253}$")]


def _selector_operator(value: object) -> object:
    """The configuration is read as JSON, which has no enumerations."""
    return SelectorOperator(value) if isinstance(value, str) and value in set(SelectorOperator) else value


class LabelExpression(Section):
    """One of ``matchExpressions``."""

    key: Annotated[str, Field(min_length=1, max_length=317)]
    operator: Annotated[SelectorOperator, BeforeValidator(_selector_operator)]
    values: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _values_where_they_are_read(self) -> "LabelExpression":
        if (self.operator in (SelectorOperator.IN, SelectorOperator.NOT_IN)) != bool(self.values):
            raise ValueError("values go with In and NotIn, and with nothing else")
        return self


class NamespaceLabels(Section):
    """A label selector over namespaces, as Kubernetes writes them."""

    match_labels: dict[str, str] = Field(default_factory=dict)
    match_expressions: tuple[LabelExpression, ...] = ()

    @model_validator(mode="after")
    def _selects(self) -> "NamespaceLabels":
        if not self.match_labels and not self.match_expressions:
            raise ValueError("matchLabels or matchExpressions are expected")
        return self

    def selector(self) -> LabelSelector:
        requirements = (LabelRequirement(one.key, one.operator, one.values) for one in self.match_expressions)
        return LabelSelector(self.match_labels, tuple(requirements))


class PlacesSection(Section):
    """Namespaces: by globs over their names, and by their labels."""

    namespaces: tuple[NamespaceGlob, ...] = ()
    """Globs, one of which matches; none at all means every namespace."""
    namespace_labels: NamespaceLabels | None = None
    """Labels of the namespace as the API server knows it; those of a workload count for nothing, its author chooses
    them."""

    def scope(self) -> Scope:
        return Scope(self.namespaces, self.namespace_labels.selector() if self.namespace_labels is not None else None)


class OverrideSection(PlacesSection):
    """Modes and parameters for some namespaces."""

    modes: dict[str, Mode] = Field(default_factory=dict)
    """Mode by policy name, ``*`` for every policy."""
    parameters: dict[str, dict[str, JsonValue]] = Field(default_factory=dict)
    """Settings by policy name; each takes the place of the general one of the same key."""

    @model_validator(mode="after")
    def _for_some(self) -> "OverrideSection":
        if not self.namespaces and self.namespace_labels is None:
            raise ValueError("namespaces or namespaceLabels say for which namespaces")
        if not self.modes and not self.parameters:
            raise ValueError("modes or parameters say what holds there")
        return self

    def tables(self) -> tuple[tuple[str, Collection[str]], ...]:
        """What it says of which policies, by its key."""
        return (("modes", self.modes), ("parameters", self.parameters))

    def override(self) -> Override:
        return Override(self.scope(), self.modes, self.parameters)


def _pattern(text: str) -> str:
    try:
        parse_pattern(text)
    except ConfigError as error:
        raise ValueError(error.message) from None
    return text


class ExceptionMatch(PlacesSection):
    """What an exception covers. All that is said must hold."""

    kinds: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9]{1,63}$")], ...] = ()
    """Kinds of the objects, such as Deployment. A pod that a Deployment makes is a Pod."""
    names: tuple[NameGlob, ...] = ()
    """Globs over the names of the objects; a pod of a Deployment is named by it: ``checkout-*``."""
    images: tuple[Annotated[str, AfterValidator(_pattern)], ...] = ()
    """Patterns as in ``trust.rules``. A violation that is about no image is then not covered."""

    @model_validator(mode="after")
    def _covers_something(self) -> "ExceptionMatch":
        if not any((self.namespaces, self.namespace_labels, self.kinds, self.names, self.images)):
            raise ValueError("one of namespaces, namespaceLabels, kinds, names, images is expected")
        return self

    def patterns(self) -> tuple[ImagePattern, ...]:
        return tuple(parse_pattern(text) for text in self.images)


def _instant(text: str) -> str:
    try:
        moment = parse_rfc3339(text)
    except ValueError:
        moment = None
    if moment is None:
        raise ValueError("a time with its zone is expected, such as 2027-01-31T00:00:00Z")
    return text


class ExceptionSection(Section):
    """One exception: a violation that it covers does not refuse, and is recorded and shown with its id."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
    policies: Annotated[tuple[str, ...], Field(min_length=1)]
    """Names; there is no exception from all policies at once."""
    match: ExceptionMatch
    reason: Annotated[str, Field(min_length=1, max_length=500)]
    owner: Annotated[str, Field(min_length=1, max_length=253)]
    expires: Annotated[str, AfterValidator(_instant)]
    """RFC 3339; from then on it covers nothing."""

    @property
    def moment(self) -> datetime:
        moment = parse_rfc3339(self.expires)
        assert moment is not None
        return moment

    def exception(self) -> PolicyException:
        return PolicyException(
            id=self.id,
            policies=frozenset(self.policies),
            scope=self.match.scope(),
            reason=self.reason,
            owner=self.owner,
            expires=self.moment,
            kinds=frozenset(self.match.kinds),
            names=self.match.names,
            images=self.match.patterns(),
        )


def distinct_ids(exceptions: Sequence[ExceptionSection]) -> None:
    """Raises ValueError where two have one id."""
    seen: set[str] = set()
    for exception in exceptions:
        if exception.id in seen:
            raise ValueError(f"there are two exceptions with the id {exception.id}")
        seen.add(exception.id)


def unknown_policies(tables: Mapping[str, Collection[str]], names: Collection[str]) -> list[tuple[str, str]]:
    """Of the policies named in each table, those that are not among ``names``: (key of the table, policy)."""
    return [(key, name) for key, table in tables.items() for name in table if name not in names]


def forbidden_exceptions(
    exceptions: Sequence[ExceptionSection], policies: Sequence[PolicyInfo]
) -> list[tuple[str, str]]:
    """Exceptions from policies whose authors allow none: (id, policy)."""
    forbidden = {policy.name for policy in policies if policy.exceptions_forbidden}
    return [(one.id, policy) for one in exceptions for policy in one.policies if policy in forbidden]
