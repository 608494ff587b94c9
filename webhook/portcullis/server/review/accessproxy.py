"""Readers for whom an authenticating proxy vouches.

1. The proxy proves itself by a secret in a header; without it its other headers count for nothing.
2. None of its headers stands in a request twice: a proxy that adds its own behind a reader's would be fooled.
3. A name is printable, bounded, and none of Kubernetes' own (``system:…``): whoever may choose a name at an identity
   provider must not choose that of the cluster's administrators.
"""

import hashlib
import hmac
import os
from collections.abc import Sequence

import structlog

from portcullis.errors import ConfigError
from portcullis.model.subject import Subject
from portcullis.server.files import read_small
from portcullis.server.pagesections import ProxySection
from portcullis.server.review.refusals import Refusal, unknown_reader

SHORTEST_SECRET = 16
SECRETS = 4
"""Lines of the file: the secret of now, and those of before and after."""
NAME_CHARS = 512
GROUPS = 500
_RESERVED = "system:"
_AUTHENTICATED = "system:authenticated"
"""The group that the API server gives to everybody it knows."""
_KEY = "audit.pages.proxy.secretFile"

log = structlog.get_logger(__name__)

Headers = Sequence[tuple[bytes, bytes]]


class ProxySecrets:
    """The secrets in a file, read again when it changes.

    Raises:
        ConfigError: there is no usable one at the start.
    """

    def __init__(self, section: ProxySection) -> None:
        self._path = section.secret_file
        self._state: tuple[int, int, int] | None = None
        self._digests: tuple[bytes, ...] = ()
        self._refresh()

    def holds(self, text: bytes) -> bool:
        """Whether that is one of them. All are compared, hashed, so that time tells nothing of them.

        Raises:
            ConfigError: the file has none any more that can be used.
        """
        self._refresh()
        digest = hashlib.sha256(text).digest()
        return sum(hmac.compare_digest(digest, known) for known in self._digests) > 0

    def _refresh(self) -> None:
        try:
            found = os.stat(self._path)  # noqa: PTH116 - one call, before each request
        except OSError as error:
            raise ConfigError(f"{_KEY}: {self._path} cannot be read: {error.strerror}") from None
        state = (found.st_mtime_ns, found.st_size, found.st_ino)
        if state == self._state:
            return
        secrets = [line.strip() for line in read_small(self._path, _KEY).splitlines() if line.strip()]
        if not 1 <= len(secrets) <= SECRETS or min(map(len, secrets)) < SHORTEST_SECRET:
            raise ConfigError(
                f"{_KEY}: {self._path} must hold 1 to {SECRETS} lines of at least {SHORTEST_SECRET} characters"
            )
        self._digests = tuple(hashlib.sha256(secret.encode()).digest() for secret in secrets)
        self._state = state


class Proxy:
    """Reads the headers of the proxy.

    Raises:
        ConfigError: its secret cannot be read.
    """

    def __init__(self, section: ProxySection) -> None:
        self._section = section
        self._secrets = ProxySecrets(section)
        self._secret, self._user, self._groups = (
            name.lower().encode() for name in (section.secret_header, section.user_header, section.groups_header)
        )

    @property
    def sees_all(self) -> bool:
        """Whether whoever it lets through may read everything."""
        return self._section.readers == "all"

    def speaks(self, headers: Headers) -> bool:
        """Whether the request has any of its headers."""
        return any(name in (self._secret, self._user, self._groups) for name, _ in headers)

    def subject(self, headers: Headers) -> Subject:
        """For whom the proxy vouches.

        Raises:
            Refusal: it does not, or its headers cannot be believed.
        """
        secrets = [value for name, value in headers if name == self._secret]
        users = [value for name, value in headers if name == self._user]
        groups = [value for name, value in headers if name == self._groups]
        if len(secrets) != 1 or not self._proven(secrets[0]):
            log.warning("reader refused", reason="headers of a proxy without its secret")
            raise unknown_reader(
                "These pages are read through a proxy that knows you, and this request did not come from it.",
                "Open the address of the proxy.",
            )
        if len(users) != 1 or len(groups) > 1:
            raise _unreadable(f"{self._section.user_header} must stand there once, {self._section.groups_header} once")
        user = self._section.user_prefix + self._name(users[0], self._section.user_header)
        listed = groups[0].split(b",") if groups and groups[0].strip() else []
        if len(listed) > GROUPS:
            raise _unreadable(f"{self._section.groups_header} names more than {GROUPS} groups")
        names = [self._section.groups_prefix + self._name(group, self._section.groups_header) for group in listed]
        return Subject(username=user, groups=(*dict.fromkeys(names), _AUTHENTICATED))

    def _proven(self, secret: bytes) -> bool:
        try:
            return self._secrets.holds(secret)
        except ConfigError as error:
            log.error("the proxy's secret cannot be read", problem=error.message)
            raise Refusal(
                503,
                reason="config-invalid",
                title="The pages are not set up",
                sentence="The secret of the proxy cannot be read.",
                advice=f"The operator finds why in the log of the gate ({_KEY}).",
            ) from None

    def _name(self, value: bytes, header: str) -> str:
        try:
            name = value.strip().decode()
        except UnicodeDecodeError:
            raise _unreadable(f"{header} is not UTF-8") from None
        if not 1 <= len(name) <= NAME_CHARS or not name.isprintable():
            raise _unreadable(f"a name in {header} is empty, has more than {NAME_CHARS} characters, or is unprintable")
        if name.startswith(_RESERVED):
            raise _unreadable(f"a name in {header} begins with {_RESERVED}, which names of Kubernetes' own do")
        return name


def _unreadable(sentence: str) -> Refusal:
    log.warning("reader refused", reason=sentence)
    return Refusal(
        401,
        reason="reader-unknown",
        title="The proxy does not say who you are",
        sentence=sentence,
        advice="The operator of the proxy has to correct what it sends.",
        headers={"www-authenticate": "Bearer"},
    )
