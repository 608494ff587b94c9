"""Files that a replica keeps of its own beside the audit log."""

from pathlib import Path

from portcullis.audit.databaseurl import SqliteAddress, read_address
from portcullis.errors import ConfigError
from portcullis.server.auditsections import Audit


def journal_path(audit: Audit) -> Path:
    """Where records go while the database is down.

    Raises:
        ConfigError: no database is configured, or one on a server and no journal: only the operator knows a folder of
            this machine that outlives the program.
    """
    if not audit.database:
        raise ConfigError(
            "audit.database is missing: say where decisions are recorded (sqlite:////path/audit.db, or "
            "postgresql://user@host/name)"
        )
    address = read_address(audit.database)
    if audit.journal is not None:
        return audit.journal
    if isinstance(address, SqliteAddress):
        return address.path.with_name(f"{address.path.name}.journal")
    raise ConfigError(
        "audit.journal is missing: beside PostgreSQL, say which file of this machine takes records while the database "
        "is down (/var/lib/portcullis/audit.journal); it must outlive the program"
    )


def last_good_path(audit: Audit) -> Path:
    """Where the policies lie that were good last: beside a SQLite database, else beside the journal.

    Raises:
        ConfigError: as :func:`journal_path`.
    """
    journal = journal_path(audit)
    address = read_address(audit.database)
    beside = address.path if isinstance(address, SqliteAddress) else journal
    return beside.with_name(f"{beside.name}.policies")
