"""The PostgreSQL database of the audit store: reached durably, within bounds, brought to our schema.

psycopg 3 behind SQLAlchemy. A server elsewhere fails in ways that a file does not: it hangs, it vanishes, its commits
come back late or not at all. So every wait for it ends:

- connecting by ``connect_timeout``;
- statements, in the server, by ``statement_timeout`` and ``lock_timeout``;
- waiting for an answer, here, by a deadline that each step sets (:class:`_Connection`): a server that is stopped
  answers TCP's questions all the same, so that no time-out of the network ends it;
- a network that swallows packets by TCP's keepalives and ``tcp_user_timeout``.

Everything here blocks and belongs in a worker thread.
"""

import contextlib
import logging
import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import psycopg
from sqlalchemy import Connection, Engine, ExceptionContext, NullPool, create_engine, event, text
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError

from portcullis.audit.database import READERS, migrate, reading_seconds, require_schema, schema_revision, sentence
from portcullis.audit.databaseurl import PostgresAddress
from portcullis.audit.store import RecordRefused
from portcullis.audit.tables import SCHEMA, metadata
from portcullis.errors import ConfigError, RecordsError
from portcullis.limits import Limits
from portcullis.text import clean

OLDEST: Final = 14
"""The oldest major version: what the PostgreSQL project itself still mends, and one more."""

PASSWORD_BYTES: Final = 4096
COMMAND_SECONDS: Final = 600.0
"""How long a command that reads may stay in one transaction without asking anything."""

_ADVICE: Final[Mapping[str, str]] = {
    "25006": "it is read-only: audit.database must name the primary",
    "28000": "the server's pg_hba.conf does not let this user in from here",
    "28P01": "look at audit.passwordFile",
    "3D000": "create it (docs/operators-audit-log.md, PostgreSQL)",
    "42501": "the user must own the tables, or the database (docs/operators-audit-log.md, PostgreSQL)",
    "42P01": "its tables are gone; they are made anew when the database is opened again",
    "53100": "the server's disk is full",
    "53300": "max_connections of the server are in use; each replica takes three",
    "57014": "limits.storeSeconds",
    "55P03": "limits.appendSeconds",
}
"""What to do, by SQLSTATE (https://www.postgresql.org/docs/current/errcodes-appendix.html)."""

_OVER_A_KNOWN_LINE: Final = "!md5,!gss,!sspi"
_OVER_ANY_LINE: Final = f"{_OVER_A_KNOWN_LINE},!password"
"""Ways to log in that are not gone along with, whatever the server asks for: the password as it is goes only to one
that is known by its certificate."""

_LIMIT_EXCEEDED: Final = "54"
"""Class of errors about a statement or value that is too large for the server, whenever it is tried again."""

_SETTINGS: Final = """
SELECT set_config('application_name', 'portcullis', false),
       set_config('TimeZone', 'UTC', false),
       set_config('client_encoding', 'UTF8', false),
       set_config('synchronous_commit', CASE current_setting('synchronous_commit')
           WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, false),
       set_config('statement_timeout', %(statement)s, false),
       set_config('lock_timeout', %(lock)s, false),
       set_config('idle_in_transaction_session_timeout', %(idle)s, false),
       set_config('default_transaction_isolation', %(isolation)s, false)
"""
"""``synchronous_commit``: what is committed is on the server's disk; ``remote_apply``, which waits for standbys too,
stays where the server says so."""

_STATE: Final = """
SELECT pg_is_in_recovery(), current_setting('transaction_read_only'), current_setting('fsync'), current_schema()
"""

_LOCALLY: Final = text("SELECT set_config(:setting, :value, true)")

_NOT_OURS: Final = """
SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relname = ANY(:tables)
AND NOT (has_table_privilege(oid, 'SELECT') AND has_table_privilege(oid, 'INSERT')
    AND has_table_privilege(oid, 'UPDATE') AND has_table_privilege(oid, 'DELETE'))
"""

log = logging.getLogger(__name__)


class _Connection(psycopg.Connection[Any]):
    """Waits for an answer until the deadline that was set last, and is closed when none comes."""

    until: float | None = None
    """On the scale of ``time.monotonic``."""

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """As psycopg says; every statement, commit and roll-back goes through it."""
        until = self.until
        if until is None:
            return super().wait(gen, interval, timeout)
        left = max(until - time.monotonic(), 0.0)
        try:
            return super().wait(gen, interval, left if timeout is None else min(left, timeout))
        except psycopg.OperationalError:
            if time.monotonic() >= until and not self.closed:
                self.close()  # an answer that comes later would be taken for that to another question
            raise


class PostgresDatabase:
    """One database of a server: a Database. One connection writes, READERS read; what they read is a snapshot.

    Args:
        limits: ``append_seconds`` for locks, ``store_seconds`` for all else; ``read_seconds`` for readers.
        read_only: for commands: never writes, makes or migrates anything, reads as long as it takes, and may ask a
            standby.
    """

    def __init__(self, *, address: PostgresAddress, limits: Limits, read_only: bool = False) -> None:
        self._address = address
        self._limits = limits
        self._read_only = read_only
        self._engine = self._new_engine(writes=True)
        self._writer: Connection | None = None
        self._warned = False
        self.readers: Engine | None = None

    @property
    def name(self) -> str:
        """Database, host and port."""
        return self._address.name

    def open(self, *, patience: float = 0.0) -> None:
        """As Database says."""
        try:
            with self.wrapped("cannot open"):
                if self.readers is None:
                    self.readers = self._new_engine(writes=False)
                if self._read_only:
                    with self.readers.connect() as connection:
                        require_schema(schema_revision(connection, self.name), self.name)
                else:
                    self._open_for_writing(patience)
        except BaseException:
            self.close_writer()
            raise

    def writer(self) -> Connection:
        """As Database says."""
        if self._writer is None:
            self.open()
        if self._writer is None:
            raise RecordsError(f"the audit store {self.name} is open for reading only")
        return self._writer

    def check_still_there(self) -> None:
        """A server that commits has what it committed."""

    def close_writer(self) -> None:
        """As Database says."""
        writer, self._writer = self._writer, None
        if writer is not None:
            with contextlib.suppress(SQLAlchemyError, psycopg.Error):
                writer.close()

    def close(self) -> None:
        """As Database says."""
        self.close_writer()
        readers, self.readers = self.readers, None
        if readers is not None:
            readers.dispose()

    @contextlib.contextmanager
    def wrapped(self, doing: str) -> Iterator[None]:
        """As Database says."""
        try:
            yield
        except (RecordsError, ConfigError):
            raise
        except (SQLAlchemyError, psycopg.Error, OSError, ValueError) as error:
            advice = _ADVICE.get(_state(error), "")
            told = sentence(self.name, doing, error)
            raise RecordsError(f"{told} ({advice})" if advice else told) from error

    @contextlib.contextmanager
    def refusing(self) -> Iterator[None]:
        """As Database says. An error without SQLSTATE that did not cost the connection is psycopg's own: it cannot
        send such a value."""
        try:
            yield
        except DBAPIError as error:
            state = _state(error)
            own = not state and not error.connection_invalidated and isinstance(error.orig, psycopg.ProgrammingError)
            if isinstance(error, IntegrityError | DataError) or state.startswith(_LIMIT_EXCEEDED) or own:
                raise RecordRefused(sentence(self.name, "a record is refused", error)) from error
            raise
        except (ValueError, TypeError, OverflowError) as error:
            raise RecordRefused(sentence(self.name, "a record is refused", error)) from error

    def give_time(self, connection: Connection, seconds: float) -> None:
        """As Database says."""
        for setting in ("statement_timeout", "idle_in_transaction_session_timeout"):
            connection.execute(_LOCALLY, {"setting": setting, "value": _milliseconds(seconds)})

    @contextlib.contextmanager
    def bounded(self, connection: Connection, seconds: float | None) -> Iterator[None]:
        """As Database says."""
        driver = connection.connection.driver_connection
        assert isinstance(driver, _Connection)
        driver.until = None if seconds is None else time.monotonic() + seconds
        try:
            yield
        finally:
            driver.until = time.monotonic() + self._limits.store_seconds  # for the end of a transaction

    def _open_for_writing(self, patience: float) -> None:
        self.close_writer()
        writer = self._writer = self._engine.connect()
        with self.bounded(writer, self._limits.store_seconds), writer.begin():
            revision = schema_revision(writer, self.name)
        if revision != SCHEMA:
            with self.bounded(writer, None):
                migrate(writer, self.name, patience=max(patience, self._limits.append_seconds))
        with self.bounded(writer, self._limits.store_seconds), writer.begin():
            tables = [table.name for table in metadata.sorted_tables]
            kept = writer.execute(text(_NOT_OURS), {"tables": tables}).scalars().all()
        if kept:
            raise RecordsError(
                f"the audit store {self.name}: the user {clean(self._address.user, 60)} may not write "
                f"{', '.join(sorted(kept))} ({_ADVICE['42501']})"
            )

    # -- connections ---------------------------------------------------------------------------------------------

    def _new_engine(self, *, writes: bool) -> Engine:
        pool: dict[str, Any] = {"poolclass": NullPool} if writes else {"pool_size": READERS, "max_overflow": 0}
        engine = create_engine("postgresql+psycopg://", use_native_hstore=False, hide_parameters=True, **pool)

        @event.listens_for(engine, "do_connect")
        def _connect(_dialect: Any, _record: Any, _arguments: Any, parameters: dict[str, Any]) -> _Connection:
            return self._connect(parameters, writes=writes)

        @event.listens_for(engine, "handle_error")
        def _close(context: ExceptionContext) -> None:
            """SQLAlchemy leaves a cursor open whose connection is lost; psycopg warns of one at the server."""
            if context.is_disconnect and context.execution_context is not None:
                with contextlib.suppress(psycopg.Error):
                    context.execution_context.cursor.close()

        return engine

    def _connect(self, parameters: dict[str, Any], *, writes: bool) -> _Connection:
        """
        Args:
            parameters: SQLAlchemy's, which say how values are sent and read.
        """
        address, seconds = self._address, self._limits.store_seconds
        connection = _Connection.connect(
            **parameters
            | {
                "host": address.host,
                "port": address.port,
                "user": address.user,
                "dbname": address.database,
                "password": self._password() or None,
                "autocommit": True,
                "gssencmode": "disable",
                "require_auth": _OVER_A_KNOWN_LINE if address.verified else _OVER_ANY_LINE,
                "connect_timeout": max(math.ceil(seconds), 2),  # psycopg takes no less
                "tcp_user_timeout": int(seconds * 1000),
                "keepalives_idle": max(math.ceil(seconds), 1),
                "keepalives_interval": 1,
                "keepalives_count": 3,
            }
            | dict(address.options)
        )
        try:
            connection.until = time.monotonic() + seconds
            self._set_up(connection, writes=writes)
            connection.autocommit = False
        except BaseException:
            connection.close()
            raise
        return connection

    def _set_up(self, connection: _Connection, *, writes: bool) -> None:
        require_version(connection.info.server_version, self.name)
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            raise ConfigError(
                f"the audit store {self.name} has the encoding {clean(encoding or 'none', 20)}: "
                "create the database with ENCODING 'UTF8'"
            )
        limits = self._limits
        statement = limits.store_seconds if writes else 0.0 if self._read_only else reading_seconds(limits)
        connection.execute(
            _SETTINGS,
            {
                "statement": _milliseconds(statement),
                "lock": _milliseconds(limits.append_seconds / 2),
                "idle": _milliseconds(COMMAND_SECONDS if self._read_only else max(statement, limits.store_seconds)),
                "isolation": "read committed" if writes else "repeatable read",
            },
        )
        row = connection.execute(_STATE).fetchone()
        assert row is not None
        standby, read_only, fsync, schema = row
        if schema is None:
            raise RecordsError(f"the audit store {self.name}: the user's search_path names no schema that is there")
        if writes and (standby or read_only == "on"):
            what = "a standby" if standby else "read-only (default_transaction_read_only)"
            raise RecordsError(f"the audit store {self.name} is {what}: audit.database must name the primary")
        if not writes:
            connection.execute("SELECT set_config('default_transaction_read_only', 'on', false)")
        elif fsync == "off" and not self._warned:
            self._warned = True
            log.warning("the audit store %s runs with fsync=off: a power failure may lose what it has", self.name)

    def _password(self) -> str:
        """Read anew for each connection, so that a password can be changed while the gate runs.

        Raises:
            RecordsError: the file cannot be read, or holds none.
        """
        path = self._address.password_file
        return self._address.password if path is None else _read_password(path)


def require_version(version: int, name: str) -> None:
    """
    Args:
        version: as libpq says it, 180004 for 18.4.

    Raises:
        ConfigError: it is too old.
    """
    if version < OLDEST * 10_000:
        raise ConfigError(
            f"the audit store {name} is on PostgreSQL {version // 10_000}; {OLDEST} is the oldest that will do"
        )


def _read_password(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(PASSWORD_BYTES + 1)
        password = content.decode().rstrip("\r\n")
    except OSError as error:
        raise RecordsError(f"audit.passwordFile: cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise RecordsError(f"audit.passwordFile: {path} is not UTF-8") from None
    if not password or len(content) > PASSWORD_BYTES or "\0" in password:
        raise RecordsError(f"audit.passwordFile: {path} holds no password of 1 to {PASSWORD_BYTES} bytes")
    return password


def _state(error: BaseException) -> str:
    """SQLSTATE; "" where the error is not the server's."""
    cause = getattr(error, "orig", None) or error
    return getattr(cause, "sqlstate", None) or ""


def _milliseconds(seconds: float) -> str:
    return str(int(seconds * 1000))
