"""The pages of what runs in a browser, over a store that was filled: the demo has no cluster."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, expect

from e2e.browser.visiting import NARROW, WIDE, Scheme, Visitors, faults_of_access, overflow, photograph
from fakes.auditlog import HOSTILE, NOON, days
from fakes.clock import StandingClock
from fakes.review import guarded, review_parts
from fakes.running import a_moved_tag, a_result, a_round, a_whole_round
from portcullis.audit.findings import SqlFindings
from portcullis.audit.ledger import SqlLedger
from portcullis.audit.sql import SqlRecords
from portcullis.limits import Limits
from portcullis.model.grant import Grant
from portcullis.model.running import Condition, Rejudged
from portcullis.server.review.app import create_review_app

pytestmark = pytest.mark.timeout(300)

LIMITS = Limits(append_seconds=30.0, store_seconds=30.0, read_seconds=20.0)
MANY = 5000
START_SECONDS = 60
GRANT = Grant(
    namespace="shop",
    name="payments-down",
    uid="uid-1",
    policies=("image-user", "scan-required"),
    images=("registry.acme.dev/shop/payments:*",),
    digests=("sha256:" + "ef" * 32,),
    covers_problems=True,
    reason="Payments are down since 11:10, the image with the fix was built by hand; INC-4711.",
    created=NOON - timedelta(minutes=102),
    expires=NOON + timedelta(hours=3),
)


class Filled:
    """Where the pages are."""

    def __init__(self, address: str) -> None:
        self.address = address


def results() -> Iterator[Rejudged]:
    """One of each kind, one that means harm, and thousands that fail."""
    yield a_result("cart", Condition.FAILING, policies=["image-user"], moved=[a_moved_tag()])
    yield a_result("orders", Condition.FAILING, policies=["scan-severity"], break_glass="break-glass:shop/gone")
    yield a_result("search", Condition.UNKNOWN, policies=["image-user"])
    yield a_result("payments", Condition.BREAK_GLASS, policies=["image-user"], break_glass=GRANT.id)
    yield a_result("invoices", Condition.EXCEPTED, policies=["image-shell"])
    yield a_result("mail", Condition.WARNED, policies=["image-pinned"])
    yield replace(a_result("mail"), key="another version")
    yield a_result(HOSTILE, Condition.FAILING, kind=HOSTILE, policies=[HOSTILE], images=[(HOSTILE, HOSTILE)])
    for number in range(MANY):
        place, image = f"team-{number % 37:02}", (f"registry.acme.dev/a:{number}", f"sha256:{number % 300:064}")
        condition = Condition.FAILING if number % 10 == 0 else Condition.GOOD
        policies = ["image-user"] if condition is Condition.FAILING else []
        yield a_result(f"service-{number:04}", condition, namespace=place, policies=policies, images=[image])


@contextmanager
def served(folder: Path, *, full: bool) -> Iterator[Filled]:
    """The pages over a store in that folder, in a thread with an event loop of its own."""
    listening = socket.create_server(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{listening.getsockname()[1]}"

    async def serve(server: uvicorn.Server) -> None:
        records = SqlRecords(url=f"sqlite:///{folder}/audit.db", limits=LIMITS)
        await records.start()
        findings = SqlFindings(records=records, limits=LIMITS)
        if full:
            await records.append_many([one.record for one in days()])
            await a_whole_round(findings, list(results()), started_at=NOON - timedelta(minutes=25))
            await findings.begin(a_round("next", started_at=NOON - timedelta(minutes=2)))
        parts = review_parts(
            SqlLedger(records=records, limits=LIMITS),
            findings=findings,
            clock=StandingClock(NOON.timestamp()),
            grants=(lambda: [GRANT]) if full else tuple,
            round_every=timedelta(hours=1),
            limits=LIMITS,
        )
        server.config.app = guarded(create_review_app(parts))
        await server.serve(sockets=[listening])
        await records.aclose()

    server = uvicorn.Server(uvicorn.Config("", lifespan="off", log_level="warning"))
    thread = threading.Thread(target=lambda: asyncio.run(serve(server)), daemon=True)
    thread.start()
    until = time.monotonic() + START_SECONDS
    while not server.started and thread.is_alive() and time.monotonic() < until:
        time.sleep(0.05)
    assert server.started
    yield Filled(address)
    server.should_exit = True
    thread.join(START_SECONDS)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    with served(tmp_path_factory.mktemp("full"), full=True) as filled:
        yield filled


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    with served(tmp_path_factory.mktemp("empty"), full=False) as filled:
        yield filled


PAGES = {
    "running": "/running",
    "running-second": "",
    "running-filtered": "/running?condition=failing&only=moved",
    "running-none": "/running?name=nobody",
    "workload-failing": "/running/shop/Deployment/cart",
    "workload-break-glass": "/running/shop/Deployment/payments",
    "workload-unknown": "/running/shop/Deployment/search",
    "workload-versions": "/running/shop/Deployment/mail",
    "overview-break-glass": "/",
}


def seen(page: Page, name: str, axe: str, scheme: Scheme, width: int) -> list[str]:
    photograph(page, f"{name}-{scheme}-{width}")
    return [
        f"{name}: {fault}" for fault in (*faults_of_access(page, axe), *(f"too wide: {one}" for one in overflow(page)))
    ]


@pytest.mark.parametrize(("scheme", "width"), [("light", WIDE), ("dark", NARROW)])
def test_every_page_of_what_runs(
    browser: Browser, full: Filled, empty: Filled, axe: str, scheme: Scheme, width: int
) -> None:
    faults: list[str] = []
    for site, pages in ((full, PAGES), (empty, {"running-empty": "/running", "overview-empty": "/"})):
        visitors = Visitors(browser, site)  # type: ignore[arg-type]
        page = visitors.window(width=width, scheme=scheme)
        for name, address in pages.items():
            if address:
                page.goto(address)
            else:
                page.get_by_role("link", name="Next page").click()
            faults += seen(page, name, axe, scheme, width)
        visitors.close()
        faults += visitors.complaints
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("scripts", [True, False], ids=["with JavaScript", "without JavaScript"])
def test_from_the_overview_to_what_break_glass_let_in_and_to_what_fails(
    browser: Browser, full: Filled, scripts: bool
) -> None:
    visitors = Visitors(browser, full)  # type: ignore[arg-type]
    page = visitors.window(scripts=scripts)
    page.goto("/")
    glass = page.get_by_role("region", name="1 grant in force")
    expect(glass).to_contain_text("INC-4711")
    first = page.locator("main section").first
    expect(first).to_contain_text("1 grant in force")
    glass.get_by_role("link", name="Deployment shop/payments").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Deployment shop/payments")
    expect(page.get_by_text("reported until the workload is gone")).to_be_visible()

    page.get_by_role("navigation", name="Areas").get_by_role("link", name="Running").click()
    page.get_by_role("navigation", name="By how it stands").get_by_role("link", name="Failing").click()
    expect(page).to_have_url(f"{full.address}/running?condition=failing")
    expect(page.get_by_text("503 workloads, the worst first; 50 on this page")).to_be_visible()
    page.get_by_label("Namespace").fill("team-10")
    page.get_by_role("button", name="Search").click()
    expect(page).to_have_url(f"{full.address}/running?condition=failing&namespace=team-10")
    expect(page.get_by_role("row").filter(has=page.get_by_role("rowheader"))).to_have_count(14)
    assert page.locator("img, script:not([src^='/static/'])").count() == 0
    visitors.close()
    assert visitors.complaints == []
