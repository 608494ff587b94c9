"""Tokens and basic authentication: from a registry's challenge to a header Authorization.

A credential goes to the registry that it is configured for, and to that registry's own token endpoint, nowhere
else: a registry (or whoever answers in its place) must not be able to send it to a host of its choice. It goes over
TLS, unless the very host that gets it is marked insecure. Step by step:

1. A registry gets a credential only over https, or where it is marked insecure.
2. A token endpoint gets it only where it belongs to the registry (:func:`may_receive_credential`).
3. And only over https, or where the endpoint's own host is marked insecure.
4. An access token (``registrytoken``) goes to the registry alone, never to a token endpoint.
5. Whoever does not get it is asked as nobody, and what is refused then says why.

Sources: https://distribution.github.io/distribution/spec/auth/token/ and .../oauth/, RFC 6749, RFC 6750, RFC 7617.
"""

import asyncio
import base64
import ipaddress
import time
import weakref
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from yarl import URL

from portcullis.errors import Denied, Malformed
from portcullis.model.image import Anonymous, Credential, IdentityToken, RegistryCredential, RegistryToken
from portcullis.registry.challenges import Challenge, is_token, parse_challenges
from portcullis.registry.documents import Fields, parse_object
from portcullis.registry.hosts import HostRules
from portcullis.text import clean

_DEFAULT_SECONDS: Final = 60.0
"""Life of a token that does not tell its own (token specification)."""
_LONGEST_SECONDS: Final = 3600.0
_BASIC_SECONDS: Final = 3600.0
"""How long a header that hangs on no answer is kept: one of Basic, or an access token that was configured."""
_KEPT: Final = 4096
"""Headers in the cache: repositories times credentials in use."""
_DEPTH: Final = 20
_CLIENT_ID: Final = "portcullis"

# Suffixes under which strangers get names, so that a shared parent says nothing about who answers. The list is
# short on purpose: whoever is missing is caught by the rule of three labels or only loses what it may have anyway.
_SHARED: Final = frozenset(
    {
        "amazonaws.com",
        "amazonaws.com.cn",
        "azurecr.io",
        "azurewebsites.net",
        "cloudfront.net",
        "gcr.io",
        "github.io",
        "googleapis.com",
        "on.aws",
        "pkg.dev",
        "run.app",
    }
)


@dataclass(frozen=True, slots=True)
class Grant:
    """What is asked for: ``host`` is the registry's, ``fingerprint`` that of the credential."""

    host: str
    scope: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class _Header:
    value: str
    expires: float


FetchToken = Callable[[URL, Mapping[str, str]], Awaitable[bytes]]
"""GET without redirects: the body of 200, or a RegistryError."""

PostForm = Callable[[URL, Mapping[str, str]], Awaitable[bytes]]
"""POST of a form (application/x-www-form-urlencoded) without redirects: the body of 200, or a RegistryError."""


class Authenticator:
    """Gets headers and keeps them until they expire, by registry, scope and credential.

    Args:
        fetch: asks a token endpoint; guards addresses and sizes.
        post: the same by POST, which identity tokens need.
    """

    def __init__(
        self,
        *,
        hosts: HostRules,
        fetch: FetchToken,
        post: PostForm,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hosts = hosts
        self._fetch = fetch
        self._post = post
        self._clock = clock
        self._headers: OrderedDict[Grant, _Header] = OrderedDict()
        self._locks: weakref.WeakValueDictionary[Grant, asyncio.Lock] = weakref.WeakValueDictionary()

    def known(self, grant: Grant) -> str | None:
        """The header to begin with; None means anonymously."""
        found = self._headers.get(grant)
        if found is None or found.expires <= self._clock():
            return None
        self._headers.move_to_end(grant)
        return found.value

    async def answer(
        self,
        grant: Grant,
        origin: URL,
        refused: str | None,
        fields: Sequence[str],
        credential: RegistryCredential | Anonymous,
    ) -> str:
        """The header that answers a 401.

        Args:
            origin: the registry's API.
            refused: the header that was sent; it is not used again.
            fields: the values of WWW-Authenticate.

        Raises:
            Denied: the registry wants a credential and there is none, or refused it.
            RegistryError: what else can go wrong with a token endpoint.
        """
        lock = self._locks.setdefault(grant, asyncio.Lock())
        async with lock:
            current = self.known(grant)
            if current is not None and current != refused:
                return current
            self._headers.pop(grant, None)
            header = await self._obtain(grant, origin, parse_challenges(fields, grant.host), credential)
            self._headers[grant] = header
            while len(self._headers) > _KEPT:
                self._headers.popitem(last=False)
            return header.value

    async def _obtain(
        self,
        grant: Grant,
        origin: URL,
        challenges: Sequence[Challenge],
        credential: RegistryCredential | Anonymous,
    ) -> _Header:
        by_scheme = {challenge.scheme: challenge for challenge in reversed(challenges)}
        bearer = by_scheme.get("bearer")
        if not isinstance(credential, Anonymous) and origin.scheme != "https" and not self._hosts.is_insecure(origin):
            raise Denied(f"{grant.host} asks for a credential without TLS, and is not configured as insecure")
        if bearer is not None:
            if isinstance(credential, RegistryToken):
                return _Header(_shown_as_it_is(credential, grant), self._clock() + _BASIC_SECONDS)
            return await self._token(grant, origin, bearer, credential)
        if "basic" not in by_scheme:
            named = ", ".join(by_scheme) or "none"
            raise Denied(f"{grant.host} asks for an authentication that is not spoken here: {clean(named, 80)}")
        if isinstance(credential, Anonymous):
            raise Denied(f"{grant.host} asks for a credential, and none is configured for it")
        if not isinstance(credential, Credential):
            raise Denied(f"{grant.host} asks for a name and a password, and a token is configured for it")
        return _Header(_basic(credential), self._clock() + _BASIC_SECONDS)

    async def _token(
        self, grant: Grant, origin: URL, challenge: Challenge, credential: Credential | IdentityToken | Anonymous
    ) -> _Header:
        """Only the scope that is needed is asked for, whatever the challenge names."""
        realm = self._realm(grant, origin, challenge.parameters.get("realm", ""))
        service = challenge.parameters.get("service", "")
        withheld = "" if isinstance(credential, Anonymous) else self._why_withheld(origin, realm)
        try:
            if isinstance(credential, IdentityToken) and not withheld:
                body = await self._exchange(grant, realm, service, credential)
            else:
                sent = credential if isinstance(credential, Credential) and not withheld else None
                body = await self._ask(grant, realm, service, sent)
        except Denied as error:
            if withheld:
                raise Denied(
                    f"{error.message}; the credential for {grant.host} was not sent there: {withheld}"
                ) from error
            raise
        return self._read(body, f"the token from {clean(realm.host_port_subcomponent or '', 100)}")

    async def _ask(self, grant: Grant, realm: URL, service: str, credential: Credential | None) -> bytes:
        """GET of the token specification, with a name and a password or as nobody."""
        query = {"scope": grant.scope, **({"service": service} if service else {})}
        try:
            url = realm.update_query(query)
        except ValueError as error:
            raise Malformed(f"the challenge of {grant.host} makes no address of a token endpoint") from error
        return await self._fetch(url, {} if credential is None else {"Authorization": _basic(credential)})

    async def _exchange(self, grant: Grant, realm: URL, service: str, credential: IdentityToken) -> bytes:
        """POST of the OAuth2 specification: the identity token is the refresh token."""
        form = {
            "grant_type": "refresh_token",
            "service": service,
            "client_id": _CLIENT_ID,
            "scope": grant.scope,
            "refresh_token": credential.token,
        }
        return await self._post(realm, form)

    def _why_withheld(self, origin: URL, realm: URL) -> str:
        """Why the token endpoint may not have the registry's credential; "" where it may."""
        if not may_receive_credential(origin.raw_host or "", realm.raw_host or ""):
            return "it is another's host"
        if realm.scheme != "https" and not self._hosts.is_insecure(realm):
            return "it has no TLS and is not configured as insecure"
        return ""

    def _realm(self, grant: Grant, origin: URL, text: str) -> URL:
        try:
            realm = URL(text)
            usable = realm.scheme in {"https", "http"} and bool(realm.raw_host) and realm.user is None
        except ValueError:
            usable = False
        if not usable:
            raise Malformed(f"{grant.host} names {clean(repr(text), 100)} as its token endpoint, which is no address")
        if realm.scheme == "http" and not self._hosts.is_insecure(origin):
            raise Denied(
                f"{grant.host} names a token endpoint without TLS at {clean(realm.host_port_subcomponent or '', 100)}, "
                "and the registry is not configured as insecure"
            )
        return realm.with_fragment(None)

    def _read(self, body: bytes, what: str) -> _Header:
        answer = Fields.of(parse_object(body, depth=_DEPTH, what=what), what, ())
        token = answer.text("token") or answer.text("access_token")
        if not is_token(token):
            raise Malformed(f"{what} is missing or holds characters that no token has")
        seconds = answer.count("expires_in") or _DEFAULT_SECONDS
        # A tenth early, so that none expires on its way.
        return _Header(f"Bearer {token}", self._clock() + min(seconds, _LONGEST_SECONDS) * 0.9)


def may_receive_credential(registry: str, realm: str) -> bool:
    """Whether a token endpoint belongs to the registry: the same host, or a name under the same registrable
    domain (``registry-1.docker.io`` and ``auth.docker.io``).

    Labels are compared whole. Without the public suffix list the registrable domain is taken as two labels, or
    three where the second last is as short as those of ``co.uk`` and ``com.au``.
    """
    one, other = (host.lower().removesuffix(".") for host in (registry, realm))
    if one == other:
        return bool(one)
    if _is_address(one) or _is_address(other):
        return False
    labels, others = one.split("."), other.split(".")
    count = 3 if len(labels[-1]) == 2 and len(labels) > 1 and len(labels[-2]) <= 3 else 2
    parent = labels[-count:]
    if len(parent) < count or parent != others[-count:]:
        return False
    return not {".".join(parent), ".".join(parent[-2:])} & _SHARED


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _shown_as_it_is(credential: RegistryToken, grant: Grant) -> str:
    if not is_token(credential.token):
        raise Denied(f"the registry token configured for {grant.host} holds characters that no token has")
    return f"Bearer {credential.token}"


def _basic(credential: Credential) -> str:
    pair = f"{credential.username}:{credential.password}".encode("utf-8", "surrogatepass")
    return f"Basic {base64.b64encode(pair).decode('ascii')}"
