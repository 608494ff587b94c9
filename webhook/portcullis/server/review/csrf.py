"""Proof that a form was on a page of ours: a code in it that only this gate makes, for this reader and session.

Other origins can neither read it (same-origin policy; the Host header is checked, so no name of theirs leads here) nor
guess it. It is asked for beside the Origin header, not in its place.
"""

import hashlib
import hmac

from starlette.requests import HTTPConnection

from portcullis.ports import Clock
from portcullis.server.review.sessions import derived_key

FIELD = "csrf"
"""Of the form."""
HOURS = 12
"""How long a page may stand open before its form is sent."""
_CHARS = 100
_HOUR = 3600


class Csrf:
    """Makes and checks the codes.

    Args:
        secret: that of the sessions.
    """

    def __init__(self, *, secret: bytes, clock: Clock) -> None:
        self._key = derived_key(secret, b"portcullis audit form 1")
        self._clock = clock

    def code(self, bound: str) -> str:
        """For the forms of whoever ``bound`` says."""
        return self._code(self._hour(), bound)

    def holds(self, code: str, bound: str) -> bool:
        """Whether it was made for the same, in the last HOURS."""
        hour, _, _ = code.partition(".")
        if len(code) > _CHARS or not (hour.isascii() and hour.isdecimal()):
            return False
        age = self._hour() - int(hour)
        right = hmac.compare_digest(code.encode("utf-8", "replace"), self._code(int(hour), bound).encode())
        return right and 0 <= age < HOURS

    def _code(self, hour: int, bound: str) -> str:
        text = f"{hour}\0{bound}".encode("utf-8", "surrogatepass")
        return f"{hour}.{hmac.new(self._key, text, hashlib.sha256).hexdigest()}"

    def _hour(self) -> int:
        return int(self._clock.now().timestamp()) // _HOUR


def csrf_of(connection: HTTPConnection) -> str:
    """The code for the forms of this page, in the hidden field ``csrf``."""
    code: str = connection.state.csrf
    return code
