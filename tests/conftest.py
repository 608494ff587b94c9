"""Fixtures that every test may use."""

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

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
