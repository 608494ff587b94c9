"""The pages of policies in a browser: Chromium, headless.

It is installed where that is possible; elsewhere these tests are skipped.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from e2e.support import portcullis

ROOT = Path(__file__).resolve().parents[2]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
HOSTILE = """# METADATA
# title: <script>document.title = "broken"</script>
# custom: {severity: low, mode: warn}
package portcullis.policies.hostile

# </code></pre><script>document.title = "broken"</script>
deny contains "no" if input.request.name == "x"
"""
README = """# hostile

<script>document.title = "broken"</script> ![a](http://beacon.example/a.png) <img src="http://beacon.example/b.png">

## Parameters

| parameter | default | meaning |
|:--|--:|:-:|
| `a` | `1` | <b onclick="x">bold</b> |
"""
CONTROL = """<!doctype html><meta http-equiv="Content-Security-Policy" content="style-src 'none'">
<title>control</title><p style="color: red">x</p><img src="http://beacon.example/c.png">
"""
"""A page that does what ours must not, and so shows that it would be seen."""


@dataclass(frozen=True, slots=True)
class Shown:
    """``dom`` as it is after loading; ``console`` what the browser complains of; ``hosts`` which of those that the page
    names were asked for anything. The browser asks others, for itself."""

    dom: str
    console: list[str]
    hosts: set[str]


@pytest.fixture(scope="module")
def browser() -> str:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        quietly = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for arguments in (("update",), ("install", "--yes", "--no-install-recommends", "chromium")):
            subprocess.run(["apt-get", "--quiet=2", *arguments], env=quietly, capture_output=True, timeout=280)
        found = shutil.which("chromium")
    if found is None:
        pytest.skip("there is no Chromium, and it cannot be installed here")
    return found


@pytest.fixture
def show(browser: str, tmp_path: Path) -> Callable[[Path], Shown]:
    def shown(page: Path) -> Shown:
        log = tmp_path / "net.json"
        done = subprocess.run(
            [
                *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
                *("--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr", f"--log-net-log={log}"),
                *(f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()),
            ],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        events = json.loads(log.read_text())["events"]
        addresses = [event["params"].get("url", "") for event in events if isinstance(event.get("params"), dict)]
        hosts = {urlsplit(address).hostname or "" for address in addresses if address.startswith("http")}
        console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
        return Shown(done.stdout, console, {host for host in hosts if host in page.read_text()})

    return shown


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pages of the built-in policies, and of one that would like to be more than text."""
    folder = tmp_path_factory.mktemp("pages")
    hostile = folder / "mine" / "hostile"
    hostile.mkdir(parents=True)
    (hostile / "policy.rego").write_text(HOSTILE)
    (hostile / "README.md").write_text(README)
    done = portcullis("pages", str(ROOT / "policies"), str(folder / "mine"), "--output", str(folder / "site"))
    assert done.returncode == 0, done.stderr
    return folder / "site"


def test_the_browser_would_tell(show: Callable[[Path], Shown], tmp_path: Path) -> None:
    (tmp_path / "control.html").write_text(CONTROL)
    shown = show(tmp_path / "control.html")
    assert shown.hosts == {"beacon.example"}
    assert any("Content Security Policy" in line for line in shown.console)


@pytest.mark.parametrize(
    ("page", "title", "parts"),
    [
        (
            "index.html",
            "Policies",
            ('href="policies/image-user.html"', '<tr id="scan-severity">', "Images hold no shell"),
        ),
        (
            "policies/scan-severity.html",
            "scan-severity: Scans found no more than is allowed",
            ('id="parameters"', 'href="scan-fresh.html"', 'id="L1-1"', "modes: {scan-severity: warn}"),
        ),
        (
            "policies/hostile.html",
            'hostile: <script>document.title = "broken"</script>',
            ("&lt;script&gt;document.title", "&lt;img src=", "&lt;/pre&gt;", "&lt;b onclick="),
        ),
    ],
)
def test_a_page_in_the_browser(
    show: Callable[[Path], Shown], site: Path, page: str, title: str, parts: tuple[str, ...]
) -> None:
    shown = show(site / page)
    assert shown.console == []
    assert shown.hosts == set()
    (found,) = re.findall(r"<title>(.*?)</title>", shown.dom)
    assert found.replace("&lt;", "<").replace("&gt;", ">") == title
    for part in parts:
        assert part in shown.dom
    assert not re.search(r"<(script|img|iframe|object|link|form)\b", shown.dom)


def test_all_links_between_the_pages_lead_somewhere(site: Path) -> None:
    pages = {path: path.read_text() for path in site.rglob("*.html")}
    assert len(pages) > 20
    seen = 0
    for path, html in pages.items():
        for link in re.findall(r'href="([^"#:]*)(?:#([^"]*))?"', html):
            target = (path.parent / link[0]).resolve() if link[0] else path
            assert target.is_file(), f"{path.name}: {link[0]}"
            if link[1] and target.suffix == ".html":
                assert f'id="{link[1]}"' in pages[target], f"{path.name}: {'#'.join(link)}"
                seen += 1
    assert seen > 100
