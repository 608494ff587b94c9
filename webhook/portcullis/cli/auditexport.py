"""``portcullis audit export``: decisions as JSON lines or as a table for spreadsheets."""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer
from rich.text import Text

from portcullis.cli import auditfilters as by
from portcullis.cli.output import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_REFUSED, ConfigOption, reported, stderr
from portcullis.errors import ConfigError, PortcullisError

if TYPE_CHECKING:
    from portcullis.audit.streaming import Piece, Streamed
    from portcullis.model.record import RecordFilter

EXIT_BROKEN_PIPE = 141
"""As shells say of a program that SIGPIPE ended."""
SAY_SECONDS = 0.5
SAY_SECONDS_IN_A_LOG = 10.0
"""Between two words of progress."""


class ExportFormat(StrEnum):
    JSONL = "jsonl"
    CSV = "csv"


@reported
def export(
    config: ConfigOption = None,
    form: Annotated[ExportFormat, typer.Option("--format", help="JSON lines, or CSV for spreadsheets.")] = (
        ExportFormat.JSONL
    ),
    output: Annotated[Path | None, typer.Option("--output", help="A file instead of stdout.")] = None,
    documents: Annotated[bool, typer.Option("--documents", help="With the judged inputs; JSON lines only.")] = False,
    namespace: by.Namespace = "",
    kind: by.Kind = "",
    name: by.Name = "",
    user: by.User = "",
    image: by.Image = "",
    digest: by.Digest = "",
    policy: by.Policy = "",
    mode: by.Mode = None,
    exception: by.Exempted = "",
    verdict: by.Verdict = None,
    reason: by.Reason = "",
    because: by.Because = None,
    caller: by.Caller = None,
    text: by.Words = "",
    dry_run: by.DryRun = None,
    since: by.Since = "",
    until: by.Until = "",
    before: by.Before = None,
    utc: Annotated[bool, typer.Option("--utc", help="--since and --until are in UTC where they name no zone.")] = False,
) -> None:
    """Write all decisions that meet the conditions, the newest first. Times are in UTC.

    An export that ends early says with which --before the rest is exported.
    """
    if documents and form is ExportFormat.CSV:
        raise ConfigError("--documents is for JSON lines: a judged input is no cell of a table")
    query = by.query_of(
        since=since,
        until=until,
        zone=by.zone_of(utc=utc),
        namespace=namespace,
        kind=kind,
        name=name,
        username=user,
        image=image,
        digest=digest,
        policy=policy,
        mode=mode,
        exception=exception,
        verdict=verdict,
        reason=reason,
        because=because,
        caller=caller,
        text=text,
        dry_run=dry_run,
        before=before,
    )
    raise typer.Exit(asyncio.run(_export(config, query, _Target.of(output), form, documents=documents)))


@dataclass(slots=True)
class _Target:
    """Where the export goes. A file has another name until it is whole."""

    path: Path | None
    part: Path | None
    stream: BinaryIO
    whole: int = 0
    """Bytes up to the end of the last piece that was written."""

    @classmethod
    def of(cls, path: Path | None) -> "_Target":
        if path is None:
            return cls(None, None, sys.stdout.buffer)
        part = path.with_name(f"{path.name}.part")
        try:
            # For nobody else to read: it is as confidential as the log.
            opened = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(f"{part} cannot be written: {error.strerror}") from error
        return cls(path, part, os.fdopen(opened, "wb"))

    def write(self, lines: bytes) -> None:
        self.stream.write(lines)
        self.stream.flush()
        self.whole += len(lines)

    def finish(self) -> None:
        if self.path is not None and self.part is not None:
            os.fsync(self.stream.fileno())
            self.stream.close()
            self.part.replace(self.path)

    def give_up(self) -> str:
        """Leaves whole lines only; says where they are."""
        if self.part is None:
            return "what was written"
        with contextlib.suppress(OSError):
            os.ftruncate(self.stream.fileno(), self.whole)
        with contextlib.suppress(OSError):
            self.stream.close()
        return str(self.part)


@dataclass(slots=True)
class _Progress:
    """What was done so far, for people. ``first`` and ``last`` are the sequences between which the log is searched."""

    say: Callable[[str], None]
    first: int
    last: int
    rows: int = 0
    damaged: int = 0
    began: float = field(default_factory=time.monotonic)
    said: float = 0.0

    def tell(self, piece: "Piece") -> None:
        self.rows += len(piece.records)
        now = time.monotonic()
        often = SAY_SECONDS if sys.stderr.isatty() else SAY_SECONDS_IN_A_LOG
        if now - max(self.said, self.began) < often or piece.next is None:
            return
        self.said = now
        seconds = now - self.began
        done = (self.last - piece.next) / max(self.last - self.first, 1)
        left = f", {done:.0%} of the log, about {_duration(seconds / done - seconds)} left" if done > 0 else ""
        self.say(f"{self.rows:,} decisions, {self.rows / seconds:,.0f} a second{left}")


async def _export(
    config: Path | None, query: "RecordFilter", target: _Target, form: ExportFormat, *, documents: bool
) -> int:
    """The exit code."""
    from portcullis.audit.streaming import extent, stream

    log, limits = by.open_log(config)
    lines = _csv if form is ExportFormat.CSV else _json_lines
    reached = query.before
    progress: _Progress | None = None
    try:
        async with log as records:
            first, last = await extent(records, query)
            with _saying() as say:
                progress = _Progress(say, first, last)
                target.write(_head(form))
                async for piece in stream(records, query, limits, documents=documents):
                    target.write(lines(piece, documents=documents))
                    progress.damaged += sum(1 for one in piece.records if not one.is_record)
                    progress.tell(piece)
                    reached = piece.next
        target.finish()
    except BrokenPipeError:
        _silence()
        return EXIT_BROKEN_PIPE
    except (asyncio.CancelledError, KeyboardInterrupt):
        _say_rest(target, progress, reached, "interrupted")
        return EXIT_INTERRUPTED
    except OSError as error:
        _say_rest(target, progress, reached, f"cannot write: {error.strerror}")
        return EXIT_FAILED
    except PortcullisError as error:
        _say_rest(target, progress, reached, error.message)
        return EXIT_FAILED
    return _say_end(progress)


def _say_end(progress: "_Progress") -> int:
    console = stderr()
    console.print(Text(f"{progress.rows:,} decisions in {_duration(time.monotonic() - progress.began)}", style="dim"))
    if progress.damaged:
        console.print(Text(f"{progress.damaged:,} of them are damaged: they stand there as such", style="red"))
        return EXIT_REFUSED
    return 0


def _say_rest(target: _Target, progress: "_Progress | None", reached: int | None, why: str) -> None:
    """What there is, what is missing, and how to get it."""
    place = target.give_up()
    console = stderr()
    console.print(Text.assemble(("error", "bold red"), f": the export ended early: {why}"), soft_wrap=True)
    if progress is not None and progress.rows and reached is not None:
        console.print(Text(f"  {place} has {progress.rows:,} decisions; --before {reached} exports the rest"))
    elif target.part is not None:
        target.part.unlink(missing_ok=True)
        console.print(Text("  nothing was written"))


def _silence() -> None:
    """The reader (head, less) has gone: nothing more to say, and nothing to say it on at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def _saying() -> Iterator[Callable[[str], None]]:
    from portcullis.cli.output import progress

    with progress("exporting", log=True) as say:
        yield say


def _head(form: ExportFormat) -> bytes:
    from portcullis.audit.exporting import EXPORT_COLUMNS, csv_line

    return csv_line(EXPORT_COLUMNS).encode() if form is ExportFormat.CSV else b""


def _json_lines(piece: "Piece", *, documents: bool) -> bytes:
    from portcullis.audit.exporting import damaged_line, export_line
    from portcullis.model.record import AuditRecord

    def line(one: "Streamed") -> bytes:
        if isinstance(one.record, AuditRecord):
            return export_line(one.record, document=documents, input_hash=one.input_hash)
        return damaged_line(one.sequence, one.record.why)

    return b"".join(map(line, piece.records))


def _csv(piece: "Piece", *, documents: bool) -> bytes:  # noqa: ARG001
    from portcullis.audit.exporting import csv_line, damaged_row, export_row
    from portcullis.model.record import AuditRecord

    def line(one: "Streamed") -> str:
        if isinstance(one.record, AuditRecord):
            return csv_line(export_row(one.record, input_hash=one.input_hash))
        return csv_line(damaged_row(one.sequence, one.record.why))

    return "".join(map(line, piece.records)).encode()


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
