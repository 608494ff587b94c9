"""What all pages share: headers, static files, problems."""

import hashlib
import json
import re
from html import unescape
from importlib.resources import files
from typing import Any

import pytest
from fastapi import FastAPI
from structlog.testing import capture_logs

from fakes.asgi import Answered
from fakes.review import get, post, review_parts
from portcullis.errors import RecordsError
from portcullis.server.review.app import create_review_app
from portcullis.server.review.assets import address_of_asset, assets
from portcullis.server.review.problems import PageProblem

pytestmark = pytest.mark.anyio

STATIC = files("portcullis.server.review") / "static"


def app() -> FastAPI:
    made = create_review_app(review_parts(ledger=None))

    @made.get("/broken")
    async def broken() -> None:
        raise RuntimeError("s3cret")

    @made.get("/down")
    async def down() -> None:
        raise RecordsError("the database does not answer: <b>no\u202e route")

    @made.get("/bad")
    async def bad() -> None:
        raise PageProblem(400, "That is no time", "from=yesterday is no time.", "Write 2026-03-01T12:00.")

    @made.get("/number")
    async def number(page: int) -> None:
        raise AssertionError(page)

    return made


def text_of(answered: Answered) -> str:
    return unescape(re.sub(r"<[^>]+>", "", answered.body.decode()))


def test_htmx_is_the_release_that_was_looked_at() -> None:
    content = (STATIC / "htmx.min.js").read_bytes()
    assert hashlib.sha256(content).hexdigest() == "d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717"
    assert re.findall(rb'version:"([0-9.]+)"', content) == [b"2.0.11"]
    assert "Permission to use, copy, modify" in (STATIC / "htmx.LICENSE.txt").read_text()


@pytest.mark.parametrize("address", ["/nothing", "/static/0123456789abcdef/style.css", "/bad", "/down"])
async def test_every_page_is_closed_to_scripts_and_frames_of_others(address: str) -> None:
    answered = await get(app(), address)
    assert answered.headers["content-security-policy"] == (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    assert answered.headers["x-content-type-options"] == "nosniff"
    assert answered.headers["cache-control"] == "no-store"
    assert not re.search(rb"<[^>]* (style|on\w+)=|<style|<script(?! src=\"/static/)", answered.body)


async def test_static_files_may_be_kept_for_good_by_the_hash_in_their_address() -> None:
    for name in assets():
        address = address_of_asset(name)
        answered = await get(app(), address)
        assert answered.status == 200
        assert answered.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answered.body == (STATIC / name).read_bytes()
        assert answered.headers["content-type"].split(";")[0] in (
            "text/css", "text/javascript", "image/svg+xml", "text/plain",
        )  # fmt: skip


@pytest.mark.parametrize(
    "address", ["/static/0123456789abcdef/style.css", "/static/x/../../app.py", "/static/style.css"]
)
async def test_static_files_have_no_other_addresses(address: str) -> None:
    assert (await get(app(), address)).status == 404


PROBLEMS = {
    "/nothing%3Cb%3E": (404, "There is nothing here", "Begin with the decisions"),
    "/bad": (400, "from=yesterday is no time.", "Write 2026-03-01T12:00."),
    "/down": (503, "the database does not answer: <b>no\ufffd route", "Try again in a moment"),
    "/number?page=x": (400, "page: ", "Correct the address"),
}


@pytest.mark.parametrize(("address", "expected"), PROBLEMS.items())
async def test_a_problem_is_a_page_that_says_what_and_what_to_do(address: str, expected: tuple[int, str, str]) -> None:
    status, what, advice = expected
    answered = await get(app(), address)
    assert answered.status == status
    assert what in text_of(answered)
    assert advice in text_of(answered)
    assert b"<b>no" not in answered.body
    assert b'<nav aria-label="Areas">' in answered.body


async def test_htmx_gets_the_notice_alone() -> None:
    answered = await get(app(), "/down", part=True)
    assert answered.status == 503
    assert answered.body.strip().startswith(b'<div class="notice bad" role="alert">')


async def test_a_fault_of_ours_tells_nothing_of_itself() -> None:
    made = app()

    async def as_a_server(*call: Any) -> None:
        with pytest.raises(RuntimeError, match="s3cret"):
            await made(*call)

    as_a_server.state = made.state  # type: ignore[attr-defined]
    with capture_logs() as logs:
        answered = await get(as_a_server, "/broken")
    assert [entry["event"] for entry in logs] == ["a page failed"]
    assert answered.status == 500
    assert "A fault in Portcullis itself" in text_of(answered)
    assert b"s3cret" not in answered.body
    assert answered.headers["content-security-policy"].startswith("default-src 'none'")


async def test_other_methods_are_no_pages() -> None:
    answered = await post(app(), "/bad")
    assert (answered.status, answered.headers["allow"]) == (405, "GET")
    assert "That cannot be done" in text_of(answered)


async def test_htmx_runs_without_eval_inline_styles_and_storage() -> None:
    page = (await get(app(), "/nothing")).body.decode()
    (content,) = re.findall(r'<meta name="htmx-config" content="([^"]*)">', page)
    config = json.loads(unescape(content))
    off = ("allowEval", "allowScriptTags", "includeIndicatorStyles", "historyEnabled")
    assert {name: config[name] for name in off} == dict.fromkeys(off, False)
    assert config["historyCacheSize"] == 0
    assert config["selfRequestsOnly"] is True
    assert address_of_asset("htmx.min.js") in page


async def test_the_frame_can_be_used_by_the_keyboard_and_by_a_screen_reader() -> None:
    page = (await get(app(), "/nothing")).body.decode()
    assert page.index('<a class="skip" href="#main">') < page.index("<nav")
    assert '<html lang="en">' in page
    assert '<main id="main" tabindex="-1"' in page
    assert len(re.findall(r"<h1", page)) == 1
