"""A bounded queue and a thread before each sink, so that one that is slow or down holds nobody up.

Order is kept. What finds the queue full is dropped and counted, and so is what the sink would not take in several
attempts; the log says once per outage that a sink is down, and how much was lost when it is up again. The store has the
record in any case: it is kept there before a sink hears of it.
"""

import logging
import threading
from collections import deque
from collections.abc import Sequence
from typing import Final, Protocol

from portcullis.limits import Limits
from portcullis.model.record import AuditRecord
from portcullis.text import clean

BATCH_RECORDS: Final = 256
"""Records that are handed to a sink at once."""
ATTEMPTS: Final = 10
"""At one batch; it may be what the sink does not like."""
FIRST_RETRY_SECONDS: Final = 0.1
LAST_RETRY_SECONDS: Final = 5.0
_RECORD_BYTES: Final = 4096
"""What a record counts for beside its judged input."""

log = logging.getLogger(__name__)


class SinkError(Exception):
    """What was handed over was not taken, or not all of it; it may be handed over once more."""


class Sink(Protocol):
    """One place for records. Used by one thread; all of it may block."""

    def write(self, records: Sequence[AuditRecord]) -> None:
        """Returns when all are taken. Raises SinkError."""
        ...

    def close(self) -> None:
        """Puts down what was taken, as far as it goes."""
        ...


class Outlet:
    """Hands records to a sink.

    Args:
        name: of the sink, for the log and the metric.
        limits: ``sink_records``, ``sink_bytes``, ``sink_flush_seconds``.
    """

    def __init__(self, name: str, sink: Sink, limits: Limits) -> None:
        self.name = name
        self.dropped = 0
        """Records that the sink did not get."""
        self._sink = sink
        self._limits = limits
        self._queue: deque[AuditRecord] = deque()
        self._bytes = 0
        self._lock = threading.Lock()
        self._some = threading.Event()
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._down_since_dropped: int | None = None
        """How many were dropped before the outage that lasts; None while there is none."""
        # A sink that hangs must not keep the program from ending.
        self._thread = threading.Thread(target=self._run, name=f"sink-{name}", daemon=True)
        self._thread.start()

    def offer(self, record: AuditRecord) -> None:
        """Queues the record, or drops it. Never waits."""
        size = _size(record)
        with self._lock:
            full = len(self._queue) >= self._limits.sink_records or self._bytes + size > self._limits.sink_bytes
            if full:
                self.dropped += 1
            else:
                self._queue.append(record)
                self._bytes += size
        if full:
            self._is_down("its queue is full (limits.sinkRecords, limits.sinkBytes)", lost=1)
        else:
            self._some.set()

    def close(self) -> None:
        """Waits until the queue is empty, ``sink_flush_seconds`` at most; what is left then is dropped. Blocks."""
        self._stopping.set()
        self._some.set()
        self._ended.wait(self._limits.sink_flush_seconds)
        with self._lock:
            left = len(self._queue)
            self.dropped += left
            self._queue.clear()
        if left or not self._ended.is_set():
            log.error("a sink of the audit log did not get the last records", extra={"sink": self.name, "lost": left})

    def _run(self) -> None:
        try:
            while True:
                self._some.wait()
                self._some.clear()
                while batch := self._batch():
                    self._hand_over(batch)
                if self._stopping.is_set():
                    return
        finally:
            self._sink.close()
            self._ended.set()

    def _batch(self) -> list[AuditRecord]:
        with self._lock:
            batch = [self._queue.popleft() for _ in range(min(len(self._queue), BATCH_RECORDS))]
            self._bytes -= sum(map(_size, batch))
        return batch

    def _hand_over(self, batch: list[AuditRecord]) -> None:
        wait = FIRST_RETRY_SECONDS
        for _ in range(ATTEMPTS):
            try:
                self._sink.write(batch)
            except SinkError as error:
                self._is_down(str(error))
            except Exception as error:
                log.exception("a sink of the audit log failed", extra={"sink": self.name})
                self._is_down(type(error).__name__)
            else:
                self._is_up()
                return
            if self._stopping.is_set():
                break
            self._stopping.wait(wait)
            wait = min(wait * 2, LAST_RETRY_SECONDS)
        with self._lock:
            self.dropped += len(batch)

    def _is_down(self, why: str, *, lost: int = 0) -> None:
        with self._lock:
            if self._down_since_dropped is not None:
                return
            self._down_since_dropped = self.dropped - lost
        log.error("a sink of the audit log is down", extra={"sink": self.name, "problem": clean(why, 300)})

    def _is_up(self) -> None:
        with self._lock:
            before = self._down_since_dropped
            if before is None or len(self._queue) >= self._limits.sink_records // 2:
                return
            self._down_since_dropped = None
            lost = self.dropped - before
        log.warning("a sink of the audit log is up again", extra={"sink": self.name, "lost": lost})


def _size(record: AuditRecord) -> int:
    return len(record.decision.document) + _RECORD_BYTES
