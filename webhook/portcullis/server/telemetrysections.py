"""The section ``telemetry`` of portcullis.yaml."""

from typing import Annotated, ClassVar

from pydantic import Field

from portcullis.server.otlpsections import OtlpDestination
from portcullis.server.sectionbase import Section


class Traces(OtlpDestination):
    """OpenTelemetry traces of reviews."""

    expected: ClassVar[str] = "/v1/traces"

    ratio: Annotated[float, Field(ge=0, le=1)] = 0.01
    """The part of the reviews that are traced whose caller has not decided that. An API server that traces says it in
    ``traceparent``."""


class Telemetry(Section):
    """What the program tells of its own work, beside logs and metrics."""

    traces: Traces | None = None
    """Without it there are none."""
