"""The audit store on SQL: records, judged inputs and bundles, in a SQLite file or a PostgreSQL database.

SQLAlchemy's plain engine in threads, not its asyncio extension. SQLite has one writer at a time whatever one does, and
the records of one chain follow one another in any database, so one thread that keeps one connection is all that writing
can use; a batch then costs a single hand-over to that thread, where aiosqlite pays one for every statement, cursor and
commit, and compressing inputs happens in the same thread and not on the event loop. Searches run in threads of their
own, so that a slow one delays no answer to the API server.
"""

import socket
import time
import zlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TypeVar

from sqlalchemy import Connection, select
from sqlalchemy.exc import DBAPIError

from portcullis import __version__
from portcullis.audit import codec
from portcullis.audit.chain import Head, OwnChain
from portcullis.audit.checkpointing import add_checkpoint
from portcullis.audit.checkpoints import Signed, Signer
from portcullis.audit.database import READERS, database_of, reading_seconds
from portcullis.audit.dialects import ignoring
from portcullis.audit.query import check
from portcullis.audit.rows import Batch
from portcullis.audit.searching import bodies, search
from portcullis.audit.tables import bundles, decisions, inputs, key
from portcullis.audit.workers import Workers
from portcullis.errors import ConfigError, RecordsError
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.model.record import AuditRecord, RecordFilter

T = TypeVar("T")

START_SECONDS = 10.0
"""How long a start waits for another process that makes or migrates the same tables."""


LONG_SECONDS = 600.0
"""What may take long while the gate serves: a piece of an export, the size of the log."""


class SqlRecords:
    """The audit log in a database: a Records, and a Store for the writer of :mod:`portcullis.audit.writer`.

    Args:
        url: ``sqlite:////absolute/path`` or ``postgresql://user@host:port/name``, as
            :mod:`portcullis.audit.databaseurl` says.
        limits: bounds of searches and inputs, and of the time that a server may take.
        read_only: for commands that only read: nothing is made, migrated or written.
        replica: who writes, in the chain of this start; the host's name where it is "".

    Raises:
        ConfigError: a URL of another kind.
    """

    def __init__(
        self, *, url: str, limits: Limits = DEFAULT_LIMITS, read_only: bool = False, replica: str = ""
    ) -> None:
        self._database = database_of(url, limits, read_only=read_only)
        self._limits = limits
        self._read_only = read_only
        self._reading_seconds = None if read_only else reading_seconds(limits)
        self._writing = Workers(name="audit-writer")
        self._reading = Workers(name="audit-reader", threads=READERS)
        self._closed = False
        self.chain = OwnChain(replica=replica or socket.gethostname(), version=__version__)
        """What this program writes."""

    @property
    def bundles(self) -> "SqlBundles":
        """The policy sets and configurations in the same database."""
        return SqlBundles(self)

    async def start(self) -> None:
        """Opens the database, makes or migrates its tables.

        Raises:
            ConfigError: it can never be used: no database, another program's, a newer version's.
            RecordsError: it cannot be opened now.
        """
        await self._in(self._writing, lambda: self._database.open(patience=START_SECONDS))

    async def aclose(self) -> None:
        """Closes the database; what was begun is finished first. Nothing can be asked afterwards."""
        if self._closed:
            return
        self._closed = True
        try:
            await self._writing.run(self._database.close)
        finally:
            self._writing.close()
            self._reading.close()

    async def append(self, record: AuditRecord) -> None:
        """Keeps one record in a commit of its own.

        Raises:
            RecordsError: it is not kept.
        """
        await self.append_many((record,))

    async def append_many(self, records: Sequence[AuditRecord]) -> None:
        """Keeps all records in one transaction; those whose decision is there already are skipped.

        After a failure the database is opened anew by the next call.

        Raises:
            RecordRefused: the database does not take one of them.
            RecordsError: the store is down; whether the records are kept is unknown.
        """

        def write() -> None:
            with self._database.refusing():
                batch = Batch(records)
            self._write_chain(lambda connection, head: (None, batch.insert(connection, head)))

        await self._in(self._writing, write)

    async def get(self, decision_id: str) -> AuditRecord | None:
        """The record of a decision with its judged input.

        Raises:
            RecordsError: the store is down, or what it holds is damaged.
        """
        statement = (
            select(decisions.c.sequence, decisions.c.body, decisions.c.input_hash, inputs.c.content)
            .join_from(decisions, inputs, isouter=True)
            .where(decisions.c.id == key(decision_id))
        )

        def read(connection: Connection) -> AuditRecord | None:
            row = connection.execute(statement).one_or_none()
            if row is None:
                return None
            document = b""
            if row.content is not None:
                document = inflate(row.content, self._limits.document_bytes)
                if codec.input_hash(document) != row.input_hash:
                    raise codec.CodecError(f"the input of decision {decision_id[:80]!r} is not the one that was judged")
            return codec.decode_body(row.body, document=document, sequence=row.sequence)

        return await self._in(self._reading, lambda: self._read(read))

    async def complete(self, prefix: str, limit: int = 10) -> Sequence[str]:
        """The ids of decisions that begin with ``prefix``, in order, at most ``limit``: for people, who shorten them.

        Raises:
            RecordsError: the store is down.
        """
        if not prefix:
            return ()
        column = decisions.c.id
        behind = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        statement = select(column).where(column >= key(prefix), column < key(behind)).order_by(column).limit(limit)
        return await self._in(
            self._reading, lambda: self._read(lambda connection: tuple(connection.execute(statement).scalars()))
        )

    async def search(self, query: RecordFilter) -> Sequence[AuditRecord]:
        """The newest matching records without their inputs; :func:`portcullis.audit.query.meeting` says what matches.

        Raises:
            RecordsError: the store is down, what it holds is damaged, too much is asked for, or the log is too large
                for that question (:class:`portcullis.audit.ledger.SqlLedger` answers in parts).
        """
        check(query, self._limits)
        until = time.monotonic() + self._limits.read_seconds

        def read(connection: Connection) -> Sequence[AuditRecord]:
            found = search(connection, query, until=until)
            if found.late:
                raise RecordsError(f"the search took longer than {self._limits.read_seconds} s (limits.readSeconds)")
            rows = bodies(connection, found.sequences)
            return tuple(codec.decode_body(row.body, sequence=row.sequence) for row in rows)

        return await self._in(self._reading, lambda: self._read(read))

    async def checkpoint(self, signer: Signer, at: datetime) -> Signed:
        """Writes down, and signs, where the chain of this program stands; it is begun where it is not there yet.

        Raises:
            RecordsError: the store is down.
        """

        def add(connection: Connection, _: Head) -> tuple[Signed, Head]:
            self.chain.check(connection)
            head = self.chain.head(connection)
            return add_checkpoint(connection, head.number, signer, at), head

        return await self._in(self._writing, lambda: self._write_chain(add))

    async def change(self, change: Callable[[Connection], T]) -> T:
        """Runs ``change`` in a transaction of its own, after those that were asked for before: for the other tables
        of the database. A server has ``store_seconds`` for it.

        Raises:
            RecordsError: the store is down; whether the change was made is unknown.
        """
        return await self._in(self._writing, lambda: self._write(change))

    async def read(self, read: Callable[[Connection], T], *, patient: bool = False) -> T:
        """Runs ``read``, which sees the database as it is at one moment, beside the changes. It may run twice: for
        a connection that turns out to be dead there is another. While the gate serves, a server's answer is waited
        for ``read_seconds`` and ``store_seconds`` at most, or LONG_SECONDS where ``patient`` (an export, say).

        Raises:
            RecordsError: the store is down.
        """
        return await self._in(self._reading, lambda: self._read(read, patient=patient))

    async def put_bundle(self, revision: str, kind: str, content: bytes) -> None:
        """See :meth:`SqlBundles.put`."""
        row = {"revision": key(revision), "kind": key(kind), "content": zlib.compress(content)}

        def put(connection: Connection) -> None:
            connection.execute(ignoring(connection, bundles, "revision"), row)

        await self._in(self._writing, lambda: self._write(put))

    async def get_bundle(self, revision: str) -> bytes | None:
        """See :meth:`SqlBundles.get`."""
        statement = select(bundles.c.content).where(bundles.c.revision == key(revision))
        content = await self._in(
            self._reading, lambda: self._read(lambda connection: connection.execute(statement).scalar_one_or_none())
        )
        return None if content is None else inflate(content, _BUNDLE_BYTES)

    def _write_chain(self, change: Callable[[Connection, Head], tuple[T, Head]]) -> T:
        """As :meth:`_write`, for what needs the head of this program's chain, and may move it."""
        try:
            result, head = self._write(lambda connection: change(connection, self.chain.head(connection)))
        except BaseException:
            self.chain.doubt()
            raise
        self.chain.committed(head)
        return result

    async def _in(self, workers: Workers, job: Callable[[], T]) -> T:
        if self._closed:
            raise RecordsError(f"the audit store {self._database.name} is closed")
        return await workers.run(job)

    def _write(self, change: Callable[[Connection], T]) -> T:
        database = self._database
        try:
            with database.wrapped("cannot write"):
                connection = database.writer()
                with (
                    database.bounded(connection, self._limits.store_seconds),
                    database.refusing(),
                    connection.begin(),
                ):
                    changed = change(connection)
                database.check_still_there()
                return changed
        except ConfigError as error:  # the database was exchanged while we ran; at the start it would have been refused
            raise RecordsError(error.message) from error
        except BaseException:
            # What state a database is in after an error is hard to tell; a new connection knows.
            database.close_writer()
            raise

    def _read(self, read: Callable[[Connection], T], *, patient: bool = False) -> T:
        began = time.monotonic()
        try:
            with self._database.wrapped("cannot read"):
                try:
                    return self._read_once(read, patient=patient)
                except DBAPIError as error:
                    late = time.monotonic() - began > self._limits.append_seconds
                    if late or not error.connection_invalidated:
                        raise
                return self._read_once(read, patient=patient)  # all connections of the pool are new now
        except ConfigError as error:  # as in _write
            raise RecordsError(error.message) from error

    def _read_once(self, read: Callable[[Connection], T], *, patient: bool) -> T:
        engine = self._database.readers
        if engine is None:
            raise RecordsError(f"the audit store {self._database.name} is not open")
        seconds = LONG_SECONDS if patient and not self._read_only else self._reading_seconds
        with engine.connect() as connection, self._database.bounded(connection, seconds):
            if seconds == LONG_SECONDS:
                self._database.give_time(connection, seconds)
            return read(connection)


class SqlBundles:
    """Policy sets and configurations of an audit store: a Bundles. Raises only RecordsError."""

    def __init__(self, records: SqlRecords) -> None:
        self._records = records

    async def put(self, revision: str, kind: str, content: bytes) -> None:
        """Keeps ``content`` under its revision; what is there already stays."""
        await self._records.put_bundle(revision, kind, content)

    async def get(self, revision: str) -> bytes | None:
        """What was put under that revision."""
        return await self._records.get_bundle(revision)


_BUNDLE_BYTES = 1024 * 1024 * 1024
"""A policy set of ``Limits.policies`` times ``Limits.policy_bytes``, doubled for its parameters."""


@asynccontextmanager
async def open_records(url: str, limits: Limits = DEFAULT_LIMITS) -> AsyncIterator[SqlRecords]:
    """The audit log for a command that reads it, beside a running server or without one.

    Raises:
        ConfigError: the URL or the database is not one of ours, or of another version.
        RecordsError: there is no such database, or it cannot be read.
    """
    records = SqlRecords(url=url, limits=limits, read_only=True)
    try:
        await records.start()
        yield records
    finally:
        await records.aclose()


def inflate(content: bytes, limit: int) -> bytes:
    """What was compressed, if it is whole and not above ``limit``: the file may have been tampered with.

    Raises:
        CodecError: it is not.
    """
    inflater = zlib.decompressobj()
    try:
        plain = inflater.decompress(content, limit)
    except zlib.error as error:
        raise codec.CodecError(f"a stored input cannot be inflated: {error}") from None
    if not inflater.eof:
        raise codec.CodecError(f"a stored input is cut off, or larger than {limit} bytes")
    return plain
