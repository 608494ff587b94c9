"""audit.database: what it can say, and that no error repeats it."""

from pathlib import Path

import pytest

from portcullis.audit.databaseurl import (
    PostgresAddress,
    SqliteAddress,
    read_address,
    with_password_file,
    without_password,
)
from portcullis.errors import ConfigError

CA = "sslmode=verify-full&sslrootcert=/etc/ca.crt"


def postgres(**changed: object) -> PostgresAddress:
    given: dict[str, object] = {
        "host": "127.0.0.1",
        "port": 5432,
        "user": "gate",
        "database": "audit",
        "password": "",
        "password_file": None,
        "options": {},
    }
    return PostgresAddress(**(given | changed))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite:////var/lib/audit.db", SqliteAddress(Path("/var/lib/audit.db"))),
        ("sqlite+pysqlite:////a", SqliteAddress(Path("/a"))),
        ("sqlite:///audit.db", SqliteAddress(Path("audit.db"))),
        ("sqlite:////a%20%23%3Fb/c.db", SqliteAddress(Path("/a #?b/c.db"))),
        ("postgresql://gate@127.0.0.1/audit", postgres()),
        ("postgresql+psycopg://gate@127.0.0.1:5432/audit", postgres()),
        ("postgresql://gate:a%2Fb%40c%25:d@localhost:6/a-b_c.1", postgres(
            host="localhost", port=6, password="a/b@c%:d", database="a-b_c.1",
        )),
        ("postgresql://gate%40tenant@[::1]/audit", postgres(user="gate@tenant", host="::1")),
        ("postgresql://gate@/audit?host=/run/postgresql", postgres(host="/run/postgresql")),
        ("postgresql://gate@127.0.0.1/audit?passwordFile=/etc/a%20b", postgres(password_file=Path("/etc/a b"))),
        (f"postgresql://gate@db.example/audit?{CA}", postgres(
            host="db.example", options={"sslmode": "verify-full", "sslrootcert": "/etc/ca.crt"},
        )),
        ("postgresql://gate@10.0.0.1/audit?sslmode=disable", postgres(host="10.0.0.1", options={"sslmode": "disable"})),
        ("postgresql://gate@127.0.0.1/audit?connect_timeout=60&tcp_user_timeout=1000", postgres(
            options={"connect_timeout": "60", "tcp_user_timeout": "1000"},
        )),
    ],
)  # fmt: skip
def test_what_it_names(url: str, expected: SqliteAddress | PostgresAddress) -> None:
    assert read_address(url) == expected


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("", "not a URL"),
        ("/var/lib/hunter2.db", "not a URL"),
        ("hunter2:/x", "not a URL"),
        ("gate:hunter2@db://audit", "not a URL"),
        ("mysql://gate:hunter2@db/audit", "'mysql' is not supported"),
        ("sqlite://", "must name a file"),
        ("sqlite:///", "must name a file"),
        ("sqlite:///:memory:", "must name a file"),
        ("sqlite:///file:hunter2?mode=memory&uri=true", "must name a file"),
        ("sqlite:////var/lib/hunter2.db?mode=ro", "must name a file"),
        ("sqlite://hunter2/audit.db", "must name a file"),
        ("sqlite:////a%00b", "must name a file"),
        ("postgresql://gate:hunter2@db.example/audit", "db.example is another machine: add ?sslmode=verify-full"),
        ("postgresql://gate:hunter2@db/audit?sslmode=verify-full", "sslmode=verify-full needs sslrootcert"),
        ("postgresql://gate:hunter2@db/audit?sslmode=verify-ca", "sslmode=verify-ca needs sslrootcert"),
        ("postgresql://gate:hunter2@db/audit?sslmode=prefer", "sslmode is not what it can be: disable, require"),
        ("postgresql://gate:hunter2@db/audit?sslmode=", "sslmode is not what it can be"),
        ("postgresql://gate@db/audit?sslrootcert=ca.crt", "sslrootcert is not what it can be: system, an absolute"),
        ("postgresql://gate@127.0.0.1/audit?options=-chunter2", "'options' is not supported; there are host"),
        ("postgresql://gate@127.0.0.1/audit?password=hunter2", "'password' is not supported"),
        ("postgresql://gate@127.0.0.1/audit?passfile=/hunter2", "'passfile' is not supported"),
        ("postgresql://gate@127.0.0.1/audit?service=hunter2", "'service' is not supported"),
        ("postgresql://gate@127.0.0.1/audit?connect_timeout=0", "connect_timeout is not what it can be: 1 to 60"),
        ("postgresql://gate@127.0.0.1/audit?connect_timeout=61", "connect_timeout is not what it can be: 1 to 60"),
        ("postgresql://gate@127.0.0.1/audit?sslsni=1&sslsni=0", "sslsni is there twice"),
        ("postgresql://gate@127.0.0.1/audit?hunter2", "write postgresql://"),
        ("postgresql://gate@127.0.0.1/audit?host=/run", "two hosts"),
        ("postgresql://gate@/audit?host=run", "host is not what it can be: an absolute path"),
        ("postgresql://gate:hunter2@127.0.0.1/audit?passwordFile=/x", "a password beside passwordFile"),
        ("postgresql://gate:hunter2@127.0.0.1/", "write postgresql://"),
        ("postgresql://gate:hunter2@/audit", "write postgresql://"),
        ("postgresql://127.0.0.1/audit", "write postgresql://"),
        ("postgresql://gate:hunter2@127.0.0.1:70000/audit", "write postgresql://"),
        ("postgresql://gate:hunter2@127.0.0.1:x/audit", "write postgresql://"),
        ("postgresql://gate:hunter2@[::1/audit", "write postgresql://"),
        ("postgresql://gate:hunter2@a,b/audit?sslmode=disable", "write postgresql://"),
        ("postgresql://gate:a/hunter2@127.0.0.1/audit", "%2F"),
        ("postgresql://gate:1/hunter2@127.0.0.1/audit", "%2F"),
        ("postgresql://gate:a#hunter2@127.0.0.1/audit", "%23"),
        ("postgresql://gate:a?hunter2@127.0.0.1/audit", "%3F"),
        ("postgresql://gate:hunter2%00@127.0.0.1/audit", "write postgresql://"),
        ("postgresql://gate:hunter2@127.0.0.1/audit#hunter2", "write postgresql://"),
        ("postgresql://gate:hunter2@127.0.0.1/au dit", "write postgresql://"),
        ("postgresql://gate:hunter2@127.0.0.1/" + "a" * 64, "write postgresql://"),
    ],
)  # fmt: skip
def test_anything_else_is_refused_without_repeating_it(url: str, told: str) -> None:
    with pytest.raises(ConfigError, match=r"^audit\.database") as raised:
        read_address(url)
    assert told in raised.value.message
    assert "hunter2" not in raised.value.message


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "[::1]", "localhost", "/run"])
def test_this_machine_needs_no_tls(host: str) -> None:
    url = f"postgresql://gate@/audit?host={host}" if host.startswith("/") else f"postgresql://gate@{host}/audit"
    assert isinstance(read_address(url), PostgresAddress)


@pytest.mark.parametrize("host", ["10.0.0.1", "db", "localhost.example", "[2001:db8::1]", "0.0.0.0"])
def test_another_machine_does(host: str) -> None:
    with pytest.raises(ConfigError, match="is another machine"):
        read_address(f"postgresql://gate@{host}/audit")


def test_a_password_is_in_no_name_and_no_representation() -> None:
    address = read_address("postgresql://gate:hunter2@127.0.0.1/audit")
    assert isinstance(address, PostgresAddress)
    assert address.password == "hunter2"
    assert address.name == "audit at 127.0.0.1:5432"
    assert "hunter2" not in repr(address)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://gate:hunter2@[::1]:6/audit?sslsni=1", "postgresql://gate@[::1]:6/audit?sslsni=1"),
        ("postgresql://gate%40x:a%40b@localhost/audit", "postgresql://gate%40x@localhost/audit"),
        ("postgresql://gate@localhost/audit", "postgresql://gate@localhost/audit"),
        ("sqlite:////a:b@c", "sqlite:////a:b@c"),
    ],
)
def test_what_is_shown_has_no_password(url: str, expected: str) -> None:
    assert without_password(url) == expected


@pytest.mark.parametrize("query", ["", "?sslsni=1"])
def test_a_password_file_is_added(query: str) -> None:
    url = with_password_file(f"postgresql://gate@127.0.0.1/audit{query}", Path("/etc/a &b#?"))
    address = read_address(url)
    assert isinstance(address, PostgresAddress)
    assert address.password_file == Path("/etc/a &b#?")


@pytest.mark.parametrize(
    "url", ["sqlite:////a", "postgresql://gate:x@127.0.0.1/a", "postgresql://a@/b?host=/c&passwordFile=/d"]
)
def test_a_password_file_beside_another_password(url: str) -> None:
    with pytest.raises(ConfigError, match="password"):
        with_password_file(url, Path("/etc/password"))
