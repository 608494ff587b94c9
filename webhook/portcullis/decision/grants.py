"""What grants let through in one namespace: violations, and policies that could not be evaluated.

Each grant is evaluated alone: what it covers it covers wholly, and conditions of two never add up. Proof that a grant
covers a violation, or a policy that could not be evaluated:

1. The grant is in force at the instant of the decision.
2. It is of the namespace of the request.
3. It names the policy, or all of them.
4. It names no images; or the violation is about an image of the request that every condition of it means.
5. A policy that could not be evaluated is covered only where the grant says that it covers problems; and, where it
   names images, only where the request has images, it means each of them, and no problem is about another one.

What is not known (the name of an image, its digest) is never covered. Policies that forbid exceptions are not asked
about here.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from portcullis.decision.exceptions import Subject
from portcullis.errors import ConfigError
from portcullis.model.decision import Problem
from portcullis.model.grant import Grant
from portcullis.model.image import Repository
from portcullis.model.imagepattern import ImagePattern, parse_pattern

_KNOWN: Final = 1000
"""Repositories of which a grant remembers whether it means them."""


@dataclass(frozen=True, slots=True)
class NamedImage:
    """An image of the request, by what the gate itself knows of it.

    Args:
        repository: None where the name cannot be read.
        digest: that was judged, or, where the registry could not be asked, the one that is written; "" for none.
    """

    written: str
    repository: Repository | None
    digest: str


class _Read:
    """A grant with its patterns."""

    def __init__(self, grant: Grant) -> None:
        self.grant = grant
        self._patterns = _patterns(grant.images)
        self._digests = frozenset(grant.digests)
        self._known: dict[Repository, bool] = {}

    def means(self, image: NamedImage) -> bool:
        """Whether every condition on images holds for that one."""
        if image.repository is None:
            return False
        if self._digests and (not image.digest or image.digest not in self._digests):
            return False
        return self._matches(image.repository)

    def _matches(self, repository: Repository) -> bool:
        """A workload has thousands of violations at worst, of a hundred images."""
        if repository not in self._known:
            if len(self._known) >= _KNOWN:
                self._known.clear()
            self._known[repository] = self._patterns is not None and (
                not self._patterns or any(pattern.matches(repository) for pattern in self._patterns)
            )
        return self._known[repository]


class Grants:
    """Grants of one namespace, the first by name first."""

    def __init__(self, grants: Iterable[Grant] = ()) -> None:
        self.all = tuple(sorted(grants, key=lambda grant: grant.id))
        self._read = tuple(map(_Read, self.all))

    def covering(self, subject: Subject, image: NamedImage | None, now: datetime) -> Grant | None:
        """The first that covers the violation wholly. ``image`` is what that is about; None for the whole request, or
        for an image that is not one of the request."""
        return next((read.grant for read in self._read if _covers(read, subject, image, now)), None)

    def covering_undecided(
        self, subject: Subject, problems: Sequence[Problem], images: Sequence[NamedImage], now: datetime
    ) -> Grant | None:
        """The first that covers the policy although it could not be evaluated.

        Args:
            problems: that kept it from being evaluated.
            images: all of the request.
        """
        return next(
            (read.grant for read in self._read if _covers_undecided(read, subject, problems, images, now)), None
        )


NO_GRANTS = Grants()


def _covers(read: _Read, subject: Subject, image: NamedImage | None, now: datetime) -> bool:
    if not _applies(read.grant, subject, now):  # 1, 2, 3
        return False
    return not read.grant.for_images or (image is not None and read.means(image))  # 4


def _covers_undecided(
    read: _Read, subject: Subject, problems: Sequence[Problem], images: Sequence[NamedImage], now: datetime
) -> bool:
    if not _applies(read.grant, subject, now) or not read.grant.covers_problems:  # 1, 2, 3, 5
        return False
    if not read.grant.for_images:
        return True
    meant = {image.written for image in images if read.means(image)}
    return (  # 5
        bool(images)
        and all(image.written in meant for image in images)
        and all(not problem.image or problem.image in meant for problem in problems)
    )


def _applies(grant: Grant, subject: Subject, now: datetime) -> bool:
    return (
        grant.in_force(now)  # 1
        and grant.namespace != ""
        and grant.namespace == subject.place.namespace  # 2
        and grant.covers_policy(subject.policy)  # 3
    )


def _patterns(images: Sequence[str]) -> tuple[ImagePattern, ...] | None:
    """None where one of them cannot be read: then no image is meant."""
    try:
        return tuple(parse_pattern(text) for text in images)
    except ConfigError:
        return None
