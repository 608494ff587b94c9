"""Where a request is made, and which places the operator means."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from portcullis.globs import matches


@dataclass(frozen=True, slots=True)
class NamespaceFacts:
    """A namespace as the API server knows it."""

    name: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


def texts_of(found: object) -> dict[str, str]:
    """Labels or annotations, as far as they are texts: what stands in an object may be anything."""
    pairs = found.items() if isinstance(found, Mapping) else ()
    return {key: text for key, text in pairs if isinstance(key, str) and isinstance(text, str)}


@dataclass(frozen=True, slots=True)
class Place:
    """The namespace of a request, "" for what lives in none. ``labels`` are those of the namespace as the API server
    knows it, None where they are not known; never those of the workload, which its author chooses."""

    namespace: str
    labels: Mapping[str, str] | None = None


class SelectorOperator(StrEnum):
    """Of a label selector (k8s.io/apimachinery, LabelSelectorOperator)."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


@dataclass(frozen=True, slots=True)
class LabelRequirement:
    key: str
    operator: SelectorOperator
    values: tuple[str, ...] = ()

    def holds(self, labels: Mapping[str, str]) -> bool:
        match self.operator:
            case SelectorOperator.IN:
                return labels.get(self.key) in self.values
            case SelectorOperator.NOT_IN:
                return labels.get(self.key) not in self.values
            case SelectorOperator.EXISTS:
                return self.key in labels
            case SelectorOperator.DOES_NOT_EXIST:
                return self.key not in labels


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """``matchLabels`` and ``matchExpressions`` of Kubernetes: all must hold, and nothing selects everything."""

    labels: Mapping[str, str] = field(default_factory=dict)
    requirements: tuple[LabelRequirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(labels.get(key) == value for key, value in self.labels.items()) and all(
            requirement.holds(labels) for requirement in self.requirements
        )


@dataclass(frozen=True, slots=True)
class Scope:
    """The places that an override or an exception is for.

    Args:
        namespaces: globs, one of which must match; none at all means every place.
        labels: of the namespace.
    """

    namespaces: tuple[str, ...] = ()
    labels: LabelSelector | None = None

    def holds(self, place: Place) -> bool | None:
        """None where that hangs on labels that are not known. What lives in no namespace is only in a scope that
        names neither namespaces nor labels."""
        if (self.namespaces or self.labels is not None) and not place.namespace:
            return False
        if self.namespaces and not any(matches(pattern, place.namespace) for pattern in self.namespaces):
            return False
        if self.labels is None:
            return True
        return None if place.labels is None else self.labels.matches(place.labels)
