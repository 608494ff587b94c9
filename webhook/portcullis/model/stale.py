"""What could not be confirmed: lists, and what tags name."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import overload

from portcullis.model.image import Descriptor, Manifest


@dataclass(frozen=True, slots=True)
class StaleDescriptors(Sequence[Descriptor]):
    """Descriptors as a registry listed them at ``since``, used because it cannot be asked just now (a setting of the
    operator, ``registries.staleSeconds``)."""

    descriptors: Sequence[Descriptor]
    since: datetime

    def __len__(self) -> int:
        return len(self.descriptors)

    @overload
    def __getitem__(self, index: int) -> Descriptor: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Descriptor]: ...

    def __getitem__(self, index: int | slice) -> Descriptor | Sequence[Descriptor]:
        return self.descriptors[index]


@dataclass(frozen=True, slots=True)
class StaleManifest(Manifest):
    """What a tag named at ``since``, used for the same reason."""

    since: datetime


def stale_since(said: Sequence[Descriptor] | Manifest) -> datetime | None:
    """When a list, or what a tag names, was last confirmed, if that could not be done now; else None."""
    return said.since if isinstance(said, StaleDescriptors | StaleManifest) else None
