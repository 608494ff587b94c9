"""What the suites of the audit store share."""

from collections.abc import AsyncIterator

import pytest

from portcullis.audit.sql import SqlRecords
from portcullis.limits import Limits


@pytest.fixture
async def records(audit_url: str, limits: Limits) -> AsyncIterator[SqlRecords]:
    """A store of each kind, within the limits of the suite."""
    store = SqlRecords(url=audit_url, limits=limits)
    await store.start()
    yield store
    await store.aclose()
