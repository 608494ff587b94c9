"""Every page in light and dark, narrow and wide: nothing that axe-core finds, no scrolling sideways, no complaint."""

from collections.abc import Iterator
from urllib.parse import quote

import pytest

from e2e.browser.visiting import NARROW, WIDE, Scheme, Site, Visitors, faults_of_access, overflow, photograph

pytestmark = [pytest.mark.usefixtures("opa_binary")]

STATUSES = ("status of 404", "status of 400", "does not conform to the required format")
"""What the console says of pages that are there to say that something is wrong."""


def pages(site: Site) -> Iterator[tuple[str, str]]:
    """Name and address of each page, with what makes it different."""
    yield "overview", "/"
    yield "running", "/running"
    yield "running-faulty", "/running?condition=bad"
    yield "decisions", "/decisions"
    yield "decisions-filtered", "/decisions?verdict=refused&kind=Pod&namespace=shop"
    yield "decisions-none", "/decisions?name=nobody"
    yield "decisions-faulty", "/decisions?since=yesterday&verdict=perhaps"
    decisions = site.api("/decisions?limit=100")["items"]
    for verdict in ("refused", "admitted", "undecided"):
        most = max((one for one in decisions if one["verdict"] == verdict), key=lambda one: len(one["images"]))
        yield f"decision-{verdict}", f"/decisions/{most['id']}"
    excepted = next((one for one in decisions if any(v.get("exception") for v in one["violations"])), None)
    if excepted is not None:
        yield "decision-excepted", f"/decisions/{excepted['id']}"
    yield "images", "/images"
    digests = dict.fromkeys(image["digest"] for one in decisions for image in one["images"] if image["digest"])
    for number, digest in enumerate(list(digests)[:2]):
        yield f"image-{number}", f"/images/{quote(digest)}"
    yield "policies", "/policies"
    for name in ("image-user", "scan-severity"):
        yield f"policy-{name}", f"/policies/{name}"
    yield "not-found", "/nowhere"


@pytest.mark.parametrize("width", [NARROW, WIDE])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page(site: Site, visitors: Visitors, axe: str, scheme: Scheme, width: int) -> None:
    page = visitors.window(width=width, scheme=scheme)
    visitors.expected += STATUSES
    faults = {}
    for name, address in pages(site):
        page.goto(address)
        photograph(page, f"{name}-{scheme}-{width}")
        found = [*faults_of_access(page, axe), *(f"too wide: {one}" for one in overflow(page))]
        if found:
            faults[f"{name} {address}"] = found
    report = "\n".join(f"{where}: {fault}" for where, found in faults.items() for fault in found)
    assert not report, report
