"""Windows of a browser at the audit pages, which note all that a browser complains of."""

import json
import ssl
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import yaml
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request

from e2e.support import RunningDemo
from fakes.reviews import pod, review

SCREENSHOTS = Path(__file__).resolve().parents[3] / "build" / "screenshots"
Scheme = Literal["light", "dark"]
NARROW, WIDE = 360, 1600

AXE_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@dataclass(frozen=True, slots=True)
class Site:
    """Where the pages are, and the demo behind them."""

    address: str
    demo: RunningDemo

    def api(self, path: str) -> Any:
        """What the JSON API says, asked without the browser."""
        with urllib.request.urlopen(f"{self.address}/api/v1{path}", timeout=120) as answer:
            return json.loads(answer.read())

    def decide(self, image: str, uid: str, name: str) -> Mapping[str, Any]:
        """Has the gate decide on a new pod, as the API server would; the response."""
        judged = pod(image)
        judged["metadata"]["name"] = name
        body = json.dumps(review(judged, uid=uid, name=name)).encode()
        settings = yaml.safe_load(self.demo.config.read_text())["server"]
        url = f"https://localhost:{settings['port']}/{settings['pathSegment']}/validate?timeout=10s"
        context = ssl.create_default_context(cafile=str(self.demo.config.parent / "tls" / "ca.crt"))
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30, context=context) as answer:
            response: Mapping[str, Any] = json.loads(answer.read())["response"]
        return response


@dataclass
class Visitors:
    """``complaints`` are errors and warnings of the console (violations of the Content-Security-Policy among them),
    of scripts, failed requests, and requests to others than the site."""

    browser: Browser
    site: Site
    complaints: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)
    """Parts of complaints that a test has caused on purpose."""
    contexts: list[BrowserContext] = field(default_factory=list)

    def window(self, *, width: int = 1280, scheme: Scheme = "light", scripts: bool = True, height: int = 900) -> Page:
        context = self.browser.new_context(
            base_url=self.site.address,
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            java_script_enabled=scripts,
            locale="en-GB",
            timezone_id="UTC",
            accept_downloads=True,
            reduced_motion="no-preference",
        )
        context.set_default_timeout(30_000)
        self.contexts.append(context)
        page = context.new_page()
        page.on("console", self._said)
        page.on("pageerror", lambda error: self._complain(f"script: {error}"))
        page.on("request", self._asked)
        page.on("requestfailed", self._failed)
        return page

    def close(self) -> None:
        for context in self.contexts:
            context.close()

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self._complain(f"{message.type}: {message.text}")

    def _asked(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if f"{parts.scheme}://{parts.netloc}" != self.site.address and parts.scheme != "data":
            self._complain(f"request to another origin: {request.url}")

    def _failed(self, request: Request) -> None:
        # A download is a navigation that ends in a file, and what a page was loading when it was left is given up.
        if request.failure != "net::ERR_ABORTED":
            self._complain(f"failed: {request.url}: {request.failure}")

    def _complain(self, text: str) -> None:
        if not any(part in text for part in self.expected):
            self.complaints.append(text)


def faults_of_access(page: Page, axe: str) -> list[str]:
    """What axe-core finds, one line for each rule and place."""
    page.evaluate(axe)
    found = page.evaluate("tags => axe.run(document, {runOnly: tags, resultTypes: ['violations']})", AXE_TAGS)
    return [
        f"{rule['id']} ({rule['impact']}): {node['target']} {node['failureSummary']}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]


def overflow(page: Page) -> list[str]:
    """What makes the page wider than its window; nothing is the only right answer."""
    return page.evaluate(  # type: ignore[no-any-return]
        """() => document.documentElement.scrollWidth <= document.documentElement.clientWidth ? [] :
        [...document.querySelectorAll('body *')]
            .filter(one => one.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
            .slice(0, 10).map(one => one.outerHTML.slice(0, 120))"""
    )


def photograph(page: Page, name: str) -> None:
    """The whole page, for people to look at."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)
