"""Readers of the audit pages: an API server's reviews in memory, and requests as browsers, proxies and programs send
them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from fakes.asgi import Answered
from portcullis.errors import ClusterError
from portcullis.model.subject import Subject

HOST = "127.0.0.1:8082"


@dataclass
class MemoryReviews:
    """As :class:`portcullis.cluster.reviews.AccessReviews`.

    Args:
        tokens: whose each is.
        allowed_in: namespaces by user name; "" for all of them.
        silent: the API server does not answer.
    """

    tokens: dict[str, Subject] = field(default_factory=dict)
    allowed_in: dict[str, set[str]] = field(default_factory=dict)
    silent: bool = False
    reviewed: list[str] = field(default_factory=list)
    """Tokens that it was asked for."""
    asked: list[tuple[str, str]] = field(default_factory=list)
    """User and namespace that it was asked for."""

    async def authenticate(self, token: str, audience: str) -> Subject | None:
        assert audience == "portcullis.dev/audit"
        self.reviewed.append(token)
        self._answer()
        return self.tokens.get(token)

    async def allowed(self, subject: Subject, *, verb: str, group: str, resource: str, namespace: str) -> bool:
        assert (verb, group, resource) == ("get", "audit.portcullis.dev", "decisions")
        self.asked.append((subject.username, namespace))
        self._answer()
        return namespace in self.allowed_in.get(subject.username, set())

    def _answer(self) -> None:
        if self.silent:
            raise ClusterError("the API server does not say whose a token is: no answer within 3 s")


async def send(
    app: Any,
    address: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    raw: tuple[tuple[str, str], ...] = (),
    body: bytes = b"",
    client: str = "192.0.2.7",
) -> "Exchange":
    """One request. ``headers`` come with a Host unless they have one; ``raw`` are further ones, also of one name."""
    path, _, query = address.partition("?")
    pairs = {"host": HOST, **{name.lower(): value for name, value in (headers or {}).items()}}
    exchange = Exchange()
    sent = False

    async def receive() -> dict[str, Any]:
        nonlocal sent
        if sent:
            return {"type": "http.disconnect"}
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def answer(message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            assert not exchange.status, "two answers"
            exchange.status = message["status"]
            exchange.pairs = [(name.decode().lower(), value.decode()) for name, value in message["headers"]]
            exchange.headers = dict(exchange.pairs)
        else:
            exchange.body += message.get("body", b"")

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "http",
        "method": method,
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode("latin-1"),
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in (*pairs.items(), *raw)],
        "client": (client, 1),
        "server": ("127.0.0.1", 8082),
        "state": {},
    }
    await app(scope, receive, answer)
    return exchange


@dataclass
class Exchange(Answered):
    """With all headers, also several of one name."""

    pairs: list[tuple[str, str]] = field(default_factory=list)

    @property
    def cookies(self) -> dict[str, str]:
        """Those that the answer sets, by name; "" where one is taken away."""
        set_cookies = [value for name, value in self.pairs if name == "set-cookie"]
        return dict(value.partition(";")[0].split("=", 1) for value in set_cookies)  # type: ignore[misc]
