"""Exceptions: what the operator lets through for a while, and says so.

Each is evaluated alone: a violation is excepted where one exception covers it wholly. Conditions of two never add up.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from portcullis.globs import matches
from portcullis.model.image import Repository
from portcullis.model.imagepattern import ImagePattern
from portcullis.model.place import Place, Scope


@dataclass(frozen=True, slots=True)
class PolicyException:
    """One exception. All conditions must hold; an empty one holds always.

    Args:
        policies: names of the policies whose violations it covers.
        scope: namespaces.
        kinds: of the objects (``Deployment``).
        names: globs over the names of the objects.
        images: of the violation; one that is about no image is then not covered.
        expires: from this instant on it covers nothing.
    """

    id: str
    policies: frozenset[str]
    scope: Scope
    reason: str
    owner: str
    expires: datetime
    kinds: frozenset[str] = frozenset()
    names: tuple[str, ...] = ()
    images: tuple[ImagePattern, ...] = ()


@dataclass(frozen=True, slots=True)
class Subject:
    """What a violation is about. ``image`` is None where that is no image, or one whose name cannot be read."""

    policy: str
    place: Place
    kind: str
    name: str
    image: Repository | None


class Exceptions:
    """All exceptions of the operator, in their order."""

    def __init__(self, exceptions: Sequence[PolicyException] = ()) -> None:
        self.all = tuple(exceptions)

    @property
    def by_labels(self) -> bool:
        """Whether anything hangs on labels of namespaces."""
        return any(exception.scope.labels is not None for exception in self.all)

    def covering(self, subject: Subject, now: datetime) -> PolicyException | None:
        """The first that covers it wholly. What is not known (labels, the name of an image) is never covered."""
        return next((exception for exception in self.all if _covers(exception, subject, now)), None)


def _covers(exception: PolicyException, subject: Subject, now: datetime) -> bool:
    return (
        subject.policy in exception.policies
        and now < exception.expires
        and exception.scope.holds(subject.place) is True
        and (not exception.kinds or subject.kind in exception.kinds)
        and (not exception.names or any(matches(pattern, subject.name) for pattern in exception.names))
        and (not exception.images or _about(exception.images, subject.image))
    )


def _about(images: Sequence[ImagePattern], image: Repository | None) -> bool:
    return image is not None and any(pattern.matches(image) for pattern in images)
