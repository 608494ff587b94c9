"""One collector that takes OTLP over HTTP in protobuf (https://opentelemetry.io/docs/specs/otlp/#otlphttp), by the
exporters of OpenTelemetry. The packages come with the extra ``otlp`` and are imported by whoever makes one.
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from portcullis import __version__
from portcullis.errors import ConfigError

TIMEOUT_SECONDS: Final = 5.0
"""Of one request to the collector, its repetitions included."""

_MAX_HEADERS_BYTES: Final = 64 * 1024


class Collector:
    """Used by one thread; all of it may block.

    Args:
        exporter: imports and gives the class of the exporter.
        who: wants it, for the message.
        endpoint: whole address, ``https://collector:4318/v1/logs``.
        headers_file: lines ``name: value`` for every request; read again when it changes. None for none.
        headers_key: names it in messages; "" where somebody else does.
        ca_file: authorities in PEM in the place of the usual ones.

    Raises:
        ConfigError: the packages are not there, or the file of headers cannot be used.
    """

    def __init__(
        self,
        exporter: Callable[[], Any],
        *,
        who: str,
        endpoint: str,
        headers_file: Path | None,
        ca_file: Path | None,
        headers_key: str = "",
    ) -> None:
        try:
            from opentelemetry.sdk.resources import Resource

            self._make = exporter()
        except ImportError as error:
            raise ConfigError(
                f"{who} needs the packages of the extra otlp ({error.name} is missing): pip install 'portcullis[otlp]'"
            ) from None
        # Who uses it says once per outage what these say per request.
        logging.getLogger("opentelemetry.exporter.otlp").setLevel(logging.CRITICAL)
        self.resource = Resource.create({"service.name": "portcullis", "service.version": __version__})
        self._endpoint = endpoint
        self._headers_file = headers_file
        self._headers_key = headers_key
        self._ca_file = ca_file
        self._headers = self._read_headers()
        self._exporter = self._made()

    def export(self, items: Sequence[object]) -> Any:
        """What the exporter says of them.

        Raises:
            ConfigError: the file of headers cannot be used any more.
        """
        headers = self._read_headers()
        if headers != self._headers:
            self._exporter.shutdown()
            self._headers = headers
            self._exporter = self._made()
        return self._exporter.export(items)

    def close(self) -> None:
        self._exporter.shutdown()

    def _read_headers(self) -> dict[str, str]:
        try:
            return read_headers(self._headers_file)
        except ConfigError as error:
            prefix = f"{self._headers_key}: " if self._headers_key else ""
            raise ConfigError(f"{prefix}{error.message}") from None

    def _made(self) -> Any:
        return self._make(
            endpoint=self._endpoint,
            headers=self._headers,
            timeout=TIMEOUT_SECONDS,
            certificate_file=str(self._ca_file) if self._ca_file is not None else None,
        )


def read_headers(file: Path | None) -> dict[str, str]:
    """The lines ``name: value`` of a file of headers; none without one.

    Raises:
        ConfigError: it cannot be read, or a line is none.
    """
    if file is None:
        return {}
    try:
        text = file.read_bytes()[:_MAX_HEADERS_BYTES].decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {type(error).__name__}") from None
    headers: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        name, colon, value = line.partition(":")
        if not line.strip():
            continue
        if not colon or not name.strip():
            raise ConfigError(f"{file}:{number}: name: value is expected")
        headers[name.strip()] = value.strip()
    return headers
