"""What people do at the audit pages, with the mouse, the keyboard alone, and without JavaScript."""

import csv
import io
import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from e2e.browser.visiting import Site, Visitors

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("opa_binary")]

USER = "dana@example.test"
IMAGE = "acme/legacy:2.1.0"
POLICY = "image-user"
expect.set_options(timeout=30_000)
scripts = pytest.mark.parametrize("scripts", [True, False], ids=["with JavaScript", "without JavaScript"])


def refused(site: Site) -> Mapping[str, Any]:
    """The newest Deployment with the image that was refused, as the JSON API has it."""
    image = quote(f"{site.demo.registry}/{IMAGE}", safe="")
    found = site.api(f"/decisions?image={image}&username={quote(USER)}&kind=Deployment&verdict=refused")["items"]
    assert found
    return dict(found[0])


def look_for(page: Page, site: Site) -> None:
    """A refused deployment by its image and who asked for it, from the first page on."""
    page.goto("/")
    page.get_by_role("navigation", name="Areas").get_by_role("link", name="Decisions").click()
    page.get_by_label("Verdict").select_option("refused")
    page.get_by_text("More filters").click()
    page.get_by_label("Image").fill(f"{site.demo.registry}/{IMAGE}")
    page.get_by_label("User").fill(USER)
    page.get_by_label("Kind").fill("Deployment")
    page.get_by_role("button", name="Search").click()


@scripts
def test_from_a_refused_deployment_to_its_image_and_policy(site: Site, visitors: Visitors, scripts: bool) -> None:
    wanted = refused(site)
    page = visitors.window(scripts=scripts)
    look_for(page, site)
    rows = page.get_by_role("table").get_by_role("row").filter(has=page.get_by_role("rowheader"))
    expect(page.locator("tr.refused")).to_have_count(len(set(ids_of(page))))
    assert wanted["id"] in ids_of(page)
    expect(rows.first).to_be_visible()

    page.locator(f'a[href="/decisions/{wanted["id"]}"]').click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(wanted["name"])
    expect(page.get_by_text("Asked by").locator("xpath=..")).to_contain_text(USER)
    violation = next(one for one in wanted["violations"] if one["policy"] == POLICY)
    why = page.locator("article.refuses").filter(has_text=POLICY).first
    expect(why).to_contain_text(violation["msg"])
    expect(why).to_contain_text(violation["fix"], ignore_case=True)
    decision = page.url

    why.get_by_role("link", name=POLICY).first.click()
    expect(page).to_have_url(f"{site.address}/policies/{POLICY}")
    expect(page.locator("pre.rego").first).to_contain_text("package portcullis.policies.image_user")

    page.goto(decision)
    digest = next(one["digest"] for one in wanted["images"] if IMAGE in one["written"])
    page.locator(f'.image-card a[href="/images/{quote(digest)}"]').first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(IMAGE)
    expect(page.get_by_text(digest).first).to_be_visible()
    expect(page.locator(f'a[href="/decisions/{wanted["id"]}"]').first).to_be_attached()


def ids_of(page: Page) -> list[str]:
    links = page.locator('table.decisions a[href^="/decisions/"]').all()
    return [(link.get_attribute("href") or "").rpartition("/")[2] for link in links]


def downloaded(page: Page, name: str) -> str:
    with page.expect_download() as download:
        page.get_by_role("link", name=name).click()
    path = download.value.path()
    assert download.value.suggested_filename.startswith("portcullis-decisions-")
    return Path(path).read_text(encoding="utf-8")


@scripts
def test_what_is_exported_is_what_is_shown(site: Site, visitors: Visitors, scripts: bool) -> None:
    page = visitors.window(scripts=scripts)
    page.goto(f"/decisions?verdict=refused&user={quote(USER)}")
    shown = ids_of(page)
    assert len(shown) > 3
    api = site.api(f"/decisions?verdict=refused&username={quote(USER)}&limit=100")["items"]
    assert [one["id"] for one in api] == shown

    table = list(csv.DictReader(io.StringIO(downloaded(page, "CSV"))))
    assert [row["decision_id"] for row in table] == shown
    lines = [json.loads(line) for line in downloaded(page, "JSON lines").splitlines()]
    assert [line["decision_id"] for line in lines] == shown
    for line, row, said in zip(lines, table, api, strict=True):
        assert (line["result"]["verdict"], line["result"]["message"]) == (said["verdict"], said["message"])
        assert (row["verdict"], row["message"], row["name"]) == (said["verdict"], said["message"], said["name"])
        assert line["requested_by"] == row["username"] == said["user"]["username"]
        exported = [(one["policy"], one["msg"]) for one in line["result"]["violations"]]
        assert exported == [(one["policy"], one["msg"]) for one in said["violations"]]


@scripts
def test_judging_again_says_the_same_and_records_nothing(site: Site, visitors: Visitors, scripts: bool) -> None:
    wanted = refused(site)
    before = site.api("/decisions?limit=1")["items"][0]["id"]
    page = visitors.window(scripts=scripts)
    page.goto(f"/decisions/{wanted['id']}")
    page.get_by_role("button", name="Judge again now").click()
    result = page.locator(".again")
    expect(result).to_contain_text("It would be the same decision")
    expect(page).to_have_url(f"{site.address}/decisions/{wanted['id']}{'' if scripts else '/again'}")
    assert site.api("/decisions?limit=1")["items"][0]["id"] == before


def test_a_new_decision_is_announced_and_shown(site: Site, visitors: Visitors) -> None:
    page = visitors.window()
    page.goto("/decisions")
    status = page.get_by_role("status")
    expect(status).not_to_contain_text("newer")
    name = f"live-{uuid.uuid4().hex[:8]}"
    response = site.decide(f"{site.demo.registry}/{IMAGE}", str(uuid.uuid4()), name)
    assert response["allowed"] is False
    expect(status).to_contain_text("1 newer decision")
    status.get_by_role("link").click()
    expect(page.locator("table.decisions").get_by_role("link", name=name)).to_be_visible()

    page.get_by_label("Look for newer ones").uncheck()
    site.decide(f"{site.demo.registry}/{IMAGE}", str(uuid.uuid4()), f"{name}-more")
    page.wait_for_timeout(11_000)
    expect(page.get_by_role("status")).not_to_contain_text("newer")


def test_by_keyboard_alone(site: Site, visitors: Visitors) -> None:
    """Tab reaches the text, the filters, the export, each decision; what has the focus can be seen."""
    wanted = refused(site)
    page = visitors.window()
    page.goto("/decisions")
    page.keyboard.press("Tab")
    assert focused(page) == "Skip to the text"
    page.keyboard.press("Enter")
    walk(page, "Words in the message")
    page.keyboard.type("root")
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{site.address}/decisions?text=root")

    walk(page, "More filters")
    page.keyboard.press("Enter")
    walk(page, "User")
    page.keyboard.type(USER)
    walk(page, "Search", backwards=True)
    page.keyboard.press("Enter")
    expect(page.get_by_text("Filters that are set")).to_be_attached()

    walk(page, "CSV")
    walk(page, "JSON lines")
    page.goto(f"/decisions?name={wanted['name']}&verdict=refused")
    walk(page, wanted["name"])
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text(wanted["name"])
    walk(page, "Judge again now")
    page.keyboard.press("Enter")
    expect(page.locator(".again")).to_contain_text("It would be the same decision")


def focused(page: Page) -> str:
    """What a reader hears of the element that has the focus: its label or its text."""
    return page.evaluate(  # type: ignore[no-any-return]
        """() => { const one = document.activeElement;
        return ((one.labels && one.labels[0]) || one).innerText.trim().replace(/\\s+/g, ' ') }"""
    )


SEEN = """() => { const style = getComputedStyle(document.activeElement);
    return style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 1.5 }"""


def walk(page: Page, name: str, *, backwards: bool = False) -> None:
    """Presses Tab until the element of that name has the focus; each on the way shows that it has it."""
    passed = []
    for _ in range(150):
        page.keyboard.press("Shift+Tab" if backwards else "Tab")
        passed.append(focused(page))
        assert page.evaluate(SEEN), f"one does not see that {passed[-1]!r} has the focus"
        if passed[-1] == name:
            return
    pytest.fail(f"Tab does not reach {name!r}: {passed}")


def test_all_state_is_in_the_address(site: Site, visitors: Visitors) -> None:
    """Sent to somebody else, it shows the same; the way back goes through what was looked at."""
    page = visitors.window()
    look_for(page, site)
    address, shown = page.url, ids_of(page)
    assert shown
    other = visitors.window(scripts=False)
    other.goto(address)
    assert ids_of(other) == shown
    page.get_by_role("link", name="Clear all").click()
    expect(page).to_have_url(f"{site.address}/decisions")
    page.go_back()
    expect(page).to_have_url(address)
    assert ids_of(page) == shown


def test_text_of_an_attacker_stays_text(site: Site, visitors: Visitors) -> None:
    """No script of it runs, no element of it comes to be: what it says is shown."""
    name = "</bdi><script>alert(document.domain)</script><img src=x onerror=alert(1)>"
    decided = site.decide(f'"><svg onload=alert(2)>{uuid.uuid4().hex}', str(uuid.uuid4()), name)
    decision = decided["auditAnnotations"]["decision-id"]
    page = visitors.window()
    page.on("dialog", lambda dialog: pytest.fail(f"a script ran: {dialog.message}"))
    for address in (f"/decisions/{decision}", f"/decisions?name={quote(name)}", "/decisions", "/", "/images"):
        page.goto(address)
        assert page.locator("img, script:not([src^='/static/'])").count() == 0
    page.goto(f"/decisions/{decision}")
    expect(page.get_by_role("heading", level=1)).to_contain_text(name)
