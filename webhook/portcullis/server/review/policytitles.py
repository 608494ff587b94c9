"""What policies are called: as those say that stand now, and where one is gone, as the recorded set says."""

import asyncio
import re
from collections.abc import Mapping

import msgspec

from portcullis.errors import RecordsError
from portcullis.model.decision import Decision
from portcullis.server.review.parts import ReviewParts
from portcullis.text import clean

_TITLE_CHARS = 200
_PACKAGE = re.compile(r"^package[ \t]+portcullis\.policies\.(?P<name>\w+)", re.MULTILINE)
_TITLE = re.compile(r"^#[ \t]*title:[ \t]*(?P<title>[^\n]+)$", re.MULTILINE)


async def titles_of(parts: ReviewParts, decision: Decision) -> Mapping[str, str]:
    """Titles of the policies that the decision names, as far as they are known. Never raises."""
    wanted = {one.policy for one in decision.violations} | {one.policy for one in decision.undecided}
    found = {one.name: one.title for one in parts.current().compiled.policies if one.name in wanted}
    if wanted <= found.keys():
        return found
    try:
        content = await parts.bundles.get(decision.policy_revision)
    except RecordsError:
        return found
    return found if content is None else {**await asyncio.to_thread(_recorded, content, wanted), **found}


class _Source(msgspec.Struct):
    text: str = ""


class _Set(msgspec.Struct):
    sources: list[_Source] = []


def _recorded(content: bytes, wanted: set[str]) -> Mapping[str, str]:
    """The titles in METADATA of a recorded set, without compiling it."""
    try:
        sources = msgspec.json.decode(content, type=_Set).sources
    except (msgspec.MsgspecError, RecursionError):
        return {}
    found = {}
    for source in sources:
        package, title = _PACKAGE.search(source.text), _TITLE.search(source.text)
        if package and title and (name := package["name"].replace("_", "-")) in wanted:
            found[name] = clean(title["title"].strip("\"' "), _TITLE_CHARS)
    return found
