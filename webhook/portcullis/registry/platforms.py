"""Which children of an index may run on the nodes of the cluster.

Every child that a node could choose is judged, so where runtimes differ in their choice, all candidates are in.
Source: image-spec image-index.md, and containerd's matching (github.com/containerd/platforms).
"""

from collections.abc import Sequence
from typing import Final

from portcullis.errors import Malformed, NotFound
from portcullis.model.image import Descriptor, Platform
from portcullis.registry.manifests import MANIFESTS
from portcullis.text import clean

_ARCHITECTURES: Final = {
    "x86_64": "amd64",
    "x86-64": "amd64",
    "aarch64": "arm64",
    "i386": "386",
    "armhf": "arm",
    "armel": "arm",
}
_FALLBACKS: Final = {"amd64": "386", "arm64": "arm"}
"""What else the processors of an architecture run: containerd turns to it where an index has nothing better."""
_DEFAULT_VARIANTS: Final = {("arm64", "v8"): "", ("arm64", "8"): "", ("amd64", "v1"): "", ("arm", ""): "v7"}
_SHOWN: Final = 10


def normalise(platform: Platform) -> Platform:
    """The form in which containerd compares platforms. No system stays none: a node takes it for its own."""
    system = {"macos": "darwin"}.get(platform.os.lower(), platform.os.lower())
    written = platform.architecture.lower()
    architecture = _ARCHITECTURES.get(written, written)
    variant = "v6" if written == "armel" else platform.variant.lower()
    if variant.isascii() and variant.isdecimal():
        variant = f"v{variant}"
    return Platform(system, architecture, _DEFAULT_VARIANTS.get((architecture, variant), variant))


def may_run(child: Platform, wanted: Platform) -> bool:
    """Whether a node of platform ``wanted`` could choose an image for ``child``.

    A wanted platform without variant takes every variant; one with a variant takes it and the older ones, which
    its processors run as well.
    """
    one, node = normalise(child), normalise(wanted)
    if one.os not in {"", node.os} or one.architecture != node.architecture:
        return False
    return not wanted.variant or not one.variant or _generation(one.variant) <= _generation(node.variant)


def may_lead(nested: Platform | None, wanted: Sequence[Platform]) -> bool:
    """Whether a node of one of the ``wanted`` platforms could come to what is in an index that is listed for
    ``nested``, or for no platform."""
    return nested is None or any(may_run(nested, node) or may_run(nested, _fallback(node)) for node in wanted)


def candidates(children: Sequence[Descriptor], wanted: Sequence[Platform], what: str) -> Sequence[Descriptor]:
    """The children to judge, in the order of ``wanted`` and then of the index.

    Only where a wanted platform has no child of its own, runtimes turn to the 32-bit architecture that its
    processors run as well, and to the children without a platform, which come last. Attestations that BuildKit
    keeps in an index have the platform unknown/unknown and so are never among them; what annotations say plays no
    part, since no runtime heeds them.

    Args:
        children: what the index lists, and not the indexes among it (:func:`portcullis.registry.resolving.assemble`
            puts in their place what is in them).

    Raises:
        NotFound: none of them.
        Malformed: a candidate that is no image manifest.
    """
    found: dict[int, Descriptor] = {}
    complete = True
    for platform in wanted:
        matching = _runnable(children, platform)
        if not matching:
            complete = False
            matching = _runnable(children, _fallback(platform))
        found |= {place: child for place, child in matching.items() if place not in found}
    if not complete:
        found |= {place: child for place, child in enumerate(children) if child.platform is None}
    if not found:
        raise _none_wanted(children, wanted, what)
    for child in found.values():
        if child.media_type not in MANIFESTS:
            raise Malformed(f"{what} lists an image of the media type {clean(repr(child.media_type), 100)}")
    return tuple(found.values())


def _fallback(node: Platform) -> Platform:
    """The platform of the older processors that those of ``node`` run as well; one that nothing is for where there is
    none."""
    return Platform(node.os, _FALLBACKS.get(normalise(node).architecture, ""))


def _runnable(children: Sequence[Descriptor], node: Platform) -> dict[int, Descriptor]:
    """The children that say they are for ``node``, by their place."""
    return {
        place: child
        for place, child in enumerate(children)
        if child.platform is not None and may_run(child.platform, node)
    }


def _none_wanted(children: Sequence[Descriptor], wanted: Sequence[Platform], what: str) -> NotFound:
    names = [str(child.platform) for child in children if child.platform and child.platform.os != "unknown"]
    shown = ", ".join(clean(name, 40) for name in names[:_SHOWN]) or "none"
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return NotFound(f"{what} has no image for {' or '.join(map(str, wanted))}; it has {shown}{more}")


def _generation(variant: str) -> int:
    """``v7`` is 7; what is no such variant comes before all, so that it is judged."""
    number = variant.removeprefix("v")
    return int(number) if number.isascii() and number.isdecimal() and len(number) < 4 else -1
