"""Grants: what an object BreakGlass (portcullis.dev/v1) lets through for a few hours, in its own namespace."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

LONGEST: Final = timedelta(hours=24)
"""From its creation to its end. A grant that is meant to last is an exception of the operator's."""
CLOCK_SKEW: Final = timedelta(minutes=1)
"""How far the clock of the API server, which writes when a grant was made, may be ahead of ours."""
MOST_POLICIES: Final = 64
MOST_IMAGES: Final = 64
MOST_DIGESTS: Final = 64
POLICY_CHARS: Final = 320
IMAGE_CHARS: Final = 512
"""Bounds of one grant, which its custom resource definition has, too; what needs more needs another grant."""
REASON_CHARS: Final = (10, 500)
"""The least that says anything, and the most that is shown."""
ANY_POLICY: Final = "*"

ID_PREFIX: Final = "break-glass:"
"""No exception of the operator can have an id with a colon (server/scoping.py)."""


def is_grant(exception_id: str) -> bool:
    """Whether what covers a violation, by its id, is a grant and no exception."""
    return exception_id.startswith(ID_PREFIX)


@dataclass(frozen=True, slots=True)
class Grant:
    """One grant. All conditions must hold; an empty one holds always.

    Args:
        policies: names of the policies that it covers, or ANY_POLICY.
        images: patterns, as text (:mod:`portcullis.model.imagepattern`).
        digests: of images; where there are patterns too, an image must be meant by both.
        covers_problems: whether policies that could not be evaluated are covered as well.
        created: when the API server made the object.
        expires: from this instant on it covers nothing.
    """

    namespace: str
    name: str
    uid: str
    policies: tuple[str, ...]
    images: tuple[str, ...]
    digests: tuple[str, ...]
    covers_problems: bool
    reason: str
    created: datetime
    expires: datetime

    @property
    def id(self) -> str:
        """Stands where the id of an exception stands."""
        return f"{ID_PREFIX}{self.namespace}/{self.name}"

    @property
    def for_images(self) -> bool:
        """Whether it is for some images alone."""
        return bool(self.images or self.digests)

    def in_force(self, now: datetime) -> bool:
        """Whether it counts at that instant. One from the future says that our clock is wrong, and then nobody knows
        when it ends."""
        return self.created - CLOCK_SKEW <= now < self.expires

    def covers_policy(self, policy: str) -> bool:
        return policy in self.policies or ANY_POLICY in self.policies
