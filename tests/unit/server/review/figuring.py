"""The pages of the overview, of images and of policies over a real store with a seeded log."""

import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from functools import cache
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from fakes.asgi import Answered
from fakes.auditlog import NOON, Scene, seed
from fakes.clock import StandingClock
from fakes.records import InMemoryBundles
from fakes.review import get, review_parts
from portcullis.audit.ledger import SqlLedger
from portcullis.audit.sql import SqlRecords
from portcullis.decision.exceptions import Exceptions, PolicyException
from portcullis.decision.modes import Modes
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.place import Scope
from portcullis.model.ruling import CompiledBundle, Mode, Need, PolicyBundle, PolicyInfo
from portcullis.policy.bundle import builtin_policies, load_bundle
from portcullis.server.compose import bundle_document
from portcullis.server.review.app import create_review_app
from portcullis.server.review.parts import ReviewParts
from portcullis.server.review.reader import Reader
from portcullis.standing import Standing

NAMES = ("image-user", "image-shell", "image-pinned", "scan-severity")
SHOP = Reader("dana@acme.dev", "proxy", frozenset({"shop"}))
NOBODY = Reader("nobody@acme.dev", "proxy", frozenset())


def info(name: str, **fields: Any) -> PolicyInfo:
    values: dict[str, Any] = {
        "name": name,
        "title": f"Title of {name}",
        "description": f"What {name} says.",
        "severity": "high",
        "mode": Mode.DENY,
        "docs": "",
        "needs": frozenset({Need.IMAGE, Need.CONTENTS}),
        "rules": (Mode.DENY,),
        "category": "image",
    }
    return PolicyInfo(**(values | fields))


def exception(name: str, days: float, namespaces: Iterable[str] = ()) -> PolicyException:
    return PolicyException(
        id=name,
        policies=frozenset({"image-shell"}),
        scope=Scope(tuple(namespaces)),
        reason=f"reason of {name}",
        owner=f"owner-of-{name}@acme.dev",
        expires=NOON + timedelta(days=days),
    )


STANDING_EXCEPTIONS = Exceptions(
    (exception("EX-12", 6, ["legacy"]), exception("EX-40", 90), exception("EX-3", -2, ["shop"]))
)


@asynccontextmanager
async def pages(folder: Path, scenes: Iterable[Scene] = (), **fields: Any) -> AsyncIterator[Any]:
    """The application over the scenes, by default all of them, at NOON."""
    if not scenes:
        (folder / "audit.db").write_bytes(await _seeded(folder))
    records = SqlRecords(url=f"sqlite:///{folder}/audit.db", limits=DEFAULT_LIMITS)
    await records.start()
    try:
        if scenes:
            await seed(records, scenes)
        yield create_review_app(await parts_over(SqlLedger(records=records), **fields))
    finally:
        await records.aclose()


_CONTENT: list[bytes] = []
"""The file with all scenes, made once."""


async def _seeded(folder: Path) -> bytes:
    if not _CONTENT:
        records = SqlRecords(url=f"sqlite:///{folder}/seed.db", limits=DEFAULT_LIMITS)
        await records.start()
        await seed(records)
        await records.aclose()
        _CONTENT.append((folder / "seed.db").read_bytes())
    return _CONTENT[0]


async def page(app: Any, address: str, *, reader: Reader | None = None) -> Answered:
    """A page by its address, as a server hands it on: with the path decoded."""
    path, mark, query = address.partition("?")
    return await get(app, f"{unquote(path)}{mark}{query}", reader=reader)


@cache
def _bundle() -> PolicyBundle:
    return load_bundle([builtin_policies()], parameters={}, enabled=NAMES, limits=DEFAULT_LIMITS)


async def parts_over(ledger: Any, **fields: Any) -> ReviewParts:
    bundle = _bundle()
    bundles = InMemoryBundles()
    await bundles.put(bundle.revision, "policies", bundle_document(bundle))
    standing = Standing(
        CompiledBundle(bundle.revision, tuple(info(name) for name in NAMES)),
        modes=Modes(modes={"image-pinned": Mode.WARN}, namespaces={"legacy": {"image-shell": Mode.AUDIT}}),
        exceptions=STANDING_EXCEPTIONS,
    )
    values: dict[str, Any] = {
        "bundles": bundles,
        "current": lambda: standing,
        "clock": StandingClock(NOON.timestamp()),
    }
    return review_parts(ledger, **(values | fields))


def text_of(answered: Answered) -> str:
    """What stands on the page, blanks folded, without the words for who points at something."""
    plain = re.sub(r"<(title|desc|head|style)\b.*?</\1>", " ", answered.body.decode(), flags=re.DOTALL)
    words = " ".join(unescape(re.sub(r"<[^>]+>", " ", plain.replace("<wbr>", ""))).split())
    return re.sub(r" ([.,:;])", r"\1", words)


def changed(one: Scene, **fields: Any) -> Scene:
    """The scene with another decision."""
    decision = replace(one.record.decision, **fields)
    return replace(one, record=replace(one.record, decision=decision))
