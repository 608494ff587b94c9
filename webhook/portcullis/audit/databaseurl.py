"""``audit.database``: which store it names, read strictly.

The text of the URL is never repeated in an error: it may hold a password, and one that is written wrongly may hold it
anywhere.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from types import MappingProxyType
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from portcullis.errors import ConfigError
from portcullis.text import clean

EXAMPLES: Final = "sqlite:////absolute/path/to/audit.db or postgresql://user@host:5432/name"
DEFAULT_PORT: Final = 5432

_SCHEMES: Final = {
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
    "postgresql": "postgresql",
    "postgresql+psycopg": "postgresql",
}
_PASSWORD_FILE: Final = "passwordFile"  # noqa: S105 - the name of a key
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]{0,39}")
_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,253}[A-Za-z0-9])?")
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}")
_FILE: Final = re.compile(r"/[^\0]{1,1023}")
_VERSION: Final = re.compile(r"TLSv1(\.[23])?")
_SECONDS: Final = re.compile(r"[1-9]|[1-5][0-9]|60")

_QUERY: Final[Mapping[str, re.Pattern[str]]] = MappingProxyType(
    {
        "host": _FILE,
        _PASSWORD_FILE: _FILE,
        "sslmode": re.compile(r"disable|require|verify-ca|verify-full"),
        "sslrootcert": re.compile(rf"system|{_FILE.pattern}"),
        "sslcert": _FILE,
        "sslkey": _FILE,
        "sslcrl": _FILE,
        "sslcrldir": _FILE,
        "sslsni": re.compile(r"[01]"),
        "sslnegotiation": re.compile(r"postgres|direct"),
        "ssl_min_protocol_version": _VERSION,
        "ssl_max_protocol_version": _VERSION,
        "channel_binding": re.compile(r"disable|prefer|require"),
        "connect_timeout": _SECONDS,
        "tcp_user_timeout": re.compile(r"[1-9][0-9]{2,4}"),
        "keepalives_idle": _SECONDS,
        "keepalives_interval": _SECONDS,
        "keepalives_count": _SECONDS,
    }
)
"""What may stand behind the question mark, and how: the folder of a socket, and of libpq's parameters those of TLS and
of time (https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS). ``sslmode=allow`` and
``prefer`` are not among them: whoever sits in between chooses plain text then."""


@dataclass(frozen=True, slots=True)
class SqliteAddress:
    """A file."""

    path: Path

    @property
    def name(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True)
class PostgresAddress:
    """A database of a server. ``options`` are parameters of libpq."""

    host: str
    port: int
    user: str
    database: str
    password: str = field(repr=False)
    password_file: Path | None
    options: Mapping[str, str]

    @property
    def verified(self) -> bool:
        """Whether the server is known by its certificate."""
        return self.options.get("sslmode", "").startswith("verify")

    @property
    def name(self) -> str:
        return f"{self.database} at {self.host}:{self.port}"


def read_address(url: str) -> SqliteAddress | PostgresAddress:
    """The store that ``url`` names.

    Raises:
        ConfigError: it is none of ours.
    """
    scheme, separator, _ = url.partition("://")
    if not separator or not _SCHEME.fullmatch(scheme):
        raise ConfigError(f"audit.database is not a URL; write {EXAMPLES}")
    kind = _SCHEMES.get(scheme)
    if kind is None:
        raise ConfigError(f"audit.database: {scheme!r} is not supported; write {EXAMPLES}")
    return _sqlite(url) if kind == "sqlite" else _postgres(url)


def with_password_file(url: str, path: Path) -> str:
    """The same URL with the file that its password is in.

    Raises:
        ConfigError: it says a password itself, or is a file, which has none.
    """
    address = read_address(url)
    if isinstance(address, SqliteAddress):
        raise ConfigError("audit.database: a SQLite file has no password; leave out passwordFile")
    if address.password or address.password_file:
        raise ConfigError("audit.database: it has a password beside passwordFile; write it in one of the two")
    return f"{url}{'&' if '?' in url else '?'}{_PASSWORD_FILE}={quote(str(path.absolute()))}"


def without_password(url: str) -> str:
    """The same URL, fit to be shown and kept.

    Raises:
        ConfigError: it is no URL of a store.
    """
    address = read_address(url)
    if isinstance(address, SqliteAddress) or not address.password:
        return url
    parts = urlsplit(url)
    user, host = parts.netloc.rpartition("@")[0].partition(":")[0], parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{user}@{host}").geturl()


def _sqlite(url: str) -> SqliteAddress:
    rest = url.partition("://")[2]
    path = unquote(rest[1:])
    if not rest.startswith("/") or "?" in rest or not path or path.startswith((":memory:", "file:")) or "\0" in path:
        raise ConfigError("audit.database must name a file and nothing else: sqlite:////absolute/path/to/audit.db")
    return SqliteAddress(Path(path))


def _postgres(url: str) -> PostgresAddress:
    try:
        parts = urlsplit(url)
        port = parts.port or DEFAULT_PORT
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query), max_num_fields=40)
    except ValueError:
        raise _unreadable() from None
    options = _options(pairs)
    before, _, _ = parts.netloc.rpartition("@")
    user, _, password = before.partition(":")
    host, database = options.pop("host", "") or parts.hostname or "", unquote(parts.path[1:])
    if "host" in dict(pairs) and parts.hostname:
        raise ConfigError("audit.database names two hosts: leave out the one before the path, or host=")
    if parts.fragment or not _is_host(host) or not _NAME.fullmatch(database) or not user or "\0" in unquote(before):
        raise _unreadable()
    password_file = options.pop(_PASSWORD_FILE, "")
    if password and password_file:
        raise ConfigError("audit.database: it has a password beside passwordFile; write it in one of the two")
    _require_tls(host, options)
    return PostgresAddress(
        host=host,
        port=port,
        user=unquote(user),
        database=database,
        password=unquote(password),
        password_file=Path(password_file) if password_file else None,
        options=options,
    )


def _unreadable() -> ConfigError:
    return ConfigError(
        "audit.database: write postgresql://user@host:5432/name; in user and password the characters "
        "/ ? # @ : % are written as %2F %3F %23 %40 %3A %25"
    )


def _options(pairs: list[tuple[str, str]]) -> dict[str, str]:
    options: dict[str, str] = {}
    for key, value in pairs:
        pattern = _QUERY.get(key)
        if pattern is None:
            raise ConfigError(f"audit.database: {clean(key, 40)!r} is not supported; there are {', '.join(_QUERY)}")
        if key in options:
            raise ConfigError(f"audit.database: {key} is there twice")
        if not pattern.fullmatch(value):
            raise ConfigError(f"audit.database: {key} is not what it can be: {_readable(pattern)}")
        options[key] = value
    return options


def _readable(pattern: re.Pattern[str]) -> str:
    known = {_FILE: "an absolute path", _SECONDS: "1 to 60", _VERSION: "TLSv1.2 or TLSv1.3"}
    return known.get(pattern) or pattern.pattern.replace(_FILE.pattern, "an absolute path").replace("|", ", ")


def _is_host(host: str) -> bool:
    if host.startswith("/"):
        return True
    try:
        return bool(ip_address(host))
    except ValueError:
        return _HOST.fullmatch(host) is not None


def _require_tls(host: str, options: Mapping[str, str]) -> None:
    """A server on another machine is spoken to with TLS, and known by its certificate, unless the URL says otherwise.

    Raises:
        ConfigError: it does not say how.
    """
    mode = options.get("sslmode", "")
    if not mode and not _is_this_machine(host):
        raise ConfigError(
            f"audit.database: {clean(host, 80)} is another machine: add "
            "?sslmode=verify-full&sslrootcert=/path/ca.crt (or sslmode=disable where nobody else is on the network)"
        )
    if mode.startswith("verify") and "sslrootcert" not in options:
        raise ConfigError(f"audit.database: sslmode={mode} needs sslrootcert=/path/ca.crt, or sslrootcert=system")


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.startswith("/")
