"""The pages beside the webhook: what goes wrong with them is shown, and touches nothing else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from fakes.clock import StandingClock
from fakes.records import InMemoryBundles
from fakes.running import NoFindings
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.ruling import CompiledBundle
from portcullis.server.health import examine
from portcullis.server.lifecycle import bound
from portcullis.server.live.watching import Watching
from portcullis.server.pagesections import PagesSection
from portcullis.server.review.serving import Pages
from portcullis.server.settings import Settings
from portcullis.standing import Standing

pytestmark = pytest.mark.anyio


def parts(section: PagesSection) -> Any:
    """As much of the composed parts as the pages take before a request."""
    settings = Settings()
    audit = settings.audit.model_copy(update={"pages": section})
    return SimpleNamespace(
        settings=settings.model_copy(update={"audit": audit}),
        limits=DEFAULT_LIMITS,
        clock=StandingClock(),
        watched=Watching(),
        ledger=object(),
        findings=NoFindings(),
        bundles=InMemoryBundles(),
        engine=None,
        current=lambda: Standing(CompiledBundle("sha256:none", ())),
    )


@asynccontextmanager
async def serving(section: PagesSection) -> AsyncIterator[Pages]:
    pages = Pages(section)
    task = asyncio.create_task(pages.serve(parts(section), pages.checks(), SimpleNamespace()))  # type: ignore[arg-type]
    try:
        for _ in range(500):
            if task.done() or pages.address:
                break
            await asyncio.sleep(0.01)
        yield pages
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def ask(address: str, path: str) -> bytes:
    host, _, port = address.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET {path} HTTP/1.1\r\nhost: {host}:{port}\r\nconnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_they_are_served_on_a_port_of_their_own_and_the_check_names_it() -> None:
    with capture_logs() as logs:
        async with serving(PagesSection(port=0)) as pages:
            answer = await ask(pages.address, "/nothing")
            assert answer.startswith(b"HTTP/1.1 404")
            assert b"There is nothing here" in answer
            assert b"content-security-policy: default-src 'none'" in answer
            report = await examine(pages.checks())
            assert report.lines == (f"[+]pages ok: {pages.address}",)
    assert [entry["event"] for entry in logs] == ["serving audit pages"]


async def test_a_port_that_is_taken_is_shown_and_is_no_reason_to_stop() -> None:
    with bound("127.0.0.1", 0) as taken, capture_logs() as logs:
        taken.listen()
        port = taken.getsockname()[1]
        async with serving(PagesSection(port=port)) as pages:
            report = await examine(pages.checks())
            assert report.ready
            (line,) = report.lines
            assert line.startswith(f"[!]pages degraded: 127.0.0.1, port {port}, cannot be listened on")
    assert [entry["event"] for entry in logs] == ["the audit pages are not served"]


async def test_where_they_are_not_wanted_nothing_listens_and_nothing_is_checked() -> None:
    async with serving(PagesSection(enabled=False)) as pages:
        assert pages.checks() == ()
        assert pages.address == ""
