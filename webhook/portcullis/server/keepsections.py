"""The sections ``audit.checkpoints`` and ``audit.retention``: how the audit log is proven, and how long it is kept."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from portcullis.server.sectionbase import ConfigPath, Section

GIBIBYTE = 1024**3


class CheckpointsSection(Section):
    """Where a chain of records stands is written down, signed and published now and then."""

    key_file: ConfigPath | None = None
    """An Ed25519 private key (PEM, PKCS #8); without one, checkpoints are not signed."""
    every_records: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    """After so many records."""
    every_minutes: Annotated[float, Field(gt=0, le=1440)] = 5
    """After so long, where there are new records."""
    config_map: Annotated[str, Field(pattern=r"^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)?$")] = ""
    """In a cluster: a ConfigMap in the gate's own namespace that has the newest checkpoint of each chain. It must be
    there; the chart makes it."""


class RetentionSection(Section):
    """What goes: older records, and the oldest where the log is too large. Neither: nothing ever goes."""

    days: Annotated[float | None, Field(gt=0, le=36_500)] = None
    """Records older than that go."""
    gibibytes: Annotated[float | None, Field(gt=0, le=1_000_000)] = None
    """The oldest go where all take more than that."""

    @property
    def age(self) -> timedelta | None:
        return None if self.days is None else timedelta(days=self.days)

    @property
    def bytes(self) -> int | None:
        return None if self.gibibytes is None else round(self.gibibytes * GIBIBYTE)
