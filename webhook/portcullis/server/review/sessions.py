"""Sessions of readers who logged in with a token: sealed, and kept by their browsers alone.

What a browser holds is the session with its token in it, sealed by AES-256-GCM; the gate keeps neither. It takes the
token out whenever the API server is to say anew whose it is, so a token that was revoked ends its session, and replicas
that share a key need no store. Who steals the cookie has the session and not the token.
"""

import base64
import binascii
import json
import secrets
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

TOKEN_BYTES = 2800
"""A longer token does not fit into a cookie, for which browsers have 4,096 bytes; a service account's has 1,000."""
SEALED_CHARS = 4000
_NONCE_BYTES = 12
_PURPOSE = b"portcullis audit session 1"


@dataclass(frozen=True, slots=True)
class Session:
    """Args:
    id: by chance; what CSRF tokens and log-outs go by.
    token: of Kubernetes.
    ends_at: seconds since 1970.
    """

    id: str
    token: str
    ends_at: int

    def __repr__(self) -> str:
        """Without the token, whatever prints it."""
        return f"Session(id={self.id!r}, ends_at={self.ends_at})"


def derived_key(secret: bytes, purpose: bytes) -> bytes:
    """A key of 32 bytes for one purpose, from a secret of any length."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose).derive(secret)


def new_session(token: str, ends_at: int) -> Session:
    return Session(secrets.token_hex(16), token, ends_at)


class Sealer:
    """Seals sessions and opens them again.

    Args:
        secret: at least 32 bytes by chance; who has it can make sessions.
    """

    def __init__(self, secret: bytes) -> None:
        self._cipher = AESGCM(derived_key(secret, _PURPOSE))

    def seal(self, session: Session) -> str:
        """As the value of a cookie."""
        content = json.dumps([session.id, session.ends_at, session.token]).encode()
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, content, _PURPOSE)
        return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def open(self, text: str, now: float) -> Session | None:
        """The session; None where it was not sealed by this key, was changed, or is over at ``now``."""
        if len(text) > SEALED_CHARS:
            return None
        try:
            sealed = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
            content = self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _PURPOSE)
        except (InvalidTag, binascii.Error, ValueError):
            return None
        identity, ends_at, token = json.loads(content)  # what opens is what seal() wrote
        return Session(identity, token, ends_at) if now < ends_at else None
