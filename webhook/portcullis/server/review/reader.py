"""Who reads, and what they may see."""

from dataclasses import dataclass
from typing import Literal

from starlette.requests import HTTPConnection

from portcullis.model.record import Visible

How = Literal["loopback", "proxy", "token", "nobody"]


@dataclass(frozen=True, slots=True)
class Reader:
    """A person or program at the pages.

    Args:
        name: as the proxy or the API server says it; "" on loopback, where ``pods/portforward`` is the permission.
        how: what vouches for the name.
        visible: the namespaces that go into every query.
    """

    name: str
    how: How
    visible: Visible


LOOPBACK = Reader("", "loopback", None)

NOBODY = Reader("", "nobody", frozenset())
"""Whoever is not known yet, or is turned away: for the pages that say so."""


def reader_of(connection: HTTPConnection) -> Reader:
    """The reader whom the middleware has let in.

    Raises:
        RuntimeError: none has, which would be a bug of ours: nothing is shown then.
    """
    reader = getattr(connection.state, "reader", None)
    if not isinstance(reader, Reader):
        raise RuntimeError("a page was asked for by nobody")
    return reader
