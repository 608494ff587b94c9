"""Image patterns of trust rules and exceptions: globs over the segments of ``registry/repository``.

``registry.example/acme/**`` and not ``registry.example/acme*``: a prefix of text would also cover
``registry.example/acme-evil``. Segments are compared whole, so a pattern cannot be half of a name.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from portcullis.errors import ConfigError
from portcullis.globs import matches
from portcullis.model.image import Repository
from portcullis.text import clean

_SEGMENTS = 64
_SHOWN_CHARS = 120
_GLOBS = frozenset({"*", "**"})
# As references tell a host from a first path segment (distribution/reference, normalize.go).
_HOST = re.compile(r"localhost|(?=.*[.:])[A-Za-z0-9.:\[\]-]+")
_PATH = re.compile(r"\*\*?|[A-Za-z0-9._-]+")
_OTHER_NAMES_OF_DOCKER_HUB = frozenset({"index.docker.io", "registry-1.docker.io"})


@dataclass(frozen=True, slots=True)
class ImagePattern:
    """A parsed pattern. ``*`` stands for one whole segment, ``**`` for any number of them, also none."""

    text: str
    segments: tuple[str, ...]

    def matches(self, repository: Repository) -> bool:
        return matches(self.segments, str(repository).lower().split("/"), many="**", one="*")


def parse_pattern(text: str) -> ImagePattern:
    """A pattern such as ``registry.example/acme/**``, read as the policy ``image-source`` reads its patterns.
    Images of Docker Hub are matched by their full name: ``docker.io/library/alpine``.

    Raises:
        ConfigError: a pattern that could never match what its author means: an empty segment, a ``*`` that is
            only a part of one, a tag or digest, a first segment that is no registry's host, no repository.
    """
    segments = tuple(text.lower().split("/"))
    if fault := _fault(segments):
        raise ConfigError(f'the image pattern "{clean(text, _SHOWN_CHARS)}" {fault}')
    return ImagePattern(text, segments)


def _fault(segments: Sequence[str]) -> str:
    host, *path = segments
    if len(segments) > _SEGMENTS:
        return f"has more than {_SEGMENTS} segments"
    if "" in segments:
        return "has an empty segment"
    if any("*" in segment and segment not in _GLOBS for segment in segments):
        return "is wrong: '*' and '**' stand for whole segments only"
    if host not in _GLOBS and _HOST.fullmatch(host) is None:
        return "does not begin with a registry's host (docker.io for Docker Hub)"
    if host in _OTHER_NAMES_OF_DOCKER_HUB:
        return "names Docker Hub otherwise than docker.io, as images of it are called here"
    if not path and host != "**":
        return "names a registry and no repository"
    if any(_PATH.fullmatch(segment) is None for segment in path):
        return "is not registry/repository without tag or digest"
    return ""
