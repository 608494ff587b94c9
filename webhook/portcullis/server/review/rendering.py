"""Pages from templates. Jinja2 escapes what comes from outside; characters that cannot be seen are made visible."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse

from portcullis import __version__
from portcullis.server.review.assets import address_of_asset
from portcullis.server.review.parts import parts_of
from portcullis.text import clean
from portcullis.times import rfc3339

AREAS = (
    ("/", "Overview"),
    ("/running", "Running"),
    ("/decisions", "Decisions"),
    ("/images", "Images"),
    ("/policies", "Policies"),
)
"""The navigation."""

HTMX_HEADER = "hx-request"

HTMX_CONFIG = json.dumps(
    {
        # Neither eval nor inline styles nor scripts in answers: the Content-Security-Policy forbids them anyway.
        "allowEval": False,
        "allowScriptTags": False,
        "includeIndicatorStyles": False,
        # Nothing of a page stays in the browser's storage but, until its tab is closed, its address.
        "historyEnabled": False,
        "historyCacheSize": 0,
        "selfRequestsOnly": True,
        "timeout": 15_000,
        # The notice of a problem is put in place, too.
        "responseHandling": [{"code": "204", "swap": False}, {"code": "...", "swap": True}],
    }
)

_STEPS = ((60, "second"), (60, "minute"), (24, "hour"), (30, "day"), (12, "month"))


def render(request: Request, template: str, status: int = 200, **context: Any) -> HTMLResponse:
    """A page.

    Args:
        context: what the template names; ``area`` says which link of the navigation is the current one.
    """
    values = {
        "request": request,
        "reader": getattr(request.state, "reader", None),
        "csrf": getattr(request.state, "csrf", ""),
        "now": parts_of(request).clock.now(),
        "area": "",
        **context,
    }
    text = environment().get_template(template).render(values)
    return HTMLResponse(text, status, headers={"cache-control": "no-store"})


def asks_for_part(request: Request) -> bool:
    """Whether htmx asks, which puts the answer into a page that is there."""
    return request.headers.get(HTMX_HEADER) == "true"


def said(text: str, limit: int = 300) -> Markup:
    """Text from outside on one line: at most ``limit`` characters, unprintable ones visible, and set apart, so that
    it does not change the direction of what stands beside it."""
    return Markup("<bdi>{}</bdi>").format(clean(text, limit))


def lined(text: str, limit: int) -> Markup:
    """Text of several lines, each of them as :func:`said` has it."""
    lines = text[:limit].splitlines()
    more = "\n…" if len(text) > limit else ""
    return Markup("\n").join(said(line, limit) for line in lines) + more


def code(text: str, limit: int = 300) -> Markup:
    """The same in the type of names, digests and addresses; a line may end behind a slash."""
    return Markup("<code>{}</code>").format(breakable(text, limit, "/"))


def breakable(text: str, limit: int = 300, behind: str = "@/:") -> Markup:
    """As :func:`said`, and where a line is too short it ends behind one of these characters rather than anywhere."""
    shown = escape(clean(text, limit))
    for character in behind:
        shown = shown.replace(character, Markup("{}<wbr>").format(character))
    return Markup("<bdi>{}</bdi>").format(shown)


def when(moment: datetime) -> Markup:
    """An instant in UTC, to the second."""
    moment = moment.astimezone(UTC)
    return Markup('<time datetime="{}">{}</time>').format(rfc3339(moment), f"{moment:%Y-%m-%d %H:%M:%S}")


@pass_context
def ago(context: Context, moment: datetime) -> Markup:
    """How far an instant is from now, in words, with the instant itself beside it for who points at it."""
    return Markup('<time class="ago" datetime="{0}" title="{0}">{1}</time>').format(
        rfc3339(moment), distance(moment, context["now"])
    )


def distance(moment: datetime, now: datetime) -> str:
    """``3 minutes ago``, ``in 2 days``."""
    seconds = (now - moment).total_seconds()
    amount, unit = abs(seconds), "year"
    if amount < 1:
        return "just now"
    for most, name in _STEPS:
        if amount < most:
            unit = name
            break
        amount /= most
    words = count(int(amount), unit)
    return f"{words} ago" if seconds > 0 else f"in {words}"


def count(number: int, one: str, many: str = "") -> str:
    """``1 decision``, ``1,204 decisions``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def size(number: float | None) -> str:
    """Bytes in words: ``12.3 MiB``."""
    if number is None:
        return "unknown"
    amount = float(number)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:,.0f} {unit}" if unit == "bytes" else f"{amount:,.1f} {unit}"
        amount /= 1024
    return f"{amount:,.1f} TiB"


def short(digest: str, chars: int = 12) -> str:
    """A digest by its beginning; ``sha256:`` is left out."""
    return digest.removeprefix("sha256:")[:chars]


def address(path: str, **query: Any) -> str:
    """A relative address; empty values are left out."""
    asked = urlencode({name.rstrip("_"): value for name, value in query.items() if value not in (None, "")})
    return f"{quote(path)}?{asked}" if asked else quote(path)


def attributes(values: Mapping[str, object]) -> Markup:
    """As attributes of a tag."""
    return Markup(" ").join(Markup('{}="{}"').format(name, value) for name, value in values.items())


@cache
def environment() -> Environment:
    """Of all pages."""
    made = Environment(
        loader=PackageLoader("portcullis.server.review"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    made.filters.update(
        said=said, lined=lined, code=code, breakable=breakable, when=when, ago=ago, count=count, size=size, short=short
    )
    made.filters.update(clean=clean, rfc3339=rfc3339, xmlattrs=attributes, escaped=escape)
    made.globals.update(asset=address_of_asset, areas=AREAS, version=__version__, address=address)
    made.globals.update(htmx_config=HTMX_CONFIG)
    return made
