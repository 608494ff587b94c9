"""OpenVEX 0.0.x and 0.2.0 (https://github.com/openvex/spec, OPENVEX-SPEC.md and ATTESTING.md).

Refused is what could be read in favour of an image and does not say it clearly: "not_affected" without a reason, a
product that names nothing, an empty list of products (no list at all means the subject of the attestation).
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final, Literal

import msgspec

from portcullis.evidence.decode import decode_typed
from portcullis.evidence.refusal import ATTESTATION_UNSUPPORTED, EvidenceError, shown
from portcullis.evidence.reports.imagenames import digest_in
from portcullis.evidence.times import parse_time
from portcullis.evidence.vex.wording import Tally, name, reason
from portcullis.limits import Limits
from portcullis.model.evidence import VexDocument, VexProduct, VexStatement, VexStatus

_WHAT: Final = "the OpenVEX document"
_CONTEXT = re.compile(r"https://openvex\.dev/ns(/v0\.[0-2]\.[0-9]+)?", re.ASCII)


class _Vulnerability(msgspec.Struct):
    id: str = msgspec.field(default="", name="@id")
    name: str = ""
    aliases: list[str] | None = None


class _Component(msgspec.Struct):
    id: str = msgspec.field(default="", name="@id")
    identifiers: dict[str, str] | None = None
    hashes: dict[str, str] | None = None
    subcomponents: "list[str | _Component] | None" = None


class _Statement(msgspec.Struct):
    """``subcomponents`` stand here up to 0.0.2, and in the products since."""

    vulnerability: str | _Vulnerability
    status: Literal["not_affected", "affected", "fixed", "under_investigation"]
    timestamp: str | None = None
    last_updated: str | None = None
    products: list[str | _Component] | None = None
    subcomponents: list[str | _Component] | None = None
    justification: (
        Literal[
            "",
            "component_not_present",
            "vulnerable_code_not_present",
            "vulnerable_code_not_in_execute_path",
            "vulnerable_code_cannot_be_controlled_by_adversary",
            "inline_mitigations_already_exist",
        ]
        | None
    ) = None
    impact_statement: str | None = None


class _Document(msgspec.Struct):
    context: str = msgspec.field(name="@context")
    id: str = msgspec.field(default="", name="@id")
    author: str = ""
    version: int | str = ""
    timestamp: str | None = None
    last_updated: str | None = None
    statements: list[_Statement] | None = None


def read_openvex(content: bytes, limits: Limits) -> VexDocument:
    """The statements of an OpenVEX document, in its order; one without statements is an empty one.

    Raises:
        EvidenceError: it is none, or one that contradicts the specification (attestation-invalid); another version
            (attestation-unsupported); more than ``vex_statements`` or ``vex_products`` (too-large).
    """
    document = decode_typed(content, _Document, _WHAT)
    if _CONTEXT.fullmatch(document.context) is None:
        raise EvidenceError(f"{_WHAT}'s @context {shown(document.context)} is not one that is read: 0.0.x and 0.2.0 of "
                            "https://openvex.dev/ns", ATTESTATION_UNSUPPORTED)  # fmt: skip
    issued = _newer(document.timestamp, document.last_updated, _WHAT)
    tally = Tally(limits)
    statements = tuple(
        _statement(one, f"statement {number} of {_WHAT}", issued, tally)
        for number, one in enumerate(document.statements or (), 1)
    )
    if issued is None:
        issued = max((one.issued_at for one in statements if one.issued_at is not None), default=None)
    return VexDocument(
        format="openvex",
        id=name(document.id),
        author=name(document.author),
        version=name(document.version),
        issued_at=issued,
        statements=statements,
    )


def _statement(said: _Statement, where: str, cascaded: datetime | None, tally: Tally) -> VexStatement:
    """
    Args:
        cascaded: the document's time, for statements that have none ("Inheritance Flow" of the specification).
    """
    tally.statement()
    names = _names(said.vulnerability, where)
    if said.status == "not_affected" and not said.justification and not (said.impact_statement or "").strip():
        raise EvidenceError(f"{where} says not_affected and gives neither a justification nor an impact_statement")
    products = tuple(_products(said, where))
    tally.products(sum(1 + len(product.subcomponents) for product in products), len(names))
    return VexStatement(
        vulnerabilities=names,
        status=VexStatus(said.status),
        justification=said.justification or "",
        impact=reason(said.impact_statement),
        products=products,
        issued_at=_newer(said.timestamp, said.last_updated, where) or cascaded,
    )


def _names(vulnerability: str | _Vulnerability, where: str) -> tuple[str, ...]:
    if isinstance(vulnerability, str):
        names = [vulnerability]
    else:
        names = [vulnerability.name or vulnerability.id, *(vulnerability.aliases or ())]
    if not names[0].strip():
        raise EvidenceError(f"{where} names no vulnerability")
    return tuple(dict.fromkeys(stripped for one in names if (stripped := one.strip())))


def _products(said: _Statement, where: str) -> Iterator[VexProduct]:
    common = _subcomponents(said.subcomponents, where)
    if said.products is None:
        if common:
            yield VexProduct(subcomponents=common)
        return
    if not said.products:
        raise EvidenceError(f"{where} has an empty list of products; without one it is about the attestation's subject")
    for product in said.products:
        component = _Component(id=product) if isinstance(product, str) else product
        purl, identifier = _identity(component)
        digests = _digests(component.hashes or {}, identifier)
        if not purl and not digests and not identifier:
            raise EvidenceError(f"{where} has a product that names nothing")
        own = _subcomponents(component.subcomponents, where)
        yield VexProduct(purl=purl, digests=digests, identifier=identifier, subcomponents=own or common)


def _subcomponents(listed: list[str | _Component] | None, where: str) -> tuple[str, ...]:
    if listed == []:
        raise EvidenceError(f"{where} has an empty list of subcomponents; without one it is about all of them")
    return tuple(_name_of(one, where) for one in listed or ())


def _identity(component: _Component) -> tuple[str, str]:
    """The package URL, "" without one, and what else names it. ``identifiers`` say what it is; ``@id`` may."""
    identifiers = component.identifiers or {}
    if purl := identifiers.get("purl", ""):
        return purl, component.id
    if _is_purl(component.id):
        return component.id, ""
    return "", component.id or next((one for one in identifiers.values() if one), "")


def _name_of(component: str | _Component, where: str) -> str:
    if isinstance(component, str):
        component = _Component(id=component)
    purl, identifier = _identity(component)
    if not purl and not identifier:
        raise EvidenceError(f"{where} has a subcomponent that names nothing")
    return purl or identifier


def _digests(hashes: Mapping[str, str], identifier: str) -> tuple[str, ...]:
    """``sha256:hex``; the names of algorithms (IANA, "Named Information") have a hyphen that OCI's have not. A name
    such as registry.example/app@sha256:... holds one as well."""
    found = [f"{algorithm.lower().replace('sha-', 'sha')}:{hexed.lower()}" for algorithm, hexed in hashes.items()]
    named = digest_in(identifier)
    return tuple(dict.fromkeys([*found, *([named] if named else [])]))


def _is_purl(text: str) -> bool:
    return text[:4].lower() == "pkg:"


def _newer(timestamp: str | None, last_updated: str | None, where: str) -> datetime | None:
    times = (parse_time(timestamp, f"the timestamp of {where}"), parse_time(last_updated, f"last_updated of {where}"))
    return max((time for time in times if time is not None), default=None)
