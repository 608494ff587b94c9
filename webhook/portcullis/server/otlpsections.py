"""Where a collector of OpenTelemetry is, as the configuration says it for logs and for traces."""

import re
from typing import ClassVar

from pydantic import model_validator

from portcullis.server.sectionbase import ConfigPath, Section

_ENDPOINT = re.compile(r"https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(:[0-9]{1,5})?/[^\s?#@]*")
_LOOPBACK = re.compile(r"http://(localhost|127(\.[0-9]{1,3}){3}|\[::1\])[:/]")


class OtlpDestination(Section):
    """A collector, by OTLP over HTTP."""

    expected: ClassVar[str] = "/v1/logs"

    endpoint: str
    """Whole address, such as ``https://collector.example:4318/v1/logs`` (for traces ``/v1/traces``)."""
    insecure: bool = False
    """Plain HTTP to another machine is allowed: whoever stands between reads and changes what is sent."""
    headers_file: ConfigPath | None = None
    """Lines ``name: value``, sent with every request; read again when it changes."""
    ca_file: ConfigPath | None = None
    """The authorities in PEM that its certificate is believed for, and no others."""

    @model_validator(mode="after")
    def _reachable(self) -> "OtlpDestination":
        if not _ENDPOINT.fullmatch(self.endpoint):
            raise ValueError(f"endpoint: https://host:port{self.expected} is expected, without user and query")
        if self.endpoint.startswith("http:") and not self.insecure and not _LOOPBACK.match(self.endpoint):
            raise ValueError("endpoint: plain HTTP to another machine needs insecure: true")
        return self
