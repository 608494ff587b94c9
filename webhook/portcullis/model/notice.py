"""What is told about a refusal where people look at the object that it concerns."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class ObjectReference:
    """An object of the cluster. ``namespace`` is "" for what lives in none."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing that is told of one object, however often it happens.

    Args:
        cause: tells it from others about the same object: two refusals for the same reasons have the same.
        reason: one word, as Kubernetes writes them.
        note: several lines; what is said of the first time stays.
        first: when that was.
    """

    regarding: ObjectReference
    cause: str
    reason: str
    note: str
    first: datetime
