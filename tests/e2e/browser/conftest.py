"""A real browser, and a gate with a log to look at: the demo, left running."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from e2e.browser.visiting import Site, Visitors
from e2e.support import RunningDemo

CHROMIUM = "chromium"
TOOL = Path(__file__).resolve().parents[2] / "tools" / "browser.py"
START_SECONDS = 180
QUIET = (
    "--disable-gpu",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Where the file system of /dev/shm is small, as in containers.
    "--disable-dev-shm-usage",
)


@pytest.fixture(scope="session")
def chromium() -> Path:
    """Debian's. It is a failure, not a skip, if it is missing."""
    found = shutil.which(CHROMIUM)
    assert found, "chromium is not on PATH: `make e2e` installs it as root on Debian; else: apt-get install chromium"
    return Path(found)


@pytest.fixture(scope="session")
def axe() -> str:
    """The script of axe-core."""
    done = subprocess.run([sys.executable, str(TOOL), "--axe"], capture_output=True, text=True, check=True)
    script = Path(done.stdout.strip())
    assert script.exists(), "axe-core is not in the cache: run the tests through `make e2e`"
    return script.read_text()


@pytest.fixture(scope="module")
def browser(chromium: Path) -> Iterator[Browser]:
    """For one file of tests: Playwright runs an event loop in this thread as long as it is there, and those of other
    files run their own."""
    arguments = [*QUIET, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def site(running_demo: RunningDemo) -> Site:
    """The audit pages of the demo."""
    log = Path(running_demo.lines["log"])
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        for line in log.read_text().splitlines():
            if "serving audit pages" in line:
                return Site(json.loads(line)["address"], running_demo)
        time.sleep(0.05)
    pytest.fail(f"the demo serves no audit pages:\n{log.read_text()[-2000:]}")


@pytest.fixture
def visitors(browser: Browser, site: Site) -> Iterator[Visitors]:
    """Makes windows of the browser; whatever they complained of fails the test."""
    visitors = Visitors(browser, site)
    yield visitors
    visitors.close()
    assert visitors.complaints == []
