"""The page of one decision over a real log, its files, and what it would be now."""

import json
import re
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import text

from fakes.auditlog import SCENES
from fakes.review import Pages, post, review_parts, text_of
from portcullis.audit import codec
from portcullis.audit.ledger import SqlLedger
from portcullis.errors import EngineTimeout, PortcullisError
from portcullis.model.decision import Decision
from portcullis.model.record import AuditRecord
from portcullis.rejudging import RAW_VALUES, Inexact
from portcullis.server.review.app import create_review_app
from portcullis.server.review.reader import Reader

pytestmark = pytest.mark.anyio


def address(title: str) -> str:
    return f"/decisions/{SCENES[title].decision.id}"


SAYS = {
    "refused for root": [
        "2 policies refuse Deployment shop/checkout: image-user and scan-required.",
        "Asked by jane@acme.dev",
        "2026-11-23 10:00:00 UTC",
        "create Deployment checkout in shop",
        "the API server, known by its client certificate",
        "403 after 31.5 ms",
        "runs as root: the image names no USER container web registry.acme.dev/shop/checkout:1.4.0",
        "What to do: Add USER 10001 to the Dockerfile.",
        "Found as well, and not enforced image-pinned",
        "linux/amd64",
        "root uid 0, no USER",
        "No attestation was read.",
    ],
    "refused for vulnerabilities": ["trivy 0.60.0", "2 critical", "signed by ci", "CVE-2026-0002"],
    "root on one platform": ["on linux/arm64/v8", "not root uid 10001"],
    "signed by a stranger": [
        "Rejected attestation-untrusted no configured key signed it",
        "attestation-subject-mismatch it is signed for another image",
    ],
    "an outage": [
        "an outage, not a violation",
        "no connection to registry.acme.dev: Connection refused",
        "Not evaluated without it: image-user, scan-severity, image-signed, image-shell (warn)",
        "Look at the registry, at DNS and at network policies of the gate.",
        "not resolved",
    ],
    "an image that is not there": ["waiting does not help", "image-not-found"],
    "still inspecting": ["That is no refusal", "429 after", "ask again after 3 s"],
    "admitted by an exception": [
        "although it violates image-shell",
        "Covered by EX-12 until 2026-11-30 12:00:00 (in 5 days)",
        "Asked by system:serviceaccount:argocd:argocd-application-controller",
    ],
    "break-glass": ["Covered by the grant break-glass:shop/payments-down until 2026-11-24 15:00:00"],
    "a dry run": ["a dry run, nothing was stored"],
    "by an unverified caller": [
        "anybody who reaches the webhook could have sent it",
        "No input was recorded: reviews of callers who are not known are not kept whole.",
    ],
    "nothing changed": ["nothing changed of what policies look at"],
    "unreadable": ["a review that could not be read", "review-malformed"],
    "of an older version": ["Written by Portcullis 0.0.9"],
    "no document": ["Deployment shop/torn", "registry.acme.dev/t:1"],
    "fifty containers": ["44 more", "Containers", "side-49", "More images"],
    "ten thousand findings": ["The gravest findings", "and 9980 more in the judged input"],
}


@pytest.mark.parametrize(("title", "expected"), SAYS.items())
async def test_a_page_says(pages: Pages, title: str, expected: list[str]) -> None:
    page = await pages.page(address(title))
    shown = text_of(page)
    for words in expected:
        assert words in shown, words
    levels = [int(level) for level in re.findall(r"<h([1-6])", page)]
    assert levels[0] == 1
    assert all(below - above <= 1 for above, below in pairwise(levels))


async def test_links_lead_to_policies_images_and_other_decisions(pages: Pages) -> None:
    page = await pages.page(address("refused for root"))
    digest = SCENES["refused for root"].decision.images[0].digest
    assert '<a href="/policies/image-user">' in page
    assert f'href="/images/{digest}"' in page.replace("%3A", ":")
    assert '<a href="/decisions?namespace=shop">' in page
    assert "/decisions?namespace=shop&amp;name=checkout&amp;kind=Deployment" in page


async def test_the_place_in_the_chain(pages: Pages) -> None:
    shown = text_of(await pages.page(address("clean")))
    place = await SqlLedger(records=pages.store).place(15)
    assert place is not None
    assert f"number {place.position} of the chain {place.chain}" in shown
    assert place.hash in shown


async def test_what_is_otherwise_than_before(pages: Pages) -> None:
    """A dry run is no decision that counted."""
    page = await pages.page(address("mended"))
    assert f'href="{address("refused for root")}"' in page
    shown = text_of(page)
    assert "− gone image-user in web refuses: runs as root: the image names no USER" in shown
    assert "+ new image-signed in web audit: has no signature" in shown
    assert "~ changed registry.acme.dev/shop/checkout" in shown
    assert "Since the decision before" not in text_of(await pages.page(address("refused for vulnerabilities")))


async def test_a_decision_before_that_is_damaged_does_not_hide_this_one(pages: Pages) -> None:
    def damage(connection: Any) -> None:
        connection.execute(text("UPDATE decisions SET body = 'junk' WHERE sequence = 3"))

    await pages.store.change(damage)
    shown = text_of(await pages.page(address("mended")))
    assert "The decision before cannot be read" in shown
    assert "Asked by jane@acme.dev" in shown


async def test_every_hostile_text_is_only_text(pages: Pages) -> None:
    page = await pages.page(address("hostile"))
    assert "<script>alert" not in page
    assert "javascript:" not in re.sub(r"<pre.*?</pre>", "", page, flags=re.DOTALL)
    assert not re.findall(r"[\0\u202e\u2028]", page)
    assert "{{ 7*7 }}" in page
    assert len(page) < 400_000


@pytest.mark.parametrize("path", ["nothing", "7c4f5a3e-0f5b-4a39-9c55-0f6d1f6f2b1d", "%00", "%E2%80%AE", "x" * 3000])
async def test_what_is_not_there(pages: Pages, path: str) -> None:
    answered = await pages.get(f"/decisions/{path}")
    assert answered.status == 404
    assert "There is no such decision" in answered.body.decode()


@pytest.mark.parametrize("part", ["", "/record.json", "/input.json"])
async def test_what_a_reader_may_not_see_is_not_there(pages: Pages, part: str) -> None:
    pages.reader = Reader("omar", "token", frozenset({"data"}))
    assert (await pages.get(f"{address('clean')}{part}")).status == 404
    assert (await pages.get(f"{address('still inspecting')}{part}")).status == 200


async def test_the_record_and_the_input_as_files(pages: Pages) -> None:
    record = SCENES["clean"]
    kept = await pages.get(f"{address('clean')}/record.json")
    assert kept.body == codec.encode_body(record)
    assert kept.headers["content-disposition"] == f'attachment; filename="decision-{record.decision.id}.json"'
    judged = await pages.get(f"{address('clean')}/input.json")
    assert judged.body == record.decision.document
    assert json.loads(judged.body)["workload"]["name"] == "checkout"


async def test_an_input_that_was_not_recorded_is_no_file(pages: Pages) -> None:
    answered = await pages.get(f"{address('by an unverified caller')}/input.json")
    assert answered.status == 404
    assert "No input was recorded" in answered.body.decode()


async def test_what_redaction_replaced_is_named(pages: Pages) -> None:
    record = SCENES["clean"]
    places = tuple(f"/request/object/spec/containers/{number}/env/0/value" for number in range(60))
    masked = replace(record.decision, id="7c4f5a3e-0f5b-4a39-9c55-0f6d1f6f2b1e", masked=places, masked_places=70)
    await pages.store.append_many([replace(record, decision=masked)])
    shown = text_of(await pages.page(f"/decisions/{masked.id}"))
    assert "70 values in it were replaced before anything was judged" in shown
    assert "/request/object/spec/containers/49/env/0/value and 20 more" in shown


# -- judged again ----------------------------------------------------------------------------------------------------


async def again(
    pages: Pages, title: str, found: Decision | Inexact | PortcullisError, *, part: bool
) -> tuple[int, str]:
    async def judge(record: AuditRecord) -> Decision | Inexact:
        assert record.decision.id == SCENES[title].decision.id
        if isinstance(found, PortcullisError):
            raise found
        return found

    app = create_review_app(review_parts(SqlLedger(records=pages.store), judge_again=judge))
    answered = await post(app, f"{address(title)}/again", part=part)
    page = answered.body.decode()
    assert ("<html" in page) is not part
    return answered.status, text_of(page)


@pytest.mark.parametrize("part", [True, False])
async def test_what_it_would_be_now(pages: Pages, part: bool) -> None:
    now = replace(SCENES["clean"].decision, images=())
    status, shown = await again(pages, "refused for root", now, part=part)
    assert status == 200
    assert "refused admitted Deployment shop/checkout was admitted: no policy is violated." in shown
    assert "− gone image-user in web refuses: runs as root" in shown
    assert "Images" not in shown.partition("Judged by")[0].partition("admitted Deployment")[2]


async def test_the_same_again(pages: Pages) -> None:
    _, shown = await again(pages, "clean", SCENES["clean"].decision, part=True)
    assert "It would be the same decision" in shown


async def test_what_cannot_be_told_exactly_is_said(pages: Pages) -> None:
    status, shown = await again(pages, "clean", Inexact(RAW_VALUES, "no-secrets"), part=True)
    assert status == 200
    assert "It cannot be judged again exactly a policy asks for raw values: no-secrets." in shown


async def test_what_fails_now_is_said(pages: Pages) -> None:
    status, shown = await again(pages, "clean", EngineTimeout("it was not judged within 15 s"), part=True)
    assert status == 503
    assert "It could not be judged now it was not judged within 15 s" in shown


async def test_it_is_no_link_that_can_be_followed(pages: Pages) -> None:
    assert (await pages.get(f"{address('clean')}/again")).status == 405
