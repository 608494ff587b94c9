"""Pages over a real log that is seeded."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from fakes.auditlog import NOON, days, strange
from fakes.clock import StandingClock
from fakes.review import Pages, review_parts
from portcullis.audit.ledger import SqlLedger
from portcullis.audit.sql import SqlRecords
from portcullis.limits import Limits
from portcullis.server.review.app import create_review_app

LIMITS = Limits(append_seconds=30.0)


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an empty log and one that is seeded: making them anew for each test would take long."""
    folder = tmp_path_factory.mktemp("logs")

    async def make() -> None:
        for name in ("empty", "seeded"):
            store = SqlRecords(url=f"sqlite:///{folder}/{name}.db", limits=LIMITS)
            await store.start()
            if name == "seeded":
                await store.append_many([one.record for one in [*days(), *strange()]])
            await store.aclose()

    asyncio.run(make())
    return folder


@asynccontextmanager
async def opened(template: Path, folder: Path) -> AsyncIterator[Pages]:
    store = SqlRecords(url=f"sqlite:///{shutil.copy(template, folder / 'audit.db')}", limits=LIMITS)
    await store.start()
    clock = StandingClock((NOON + timedelta(minutes=1)).timestamp())
    ledger = SqlLedger(records=store, limits=LIMITS)
    try:
        yield Pages(create_review_app(review_parts(ledger, clock=clock, limits=LIMITS)), store)
    finally:
        await store.aclose()


@pytest.fixture
async def empty(templates: Path, tmp_path: Path) -> AsyncIterator[Pages]:
    async with opened(templates / "empty.db", tmp_path) as pages:
        yield pages


@pytest.fixture
async def pages(templates: Path, tmp_path: Path) -> AsyncIterator[Pages]:
    async with opened(templates / "seeded.db", tmp_path) as pages:
        yield pages
