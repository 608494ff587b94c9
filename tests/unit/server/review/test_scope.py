"""What each kind of reader sees of a log with two namespaces, on every page and in every answer of the API: nothing
whatever of the other one, neither in figures nor in errors."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from fakes.decisions import VIOLATION
from fakes.decisions import decision as a_decision
from fakes.decisions import record as a_record
from fakes.readers import HOST, Exchange, send
from fakes.review import review_parts
from fakes.running import a_whole_round
from fakes.sites import FORM, VIEWER, Site, cookie_of, encoded, proxied
from portcullis.audit.findings import SqlFindings
from portcullis.audit.ledger import SqlLedger
from portcullis.audit.sql import SqlRecords
from portcullis.decision.exceptions import Exceptions, PolicyException
from portcullis.model.decision import Because, Decision, JudgedImage, Verdict
from portcullis.model.grant import Grant
from portcullis.model.image import Digest
from portcullis.model.place import Scope
from portcullis.model.record import AuditRecord
from portcullis.model.ruling import CompiledBundle, Mode, PolicyInfo
from portcullis.model.running import Condition, MovedTag, ObjectRef, Rejudged
from portcullis.server.clock import SystemClock
from portcullis.server.review.app import create_review_app
from portcullis.standing import Standing

pytestmark = pytest.mark.anyio

TOKEN = "a-token-of-the-viewer"
SHOP, BANK = 3, 137
"""Decisions of each."""
SHARED = "sha256:" + "5a" * 32
DIGESTS = {"shop": "sha256:" + "0a" * 32, "bank": "sha256:" + "ba" * 32}
POLICY = PolicyInfo("shared-policy", "Shared", "", "high", Mode.DENY, "", frozenset(), (Mode.DENY,))
MISSING = "00000000-0000-4000-8000-000000000000"


def identity(namespace: str, number: int) -> str:
    return f"{'5' if namespace == 'shop' else 'b'}0000000-0000-4000-8000-{number:012}"


def records(namespace: str, count: int) -> Iterator[AuditRecord]:
    """All of them marked with the name of their namespace, in everything that is shown."""
    mark, now = f"{namespace}mark", SystemClock().now()
    for number in range(count):
        shared = replace(
            VIOLATION, policy="shared-policy", digest=SHARED, msg=f"{mark}-msg", image=f"{mark}.example/a:1"
        )
        own = replace(VIOLATION, policy=f"{mark}-policy", digest=DIGESTS[namespace], fix=f"{mark}-fix", mode=Mode.WARN)
        made = a_decision(
            id=identity(namespace, number),
            verdict=Verdict.REFUSED if number else Verdict.ADMITTED,
            code=403 if number else 200,
            because=Because.JUDGED if number else Because.BREAK_GLASS,
            message=f"{mark}-message refuses",
            violations=(shared, own) if number else (replace(shared, exception=f"{mark}-exception"), own),
            images=(
                JudgedImage(f"{mark}.example/a:1", SHARED),
                JudgedImage(f"{mark}.example/own:1", DIGESTS[namespace]),
            ),
            decided_at=now - timedelta(minutes=number),
            document=json.dumps({"mark": f"{mark}-document", "images": {}, "containers": []}).encode(),
        )
        yield a_record(
            made,
            namespace=namespace,
            name="checkout",
            username=f"{mark}-user",
            groups=(f"{mark}-group",),
            uid=f"{mark}-uid",
            webhook_version=f"{mark}-version",
        )


def results(namespace: str, count: int) -> Iterator[Rejudged]:
    """What runs, marked as the records are; the first was let in by break-glass, and its tag has moved."""
    mark = f"{namespace}mark"
    for number, record in enumerate(records(namespace, count)):
        moved = MovedTag(f"{mark}-container", f"{mark}.example/a:1", Digest(SHARED), Digest(DIGESTS[namespace]))
        yield Rejudged(
            owner=ObjectRef("apps/v1", "Deployment", namespace, f"{mark}-work-{number}", f"{mark}-owner"),
            key=f"{mark}-{number}",
            pods=(f"{mark}-pod-{number}",),
            count=1,
            decision=record.decision,
            condition=Condition.FAILING,
            passed=(f"{mark}-passed",),
            moved=() if number else (moved,),
            break_glass="" if number else grant(namespace).id,
            judged_at=record.decision.decided_at,
        )


def grant(namespace: str) -> Grant:
    mark, now = f"{namespace}mark", SystemClock().now()
    return Grant(
        namespace=namespace,
        name=f"{mark}-grant",
        uid=f"{mark}-uid",
        policies=("shared-policy", f"{mark}-policy"),
        images=(f"{mark}.example/**",),
        digests=(),
        covers_problems=True,
        reason=f"{mark}-reason",
        created=now - timedelta(hours=1),
        expires=now + timedelta(hours=1),
    )


@pytest.fixture(scope="module")
def log_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = f"sqlite:///{tmp_path_factory.mktemp('log')}/audit.db"

    async def fill() -> None:
        kept = SqlRecords(url=url)
        await kept.start()
        await kept.append_many([*records("shop", SHOP), *records("bank", BANK)])
        await a_whole_round(SqlFindings(records=kept), [*results("shop", SHOP), *results("bank", BANK)])
        await kept.aclose()

    asyncio.run(fill())
    return url


@pytest.fixture
async def ledger(log_url: str) -> AsyncIterator[SqlLedger]:
    kept = SqlRecords(url=log_url, read_only=True)
    await kept.start()
    yield SqlLedger(records=kept)
    await kept.aclose()


def exception(namespace: str) -> PolicyException:
    return PolicyException(
        id=f"{namespace}mark-EX",
        policies=frozenset({"shared-policy"}),
        scope=Scope(namespaces=(namespace,)),
        reason=f"{namespace}mark-reason",
        owner=f"{namespace}mark-owner",
        expires=SystemClock().now() + timedelta(days=1),
    )


def standing() -> Standing:
    exceptions = Exceptions([exception("shop"), exception("bank")])
    return Standing(CompiledBundle("sha256:now", (POLICY,)), exceptions=exceptions)


async def judge_again(record: AuditRecord) -> Decision:
    return record.decision


# -- every address -----------------------------------------------------------------------------------------------------

PATHS: Mapping[str, tuple[str, ...]] = {
    "/": ("/", "/?within=7d"),
    "/running": ("/running", "/running?only=moved", "/running?policy=shared-policy", "/running?image={digest}"),
    "/running/{namespace}/{kind}/{name}": ("/running/{ns}/Deployment/{ns}mark-work-0",),
    "/decisions": ("/decisions", "/decisions?verdict=refused&within=7d", "/decisions?policy=shared-policy"),
    "/decisions/news": ("/decisions/news?after=1", "/decisions/news"),
    "/decisions/export.csv": ("/decisions/export.csv",),
    "/decisions/export.jsonl": ("/decisions/export.jsonl",),
    "/decisions/{decision_id}": ("/decisions/{id}",),
    "/decisions/{decision_id}/again": ("POST /decisions/{id}/again",),
    "/decisions/{decision_id}/record.json": ("/decisions/{id}/record.json",),
    "/decisions/{decision_id}/input.json": ("/decisions/{id}/input.json",),
    "/images": ("/images", "/images?written=b"),
    "/images/{digest:path}": (f"/images/{SHARED}", "/images/{digest}"),
    "/policies": ("/policies",),
    "/policies/{name:path}": ("/policies/shared-policy", "/policies/{ns}mark-policy"),
    "/policies/{name:path}/what-if": ("POST /policies/shared-policy/what-if", "POST /policies/{ns}mark-policy/what-if"),
    "/api/v1/decisions": ("/api/v1/decisions?limit=1000", "/api/v1/decisions?policy=shared-policy&before=999"),
    "/api/v1/decisions/{id}": ("/api/v1/decisions/{id}?input=true",),
    "/api/v1/decisions/{id}/previous": ("/api/v1/decisions/{id}/previous?input=true",),
    "/api/v1/images": ("/api/v1/images", "/api/v1/images?written=b"),
    "/api/v1/images/{digest}": (f"/api/v1/images/{SHARED}", "/api/v1/images/{digest}"),
    "/api/v1/policies": ("/api/v1/policies",),
    "/api/v1/policies/{name}": ("/api/v1/policies/shared-policy", "/api/v1/policies/{ns}mark-policy"),
    "/api/v1/overview": ("/api/v1/overview",),
    "/api/v1/running": ("/api/v1/running?limit=1000", "/api/v1/running?image={digest}", "/api/v1/running?moved=true"),
    "/api/v1/running/{namespace}/{kind}/{name}": ("/api/v1/running/{ns}/Deployment/{ns}mark-work-0",),
}  # fmt: skip
HARMLESS = {"/static/{digest}/{name}", "/api/v1/openapi.json"}
"""They hold nothing of the log."""


def filled(address: str, namespace: str) -> str:
    return (
        address.replace("{id}", identity(namespace, 1))
        .replace("{digest}", DIGESTS[namespace])
        .replace("{ns}", namespace)
    )


def every_address() -> list[str]:
    """Those of the reader's own namespace and of the other one."""
    found = [
        filled(address, namespace) for ways in PATHS.values() for address in ways for namespace in ("shop", "bank")
    ]
    return list(dict.fromkeys(found))


def paths_of(route: Any) -> Iterator[str]:
    """Of a route, of a router that was included, or of an application that is mounted."""
    if hasattr(route, "original_router"):
        yield from (path for inner in route.original_router.routes for path in paths_of(inner))
    elif hasattr(route, "app") and hasattr(route.app, "routes"):
        yield from (route.path + path for inner in route.app.routes for path in paths_of(inner))
    else:
        yield route.path


async def test_no_route_is_left_out() -> None:
    paths = {path for route in create_review_app(review_parts(None)).routes for path in paths_of(route)}
    assert paths - HARMLESS == set(PATHS)


@dataclass
class Kind:
    """A kind of reader: the site that is read, and what comes with each request."""

    site: Site
    headers: Mapping[str, str]
    program: bool = False
    """A token in a header, which only the API takes."""

    async def ask(self, address: str, **headers: str) -> Exchange:
        method, _, path = address.rpartition(" ")
        sent = {**self.headers, **headers}
        if method != "POST":
            return await send(self.site.app, path, headers=sent)
        who = await send(self.site.app, "/who", headers=sent)
        code = who.body.decode().split()[-1] if who.status == 200 else ""
        sent = {**sent, "origin": sent.get("origin", f"http://{HOST}"), **FORM}
        return await send(self.site.app, path, method="POST", headers=sent, body=encoded({"csrf": code}))


@pytest.fixture
async def kinds(ledger: SqlLedger, tmp_path: Path) -> Any:
    """Makes a kind by its name."""

    async def made(name: str) -> Kind:
        clock = SystemClock()
        parts = {"ledger": ledger, "current": standing, "judge_again": judge_again, "clock": clock}
        parts["grants"] = lambda: [grant("shop"), grant("bank")]
        if name == "loopback":
            return Kind(Site(tmp_path, parts=parts), {})
        if name.startswith("proxy"):
            site = Site(tmp_path, parts=parts, proxy={})
            site.reviews.allowed_in = {"root": {""}, "jane": {"shop"}}
            user = {"proxy, all": "root", "proxy, shop": "jane", "proxy, none": "mallory"}[name]
            return Kind(site, proxied(user))
        site = Site(tmp_path, parts=parts, tokens={})
        site.reviews.tokens = {TOKEN: VIEWER}
        site.reviews.allowed_in = {VIEWER.username: {""} if name == "token, all" else {"shop"}}
        if name == "program, shop":
            return Kind(site, {"authorization": f"Bearer {TOKEN}"}, program=True)
        return Kind(site, {"cookie": cookie_of(await site.log_in(TOKEN))})

    return made


OF_BANK = re.compile(
    r"bankmark|\bbank\b|b0000000-0000-4000|(ba){6}|(?<![\d.:-])(136|137|139|140|141)(?![\d.:])", re.IGNORECASE
)
"""Names, ids, digests (also shortened), and how many there are, alone or with those of shop."""
OF_SHOP = re.compile(r"shopmark|50000000-0000-4000|(0a){6}", re.IGNORECASE)


UNTOLD = ("set-cookie", "content-length")
"""Headers whose digits mean nothing here."""


def said(exchange: Exchange, address: str) -> str:
    """What a reader can learn from an answer, without what they have written into the address themselves."""
    text = "\n".join(f"{name}: {value}" for name, value in exchange.pairs if name not in UNTOLD)
    body = exchange.body.decode()
    if exchange.headers.get("content-type", "").startswith("text/html"):
        drawn = " ".join(re.findall(r'(?:title|aria-label|href|value|datetime)="([^"]*)"', body))
        body = unescape(drawn + re.sub(r"<[^>]+>", " ", re.sub(r"(?s)<svg.*?</svg>", _svg_text, body)))
    text += "\n" + body
    for own in re.split(r"[/?=&: ]", address):
        if OF_BANK.search(own):
            text = text.replace(own, "")
    return text


def _svg_text(drawing: "re.Match[str]") -> str:
    return " ".join(re.findall(r">([^<]+)<", drawing[0]))


SEES_ALL = ("loopback", "proxy, all", "token, all")
SEES_SHOP = ("proxy, shop", "token, shop", "program, shop")


@pytest.mark.parametrize("name", SEES_ALL)
async def test_who_may_see_all_sees_both(kinds: Any, name: str) -> None:
    kind = await kinds(name)
    texts = [said(await kind.ask(address), "") for address in every_address()]
    assert sum(bool(OF_BANK.search(text)) for text in texts) > 20
    assert sum(bool(OF_SHOP.search(text)) for text in texts) > 20


@pytest.mark.parametrize("name", SEES_SHOP)
async def test_who_may_see_one_namespace_sees_nothing_of_the_other(kinds: Any, name: str) -> None:
    kind = await kinds(name)
    seen = 0
    for address in every_address():
        if kind.program and not address.startswith("/api/"):
            continue
        answered = await kind.ask(address)
        assert answered.status in (200, 204, 303, 400, 404, 422), (address, answered.body)
        text = said(answered, address)
        found = OF_BANK.search(text)
        assert found is None, (address, found, text[max(0, found.start() - 200) : found.end() + 200])
        seen += bool(OF_SHOP.search(text))
    assert seen >= (7 if kind.program else 15)


@pytest.mark.parametrize("name", SEES_SHOP)
async def test_what_one_may_not_see_is_as_what_is_not_there(kinds: Any, name: str) -> None:
    kind = await kinds(name)
    there = {
        "{id}": identity("bank", 1),
        "{digest}": DIGESTS["bank"],
        "{ns}mark-policy": "bankmark-policy",
        "{ns}/Deployment/{ns}mark-work-0": "bank/Deployment/bankmark-work-0",
    }
    nowhere = {
        "{id}": MISSING,
        "{digest}": "sha256:" + "00" * 32,
        "{ns}mark-policy": "nothing-policy",
        "{ns}/Deployment/{ns}mark-work-0": "bank/Deployment/nothing",
    }
    compared = 0
    for address in (way for ways in PATHS.values() for way in ways if "{" in way and "?image=" not in way):
        if kind.program and not address.startswith("/api/"):
            continue
        answers = []
        for values in (there, nowhere):
            path = address
            for key, value in values.items():
                path = path.replace(key, value)
            answered = await kind.ask(path)
            body = answered.body.decode()
            for value in values.values():
                body = body.replace(value, "…")
            stamped = re.sub(r'<time datetime="[^"]*">[^<]*</time>|name="csrf" value="[^"]*"', "", body)
            answers.append((answered.status, answered.headers.get("content-type"), stamped))
        assert answers[0] == answers[1], address
        assert answers[0][0] == 404, address
        compared += 1
    assert compared >= 4


async def test_figures_are_those_of_the_reader(kinds: Any) -> None:
    shop, root = await kinds("proxy, shop"), await kinds("proxy, all")

    async def figures(kind: Kind) -> list[int]:
        overview = (await kind.ask("/api/v1/overview")).json
        image = (await kind.ask(f"/api/v1/images/{SHARED}")).json
        policy = (await kind.ask("/api/v1/policies/shared-policy")).json
        listed = (await kind.ask("/api/v1/decisions?limit=1000")).json
        running = (await kind.ask("/api/v1/running")).json
        return [
            overview["extent"]["records"],
            sum(bucket["refused"] for bucket in overview["verdicts"]),
            image["decisions"],
            image["namespaces"],
            sum(bucket["violations"] for bucket in policy["buckets"]),
            len(policy["namespaces"]),
            len(listed["items"]),
            running["totals"]["failing"],
            overview["running"]["totals"]["failing"],
            overview["breakGlass"]["workloads"],
            len(overview["breakGlass"]["grants"]),
        ]

    assert await figures(shop) == [SHOP, SHOP - 1, SHOP, 1, SHOP - 1, 1, SHOP, SHOP, SHOP, 1, 1]
    both = SHOP + BANK
    assert await figures(root) == [both, both - 2, both, 2, both - 2, 2, both, both, both, 2, 2]


async def test_the_decision_before_is_of_the_same_namespace(kinds: Any) -> None:
    kind = await kinds("token, shop")
    before = (await kind.ask(f"/api/v1/decisions/{identity('shop', 2)}/previous")).json
    assert before["id"] == identity("shop", 1)


REFUSED: Mapping[str, tuple[str, dict[str, str], set[int]]] = {
    "nobody, of a proxy": ("proxy, all", {"x-portcullis-proxy-secret": "", "x-forwarded-user": ""}, {401}),
    "forged, without the secret": ("proxy, all", {"x-portcullis-proxy-secret": "a-secret-of-the-proxx"}, {401}),
    "of no namespace": ("proxy, none", {}, {403}),
    "nobody, of tokens": ("token, all", {"cookie": ""}, {303, 401}),
    "a forged cookie": ("token, all", {"cookie": f"portcullis-session={'A' * 200}"}, {303, 401}),
    "a forged token": ("program, shop", {"authorization": "Bearer forged"}, {303, 401, 429}),
    "a foreign host": ("loopback", {"host": "evil.example.com"}, {421}),
    "a foreign origin": ("loopback", {"origin": "http://evil.example.com"}, {403}),
    "a foreign page": ("token, all", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"}, {403}),
    "a frame": ("loopback", {"sec-fetch-site": "same-site", "sec-fetch-dest": "frame"}, {403}),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
async def test_who_is_turned_away_sees_nothing_at_all(kinds: Any, name: str) -> None:
    kind_name, headers, statuses = REFUSED[name]
    await _sees_nothing(await kinds(kind_name), headers, statuses)


async def test_a_session_that_is_over_sees_nothing_at_all(kinds: Any) -> None:
    kind = await kinds("token, all")
    assert (await kind.ask("/decisions")).status == 200
    kind.site.clock.seconds += 8 * 3600
    await _sees_nothing(kind, {}, {303, 401})


async def test_a_silent_api_server_shows_nothing_at_all(kinds: Any) -> None:
    for name in ("token, all", "proxy, all"):
        kind = await kinds(name)
        kind.site.reviews.silent = True
        kind.site.clock.seconds += 120
        await _sees_nothing(kind, {}, {503})


async def _sees_nothing(kind: Kind, headers: dict[str, str], statuses: set[int]) -> None:
    sizes = set()
    for address in every_address():
        answered = await kind.ask(address, **headers)
        assert answered.status in statuses, (address, answered.status)
        text = said(answered, address) + str(answered.headers.get("location", ""))
        for own in re.split(r"[/?=&: ]", address):
            text = text.replace(own, "") if len(own) > 3 else text
        text = re.sub(r"location: \S+|/login\S*", "", text)
        assert not OF_BANK.search(text), (address, text)
        assert not OF_SHOP.search(text), (address, text)
        sizes.add(len(answered.body))
    assert len(sizes) <= 4  # the pages of two refusals, the problem, and nothing
