"""Records as OpenTelemetry logs, by OTLP over HTTP in protobuf (https://opentelemetry.io/docs/specs/otlp/#otlphttp).

The body is the line of JSON that the other sinks write. The packages come with the extra ``otlp`` and are imported by
whoever makes such a sink.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from portcullis.audit.exporting import export_line
from portcullis.audit.sinks.collector import Collector
from portcullis.audit.sinks.outlet import SinkError
from portcullis.errors import ConfigError
from portcullis.model.decision import Verdict
from portcullis.model.record import AuditRecord

if TYPE_CHECKING:
    from opentelemetry.sdk._logs import ReadableLogRecord

EVENT_NAME: Final = "portcullis.decision"


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
        self._collector = Collector(
            _exporter, who="otlp", endpoint=endpoint, headers_file=headers_file, ca_file=ca_file
        )
        self._document = document

    def write(self, records: Sequence[AuditRecord]) -> None:
        """Raises SinkError: the collector did not take them."""
        from opentelemetry.sdk._logs.export import LogRecordExportResult

        try:
            said = self._collector.export([self._record(record) for record in records])
        except ConfigError as error:
            raise SinkError(error.message) from None
        if said is not LogRecordExportResult.SUCCESS:
            raise SinkError("the collector did not take the records")

    def close(self) -> None:
        self._collector.close()

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
            resource=self._collector.resource,
        )


def _exporter() -> Any:
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter

    return OTLPLogExporter
