"""Image references: the grammar of the distribution project, normalised as Docker and containerd do.

Source: the grammar in github.com/distribution/reference (reference.go) and its ``ParseNormalizedNamed``:

    reference       := name [ ":" tag ] [ "@" digest ]
    name            := [ domain "/" ] path
    domain          := host [ ":" port ]
    host            := label *( "." label ) | "[" IPv6 address "]"
    path            := path-component *( "/" path-component )
    path-component  := alphanumeric *( separator alphanumeric )
    separator       := "." | "_" | "__" | 1*"-"
    tag             := [A-Za-z0-9_] [A-Za-z0-9_.-]{0,127}

Where this parser is narrower, so that two spellings of one image are equal and two images never are:

* Hosts are lower-cased, ports lose leading zeros, IPv6 addresses take their shortest form. Ports 443 and 80 are kept:
  which of them a bare host means is the runtime's configuration.
* ``Foo/bar``, which the grammar takes for a host ``Foo``, is refused: lower-cased it would be another image.
* Digests are sha256 or sha512 with all their lower-case hex digits; no runtime checks any other.

Every step is a split or one regular expression without backtracking, after the length was checked.
"""

import ipaddress
import re

from portcullis.errors import InvalidReference
from portcullis.limits import Limits
from portcullis.model.image import DIGEST, Digest, ImageReference, Repository
from portcullis.text import quoted

DOCKER_HUB = "docker.io"
_DOCKER_HUB_ALIASES = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
_OFFICIAL = "library/"
_PATH_CHARS = 255
"""RepositoryNameTotalLengthMax of distribution."""

_LABELS = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]*+(?<!-))?+)(?:\.[a-z0-9](?:[a-z0-9-]*+(?<!-))?+)*+")
_PORT = re.compile(r"0*+([0-9]{1,5})")
_IPV6 = re.compile(r"\[[0-9a-fA-F:]{2,39}\]")
_COMPONENT = re.compile(r"[a-z0-9]++(?:(?:\.|__?|-++)[a-z0-9]++)*+")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_IDENTIFIER = re.compile(r"[0-9a-f]{64}")
"""What Docker takes for the id of a local image."""


def parse_reference(text: str, *, default_registry: str = DOCKER_HUB, limits: Limits) -> ImageReference:
    """Reads one image reference.

    Args:
        text: as written in a workload; trusted in no way.
        default_registry: host (with port) of names that have none.

    Raises:
        InvalidReference: the text is no reference, or longer than ``limits.reference_chars``.
    """
    if len(text) > limits.reference_chars:
        raise InvalidReference(
            f"the image reference {quoted(text)} has {len(text)} characters; "
            f"limits.referenceChars is {limits.reference_chars}"
        )
    _check_obvious(text)
    name, at, digest_text = text.partition("@")
    digest = parse_digest(digest_text) if at else None
    name, tag = _cut_tag(name, text)
    host, path = _cut_host(name)
    registry = _registry(host, text) if host else _registry(default_registry, default_registry)
    if registry == DOCKER_HUB and "/" not in path:
        path = _OFFICIAL + path
    _check_path(path, text)
    if tag is None and digest is None:
        tag = "latest"
    return ImageReference(Repository(registry, path), tag, digest)


def parse_digest(text: str) -> Digest:
    """Reads ``sha256:<64 hex>`` or ``sha512:<128 hex>``, lower-case.

    Raises:
        InvalidReference: anything else.
    """
    if DIGEST.fullmatch(text) is None:
        raise InvalidReference(
            f"{quoted(text)} is no digest: it must be sha256: with 64 or sha512: with 128 lower-case hex digits"
        )
    return Digest(text)


def parse_registry(text: str) -> str:
    """Reads a registry's host with its optional port, as a default registry is configured, into the one form that
    references use: ``Index.Docker.IO`` is ``docker.io``.

    Raises:
        InvalidReference: it is no host; or it has neither dot nor port and is not ``localhost``.
    """
    return _registry(text, text)


def _check_obvious(text: str) -> None:
    """Mistakes that deserve a clearer word than the grammar has for them."""
    if not text:
        raise InvalidReference("the image reference is empty")
    if "://" in text:
        raise InvalidReference(f"the image reference {quoted(text)} has a scheme; write host/path without it")
    if "$(" in text or "${" in text:
        raise InvalidReference(f"the image reference {quoted(text)} holds a variable that nothing has replaced")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise InvalidReference(f"the image reference {quoted(text)} holds a blank, a control or a non-ASCII character")
    if _IDENTIFIER.fullmatch(text):
        raise InvalidReference(
            f"the image reference {quoted(text)} is 64 hex digits, which may mean a name or an image id"
        )


def _cut_tag(name: str, text: str) -> tuple[str, str | None]:
    """A colon after the last slash starts the tag; one before it belongs to the host's port."""
    slash = name.rfind("/")
    colon = name.find(":", slash + 1)
    if colon < 0:
        return name, None
    tag = name[colon + 1 :]
    if _TAG.fullmatch(tag) is None:
        raise InvalidReference(
            f"the tag of {quoted(text)} must have 1 to 128 letters, digits, '_', '.' or '-', "
            "and begin with none of the last two"
        )
    return name[:colon], tag


def _cut_host(name: str) -> tuple[str, str]:
    """The part before the first slash is a host if it looks like one: ``localhost``, a dot, a colon, a bracket,
    upper case."""
    first, slash, rest = name.partition("/")
    if slash and (first == "localhost" or first != first.lower() or not set(".:[").isdisjoint(first)):
        return first, rest
    return "", name


def _registry(host: str, text: str) -> str:
    """The normal form of a host with port."""
    name, colon, port_text = host, "", ""
    if not host.endswith("]"):
        name, colon, port_text = host.rpartition(":") if ":" in host else (host, "", "")
    port = _port(port_text, text) if colon else ""
    if name.startswith("["):
        return _ipv6(name, text) + port
    name = name.lower()
    if len(name) > _PATH_CHARS or _LABELS.fullmatch(name) is None:
        raise InvalidReference(f"the host of {quoted(text)} is no domain name or address")
    if not port:
        if name in _DOCKER_HUB_ALIASES:
            return DOCKER_HUB
        if "." not in name and name != "localhost":
            raise InvalidReference(
                f"the host of {quoted(text)} has neither dot nor port; if it is no host, names must be lower-case"
            )
    return name + port


def _port(port_text: str, text: str) -> str:
    match = _PORT.fullmatch(port_text)
    number = int(match.group(1)) if match else 0
    if not 1 <= number <= 65535:
        raise InvalidReference(f"the port of {quoted(text)} must be a number from 1 to 65535")
    return f":{number}"


def _ipv6(name: str, text: str) -> str:
    if _IPV6.fullmatch(name) is None:
        raise InvalidReference(f"the host of {quoted(text)} is no IPv6 address in brackets")
    try:
        address = ipaddress.IPv6Address(name[1:-1])
    except ValueError as error:
        raise InvalidReference(f"the host of {quoted(text)} is no IPv6 address in brackets") from error
    if address.ipv4_mapped is not None:
        # Python 3.13 and later print these with dots, which the grammar does not have.
        low = int(address) & 0xFFFFFFFF
        return f"[::ffff:{low >> 16:x}:{low & 0xFFFF:x}]"
    return f"[{address.compressed}]"


def _check_path(path: str, text: str) -> None:
    if len(path) > _PATH_CHARS:
        raise InvalidReference(f"the repository path of {quoted(text)} has more than {_PATH_CHARS} characters")
    for component in path.split("/"):
        if _COMPONENT.fullmatch(component):
            continue
        if not component:
            raise InvalidReference(f"the repository path of {quoted(text)} has an empty part")
        if component != component.lower():
            raise InvalidReference(f"the repository path of {quoted(text)} must be lower-case")
        raise InvalidReference(
            f"{quoted(component)} in {quoted(text)} must have lower-case letters and digits, "
            "separated by '.', '_', '__' or '-'"
        )
