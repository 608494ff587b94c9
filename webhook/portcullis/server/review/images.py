"""The pages of images: which there were, and everything that is known of one."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response

from portcullis.errors import CursorInvalid, RecordsError
from portcullis.model.record import AuditRecord, ImagePage, RecordFilter, Visible
from portcullis.model.running import FindingFilter
from portcullis.ports import Ledger
from portcullis.server.review.imageevidence import EvidenceFacts, evidence_facts
from portcullis.server.review.imagefacts import ImageFacts, image_facts, seen_in
from portcullis.server.review.parts import parts_of
from portcullis.server.review.problems import PageProblem
from portcullis.server.review.reader import reader_of
from portcullis.server.review.rendering import address, render
from portcullis.server.review.runningstate import rounds_of

AREA: Final = "/images"
PAGE_ROWS: Final = 50
NEWEST_DECISIONS: Final = 10
SHOWN_RUNNING: Final = 12
_CHARS: Final = 1024
"""Of what is looked for: more than a reference has."""

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class ImageReading:
    """What the documents of an image say of it."""

    facts: ImageFacts
    evidence: EvidenceFacts


def read_image(records: Sequence[AuditRecord], digest: str) -> ImageReading:
    """Reads the documents of the records, which takes its time: not for the event loop."""
    seen = seen_in(records, digest)
    return ImageReading(image_facts(seen), evidence_facts(seen))


@router.get("/images")
async def images_page(
    request: Request,
    image: Annotated[str, Query(max_length=_CHARS)] = "",
    after: Annotated[str, Query(max_length=_CHARS)] = "",
) -> Response:
    """The images, the last seen first; ``image`` is how the reference begins."""
    parts, reader = parts_of(request), reader_of(request)
    page = await _page(parts.ledger, reader.visible, image.strip(), after)
    return render(request, "images.html.j2", area=AREA, page=page, image=image.strip(), after=after)


async def _page(ledger: Ledger, visible: Visible, image: str, after: str) -> ImagePage:
    try:
        return await ledger.images(visible, written=image, after=after, limit=PAGE_ROWS)
    except CursorInvalid as error:
        raise PageProblem(
            400, "That page cannot be read", f"after={after}: {error.message}.", "Begin with the first page of images."
        ) from None


@router.get("/images/{digest:path}")
async def image_page(request: Request, digest: str) -> Response:
    """Everything that is known of a digest."""
    parts, reader = parts_of(request), reader_of(request)
    ledger, visible = parts.ledger, reader.visible
    use = await ledger.image(digest, visible)
    running = await parts.findings.results(visible=visible, query=FindingFilter(image=digest), limit=SHOWN_RUNNING)
    if use is None and running.results:  # it runs, and was admitted by nobody who is remembered
        return RedirectResponse(address("/running", image=digest), 303)
    if use is None:
        raise PageProblem(
            404,
            "There is no such image here",
            f"No decision that you may see was about an image with the digest {digest}.",
            "Decisions may have been pruned since, or lie in namespaces of others. Begin with the list of images.",
        )
    workloads = await ledger.workloads(digest, visible)
    records, problem = await _documents(ledger, digest, visible)
    newest = await ledger.page(RecordFilter(digest=digest, visible=visible, limit=NEWEST_DECISIONS))
    reading = await asyncio.to_thread(read_image, records, digest)
    return render(
        request,
        "image.html.j2",
        area=AREA,
        use=use,
        facts=reading.facts,
        evidence=reading.evidence,
        workloads=workloads,
        documents=len(records),
        problem=problem,
        newest=newest,
        running=running,
        rounds=await rounds_of(parts),
    )


async def _documents(ledger: Ledger, digest: str, visible: Visible) -> tuple[Sequence[AuditRecord], str]:
    """The records, or why there are none: one that was tampered with must not hide all else about the image."""
    try:
        return await ledger.documents(digest, visible), ""
    except RecordsError as error:
        return (), error.message
