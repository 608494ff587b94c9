"""Images on disk as ``inspect`` takes them: ``oci-layout:DIR[:NAME]`` and ``docker-archive:FILE[:NAME]``, each also
with ``@sha256:…`` at its end.

The kind, up to the first colon, is no host that a reference could name, since hosts have a dot or a port. So such an
image is never taken for one in a registry, and ``registry`` in the policy input says where it really comes from. The
path ends at the next colon, as it does for skopeo (containers-transports(5)); NAME is what the image is called inside.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from portcullis.errors import InvalidReference
from portcullis.limits import Limits
from portcullis.model.image import ImageReference, Platform, Repository
from portcullis.ports import Registry
from portcullis.reference.parse import parse_digest
from portcullis.text import quoted

OCI_LAYOUT: Final = "oci-layout"
DOCKER_ARCHIVE: Final = "docker-archive"

_DIGEST: Final = re.compile(r"@(sha(?:256|512):.*)\Z", re.DOTALL)


def is_on_disk(text: str) -> bool:
    """Whether ``text`` names a folder or an archive."""
    return text.partition(":")[0] in {OCI_LAYOUT, DOCKER_ARCHIVE} and ":" in text


def parse_on_disk(text: str, limits: Limits) -> ImageReference:
    """The reference of an image on disk: its registry is the kind, its repository the path as written. ``tag`` is None
    where no NAME was written, which is whatever the only image is called.

    Args:
        text: one for which :func:`is_on_disk` holds.

    Raises:
        InvalidReference: no path, a wrong digest, or longer than ``limits.reference_chars``.
    """
    if len(text) > limits.reference_chars:
        raise InvalidReference(
            f"the image {quoted(text)} has {len(text)} characters; limits.referenceChars is {limits.reference_chars}"
        )
    if "\0" in text or not _is_text(text):
        raise InvalidReference(f"the image {quoted(text)} holds what is no text in UTF-8")
    kind, _, rest = text.partition(":")
    found = _DIGEST.search(rest)
    digest = parse_digest(found.group(1)) if found else None
    path, colon, name = (rest[: found.start()] if found else rest).partition(":")
    if not path:
        raise InvalidReference(f"{quoted(text)} names no path: write {kind}:PATH")
    if colon and not name:
        raise InvalidReference(f"{quoted(text)} has a colon at its end and no name of an image behind it")
    return ImageReference(Repository(kind, path), name or None, digest)


def open_on_disk(reference: ImageReference, *, platforms: Sequence[Platform], limits: Limits) -> Registry:
    """The Registry that holds the image of :func:`parse_on_disk`; nothing is read yet."""
    from portcullis.registry.archive import DockerArchive
    from portcullis.registry.files import Folder
    from portcullis.registry.layout import OciLayout

    repository = reference.repository
    path = Path(repository.path)
    wanted = tuple(platforms)
    if repository.registry == DOCKER_ARCHIVE:
        return DockerArchive(path=path, repository=repository, platforms=wanted, limits=limits)
    return OciLayout(files=Folder(path), repository=repository, platforms=wanted, limits=limits)


def _is_text(text: str) -> bool:
    """Bytes of an argument that are no UTF-8 are lone surrogates here (PEP 383)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
