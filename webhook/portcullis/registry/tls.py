"""Whom registries' certificates are believed by: the system's authorities, and those of a file for one host alone.

A file may change under the running program (a mounted ConfigMap or Secret), and counts as soon as it has. A change that
cannot be used is logged, and what was there before stays in force: to believe nobody would be an outage, and to
believe what was believed a moment ago is what the operator still wants of a rotation that is half done.
"""

import logging
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from yarl import URL

from portcullis.errors import ConfigError
from portcullis.registry.hosts import find_host
from portcullis.registry.watched import UnreadableFile, Unusable, WatchedFile

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Authority:
    file: WatchedFile[ssl.SSLContext]
    context: ssl.SSLContext
    problem: str = ""


class Authorities:
    """TLS contexts by host.

    Args:
        ca_files: PEM files by ``host`` or ``host:port``, each added to the system's authorities for that host.
        limit: bytes of one file (``ca_file_bytes``).

    Raises:
        ConfigError: a file cannot be read, or holds no certificate.
    """

    def __init__(self, *, ca_files: Mapping[str, Path], limit: int) -> None:
        self._default = ssl.create_default_context()
        self._hosts: dict[str, _Authority] = {}
        for host, path in ca_files.items():
            file = WatchedFile(path=path, limit=limit, named="caFileBytes", read=_context)
            try:
                self._hosts[host] = _Authority(file, file.value())
            except UnreadableFile as error:
                raise ConfigError(f"registries.hosts.{host}.caFile: {error.problem}") from error

    def of(self, url: URL) -> ssl.SSLContext:
        """The context for that URL's host and port: the same object until the file changes, so that connections are
        used again."""
        entry = find_host(self._hosts, url)
        if entry is None:
            return self._default
        authority = self._hosts[entry]
        try:
            authority.context, authority.problem = authority.file.value(), ""
        except UnreadableFile as error:
            if error.problem != authority.problem:
                authority.problem = error.problem
                log.warning("certificate authorities of %s not changed: %s", entry, error.problem)
        return authority.context


def _context(content: bytes) -> ssl.SSLContext:
    context = ssl.create_default_context()
    # OpenSSL takes a text without any certificate for one that adds none.
    if b"-----BEGIN CERTIFICATE-----" not in content:
        raise Unusable("holds no certificate in PEM")
    try:
        context.load_verify_locations(cadata=content.decode("utf-8"))
    except (ssl.SSLError, ValueError):
        raise Unusable("holds a certificate that cannot be read") from None
    return context
