"""Digests of images, in the ways in which reports and bills of materials write them."""

import re
from collections.abc import Iterable
from urllib.parse import unquote

from portcullis.model.image import DIGEST, Digest

_IMAGE_PURL = re.compile(r"pkg:(?:oci|docker)/[^@?#]*@([^?#]+)")


def digest_in(name: str | None) -> Digest | None:
    """The digest that ``name`` is or names: ``sha256:...`` itself, what stands behind the "@" of a reference, or the
    version of an image's package URL (``pkg:oci``, ``pkg:docker``; its ":" may be percent-encoded). None without one:
    a tag, a package URL of something else, a digest of another length."""
    if name is None:
        return None
    if name.startswith("pkg:"):
        found = _IMAGE_PURL.match(name)
        text = unquote(found[1]) if found else ""
    else:
        text = name.rpartition("@")[2]
    return Digest(text) if DIGEST.fullmatch(text) else None


def digests_in(names: Iterable[str | None]) -> tuple[Digest, ...]:
    """All of :func:`digest_in`, each once, in their order."""
    return tuple(dict.fromkeys(digest for name in names if (digest := digest_in(name)) is not None))
