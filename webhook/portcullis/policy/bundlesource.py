"""One OPA bundle that is fetched by HTTP, again and again; the last good one stays.

A server that answers 304 to ``If-None-Match`` is asked for little. Redirects are not followed: they would carry the
credential to whoever is named.
"""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp

from portcullis.errors import CompileProblem, PolicyCompileError, PortcullisError
from portcullis.limits import Limits
from portcullis.policy.opabundle import Verification, read_archive, rego_of, verify
from portcullis.text import clean

FETCH_SECONDS: Final = 60.0
CONNECT_SECONDS: Final = 10.0
_ETAG_CHARS: Final = 1000


@dataclass(frozen=True, slots=True)
class BundleOrigin:
    """Where a bundle comes from.

    Args:
        name: how messages name it.
        url: http:// or https://.
        token_file: a bearer token, read before each request; None for none.
        ca_file: certificate authorities in PEM beside the system's.
        verification: None where the operator asks for no signature.
    """

    name: str
    url: str
    token_file: Path | None = None
    ca_file: Path | None = None
    verification: Verification | None = field(default=None, repr=False)


class BundleSource:
    """Fetches a bundle.

    Args:
        binary: OPA, which proves signatures.
        limits: ``policy_source_bytes`` and ``policy_source_files``.
    """

    def __init__(self, origin: BundleOrigin, *, binary: Path, limits: Limits) -> None:
        self.origin = origin
        self._binary = binary
        self._limits = limits
        self._etag = ""
        self.files: Mapping[str, bytes] | None = None
        """The Rego of the last good one; None before the first."""
        self.problem = "not fetched yet"
        """Why the last attempt brought nothing new; "" where it went well."""
        self.failures = 0

    async def refresh(self) -> bool:
        """Asks once; whether there are other files than before. Never raises for what the server does: see
        :attr:`problem`."""
        try:
            content, etag = await self._fetch()
            if content is None:
                self.problem = ""
                return False
            files = read_archive(content, self.origin.name, self._limits)
            if self.origin.verification is not None:
                await verify(
                    files, self.origin.verification, self.origin.name, binary=self._binary, limits=self._limits
                )
            found = rego_of(files, self.origin.name)
        except PortcullisError as error:
            self.failures += 1
            self.problem = clean(error.message, 500)
            return False
        changed = found != self.files
        self.files, self.problem, self._etag = found, "", etag
        return changed

    async def _fetch(self) -> tuple[bytes | None, str]:
        """The bytes and their tag; None where the server has nothing else than before.

        Raises:
            PolicyCompileError: they cannot be had.
        """
        try:
            headers = {"Accept": "application/gzip, application/octet-stream, */*", "Accept-Encoding": "identity"}
            if self.origin.token_file is not None:
                token = await asyncio.to_thread(self.origin.token_file.read_text, "utf-8")
                headers["Authorization"] = f"Bearer {token.strip()}"
            if self._etag:
                headers["If-None-Match"] = self._etag
            timeout = aiohttp.ClientTimeout(total=FETCH_SECONDS, sock_connect=CONNECT_SECONDS)
            connector = aiohttp.TCPConnector(ssl=await asyncio.to_thread(self._tls), limit=1)
            async with (
                aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as session,
                session.get(self.origin.url, headers=headers, allow_redirects=False) as response,
            ):
                return await self._read(response)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            said = "no answer in time" if isinstance(error, TimeoutError) else clean(str(error), 200)
            raise self._fault(f"the bundle cannot be fetched: {said or type(error).__name__}") from error

    async def _read(self, response: aiohttp.ClientResponse) -> tuple[bytes | None, str]:
        if response.status == 304 and self._etag:
            return None, self._etag
        if 300 <= response.status < 400:
            raise self._fault("the server redirects; name the address that it leads to")
        if response.status != 200:
            raise self._fault(f"the server answered {response.status} {clean(response.reason or '', 60)}".rstrip())
        limit = self._limits.policy_source_bytes
        content = bytearray()
        async for piece in response.content.iter_any():
            content += piece
            if len(content) > limit:
                raise self._fault(f"the bundle exceeds the limit policySourceBytes ({limit})")
        etag = response.headers.get("ETag", "")
        return bytes(content), etag if len(etag) <= _ETAG_CHARS else ""

    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self.origin.ca_file is not None:
            context.load_verify_locations(self.origin.ca_file)
        return context

    def _fault(self, message: str) -> PolicyCompileError:
        return PolicyCompileError((CompileProblem(self.origin.name, 0, 0, message),))
