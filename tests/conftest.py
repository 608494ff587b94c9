"""Fixtures that every test may use."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from fakes.postgres import PostgresServer

# How long a thing takes is for the bench: a busy machine must not fail a test.
settings.register_profile("portcullis", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("portcullis")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The server runs on asyncio only, and so do the tests."""
    return "asyncio"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of sample data beside a developer's checkout; the test is skipped where there is none."""
    chosen = os.environ.get("PORTCULLIS_SAMPLE_DATA")
    folder = Path(chosen) if chosen else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the sample data is not beside this checkout")
    return folder


@pytest.fixture(scope="session")
def opa_binary() -> Path:
    """The pinned OPA. It is a failure, not a skip, if it is missing: `make tools` installs it."""
    found = shutil.which("opa")
    assert found, "opa is not on PATH: run the tests through `make test`, or run `make tools` and add its folders"
    return Path(found)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A real PostgreSQL server, for all tests of this process."""
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> Iterator[str]:
    """An empty database with our tables, as ``audit.database`` names it; whoever changes tables takes
    ``postgres.database()``."""
    with postgres.emptied() as name:
        yield postgres.url(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def audit_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty audit store of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/audit.db"
    url: str = request.getfixturevalue("postgres_url")
    return url
