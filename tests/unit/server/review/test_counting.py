"""What readers are answered is counted, in few words."""

from pathlib import Path

import pytest

from fakes.readers import MemoryReviews, send
from fakes.sites import Site
from portcullis.server.review.counting import PageAnswers, area_of
from portcullis.server.telemetry import Metrics

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("path", "area"),
    [
        ("/", "pages"),
        ("/decisions/abc", "pages"),
        ("/loginx", "pages"),
        ("/login", "login"),
        ("/logout", "login"),
        ("/api/v1/decisions", "api"),
        ("/apix", "pages"),
        ("/static/a/b.css", "static"),
    ],
)
def test_areas(path: str, area: str) -> None:
    assert area_of(path) == area


async def test_refused_logins_and_programs_are_seen(tmp_path: Path) -> None:
    site = Site(tmp_path, tokens={})
    assert isinstance(site.reviews, MemoryReviews)
    assert (await site.log_in("no token")).status == 401
    await send(site.app, "/api/who", headers={"authorization": "Bearer x"})
    await send(site.app, "/who")
    assert site.answers.counts == {
        ("login", "200"): 1,  # the form
        ("login", "401"): 1,
        ("api", "401"): 1,
        ("pages", "303"): 1,
    }
    metrics = Metrics()
    site.answers.observe(metrics)
    assert b'portcullis_page_answers_total{area="login",status="401"} 1.0' in metrics.page()


async def test_made_up_addresses_and_statuses_make_no_series() -> None:
    answers = PageAnswers()

    async def nowhere(message: object) -> None:
        return None

    for number in range(1000):
        send_one = answers.counted(nowhere, f"/made-up-{number}")
        await send_one({"type": "http.response.start", "status": 400 + number % 100})
        await send_one({"type": "http.response.body", "status": 1})
    assert {area for area, _ in answers.counts} == {"pages"}
    assert sum(answers.counts.values()) == 1000
    assert len(answers.counts) < 10
