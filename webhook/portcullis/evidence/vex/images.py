"""Which platforms of the judged image a VEX product, an attestation or a scan is about."""

from collections.abc import Mapping, Sequence
from typing import Final

from portcullis.evidence.reports.imagenames import digest_in
from portcullis.evidence.vex.purls import Purl
from portcullis.model.evidence import Attestation, AttestedScan, VexProduct
from portcullis.model.image import Digest, ImageReference, ResolvedImage

Platforms = frozenset[Digest] | None
"""Manifests of platforms of an image; None stands for all, an empty set for none of them."""

NONE: Final[frozenset[Digest]] = frozenset()

_UNDERSTOOD: Final = frozenset({"arch", "os", "repository_url", "tag"})
_HUB: Final = "docker.io"
_NAMES_OF_HUB: Final = frozenset({"index.docker.io", "registry-1.docker.io", "hub.docker.com"})


def both(one: Platforms, other: Platforms) -> Platforms:
    """The platforms that are in both."""
    if one is None or other is None:
        return other if one is None else one
    return one & other


def is_of_image(purl: Purl) -> bool:
    """Whether it names an image, and not a package in one."""
    return purl.type in ("oci", "docker")


def platforms_of(product: VexProduct, purl: Purl | None, image: ResolvedImage) -> Platforms:
    """The platforms of ``image`` that ``product`` is: none where it is something else.

    1. The empty product is the subject of the attestation, which is this image.
    2. Any digest that is given, as one of the product, in its package URL or in another name of it, must be the
       image's own or that of one of its platforms. Then it is that one, wherever it lies and whatever it is called.
       Digests of algorithms that the image's have not cannot be compared; one that can be there must be.
    3. Without a digest, a package URL must name the image's repository, and its tag where it names one, and must say
       nothing that is not understood. Any other name is the name of something else.
    4. The architecture and the operating system of a package URL choose among the platforms.

    Args:
        purl: that of the product, parsed; None where it has none, or one that cannot be read.
    """
    if product.purl and (purl is None or not is_of_image(purl)):
        return NONE
    named = digest_in(product.identifier) if purl is None else digest_in(purl.version)
    digests = [*product.digests, *([] if named is None else [named])]
    if digests:
        return both(_of_digests(digests, image), _chosen(purl.qualifiers if purl is not None else {}, image))
    if purl is None:
        return NONE if product.identifier else None
    return _chosen(purl.qualifiers, image) if _names(purl, image.reference) else NONE


def _of_digests(digests: Sequence[str], image: ResolvedImage) -> Platforms:
    """2"""
    platforms = {platform.digest: frozenset({platform.digest}) for platform in image.platforms}
    algorithms = {digest.algorithm for digest in (image.digest, *platforms)}
    comparable = [Digest(digest) for digest in digests if Digest(digest).algorithm in algorithms]
    meant: Platforms = None if comparable else NONE
    for digest in comparable:
        if digest != image.digest:
            meant = both(meant, platforms.get(digest, NONE))
    return meant


def _names(purl: Purl, reference: ImageReference) -> bool:
    """3. The version of ``pkg:docker`` is a tag, where it is no digest. ``repository_url`` of ``pkg:oci`` is written
    with the image's name and without it; that of ``pkg:docker`` is the registry, Docker Hub where it is left out."""
    given = purl.qualifiers.get("repository_url", "")
    tag = purl.version if purl.type == "docker" else purl.qualifiers.get("tag", "")
    if purl.subpath or not purl.qualifiers.keys() <= _UNDERSTOOD or tag not in ("", reference.tag):
        return False
    url = _normal(given)
    if purl.type == "docker":
        namespace = purl.namespace or ("library" if url in ("", _HUB) else "")
        path = "/".join(part for part in (url or _HUB, namespace, purl.name) if part)
        return path == str(reference.repository)
    if not url or purl.version or purl.namespace:  # a version that is no digest is none of an OCI image
        return False
    name = str(reference.repository)
    return name.rpartition("/")[2] == purl.name and name in (url, f"{url}/{purl.name}")


def _normal(url: str) -> str:
    host, slash, path = url.removeprefix("https://").rstrip("/").lower().partition("/")
    return f"{_HUB if host in _NAMES_OF_HUB else host}{slash}{path}"


def _chosen(qualifiers: Mapping[str, str], image: ResolvedImage) -> Platforms:
    """4"""
    architecture, os = qualifiers.get("arch", ""), qualifiers.get("os", "")
    if not architecture and not os:
        return None
    return frozenset(
        one.digest
        for one in image.platforms
        if architecture in ("", one.platform.architecture) and os in ("", one.platform.os)
    )


# -- platforms ------------------------------------------------------------------------------------------------------


def subject_platforms(attestation: Attestation, image: ResolvedImage) -> Platforms:
    """The platforms that an attestation speaks of: those at which it hangs; None for all, where it hangs at the index
    (or at an image that has one platform)."""
    if not image.is_index or (attestation.subject == image.digest and attestation.platform is None):
        return None
    return frozenset(
        one.digest
        for one in image.platforms
        if attestation.subject in (one.digest, image.digest) and attestation.platform in (one.platform, None)
    )


def scanned(scan: AttestedScan, image: ResolvedImage) -> frozenset[Digest]:
    """The platforms at which a scan may have looked: those that fit all that it says of itself. None at all where it
    contradicts itself; all of them where it says nothing."""
    report = scan.report
    hangs_at = subject_platforms(scan.attestation, image)
    fitting = [one for one in image.platforms if hangs_at is None or one.digest in hangs_at]
    named = [
        one for one in fitting if one.digest in report.target_digests or one.config_digest == report.target_image_id
    ]
    claimed = report.platform
    return frozenset(one.digest for one in named or fitting if claimed is None or claimed.fits(one.platform))
