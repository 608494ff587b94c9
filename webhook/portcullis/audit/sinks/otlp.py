"""Records as OpenTelemetry logs, by OTLP over HTTP in protobuf (https://opentelemetry.io/docs/specs/otlp/#otlphttp).

The body is the line of JSON that the other sinks write. The packages come with the extra ``otlp`` and are imported by
whoever makes such a sink.
"""

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from portcullis import __version__
from portcullis.audit.exporting import export_line
from portcullis.audit.sinks.outlet import SinkError
from portcullis.errors import ConfigError
from portcullis.model.decision import Verdict
from portcullis.model.record import AuditRecord

if TYPE_CHECKING:
    from opentelemetry.sdk._logs import ReadableLogRecord

TIMEOUT_SECONDS: Final = 5.0
"""Of one request to the collector, its repetitions included."""
EVENT_NAME: Final = "portcullis.decision"

_MAX_HEADERS_BYTES: Final = 64 * 1024


class OtlpSink:
    """Sends to one collector.

    Args:
        endpoint: whole address, ``https://collector:4318/v1/logs``.
        document: whether the judged input is sent as well.
        headers_file: lines ``name: value`` for every request; read again when it changes. None for none.
        ca_file: authorities in PEM in the place of the usual ones.

    Raises:
        ConfigError: the packages are not there, or the file of headers cannot be used.
    """

    def __init__(
        self, endpoint: str, *, document: bool, headers_file: Path | None = None, ca_file: Path | None = None
    ) -> None:
        try:
            from opentelemetry.exporter.otlp.proto.http import _log_exporter
            from opentelemetry.sdk.resources import Resource
        except ImportError as error:
            raise ConfigError(
                f"otlp needs the packages of the extra otlp ({error.name} is missing): pip install 'portcullis[otlp]'"
            ) from None
        # The outlet says once per outage what these say per request.
        logging.getLogger("opentelemetry.exporter.otlp").setLevel(logging.CRITICAL)
        self._make = _log_exporter.OTLPLogExporter
        self._resource = Resource.create({"service.name": "portcullis", "service.version": __version__})
        self._endpoint = endpoint
        self._document = document
        self._headers_file = headers_file
        self._ca_file = ca_file
        self._headers = read_headers(self._headers_file)
        self._exporter = self._made()

    def write(self, records: Sequence[AuditRecord]) -> None:
        """Raises SinkError: the collector did not take them."""
        from opentelemetry.sdk._logs.export import LogRecordExportResult

        try:
            headers = read_headers(self._headers_file)
        except ConfigError as error:
            raise SinkError(error.message) from None
        if headers != self._headers:
            self._exporter.shutdown()
            self._headers = headers
            self._exporter = self._made()
        if self._exporter.export([self._record(record) for record in records]) is not LogRecordExportResult.SUCCESS:
            raise SinkError("the collector did not take the records")

    def close(self) -> None:
        self._exporter.shutdown()

    def _made(self) -> Any:
        return self._make(
            endpoint=self._endpoint,
            headers=self._headers,
            timeout=TIMEOUT_SECONDS,
            certificate_file=str(self._ca_file) if self._ca_file is not None else None,
        )

    def _record(self, record: AuditRecord) -> "ReadableLogRecord":
        from opentelemetry._logs import LogRecord, SeverityNumber
        from opentelemetry.sdk._logs import ReadableLogRecord

        decision = record.decision
        severity = {
            Verdict.ADMITTED: (SeverityNumber.INFO, "INFO"),
            Verdict.REFUSED: (SeverityNumber.WARN, "WARN"),
            Verdict.UNDECIDED: (SeverityNumber.ERROR, "ERROR"),
        }[decision.verdict]
        return ReadableLogRecord(
            log_record=LogRecord(
                timestamp=int(decision.decided_at.timestamp() * 1e9),
                observed_timestamp=time.time_ns(),
                severity_number=severity[0],
                severity_text=severity[1],
                event_name=EVENT_NAME,
                body=export_line(record, document=self._document).decode("ascii").rstrip("\n"),
                attributes={
                    "decision_id": decision.id,
                    "verdict": str(decision.verdict),
                    "code": decision.code,
                    "dry_run": record.dry_run,
                    "k8s.namespace.name": record.namespace,
                },
            ),
            resource=self._resource,
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
