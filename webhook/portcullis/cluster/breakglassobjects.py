"""Objects BreakGlass as people make and list them: with their own rights, by commands. The gate watches them otherwise
(breakglass.py) and makes none.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import aiohttp
from kubernetes.aio.client import ApiClient
from kubernetes.aio.client.exceptions import ApiException

from portcullis.cluster.breakglass import BREAK_GLASSES
from portcullis.cluster.client import FAULTS, Configured, bounded_content, reason_of
from portcullis.cluster.resources import ask
from portcullis.errors import ClusterError
from portcullis.model.json import JSONObject

API_VERSION: Final = BREAK_GLASSES.group_version
KIND: Final = "BreakGlass"
SECONDS: Final = 35.0
"""For one answer; webhooks that are asked meanwhile may take 30 s."""
PAGE: Final = 500
MOST: Final = 5000
"""Grants that are listed. They last a day at most; whoever has more has another problem."""

_BYTES: Final = 32 * 1024 * 1024
"""Of one page. A grant has 1 KiB, and 64 KiB at most."""
_WARNING: Final = re.compile(r'299 \S+ "((?:[^"\\]|\\.)*)"')
"""Source: RFC 7234, 5.5; https://kubernetes.io/blog/2020/09/03/warnings/."""


@dataclass(frozen=True, slots=True)
class Made:
    """The object as the API server has it, and what it warned of."""

    found: JSONObject
    warnings: tuple[str, ...]


class BreakGlassObjects:
    """What the API server has of them. Every method raises only ClusterError.

    Args:
        where: which cluster it is, for messages.
    """

    def __init__(self, client: ApiClient, where: str) -> None:
        self._client = client
        self._where = where

    async def create(self, manifest: JSONObject, namespace: str) -> Made:
        """Makes it, with the rights of whoever the client is."""
        path = replace(BREAK_GLASSES, namespace=namespace).path
        found, answer = await self._ask("POST", path, {}, manifest, "the grant cannot be made")
        warnings = (text for line in answer.headers.getall("Warning", []) for text in _WARNING.findall(line))
        return Made(found, tuple(re.sub(r"\\(.)", r"\1", text) for text in warnings))

    async def list(self, namespace: str) -> tuple[JSONObject, ...]:
        """All in ``namespace``, or everywhere for ""."""
        path = replace(BREAK_GLASSES, namespace=namespace).path
        listed: list[JSONObject] = []
        query: dict[str, str | int] = {"limit": PAGE}
        while True:
            page, _ = await self._ask("GET", path, query, None, "grants cannot be listed")
            items, metadata = page.get("items"), page.get("metadata")
            listed += [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
            if len(listed) > MOST:
                raise ClusterError(f"there are more than {MOST} grants: list those of one namespace")
            more = metadata.get("continue") if isinstance(metadata, Mapping) else None
            if not isinstance(more, str) or not more:
                return tuple(listed)
            query["continue"] = more

    async def _ask(
        self, method: str, path: str, query: Mapping[str, str | int], body: Any, what: str
    ) -> tuple[JSONObject, aiohttp.ClientResponse]:
        try:
            async with asyncio.timeout(SECONDS):
                answer = await ask(self._client, method, path, query=query, body=body, silence_seconds=SECONDS)
                async with answer:
                    content = await bounded_content(answer, _BYTES, "the answer")
            if answer.status not in (200, 201):
                said = content.decode(errors="replace")
                raise ApiException(status=answer.status, reason=answer.reason, body=said)
            found = json.loads(content)
            if not isinstance(found, dict):
                raise ValueError("the answer is no object")
        except FAULTS as error:
            why = reason_of(error, SECONDS)
            if isinstance(error, ApiException) and error.status == 404:
                why = "it has no kind BreakGlass, or not that namespace (the chart's value breakGlass.enabled)"
            raise ClusterError(f"{what} ({self._where}): {why}") from error
        return found, answer


@asynccontextmanager
async def grants_of(configured: Configured) -> AsyncIterator[BreakGlassObjects]:
    """Those of the cluster."""
    async with ApiClient(configured.configuration) as client:
        yield BreakGlassObjects(client, configured.where)
