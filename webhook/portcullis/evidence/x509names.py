"""Identities of Notation: distinguished names of which a certificate's subject must have all attributes
(notaryproject/specifications, trust-store-trust-policy.md, "Trusted Identities Constraints")."""

import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID, ObjectIdentifier

from portcullis.errors import ConfigError
from portcullis.evidence.refusal import shown

ANY: Final = "*"
"""Any subject."""

_PREFIX: Final = "x509.subject:"
_TYPES: Final[Mapping[str, ObjectIdentifier]] = {
    "C": NameOID.COUNTRY_NAME,
    "ST": NameOID.STATE_OR_PROVINCE_NAME,
    "S": NameOID.STATE_OR_PROVINCE_NAME,
    "L": NameOID.LOCALITY_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "CN": NameOID.COMMON_NAME,
    "STREET": NameOID.STREET_ADDRESS,
    "POSTALCODE": NameOID.POSTAL_CODE,
    "SERIALNUMBER": NameOID.SERIAL_NUMBER,
    "DC": NameOID.DOMAIN_COMPONENT,
    "UID": NameOID.USER_ID,
}
_MANDATORY: Final = ("C", "ST", "O")
_ESCAPED: Final = frozenset(' ,;\\+"<>#=')
_HEX_PAIR: Final = re.compile(r"[0-9a-fA-F]{2}")

Attributes = Mapping[ObjectIdentifier, str]


def parse_identities(identities: Sequence[str]) -> tuple[Attributes, ...] | None:
    """What a subject must have, one of them; None where any subject will do. Identities that overlap, which the
    specification does not allow, mean nothing but that either is enough.

    Raises:
        ConfigError: one is no identity, or ``*`` stands beside others, or there is none.
    """
    if tuple(identities) == (ANY,):
        return None
    if not identities:
        raise ConfigError("identities is empty: name them, or * for any")
    if ANY in identities:
        raise ConfigError("identities has * beside others: any subject would do")
    return tuple(parse_identity(identity) for identity in identities)


def parse_identity(identity: str) -> Attributes:
    """The attributes of ``x509.subject: C=US, ST=WA, O=acme`` by type.

    Raises:
        ConfigError: it is something else, names an attribute twice or one that is not known, or lacks C, ST or O.
    """
    if not identity.startswith(_PREFIX):
        raise ConfigError(f"the identity {shown(identity)} does not begin with {_PREFIX}")
    found: dict[ObjectIdentifier, str] = {}
    try:
        for name, value in _pairs(identity[len(_PREFIX) :]):
            kind = _TYPES.get(name.upper())
            if kind is None:
                raise ValueError(f"{shown(name)} is none of {', '.join(_TYPES)}")
            if kind in found:
                raise ValueError(f"{name} stands there twice")
            if not value:
                raise ValueError(f"{name} is empty")
            found[kind] = value
        for name in _MANDATORY:
            if _TYPES[name] not in found:
                raise ValueError(f"{name} is missing; {', '.join(_MANDATORY)} are needed at least")
    except ValueError as error:
        raise ConfigError(f"the identity {shown(identity)} is no distinguished name: {error}") from None
    return MappingProxyType(found)


def has_all(subject: x509.Name, wanted: Attributes) -> bool:
    """Whether ``subject`` has each attribute exactly once and with that very value. One that stands there several
    times could be read in several ways, so it never counts."""
    return all(
        [attribute.value for attribute in subject.get_attributes_for_oid(kind)] == [value]
        for kind, value in wanted.items()
    )


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for part in _split(text):
        name, equals, value = part.partition("=")
        if not equals:
            raise ValueError(f"{shown(part)} lacks an =")
        yield name.strip(), _unescaped(value)


def _split(text: str) -> Iterator[str]:
    """Parts between commas that are not escaped."""
    begin = place = 0
    while place < len(text):
        if text[place] == "\\":
            place += 1
        elif text[place] == ",":
            yield text[begin:place]
            begin = place + 1
        elif text[place] in ';+"<>':
            raise ValueError(f"{text[place]} must be escaped as \\{text[place]}")
        place += 1
    yield text[begin:]


def _unescaped(value: str) -> str:
    """RFC 4514, section 2.4, read backwards; blanks at both ends count only where they are escaped."""
    value = value.lstrip(" ")
    found, kept, place = bytearray(), 0, 0
    while place < len(value):
        character = value[place]
        place += 1
        if character == "\\":
            pair = value[place : place + 2]
            if _HEX_PAIR.fullmatch(pair):
                found += bytes.fromhex(pair)
                place += 2
            elif pair[:1] in _ESCAPED and pair:
                found += pair[0].encode()
                place += 1
            else:
                raise ValueError(f"\\{pair} escapes nothing")
            kept = len(found)
        else:
            found += character.encode()
            if character != " ":
                kept = len(found)
    return found[:kept].decode()
