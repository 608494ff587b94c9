"""The pages of images, over a real store."""

import contextlib
import re
import sqlite3
import zlib
from pathlib import Path
from urllib.parse import quote

import pytest

from fakes.auditlog import SCENES
from portcullis.model.record import AuditRecord
from unit.server.review.figuring import NOBODY, SHOP, page, pages, text_of

pytestmark = pytest.mark.anyio


def digest_in(title: str) -> str:
    return SCENES[title].decision.images[0].digest


async def test_images_are_listed_and_found_by_how_they_begin(tmp_path: Path) -> None:
    async with pages(tmp_path) as app:
        everything = await page(app, "/images")
        assert everything.status == 200
        assert "registry.acme.dev/s:1" in text_of(everything)
        found = text_of(await page(app, f"/images?image={quote('registry.acme.dev/old/')}"))
        assert "registry.acme.dev/old/invoices:7" in found
        assert "checkout" not in found
        nothing = await page(app, "/images?image=registry.nowhere")
        assert nothing.status == 200
        assert "No image begins so" in text_of(nothing)


async def test_a_reader_of_few_namespaces_sees_the_images_of_these(tmp_path: Path) -> None:
    async with pages(tmp_path) as app:
        found = text_of(await page(app, "/images?image=registry.acme.dev/", reader=SHOP))
        assert "registry.acme.dev/s:1" in found
        assert "No image begins so" in text_of(await page(app, "/images?image=registry.acme.dev/old", reader=SHOP))
        assert "No images yet" in text_of(await page(app, "/images", reader=NOBODY))
        hidden = await page(app, f"/images/{digest_in('admitted by an exception')}", reader=SHOP)
        assert hidden.status == 404
        assert "invoices" not in text_of(hidden)


async def test_pages_are_turned_by_a_cursor(tmp_path: Path) -> None:
    async with pages(tmp_path) as app:
        first = await page(app, "/images")
        (link,) = set(re.findall(r'href="(/images\?after=[^"]+)"', first.body.decode()))
        second = await page(app, link)
        assert second.status == 200
        ones, others = (set(re.findall(r'href="/images/([^"]+)"', one.body.decode())) for one in (first, second))
        assert others
        assert not ones & others


@pytest.mark.parametrize("after", ["junk", "1.2.3", "%00", "9" * 1000, "..%2F"])
async def test_a_cursor_that_is_none_of_ours_is_said(tmp_path: Path, after: str) -> None:
    async with pages(tmp_path) as app:
        answered = await page(app, f"/images?after={after}")
        assert answered.status == 400
        assert "That page cannot be read" in text_of(answered)


async def test_everything_known_of_an_image_is_on_its_page(tmp_path: Path) -> None:
    async with pages(tmp_path) as app:
        answered = await page(app, f"/images/{digest_in('refused for vulnerabilities')}")
        assert answered.status == 200
        shown = text_of(answered)
        for words in (
            "registry.acme.dev/shop/orders:2.0.3",
            "StatefulSet orders",
            "linux/amd64",
            "not root USER 10001",
            "COPY web /web",
            "CVE-2026-0002",
            "trivy",
            "ci (key)",
            "1 decision, of which 1 refused",
        ):
            assert words in shown, words


async def test_what_was_rejected_stands_there_with_its_reason(tmp_path: Path) -> None:
    async with pages(tmp_path) as app:
        shown = text_of(await page(app, f"/images/{digest_in('signed by a stranger')}"))
        assert "2 attestations were rejected" in shown
        assert "attestation-untrusted" in shown


async def test_root_and_findings_are_told_by_platform_and_layer(tmp_path: Path) -> None:
    async with pages(tmp_path) as app:
        shown = text_of(await page(app, f"/images/{digest_in('root on one platform')}"))
        assert "linux/arm64/v8" in shown
        assert "root it names no USER" in shown
        tools = text_of(await page(app, f"/images/{digest_in('admitted by an exception')}"))
        assert re.search(r"Layer \d+ .*? shell", tools)


async def test_no_record_breaks_the_page_of_its_image(tmp_path: Path) -> None:
    async with pages(tmp_path) as app:
        for title, record in SCENES.items():
            for image in record.decision.images[:1]:
                answered = await page(app, f"/images/{quote(image.digest)}")
                assert answered.status == (200 if image.digest else 404), title
                assert b"<script>alert" not in answered.body
                assert "\u202e" not in answered.body.decode()


async def test_what_an_attacker_wrote_is_text(tmp_path: Path) -> None:
    record: AuditRecord = SCENES["hostile"]
    async with pages(tmp_path) as app:
        for address in ("/images", f"/images/{quote(record.decision.images[0].digest)}"):
            answered = await page(app, address)
            assert answered.status == 200
            assert b"<script>alert" not in answered.body
            assert "{{ 7*7 }}" in text_of(answered)


async def test_a_document_that_was_changed_hides_nothing_else(tmp_path: Path) -> None:
    async with pages(tmp_path) as app:
        with contextlib.closing(sqlite3.connect(tmp_path / "audit.db")) as database:
            assert database.execute("update inputs set content = ?", (zlib.compress(b"{}"),)).rowcount
            database.commit()
        answered = await page(app, f"/images/{digest_in('signed by a stranger')}")
        assert answered.status == 200
        shown = text_of(answered)
        assert "What was recorded about it cannot be read" in shown
        assert "is not the one that was judged" in shown
        assert "Deployment gateway" in shown


async def test_the_json_has_what_policies_saw_of_it(tmp_path: Path) -> None:
    digest = digest_in("refused for vulnerabilities")
    async with pages(tmp_path) as app:
        tree = (await page(app, f"/api/v1/images/{digest}")).json
    assert tree["facts"]["decisionId"] == SCENES["refused for vulnerabilities"].decision.id
    assert tree["facts"]["image"]["digest"] == digest
    assert tree["facts"]["image"]["scans"][0]["counts"]["critical"] == 2


async def test_an_image_that_nobody_knows_is_not_there(tmp_path: Path) -> None:
    async with pages(tmp_path) as app:
        answered = await page(app, "/images/sha256:" + "00" * 32)
        assert answered.status == 404
        assert "There is no such image here" in text_of(answered)
