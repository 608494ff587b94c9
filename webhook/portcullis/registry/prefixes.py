"""Which repositories something is for: a registry's host, or the first segments of a path there.

Hosts are compared label by label and segments whole: ``registry.example/acme`` covers ``registry.example/acme/web``,
and neither ``registry.example/acmeevil`` nor ``registry.example.attacker/acme``.
"""

import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from portcullis.model.image import Repository
from portcullis.registry.hosts import split_host

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Prefix:
    """``host`` as split_host gives it; a label of it may be a pattern with ``*`` and ``?``, which stand for characters
    of that label only. ``port`` None is the host without one: names that differ in the port are different."""

    host: str
    port: int | None
    path: tuple[str, ...] = ()

    @classmethod
    def of(cls, text: str) -> "Prefix":
        """Reads ``host[:port][/path]``; a slash at the end says nothing."""
        registry, _, path = text.partition("/")
        host, port = split_host(registry)
        return cls(host, port, tuple(path.rstrip("/").split("/")) if path.strip("/") else ())

    def covers(self, repository: Repository) -> bool:
        """Whether the repository is there or below."""
        host, port = split_host(repository.registry)
        if port != self.port or not _same_host(self.host, host):
            return False
        return tuple(repository.path.split("/"))[: len(self.path)] == self.path

    @property
    def rank(self) -> tuple[int, bool, int]:
        """The larger, the more exactly it says what it is for: by segments, then whether the host is written out."""
        return len(self.path), not _is_pattern(self.host), len(self.host)


def longest(items: Iterable[tuple[Prefix, _Item]], repository: Repository) -> _Item | None:
    """What is kept under the longest prefix that covers the repository; the first of two equals."""
    covering = [(prefix, item) for prefix, item in items if prefix.covers(repository)]
    return max(covering, key=lambda found: found[0].rank)[1] if covering else None


def _is_pattern(host: str) -> bool:
    return "*" in host or "?" in host


def _same_host(pattern: str, host: str) -> bool:
    """As the kubelet matches (https://kubernetes.io/docs/concepts/containers/images/#config-json): one pattern per
    label, as many labels on either side."""
    if not _is_pattern(pattern):
        return pattern == host
    labels, wanted = host.split("."), pattern.split(".")
    # Brackets are no pattern here: those of an IPv6 address are gone, and a range says nothing that anyone needs.
    return len(labels) == len(wanted) and all(
        fnmatch.fnmatchcase(label, part.replace("[", "[[]")) for label, part in zip(labels, wanted, strict=True)
    )
