"""The sinks of ``audit.sinks``: made, fed, watched and closed."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from portcullis.audit.sinks.lines import FileSink, StdoutSink
from portcullis.audit.sinks.otlp import OtlpSink
from portcullis.audit.sinks.outlet import Outlet, Sink
from portcullis.errors import ConfigError
from portcullis.limits import Limits
from portcullis.model.record import AuditRecord
from portcullis.server.recordingsections import SinkSection
from portcullis.server.telemetry import Metrics

_MEGABYTE = 1_000_000


class Sinks:
    """All sinks. None of them is waited for, and none can raise."""

    def __init__(self, outlets: Sequence[Outlet], *, have_files: bool) -> None:
        self._outlets = outlets
        self.have_files = have_files
        """Whether there are files that log rotation may move."""

    def offer(self, record: AuditRecord) -> None:
        for outlet in self._outlets:
            outlet.offer(record)

    def observe(self, metrics: Metrics) -> None:
        metrics.count_by(
            "audit_sink_dropped",
            "Records that a sink did not get.",
            "sink",
            lambda: {outlet.name: float(outlet.dropped) for outlet in self._outlets},
        )

    async def aclose(self) -> None:
        """Gives every sink ``limits.sink_flush_seconds`` for what it has not got yet, all at the same time."""
        await asyncio.gather(*(asyncio.to_thread(outlet.close) for outlet in self._outlets))


@asynccontextmanager
async def open_sinks(sections: Sequence[SinkSection], limits: Limits) -> AsyncIterator[Sinks]:
    """Raises ConfigError: one of them cannot be used; names it."""
    outlets: list[Outlet] = []
    kinds = [section.kind for section in sections]
    sinks = Sinks(outlets, have_files="file" in kinds)
    try:
        for at, section in enumerate(sections):
            try:
                sink = _sink(section)
            except ConfigError as error:
                raise ConfigError(f"audit.sinks.{at}: {error.message}") from None
            name = section.kind if kinds.count(section.kind) == 1 else f"{section.kind}-{at}"
            outlets.append(Outlet(name, sink, limits))
        yield sinks
    finally:
        await sinks.aclose()


def _sink(section: SinkSection) -> Sink:
    if section.stdout is not None:
        return StdoutSink(document=section.stdout.input)
    if section.file is not None:
        file = section.file
        return FileSink(file.path, document=file.input, size=file.megabytes * _MEGABYTE, files=file.files)
    otlp = section.otlp
    assert otlp is not None  # the section has one of the three
    return OtlpSink(otlp.endpoint, document=otlp.input, headers_file=otlp.headers_file, ca_file=otlp.ca_file)
