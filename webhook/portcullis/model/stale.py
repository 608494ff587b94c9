"""Lists that could not be confirmed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import overload

from portcullis.model.image import Descriptor


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


def stale_since(descriptors: Sequence[Descriptor]) -> datetime | None:
    """When a list was last confirmed, if that could not be done now; else None."""
    return descriptors.since if isinstance(descriptors, StaleDescriptors) else None
