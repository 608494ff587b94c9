"""From which page a request comes, as the browser says, and under which name it was sent.

1. The Host header stands there once and is one of ours: a name of somebody else's that leads to this port (DNS
   rebinding) would make their page one of our own to the browser.
2. A request from a page of another origin may only be a link that is followed: nothing is read or done by others'
   scripts, frames and forms. Source: https://w3c.github.io/webappsec-fetch-metadata/.
3. A POST says by its Origin header that it comes from a page of ours; one without that header is refused.
"""

import re
from collections.abc import Iterable, Sequence

from portcullis.server.review.refusals import Refusal
from portcullis.text import clean

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})
_SHOWN = 100
_AUTHORITY = re.compile(r"(?P<name>[a-z0-9.-]+|\[[0-9a-f:.]+\])(:(?P<port>[0-9]{1,5}))?")
_PORTS = {"http": "80", "https": "443"}

Headers = Sequence[tuple[bytes, bytes]]


class Origins:
    """Args:
    allowed_hosts: as ``audit.pages.allowedHosts`` has them.
    """

    def __init__(self, allowed_hosts: Iterable[str]) -> None:
        self._allowed = LOOPBACK_HOSTS | set(allowed_hosts)

    def check_host(self, headers: Headers) -> str:
        """The Host header, in lower case. Raises Refusal unless 1 holds."""
        hosts = [value.decode("latin-1").lower() for name, value in headers if name == b"host"]
        if len(hosts) == 1 and self._named(hosts[0]):
            return hosts[0]
        raise Refusal(
            421,
            reason="host-unknown",
            title="This is not the name of these pages",
            sentence=f"They were asked for as {clean(', '.join(hosts), _SHOWN) or 'nothing'}.",
            advice="Use localhost or 127.0.0.1, or have the operator add the name to audit.pages.allowedHosts.",
        )

    def check_source(self, method: str, headers: Headers, host: str, *, proxied: bool) -> str:
        """The scheme of the page that the request comes from, "" without an Origin header.

        Args:
            host: as :meth:`check_host` gives it.
            proxied: whether the request comes by a trusted proxy, which may send another Host than readers use.

        Raises:
            Refusal: 2 or 3 does not hold.
        """
        _no_foreign_page(method, headers)
        origins = [value.decode("latin-1") for name, value in headers if name == b"origin"]
        if not origins and method in ("GET", "HEAD"):
            return ""
        scheme, _, authority = origins[0].partition("://") if len(origins) == 1 else ("", "", "")
        ours = scheme in _PORTS and _whole(authority, scheme) == _whole(host, scheme)
        if not ours and not (proxied and scheme in _PORTS and self._named(authority)):
            raise _foreign(f"It says to come from {clean(', '.join(origins), _SHOWN) or 'nowhere'}.")
        return scheme

    def _named(self, authority: str) -> bool:
        found = _AUTHORITY.fullmatch(authority)
        return found is not None and (found["name"] in self._allowed or authority in self._allowed)


def _no_foreign_page(method: str, headers: Headers) -> None:
    site, mode, destination = (_fetch(headers, name) for name in (b"site", b"mode", b"dest"))
    if site in ("", "same-origin", "none"):
        return
    followed = method in ("GET", "HEAD") and mode == "navigate" and destination == "document"
    if not followed:
        raise _foreign("A page of another site asked for it.")


def _fetch(headers: Headers, name: bytes) -> str:
    """A header of fetch metadata; one that stands there twice is none that a browser sends."""
    values = [value.decode("latin-1") for key, value in headers if key == b"sec-fetch-" + name]
    return values[0] if len(values) == 1 else "twice" if values else ""


def _whole(authority: str, scheme: str) -> tuple[str, str] | None:
    """Name and port."""
    found = _AUTHORITY.fullmatch(authority)
    return (found["name"], found["port"] or _PORTS[scheme]) if found is not None else None


def _foreign(sentence: str) -> Refusal:
    return Refusal(
        403,
        reason="origin-foreign",
        title="That does not come from a page of ours",
        sentence=sentence,
        advice="Open the page itself and begin there.",
    )
