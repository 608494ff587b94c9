"""A CA and a server certificate of our own in a folder, for where nobody else issues them.

Whoever can read ``ca.key`` can be the webhook: the folder is 0700 and its files 0600. What becomes of them is
certificatestate's affair; several processes may share the folder, since a step is taken under a lock.
"""

import fcntl
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

from portcullis.cluster.certificateissuing import CA_LIFE, DEFAULT_LIVES, LEAF_LIFE, Lives, Pair, general_names
from portcullis.cluster.certificatestate import (
    CA_FILE,
    CA_KEY,
    ENTRY_BYTES,
    LEAF_FILE,
    LEAF_KEY,
    NEXT_FILE,
    NEXT_KEY,
    Content,
    Stored,
    Terms,
    advance,
)
from portcullis.errors import ConfigError

__all__ = ["CA_FILE", "CA_LIFE", "LEAF_LIFE", "Pair", "SelfManagedCertificate"]

_ORDER: Final = (CA_FILE, NEXT_FILE, NEXT_KEY, CA_KEY, LEAF_KEY, LEAF_FILE)
"""In which they are written: clients are told first. What a crash leaves half done is taken up by the next step."""


class CertificateFolder:
    """The entries as files of a folder, which is made if it is missing. Blocks on files, also where it is awaited:
    they are few and small.

    Every method raises only ConfigError.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def read(self) -> Stored:
        """The entries as they are."""
        with self.locked():
            return Stored(self.entries())

    async def write(self, stored: Stored, content: Content) -> Stored | None:
        """Puts ``content`` in the place of what was read; None where somebody else was quicker."""
        with self.locked():
            if self.entries() != stored.content:
                return None
            self.put(stored.content, content)
            return Stored(self.entries())

    def entries(self) -> Content:
        """The entries, while the folder is locked."""
        found = {name: self._read(name) for name in _ORDER}
        return {name: entry for name, entry in found.items() if entry}

    def put(self, before: Content, content: Content) -> None:
        """Writes what is new, while the folder is locked."""
        for name in _ORDER:
            entry = content.get(name, b"")
            if entry and entry != before.get(name):
                self._write(name, entry)
        for name in _ORDER:
            if not content.get(name):
                (self._directory / name).unlink(missing_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One process at a time; the kernel lets go when a holder dies."""
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                yield
            finally:
                os.close(descriptor)
        except OSError as error:
            raise ConfigError(f"the certificate folder {self._directory} cannot be used: {error.strerror}") from None

    def _read(self, name: str) -> bytes:
        try:
            with (self._directory / name).open("rb") as stream:
                return stream.read(ENTRY_BYTES)
        except FileNotFoundError:
            return b""

    def _write(self, name: str, content: bytes) -> None:
        """Whole or not at all, also after a power cut."""
        temporary = self._directory / f".{name}.{secrets.token_hex(8)}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(self._directory / name)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


class SelfManagedCertificate:
    """Makes the certificate where it is missing, and renews it and its CA in time, where no cluster says what clients
    trust: the next CA stands in the bundle for months before it signs.

    Args:
        directory: is made if it is missing; several processes may share it.
        names: DNS names and IP addresses of the server; another set makes a new certificate.
        lives: of what is made.
    """

    def __init__(self, *, directory: Path, names: Sequence[str], lives: Lives = DEFAULT_LIVES) -> None:
        self._folder = CertificateFolder(directory)
        self._directory = directory
        self._terms = Terms(names=general_names(names), lives=lives)

    @property
    def ca_file(self) -> Path:
        """The bundle that clients trust."""
        return self._directory / CA_FILE

    def ensure(self, now: datetime) -> Pair:
        """The pair to serve with at ``now``, made or renewed if need be. Blocks on files.

        Raises:
            ConfigError: the folder cannot be used.
        """
        with self._folder.locked():
            before = self._folder.entries()
            content = advance(before, terms=self._terms, trust=None, now=now)
            self._folder.put(before, content)
        return Pair(content[LEAF_FILE], content[LEAF_KEY])
